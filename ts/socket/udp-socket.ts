import { SocketError, Trap } from '../errors.js';
import { Descriptor } from '../native/descriptor.js';
import { newSlot, type Slot } from '../native/layout.js';
import { native, OPTION, READABLE, WRITABLE } from '../native/native.js';
import { Pollable } from '../readiness/pollable.js';
import { forsake } from '../readiness/readiness.js';
import {
  decodeAddress,
  encodeAddress,
  formatSocketAddress,
  type IpAddressFamily,
  type IpSocketAddress,
  show,
} from '../rules/address.js';
import { localRefusal, Refusal, refusalError, remoteRefusal } from '../rules/destination.js';
import type { Policy } from '../rules/policy.js';
import { IncomingDatagramStream } from './incoming-datagram-stream.js';
import { OutgoingDatagramStream } from './outgoing-datagram-stream.js';
import type { WriteBehind } from './write-behind.js';

export interface UdpSocketOptions {
  /** What the socket may be used for. Default: everything. */
  policy?: Policy | undefined;
  /** Whether runs of equal datagrams may leave as one UDP_SEGMENT message. Default: true, unless WASI_UDP_GSO=0 is set. */
  segmentation?: boolean | undefined;
  /** @internal Whose small sends wait for each other. Default: each leaves at once. */
  writeBehind?: WriteBehind | undefined;
}

/** The largest value of an `int`, which is what SO_RCVBUF and SO_SNDBUF take (socket(7)). */
const INT_MAX = 2 ** 31 - 1;

/**
 * What the system makes of a buffer size. socket(7): "The kernel doubles this value (to allow space for bookkeeping overhead)
 * when it is set using setsockopt(2), and this doubled value is returned by getsockopt(2)."
 */
const BUFFER_FACTOR = process.platform === 'linux' || process.platform === 'android' ? 2 : 1;

/** `udp-socket` of wasi:sockets/udp@0.2: a socket, which is bound, and then streams to anybody or to one peer. */
export class UdpSocket {
  /** @internal */
  readonly descriptor: Descriptor;
  readonly #policy: Policy | undefined;
  readonly #writeBehind: WriteBehind | undefined;
  /** The address of a bind that has started; undefined before and after. */
  #binding: Slot | undefined;
  #bound = false;
  #remote: Slot | undefined;
  /** The streams of the last `stream()`. */
  #streams: readonly [IncomingDatagramStream, OutgoingDatagramStream] | undefined;
  #dropped = false;

  /**
   * @internal Opens a socket of the family.
   *
   * WIT, create-udp-socket: "`not-supported`: The specified `address-family` is not supported", "`new-socket-limit`: The new
   * socket resource could not be created because of a system limit".
   */
  constructor(family: IpAddressFamily, options: UdpSocketOptions = {}) {
    if (family !== 'ipv4' && family !== 'ipv6') {
      throw new SocketError(
        'not-supported',
        `create-udp-socket: a family is 'ipv4' or 'ipv6', got ${show(family)}: name one`,
      );
    }
    this.descriptor = new Descriptor(family === 'ipv4' ? 4 : 6);
    this.#policy = options.policy;
    this.#writeBehind = options.writeBehind;
    // Where the kernel cannot coalesce, datagrams come one by one.
    native.setOption(this.descriptor.socket, OPTION.coalescingReceive, 1);
    if (options.segmentation === false) native.setOption(this.descriptor.socket, OPTION.segmentation, 0);
  }

