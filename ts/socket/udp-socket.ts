import { SocketError, Trap } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import type { Slot } from '../native/layout.js';
import { OPTION, READABLE, WRITABLE } from '../native/native.js';
import { Pollable } from '../readiness/pollable.js';
import {
  decodeAddress,
  encodeAddress,
  type IpAddressFamily,
  type IpSocketAddress,
  type SocketAddressLike,
} from '../rules/address.js';
import { sameAddress } from '../rules/destination.js';
import { IncomingDatagramStream } from './incoming-datagram-stream.js';
import { OutgoingDatagramStream } from './outgoing-datagram-stream.js';
import { Socket, type SocketOptions } from './socket.js';
import type { WriteBehind } from './write-behind.js';

export interface UdpSocketOptions extends SocketOptions {
  /** @internal Whose small sends wait for each other. Default: each leaves at once. */
  writeBehind?: WriteBehind | undefined;
}

/** `udp-socket` of wasi:sockets/udp@0.2: a socket, which is bound, and then streams to anybody or to one peer. */
export class UdpSocket extends Socket {
  readonly #writeBehind: WriteBehind | undefined;
  /** The address of a bind that has started; undefined before and after. */
  #binding: Slot | undefined;
  #bound = false;
  #remote: Slot | undefined;
  /** The streams of the last `stream()`. */
  #streams: readonly [IncomingDatagramStream, OutgoingDatagramStream] | undefined;

  /**
   * @internal Opens a socket of the family.
   *
   * WIT, create-udp-socket: "`not-supported`: The specified `address-family` is not supported", "`new-socket-limit`: The new
   * socket resource could not be created because of a system limit".
   */
  constructor(family: IpAddressFamily, options: UdpSocketOptions = {}) {
    super('create-udp-socket', family, options);
    this.#writeBehind = options.writeBehind;
    if (options.adopted !== undefined) this.#adopt(options.adopted);
  }

  /** Takes in how a socket stands that was opened by others. A socket that is not bound has port 0. */
  #adopt(descriptor: Descriptor): void {
    const local = descriptor.localAddress();
    this.#bound = local[1] !== 0;
    if (this.#bound) this.checkLocal('fd', local);
    this.#remote = descriptor.remoteAddress();
  }

  /** @internal Whether it is bound. */
  get isBound(): boolean {
    return this.#bound;
  }

  /** @internal The peer, if it has one. */
  get peer(): IpSocketAddress | undefined {
    return this.#remote && decodeAddress(this.#remote);
  }

