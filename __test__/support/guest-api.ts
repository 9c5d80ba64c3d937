import {
  createHost,
  type HostOptions,
  type IpAddressFamily,
  type IpSocketAddress,
  type UdpHost,
} from '../../dist/index.js';
import { openCore } from './core-api.js';

/** The interfaces of a host as a guest calls them, in jco's conventions, however the calls get there. */
export type GuestApi = Pick<
  UdpHost,
  'udp' | 'udpCreateSocket' | 'network' | 'instanceNetwork' | 'poll' | 'monotonicClock'
> &
  Disposable;

/** A way into a host. */
export interface Entrance {
  title: string;
  /** Whether calls are those of objects, or of core functions. */
  byObjects: boolean;
  open(options?: HostOptions): GuestApi;
}

/** The ways in: what passes here passes for guests. */
export const ENTRANCES: Entrance[] = [
  { title: 'objects', byObjects: true, open: (options) => createHost({ allow: 'all', ...options }) },
  { title: 'core functions', byObjects: false, open: (options) => openCore({ allow: 'all', ...options }) },
];

/** The same, where small sends wait for each other: what differs is told where it is tested. */
export const WRITING_BEHIND: Entrance[] = ENTRANCES.map(({ title, byObjects, open }) => ({
  title: `${title}, write-behind`,
  byObjects,
  open: (options) => open({ writeBehind: true, ...options }),
}));

export type Socket = ReturnType<GuestApi['udpCreateSocket']['createUdpSocket']>;
export type Streams = ReturnType<Socket['stream']>;
export type Incoming = Streams[0];
export type Outgoing = Streams[1];
export type Datagram = ReturnType<Incoming['receive']>[number];

/** A guest's usual steps, on one host. */
export class Guest {
  constructor(readonly api: GuestApi) {}

  create(family: IpAddressFamily): Socket {
    return this.api.udpCreateSocket.createUdpSocket(family);
  }

  bind(socket: Socket, local: IpSocketAddress): void {
    socket.startBind(this.api.instanceNetwork.instanceNetwork(), local);
    socket.finishBind();
  }

  bound(local: IpSocketAddress): Socket {
    const socket = this.create(local.tag);
    this.bind(socket, local);
    return socket;
  }

  /** Whether a pollable becomes ready within so many milliseconds. */
  readyWithin(pollable: object, milliseconds: number): boolean {
    const timeout = this.api.monotonicClock.subscribeDuration(BigInt(milliseconds) * 1_000_000n);
    return [...(this.api.poll.poll([pollable, timeout]) as Uint32Array)].includes(0);
  }

  /** The next datagrams, `count` at least. */
  receive(incoming: Incoming, count = 1): Datagram[] {
    const received: Datagram[] = [];
    while (received.length < count) {
      const some = incoming.receive(1024n);
      received.push(...some);
      if (some.length === 0 && !this.readyWithin(incoming.subscribe(), 10_000)) {
        throw new Error(`${received.length} of ${count} datagrams came within ten seconds`);
      }
    }
    return received;
  }

  /** Sends texts to an address, or to the stream's own; all must be accepted. */
  send(outgoing: Outgoing, texts: string[], remoteAddress?: IpSocketAddress): void {
    outgoing.checkSend();
    const list = texts.map((text) => ({ data: new TextEncoder().encode(text), remoteAddress }));
    const sent = outgoing.send(list);
    if (Number(sent) !== texts.length) throw new Error(`${sent} of ${texts.length} datagrams were sent`);
  }
}

export const textOf = ({ data }: { data: Uint8Array }): string => new TextDecoder().decode(data);

/** The error-code that a call gives, or 'trap', or 'ok'. */
export function outcomeOf(call: () => unknown): string {
  try {
    call();
    return 'ok';
  } catch (error) {
    if (error instanceof Error && 'payload' in error) return String(error.payload);
    if (error instanceof WebAssembly.RuntimeError) return 'trap';
    throw error;
  }
}
