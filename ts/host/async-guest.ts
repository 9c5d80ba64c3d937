import { asTrap, caseOf, type ErrorCase, SocketError } from '../errors.js';
import { Turn } from '../readiness/turn.js';
import type { IpAddressFamily, IpSocketAddress } from '../rules/address.js';
import { AsyncUdpSocket } from '../socket/async-udp-socket.js';
import { cabiRep, dropOf, type GuestContext, type GuestResource, guestResources } from './guest.js';
import type { Resource } from './resource-table.js';

/** The error-code of 0.3 as jco takes it; `other` brings the text of the error. */
type ErrorVariant = { tag: Exclude<ErrorCase, 'other'> } | { tag: 'other'; val: string | undefined };

/** An error result of 0.3: jco turns a thrown value with an own `payload` into the err case. */
class ErrorResult extends Error {
  readonly payload: ErrorVariant;

  constructor(error: SocketError) {
    super(error.message, { cause: error });
    const tag = caseOf(error);
    this.payload = tag === 'other' ? { tag, val: error.message } : { tag };
  }
}
ErrorResult.prototype.name = 'SocketError';

/** Passes on what a call throws: an error result as one of 0.3. */
function rethrow(error: unknown): never {
  throw error instanceof SocketError ? new ErrorResult(error) : asTrap(error);
}

function result<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    return rethrow(error);
  }
}

/** What the ordinary calls and the fast way know of each other. */
export class Crossings {
  /** For sockets of no guest's: what their next call that waits returns. */
  readonly bells = new Map<AsyncUdpSocket, Promise<never>>();
  #created: AsyncUdpSocket | undefined;
  /** What `create` has returned last, which jco passes on to its guest next. */
  #fresh: object | undefined;
  /** Whether every socket of the guests is one that `create` has given them. */
  isPlain = true;

  creates<T extends object>(socket: AsyncUdpSocket, object: T): T {
    this.#created = socket;
    this.#fresh = object;
    return object;
  }

  /** jco passes a guest an object: one that `create` has returned only once that way. */
  passes(object: unknown): void {
    if (object !== this.#fresh) this.isPlain = false;
    this.#fresh = undefined;
  }

  /** The socket that was created last, once. */
  takeCreated(): AsyncUdpSocket | undefined {
    const socket = this.#created;
    this.#created = undefined;
    return socket;
  }

  /** The promise that a call of the socket returns in place of its own. */
  bellOf(socket: AsyncUdpSocket): Promise<never> | undefined {
    const bell = this.bells.get(socket);
    if (bell !== undefined) this.bells.delete(socket);
    return bell;
  }
}

/** wasi:sockets/types@0.3 as far as UDP goes, in the conventions of jco. */
export function asyncInterfaces(context: Pick<GuestContext, 'table' | 'outgoing' | 'sockets'>, crossings: Crossings) {
  const { table } = context;
  const Guest = guestResources(dropOf(context));
  const turn = new Turn();
  const socketOf = (self: GuestResource) => table.get(self[cabiRep] as Resource<AsyncUdpSocket>, AsyncUdpSocket);

  class UdpSocket extends Guest {
    static create(family: IpAddressFamily): UdpSocket {
      return result(() => {
        table.demand(1);
        const socket = context.sockets.openAsync(family);
        return crossings.creates(socket, new UdpSocket(table.push(socket)));
      });
    }
    /** jco asks whether an object is a socket where it passes it to a guest. */
    static override [Symbol.hasInstance](value: unknown): boolean {
      crossings.passes(value);
      return Function.prototype[Symbol.hasInstance].call(UdpSocket, value);
    }
    bind(local: IpSocketAddress): void {
      result(() => socketOf(this).bind(local));
    }
    connect(remote: IpSocketAddress): void {
      result(() => socketOf(this).connect(remote));
    }
    disconnect(): void {
      result(() => socketOf(this).disconnect());
    }
    async send(data: Uint8Array, remoteAddress?: IpSocketAddress): Promise<void> {
      const socket = socketOf(this);
      await (crossings.bellOf(socket) ?? socket.send(data, remoteAddress)).catch(rethrow);
      // A guest that blocks in each call would else never let the event loop turn.
      await turn.give();
    }
    async receive(): Promise<[Uint8Array, IpSocketAddress]> {
      const socket = socketOf(this);
      const { data, remoteAddress } = await (crossings.bellOf(socket) ?? socket.receive()).catch(rethrow);
      await turn.give();
      return [data, remoteAddress];
    }
    getLocalAddress(): IpSocketAddress {
      return result(() => socketOf(this).getLocalAddress());
    }
    getRemoteAddress(): IpSocketAddress {
      return result(() => socketOf(this).getRemoteAddress());
    }
    getAddressFamily(): IpAddressFamily {
      return socketOf(this).getAddressFamily();
    }
    getUnicastHopLimit(): number {
      return result(() => socketOf(this).getUnicastHopLimit());
    }
    setUnicastHopLimit(value: number): void {
      result(() => socketOf(this).setUnicastHopLimit(value));
    }
    getReceiveBufferSize(): bigint {
      return result(() => socketOf(this).getReceiveBufferSize());
    }
    setReceiveBufferSize(value: bigint): void {
      result(() => socketOf(this).setReceiveBufferSize(value));
    }
    getSendBufferSize(): bigint {
      return result(() => socketOf(this).getSendBufferSize());
    }
    setSendBufferSize(value: bigint): void {
      result(() => socketOf(this).setSendBufferSize(value));
    }
  }

  return { UdpSocket };
}
