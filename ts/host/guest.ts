import type { OutgoingDatagram } from '../batch/arena.js';
import { SocketError } from '../errors.js';
import { Pollable } from '../readiness/pollable.js';
import type { IpAddressFamily, IpSocketAddress } from '../rules/address.js';
import { IncomingDatagramStream } from '../socket/incoming-datagram-stream.js';
import { OutgoingDatagramStream } from '../socket/outgoing-datagram-stream.js';
import { UdpSocket, type UdpSocketOptions } from '../socket/udp-socket.js';
import type { HostOutgoingDatagramStream } from './outgoing.js';
import type { Resource, ResourceTable } from './resource-table.js';

/** What jco asks of a resource: its number, and what drops one for which it has no object. */
export const cabiRep: unique symbol = Symbol.for('cabiRep') as never;
const cabiDispose: unique symbol = Symbol.for('cabiDispose') as never;

/** What a guest's interfaces are made over. */
export interface GuestContext {
  readonly table: ResourceTable;
  readonly outgoing: HostOutgoingDatagramStream;
  readonly sockets: UdpSocketOptions;
  /** The guest's object for a pollable, which it owns. */
  pollable(pollable: Pollable): object;
}

/** A resource as the guest's object: its handle. All else stands in the table, so that jco may make the object up. */
export interface GuestResource extends Disposable {
  readonly [cabiRep]: number;
}

/** The class of a guest's objects. */
export function guestResources(
  context: Pick<GuestContext, 'table' | 'outgoing'>,
): new (
  handle: number,
) => GuestResource {
  const { table, outgoing } = context;
  const drop = (handle: number) => {
    if (!table.has(handle)) return;
    const isOutgoing = table.holds(handle, OutgoingDatagramStream);
    if (isOutgoing) outgoing.drop(handle as Resource<OutgoingDatagramStream>);
    else table.drop(handle);
  };
  // A guest that trapped drops nothing itself: what its objects stood for goes when they are collected.
  const forgotten = new FinalizationRegistry(drop);

  return class implements GuestResource {
    readonly [cabiRep]: number;

    constructor(handle: number) {
      this[cabiRep] = handle;
      forgotten.register(this, handle, this);
    }

    /** Drops the resource. May be called again. */
    [Symbol.dispose](): void {
      forgotten.unregister(this);
      drop(this[cabiRep]);
    }

    static [cabiDispose](handle: number): void {
      drop(handle);
    }
  };
}

/** The interfaces of wasi:sockets that a guest imports for UDP, in the conventions of jco. */
export function guestInterfaces(context: GuestContext) {
  const { table, outgoing } = context;
  const Guest = guestResources(context);
  const socketOf = (self: GuestResource) => table.get(self[cabiRep] as Resource<UdpSocket>, UdpSocket);
  const incomingOf = (self: GuestResource) =>
    table.get(self[cabiRep] as Resource<IncomingDatagramStream>, IncomingDatagramStream);
  const handleOf = (self: GuestResource) => self[cabiRep] as Resource<OutgoingDatagramStream>;

  /** `network`: an opaque token. What a guest may do is the host's to say, whatever network it names. */
  class Network {}
  // Where the core form gave it out, it stands in the table.
  Object.assign(Network, { [cabiDispose]: (handle: number) => table.has(handle) && table.drop(handle) });
  const theNetwork = new Network();

  class GuestUdpSocket extends Guest {
    startBind(_network: unknown, local: IpSocketAddress): void {
      socketOf(this).startBind(local);
    }
    finishBind(): void {
      socketOf(this).finishBind();
    }
    stream(remote?: IpSocketAddress): [GuestIncoming, GuestOutgoing] {
      const [incomingStream, outgoingStream] = socketOf(this).stream(remote);
      return [new GuestIncoming(table.push(incomingStream)), new GuestOutgoing(table.push(outgoingStream))];
    }
    localAddress(): IpSocketAddress {
      return socketOf(this).localAddress();
    }
    remoteAddress(): IpSocketAddress {
      return socketOf(this).remoteAddress();
    }
    addressFamily(): IpAddressFamily {
      return socketOf(this).addressFamily();
    }
    unicastHopLimit(): number {
      return socketOf(this).unicastHopLimit();
    }
    setUnicastHopLimit(value: number): void {
      socketOf(this).setUnicastHopLimit(value);
    }
    receiveBufferSize(): bigint {
      return socketOf(this).receiveBufferSize();
    }
    setReceiveBufferSize(value: bigint): void {
      socketOf(this).setReceiveBufferSize(value);
    }
    sendBufferSize(): bigint {
      return socketOf(this).sendBufferSize();
    }
    setSendBufferSize(value: bigint): void {
      socketOf(this).setSendBufferSize(value);
    }
    subscribe(): object {
      return context.pollable(socketOf(this).subscribe());
    }
  }

  class GuestIncoming extends Guest {
    receive(maxResults: bigint) {
      return incomingOf(this).receive(maxResults);
    }
    subscribe(): object {
      return context.pollable(incomingOf(this).subscribe());
    }
  }

  class GuestOutgoing extends Guest {
    checkSend(): bigint {
      return outgoing.checkSend(handleOf(this));
    }
    send(datagrams: OutgoingDatagram[]): bigint {
      return outgoing.send(handleOf(this), datagrams);
    }
    subscribe(): object {
      return context.pollable(table.take(outgoing.subscribe(handleOf(this)), Pollable));
    }
  }

  return {
    udp: { UdpSocket: GuestUdpSocket, IncomingDatagramStream: GuestIncoming, OutgoingDatagramStream: GuestOutgoing },
    udpCreateSocket: {
      createUdpSocket(family: IpAddressFamily) {
        return new GuestUdpSocket(table.push(new UdpSocket(family, context.sockets)));
      },
    },
    network: {
      Network,
      /** The error-code of a wasi:io error, where it came from a socket: of the TypeScript side, a SocketError. */
      networkErrorCode: (error: unknown) => (error instanceof SocketError ? error.payload : undefined),
    },
    instanceNetwork: { instanceNetwork: () => theNetwork },
  };
}
