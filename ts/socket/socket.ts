import { SocketError, Trap } from '../errors.js';
import { Descriptor } from '../native/descriptor.js';
import { endpointOf } from '../native/endpoint.js';
import { newSlot, type Slot } from '../native/layout.js';
import { native, OPTION, READABLE, WRITABLE } from '../native/native.js';
import { forsake } from '../readiness/readiness.js';
import {
  decodeAddress,
  encodeAddress,
  formatSocketAddress,
  type IpAddressFamily,
  type IpSocketAddress,
  show,
} from '../rules/address.js';
import { type Destination, localRefusal, Refusal, refusalError, remoteRefusal } from '../rules/destination.js';
import type { Policy } from '../rules/policy.js';
import type { Sources } from './incoming-datagram-stream.js';

export interface SocketOptions {
  /** What the socket may be used for. Default: everything. */
  policy?: Policy | undefined;
  /** Whether runs of equal datagrams may leave as one UDP_SEGMENT message. Default: true, unless WASI_UDP_GSO=0 is set. */
  segmentation?: boolean | undefined;
  /** @internal A descriptor that is open already, in place of a new socket. */
  adopted?: Descriptor | undefined;
}

/** The largest value of an `int`, which is what SO_RCVBUF and SO_SNDBUF take (socket(7)). */
const INT_MAX = 2 ** 31 - 1;

/**
 * What the system makes of a buffer size. socket(7): "The kernel doubles this value (to allow space for bookkeeping overhead)
 * when it is set using setsockopt(2), and this doubled value is returned by getsockopt(2)."
 */
const BUFFER_FACTOR = process.platform === 'linux' || process.platform === 'android' ? 2 : 1;

/** What the sockets of 0.2 and of 0.3 have in common: the descriptor, the policy, the rules of addresses, options. */
export abstract class Socket implements Disposable {
  /** @internal */
  readonly descriptor: Descriptor;
  /** @internal */
  protected readonly policy: Policy | undefined;
  #dropped = false;

  /** @internal Opens a socket of the family; `operation` is the call that does so. */
  constructor(operation: string, family: IpAddressFamily, options: SocketOptions) {
    if (family !== 'ipv4' && family !== 'ipv6') {
      throw new SocketError(
        'not-supported',
        `${operation}: a family is 'ipv4' or 'ipv6', got ${show(family)}: name one`,
        { code: 'EAFNOSUPPORT' },
      );
    }
    this.descriptor = options.adopted ?? new Descriptor(family === 'ipv4' ? 4 : 6);
    this.policy = options.policy;
    // Where the kernel cannot coalesce, datagrams come one by one. Others may have a socket that was adopted, who would take a
    // message of several datagrams for one.
    if (options.adopted === undefined) native.setOption(this.descriptor.socket, OPTION.coalescingReceive, 1);
    if (options.segmentation === false) native.setOption(this.descriptor.socket, OPTION.segmentation, 0);
  }

  /** Closes the socket, and so drops it; streams that live on keep it open. May be called again. */
  close(): void {
    this[Symbol.dispose]();
  }

  /** As `close`. */
  [Symbol.dispose](): void {
    if (this.#dropped) return;
    forsake(this.descriptor, READABLE | WRITABLE);
    this.#dropped = true;
    this.descriptor.release();
  }

  /** @internal The descriptor. Traps after drop. */
  protected live(method: string): Descriptor {
    if (this.#dropped) throw new Trap(`${method}: the udp-socket was dropped and cannot be used: open another`);
    return this.descriptor;
  }

  /** @internal Throws where the socket may not be bound to the address. */
  protected checkLocal(operation: string, slot: Slot): void {
    const judged = decodeAddress(slot);
    const refusal = localRefusal(slot, this.descriptor.family, this.descriptor.dualStack);
    if (refusal !== Refusal.None) throw refusalError(refusal, operation, judged, this.anywhere());
    if (this.policy?.allows('bind', judged) === false) {
      throw new SocketError(
        'access-denied',
        `${operation}: no "bind" rule of the policy covers the address, got ${formatSocketAddress(judged)}: allow it`,
        endpointOf(slot),
      );
    }
  }

  /** @internal Throws where the socket may not have the address as its peer. */
  protected checkPeer(operation: string, slot: Slot): void {
    const judged = decodeAddress(slot);
    let refusal = remoteRefusal(slot, 0, this.descriptor.family, this.descriptor.dualStack);
    if (refusal === Refusal.None && this.policy?.allows('send', judged) === false) refusal = Refusal.Denied;
    if (refusal !== Refusal.None) throw refusalError(refusal, operation, judged, this.anywhere());
  }

  /** @internal Where datagrams may go: to that peer, or wherever the policy lets them. */
  protected destinationOf(remote: Slot | undefined): Destination {
    const permits = this.#permits('send');
    const { family, dualStack } = this.descriptor;
    if (permits === undefined) return { family, dualStack, remote, permits };
    return { family, dualStack, remote, permits, permitted: newSlot(), permitsSource: (at) => this.#permitsSource(at) };
  }

  /** A socket that is bound to all addresses may send from each; else a rule says so, of the port that the socket has. */
  #permitsSource(source: IpSocketAddress): boolean {
    const local = this.descriptor.localAddress();
    const slot = encodeAddress(source);
    slot[1] = local[1]!;
    return (
      local.subarray(2, 6).every((word) => word === 0) || this.policy?.allows('bind', decodeAddress(slot)) !== false
    );
  }

  /** @internal Whom the socket hears: that peer, or whomever the policy lets in. */
  protected sourcesOf(remote: Slot | undefined): Sources {
    const { policy } = this;
    const onRefused = policy && ((count: number) => (policy.refused += count));
    return { remote, permits: this.#permits('receive'), onRefused };
  }

  #permits(action: 'send' | 'receive'): ((address: IpSocketAddress) => boolean) | undefined {
    const { policy } = this;
    return policy && ((address) => policy.allows(action, address));
  }

  /** @internal A destination of no peer, without a policy. */
  protected anywhere(): Destination {
    const { family, dualStack } = this.descriptor;
    return { family, dualStack, remote: undefined, permits: undefined };
  }

  /** @internal */
  protected hopLimit(operation: string): number {
    return this.live(operation).getOption(operation, OPTION.hopLimit);
  }

  /** @internal WIT: "If the provided value is 0, an `invalid-argument` error is returned." */
  protected setHopLimit(operation: string, value: number): void {
    const descriptor = this.live(operation);
    if (!(Number.isInteger(value) && value >= 1 && value <= 255)) {
      throw new SocketError('invalid-argument', `${operation}: a hop limit is 1 to 255, got ${value}`);
    }
    descriptor.setOption(operation, OPTION.hopLimit, value);
  }

  /** @internal `option`: OPTION.receiveBuffer or OPTION.sendBuffer. */
  protected bufferSize(operation: string, option: number): bigint {
    return BigInt(this.live(operation).getOption(operation, option) / BUFFER_FACTOR);
  }

  /**
   * @internal WIT: "If the provided value is 0, an `invalid-argument` error is returned. Any other value will never cause an
   * error, but it might be silently clamped and/or rounded."
   */
  protected setBufferSize(operation: string, option: number, value: bigint | number): void {
    const descriptor = this.live(operation);
    if (!(value > 0))
      throw new SocketError('invalid-argument', `${operation}: a size is at least 1 byte, got ${value}`);
    descriptor.setOption(operation, option, Math.min(Math.trunc(Number(value)), INT_MAX));
  }
}