  /**
   * Starts to bind the socket to a local address; port 0 asks for a free one. `finishBind` ends it.
   *
   * Throws SocketError: `invalid-argument` for an address of another family, `invalid-state` where the socket is bound,
   * `concurrency-conflict` where a bind is in progress, `access-denied` where no `bind` rule covers the address.
   */
  startBind(local: IpSocketAddress): void {
    // First, since a getter of the address may use the socket; from here on there is the slot alone.
    const slot = encodeAddress(local);
    const { family } = this.#live('startBind');
    if (this.#bound)
      throw new SocketError('invalid-state', `start-bind: the socket is bound: open another to bind it elsewhere`);
    if (this.#binding !== undefined) {
      throw new SocketError('concurrency-conflict', 'start-bind: a bind is in progress: call finish-bind');
    }
    const judged = decodeAddress(slot);
    const refusal = localRefusal(slot, family);
    if (refusal !== Refusal.None) throw refusalError(refusal, 'start-bind', judged, this.#anywhere());
    if (this.#policy?.allows('bind', judged) === false) {
      throw new SocketError(
        'access-denied',
        `start-bind: no "bind" rule of the policy covers the address, got ${formatSocketAddress(judged)}: allow it`,
      );
    }
    this.#binding = slot;
  }

  /**
   * Ends what `startBind` began: the socket is bound, or unbound as before where the system refuses.
   *
   * Throws SocketError: `not-in-progress` with no `startBind` before, `address-in-use`, `address-not-bindable`. Never
   * `would-block`: a bind is done at once.
   */
  finishBind(): void {
    const descriptor = this.#live('finishBind');
    const slot = this.#binding;
    if (slot === undefined)
      throw new SocketError('not-in-progress', 'finish-bind: no bind is in progress: call start-bind');
    this.#binding = undefined;
    descriptor.bind(slot);
    this.#bound = true;
  }

  /**
   * The streams of the socket, to anybody or to one peer. Changes the peer of a socket that had another, or none; the bound
   * port stays.
   *
   * Throws SocketError: `invalid-state` where the socket is not bound, `invalid-argument` for an address of another family,
   * an unspecified one, an IPv4 address in IPv6 clothes, or port 0; `access-denied` where no `send` rule covers the address;
   * `remote-unreachable`. Traps where a stream of an earlier call is not yet dropped.
   *
   * WIT: "only the most recently returned pair of streams will be operational. Implementations may trap if the streams
   * returned by a previous invocation haven't been dropped yet before calling `stream` again."
   */
  stream(remote?: IpSocketAddress): [IncomingDatagramStream, OutgoingDatagramStream] {
    // First, since a getter of the address may use the socket; from here on there is the slot alone.
    const slot = remote === undefined || remote === null ? undefined : encodeAddress(remote);
    const descriptor = this.#live('stream');
    if (this.#streams?.some((stream) => !stream.dropped)) {
      throw new Trap('stream(): the streams of an earlier stream() are not dropped: drop both before the next one');
    }
    if (!this.#bound)
      throw new SocketError('invalid-state', 'stream: the socket is not bound: bind it, to port 0 for any');
    if (slot !== undefined) {
      this.#checkPeer(slot);
      this.#remote = undefined;
      descriptor.connect(slot);
      this.#remote = slot;
    } else if (this.#remote !== undefined) {
      descriptor.disconnect();
      this.#remote = undefined;
    }
    const policy = this.#policy;
    const { family } = descriptor;
    const permits = (action: 'send' | 'receive') =>
      policy && ((address: IpSocketAddress) => policy.allows(action, address));
    const onRefused = policy && ((count: number) => (policy.refused += count));
    this.#streams = [
      new IncomingDatagramStream(descriptor, { remote: slot, permits: permits('receive'), onRefused }),
      new OutgoingDatagramStream(
        descriptor,
        { family, remote: slot, permits: permits('send'), ...(policy && { permitted: newSlot() }) },
        this.#writeBehind,
      ),
    ];
    return [...this.#streams];
  }

  /**
   * The bound address, with the port that the system chose where 0 was asked for.
   *
   * WIT: "requires `local-address` to return `invalid-state` when the socket hasn't been bound yet."
   */
  localAddress(): IpSocketAddress {
    const descriptor = this.#live('localAddress');
    if (!this.#bound) throw new SocketError('invalid-state', 'local-address: the socket is not bound: bind it first');
    return decodeAddress(descriptor.localAddress());
  }

  /** The peer of the last `stream()`. WIT: "`invalid-state`: The socket is not streaming to a specific remote address". */
  remoteAddress(): IpSocketAddress {
    this.#live('remoteAddress');
    if (this.#remote !== undefined) return decodeAddress(this.#remote);
    throw new SocketError(
      'invalid-state',
      'remote-address: the socket streams to no one peer: call stream with an address',
    );
  }

  addressFamily(): IpAddressFamily {
    return this.#live('addressFamily').family === 4 ? 'ipv4' : 'ipv6';
  }

  /** The TTL of IPv4, the hop limit of IPv6. */
  unicastHopLimit(): number {
    return this.#live('unicastHopLimit').getOption('unicast-hop-limit', OPTION.hopLimit);
  }

  /** WIT: "If the provided value is 0, an `invalid-argument` error is returned." */
  setUnicastHopLimit(value: number): void {
    const descriptor = this.#live('setUnicastHopLimit');
    if (!(Number.isInteger(value) && value >= 1 && value <= 255)) {
      throw new SocketError('invalid-argument', `set-unicast-hop-limit: a hop limit is 1 to 255, got ${value}`);
    }
    descriptor.setOption('set-unicast-hop-limit', OPTION.hopLimit, value);
  }

  receiveBufferSize(): bigint {
    return this.#bufferSize('receive-buffer-size', OPTION.receiveBuffer);
  }

  setReceiveBufferSize(value: bigint | number): void {
    this.#setBufferSize('set-receive-buffer-size', OPTION.receiveBuffer, value);
  }

  sendBufferSize(): bigint {
    return this.#bufferSize('send-buffer-size', OPTION.sendBuffer);
  }

  setSendBufferSize(value: bigint | number): void {
    this.#setBufferSize('set-send-buffer-size', OPTION.sendBuffer, value);
  }

  /** A pollable that is ready when the socket may send, or a datagram or an error is there. A bind never makes it wait. */
  subscribe(): Pollable {
    const descriptor = this.#live('subscribe');
    const granted = () => {
      this.#live('the pollable');
      return descriptor.events !== 0;
    };
    return new Pollable({ event: { descriptor, interest: READABLE | WRITABLE, granted } });
  }

  /** Drops the socket; streams that live on keep it open. May be called again. */
  [Symbol.dispose](): void {
    if (this.#dropped) return;
    forsake(this.descriptor, READABLE | WRITABLE);
    this.#dropped = true;
    this.descriptor.release();
  }

  #live(method: string): Descriptor {
    if (this.#dropped) throw new Trap(`${method}: the udp-socket was dropped and cannot be used: open another`);
    return this.descriptor;
  }

  #anywhere() {
    return { family: this.descriptor.family, remote: undefined, permits: undefined };
  }

  /** Throws where the socket may not stream to the address. */
  #checkPeer(slot: Slot): void {
    const judged = decodeAddress(slot);
    let refusal = remoteRefusal(slot, 0, this.descriptor.family);
    if (refusal === Refusal.None && this.#policy?.allows('send', judged) === false) refusal = Refusal.Denied;
    if (refusal !== Refusal.None) throw refusalError(refusal, 'stream', judged, this.#anywhere());
  }

  #bufferSize(operation: string, option: number): bigint {
    return BigInt(this.#live(operation).getOption(operation, option) / BUFFER_FACTOR);
  }

  /**
   * WIT: "If the provided value is 0, an `invalid-argument` error is returned. Any other value will never cause an error, but
   * it might be silently clamped and/or rounded."
   */
  #setBufferSize(operation: string, option: number, value: bigint | number): void {
    const descriptor = this.#live(operation);
    if (!(value > 0))
      throw new SocketError('invalid-argument', `${operation}: a size is at least 1 byte, got ${value}`);
    descriptor.setOption(operation, option, Math.min(Math.trunc(Number(value)), INT_MAX));
  }
}
