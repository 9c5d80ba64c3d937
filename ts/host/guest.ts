import type { OutgoingDatagram } from '../batch/arena.js';
import { SocketError } from '../errors.js';
import { Pollable } from '../readiness/pollable.js';
import type { IpAddressFamily, IpSocketAddress } from '../rules/address.js';
import { IncomingDatagramStream } from '../socket/incoming-datagram-stream.js';
import { OutgoingDatagramStream } from '../socket/outgoing-datagram-stream.js';
import { UdpSocket } from '../socket/udp-socket.js';
import type { WriteBehind } from '../socket/write-behind.js';
import type { GuestSockets } from './guest-sockets.js';
import type { Limits } from './limits.js';
import { Network } from './network.js';
import type { HostOutgoingDatagramStream } from './outgoing.js';
import type { Resource, ResourceTable } from './resource-table.js';

/** What jco asks of a resource: its number, and what drops one for which it has no object. */
export const cabiRep: unique symbol = Symbol.for('cabiRep') as never;
const cabiDispose: unique symbol = Symbol.for('cabiDispose') as never;

/** What a guest's interfaces are made over. */
export interface GuestContext {
  readonly table: ResourceTable;
  readonly outgoing: HostOutgoingDatagramStream;
  readonly sockets: GuestSockets;
  readonly limits: Required<Limits>;
  /** Where the guest's small sends wait for each other, if they do. */
  readonly behind: WriteBehind | undefined;
  /** The guest's object for a pollable, which it owns. */
  pollable(pollable: Pollable): object;
  /** Looks at the network that a guest gives to `start-bind`, where another host may have made it. */
  readonly network?: ((network: unknown) => void) | undefined;
}

/** A resource as the guest's object: its handle. All else stands in the table, so that jco may make the object up. */
export interface GuestResource extends Disposable {
  readonly [cabiRep]: number;
}

/** Drops the resource of a handle, where it is not dropped yet. */
export type Drop = (handle: number) => void;

/** What drops a guest's resources, each by whoever is to hear of it. */
export function dropOf({ table, outgoing }: Pick<GuestContext, 'table' | 'outgoing'>): Drop {
  return (handle) => {
    if (table.holds(handle, OutgoingDatagramStream)) outgoing.drop(handle);
    else if (table.has(handle)) table.drop(handle);
  };
}

/** The class of a guest's objects. */
export function guestResources(drop: Drop): new (handle: number) => GuestResource {
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
  const Guest = guestResources(dropOf(context));
  const socketOf = (self: GuestResource) => table.get(self[cabiRep] as Resource<UdpSocket>, UdpSocket);
  const incomingOf = (self: GuestResource) =>
    table.get(self[cabiRep] as Resource<IncomingDatagramStream>, IncomingDatagramStream);
  const handleOf = (self: GuestResource) => self[cabiRep] as Resource<OutgoingDatagramStream>;

  class GuestNetwork extends Guest {}

  class GuestUdpSocket extends Guest {
    startBind(network: unknown, local: IpSocketAddress): void {
      context.network?.(network);
      socketOf(this).startBind(local);
    }
    finishBind(): void {
      socketOf(this).finishBind();
    }
    stream(remote?: IpSocketAddress): [GuestIncoming, GuestOutgoing] {
      const socket = socketOf(this);
      table.demand(2);
      const [incomingStream, outgoingStream] = socket.stream(remote);
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
        table.demand(1);
        return new GuestUdpSocket(table.push(context.sockets.open(family)));
      },
    },
    network: {
      Network: GuestNetwork,
      /** The error-code of a wasi:io error, where it came from a socket: of the TypeScript side, a SocketError. */
      networkErrorCode: (error: unknown) => (error instanceof SocketError ? error.payload : undefined),
    },
    instanceNetwork: { instanceNetwork: () => new GuestNetwork(table.push(new Network())) },
  };
}