  /**
   * Starts to bind the socket to a local address; port 0 asks for a free one. `finishBind` ends it.
   *
   * @param local the address: text such as `0.0.0.0:514`, or an object; port 0 asks for a free port.
   * @throws SocketError: `invalid-argument` for an address of another family, `invalid-state` where the socket is bound,
   *   `concurrency-conflict` where a bind is in progress, `access-denied` where no `bind` rule covers the address.
   */
  startBind(local: SocketAddressLike): void {
    // First, since a getter of the address may use the socket; from here on there is the slot alone.
    const slot = encodeAddress(local);
    this.live('startBind');
    if (this.#bound)
      throw new SocketError('invalid-state', `start-bind: the socket is bound: open another to bind it elsewhere`);
    if (this.#binding !== undefined) {
      throw new SocketError('concurrency-conflict', 'start-bind: a bind is in progress: call finish-bind');
    }
    this.checkLocal('start-bind', slot);
    this.#binding = slot;
  }

  /**
   * Ends what `startBind` began: the socket is bound, or unbound as before where the system refuses.
   *
   * @throws SocketError: `not-in-progress` with no `startBind` before, `address-in-use`, `address-not-bindable`. Never
   *   `would-block`: a bind is done at once.
   */
  finishBind(): void {
    const descriptor = this.live('finishBind');
    const slot = this.#binding;
    if (slot === undefined)
      throw new SocketError('not-in-progress', 'finish-bind: no bind is in progress: call start-bind');
    this.#binding = undefined;
    descriptor.bind(slot);
    this.#bound = true;
  }

  /**
   * The streams of the socket, to anybody or to one peer. Changes the peer of a socket that had another, or none; the bound port
   * stays.
   *
   * WIT: "only the most recently returned pair of streams will be operational. Implementations may trap if the streams returned by
   * a previous invocation haven't been dropped yet before calling `stream` again."
   *
   * @param remote the peer: only datagrams to it and from it pass. Default: none.
   * @returns what arrives, and what sends.
   * @throws SocketError: `invalid-state` where the socket is not bound, `invalid-argument` for an address of another family, an
   *   unspecified one, an IPv4 address in IPv6 clothes, or port 0; `access-denied` where no `send` rule covers the address;
   *   `remote-unreachable`.
   * @throws Trap where a stream of an earlier call is not yet dropped.
   */
  stream(remote?: SocketAddressLike): [IncomingDatagramStream, OutgoingDatagramStream] {
    // First, since a getter of the address may use the socket; from here on there is the slot alone.
    const slot = remote === undefined || remote === null ? undefined : encodeAddress(remote);
    const descriptor = this.live('stream');
    if (this.#streams?.some((stream) => !stream.closed)) {
      throw new Trap('stream(): the streams of an earlier stream() are not dropped: drop both before the next one');
    }
    if (!this.#bound)
      throw new SocketError('invalid-state', 'stream: the socket is not bound: bind it, to port 0 for any');
    if (slot !== undefined) {
      this.checkPeer('stream', slot);
      // Who connected a socket that was adopted may have left its port to that: dissolving the connection would give it up.
      const former = this.#remote;
      if (this.#streams !== undefined || former === undefined || !sameAddress(former, 0, slot, 0)) {
        this.#remote = undefined;
        descriptor.connect(slot);
      }
      this.#remote = slot;
    } else if (this.#remote !== undefined) {
      descriptor.disconnect();
      this.#remote = undefined;
    }
    this.#streams = [
      new IncomingDatagramStream(descriptor, this.sourcesOf(slot)),
      new OutgoingDatagramStream(descriptor, this.destinationOf(slot), this.#writeBehind),
    ];
    return [...this.#streams];
  }

  /**
   * The bound address, with the port that the system chose where 0 was asked for.
   *
   * WIT: "requires `local-address` to return `invalid-state` when the socket hasn't been bound yet."
   *
   * @returns the address.
   * @throws SocketError: `invalid-state` where the socket is not bound.
   */
  localAddress(): IpSocketAddress {
    const descriptor = this.live('localAddress');
    if (!this.#bound) throw new SocketError('invalid-state', 'local-address: the socket is not bound: bind it first');
    return decodeAddress(descriptor.localAddress());
  }

  /**
   * The peer of the last `stream()`. WIT: "`invalid-state`: The socket is not streaming to a specific remote address".
   *
   * @returns the address.
   * @throws SocketError: `invalid-state` where there is no peer.
   */
  remoteAddress(): IpSocketAddress {
    this.live('remoteAddress');
    if (this.#remote !== undefined) return decodeAddress(this.#remote);
    throw new SocketError(
      'invalid-state',
      'remote-address: the socket streams to no one peer: call stream with an address',
      { code: 'ENOTCONN' },
    );
  }

  /**
   * The family that the socket was created for. WIT: "Whether this is a IPv4 or IPv6 socket."
   *
   * @returns the family.
   */
  addressFamily(): IpAddressFamily {
    return this.live('addressFamily').family === 4 ? 'ipv4' : 'ipv6';
  }

  /**
   * The TTL of IPv4, the hop limit of IPv6.
   *
   * @returns how many routers a datagram may pass, 1 to 255.
   */
  unicastHopLimit(): number {
    return this.hopLimit('unicast-hop-limit');
  }

  /**
   * How many routers a datagram may pass. WIT: "If the provided value is 0, an `invalid-argument` error is returned."
   *
   * @param value the TTL of IPv4, the hop limit of IPv6: 1 to 255.
   * @throws SocketError: `invalid-argument` for another value.
   */
  setUnicastHopLimit(value: number): void {
    this.setHopLimit('set-unicast-hop-limit', value);
  }

  /**
   * Bytes that the system keeps of what has arrived: what could have been asked for. SO_RCVBUF.
   *
   * @returns bytes.
   */
  receiveBufferSize(): bigint {
    return this.bufferSize('receive-buffer-size', OPTION.receiveBuffer);
  }

  /**
   * Asks for a receive buffer. SO_RCVBUF.
   *
   * @param value bytes, from 1 on; the system takes what it likes of it.
   * @throws SocketError: `invalid-argument` for 0.
   */
  setReceiveBufferSize(value: bigint | number): void {
    this.setBufferSize('set-receive-buffer-size', OPTION.receiveBuffer, value);
  }

  /**
   * Bytes that the system keeps of what is to be sent: what could have been asked for. SO_SNDBUF.
   *
   * @returns bytes.
   */
  sendBufferSize(): bigint {
    return this.bufferSize('send-buffer-size', OPTION.sendBuffer);
  }

  /**
   * Asks for a send buffer. SO_SNDBUF.
   *
   * @param value bytes, from 1 on; the system takes what it likes of it.
   * @throws SocketError: `invalid-argument` for 0.
   */
  setSendBufferSize(value: bigint | number): void {
    this.setBufferSize('set-send-buffer-size', OPTION.sendBuffer, value);
  }

  /**
   * A pollable that is ready when the socket may send, or a datagram or an error is there. A bind never makes it wait.
   *
   * @returns a pollable of its own each time.
   */
  subscribe(): Pollable {
    const descriptor = this.live('subscribe');
    const granted = () => {
      this.live('the pollable');
      return descriptor.events !== 0;
    };
    return new Pollable({ event: { descriptor, interest: READABLE | WRITABLE, granted } });
  }
}
