import { Added, type Arena, freeArena } from '../batch/arena.js';
import type { IncomingBatch } from '../batch/incoming-batch.js';
import { ClosedError, SocketError, Trap } from '../errors.js';
import { newSlot, type Slot } from '../native/layout.js';
import { OPTION, READABLE, WRITABLE } from '../native/native.js';
import { awaitEvent, type Waiter } from '../readiness/readiness.js';
import {
  decodeAddress,
  encodeAddress,
  type IpAddressFamily,
  type IpSocketAddress,
  type SocketAddressLike,
} from '../rules/address.js';
import { type Destination, refusalError } from '../rules/destination.js';
import { Route } from '../rules/route.js';
import type { DatagramQueue } from './datagram-queue.js';
import { type IncomingDatagram, IncomingDatagramStream } from './incoming-datagram-stream.js';
import { OutgoingDatagramStream } from './outgoing-datagram-stream.js';
import { Socket } from './socket.js';
import type { UdpSocketOptions } from './udp-socket.js';

/** Who waits for a datagram. */
export interface Receiver {
  /** A datagram, or an error, may be there: receives; whether the wait is over. */
  serve(): boolean;
  /** The wait has ended without a datagram. */
  fail(error: Error): void;
}

/**
 * `udp-socket` of wasi:sockets/types@0.3: sends and receives one datagram a call, asynchronously; bound at the latest by its
 * first `connect` or `send`, and connected to a peer or to none.
 */
export class AsyncUdpSocket extends Socket {
  readonly #options: UdpSocketOptions;
  #isBound = false;
  #remote: Slot | undefined;
  /** Where datagrams go, by the peer at hand. */
  #destination: Destination;
  #incoming: IncomingDatagramStream;
  #outgoing: OutgoingDatagramStream;
  /** Sends that wait for room, in order, once there was one. */
  #waiting: DatagramQueue | undefined;
  /** Receives that wait, in order: each datagram is the first one's. */
  readonly #receivers: Receiver[] = [];
  #leaveWait: (() => void) | undefined;

  /** @internal Opens a socket of the family. WIT, create: "`not-supported`: The `address-family` is not supported." */
  constructor(family: IpAddressFamily, options: UdpSocketOptions = {}) {
    super('create', family, options);
    this.#options = options;
    this.#destination = this.destinationOf(undefined);
    [this.#incoming, this.#outgoing] = this.#streams(undefined);
  }

  /**
   * Opens a socket.
   *
   * @param family its family.
   * @returns the socket, unbound.
   * @throws SocketError: `not-supported`, or what the system answers.
   */
  static create(family: IpAddressFamily): AsyncUdpSocket {
    return new AsyncUdpSocket(family);
  }

  /**
   * Binds the socket to a local address; port 0 asks for a free one.
   *
   * @param local the address: text such as `0.0.0.0:514`, or an object; port 0 asks for a free port.
   * @throws SocketError: `invalid-argument` for an address of another family, `invalid-state` where the socket is bound,
   *   `access-denied` where no `bind` rule covers the address, `address-in-use`, `address-not-bindable`.
   */
  bind(local: SocketAddressLike): void {
    // First, since a getter of the address may use the socket; from here on there is the slot alone.
    const slot = encodeAddress(local);
    this.live('bind');
    if (this.#isBound)
      throw new SocketError('invalid-state', 'bind: the socket is bound: open another to bind it elsewhere');
    this.#bind('bind', slot);
  }

  #bind(operation: string, slot: Slot): void {
    this.checkLocal(operation, slot);
    this.descriptor.bind(slot);
    this.#isBound = true;
  }

  /** WIT: "If the socket was not already explicitly bound, this function will implicitly bind the socket to a random free port." */
  #bindImplicitly(operation: string): void {
    if (this.#isBound) return;
    const anywhere = newSlot();
    anywhere[0] = this.descriptor.family;
    this.#bind(operation, anywhere);
  }

  /**
   * Makes the address the socket's peer, in place of another one: only datagrams to it and from it pass. The local address follows
   * the path, the port stays. Sends that wait for room, and that were for the former peer, end with `invalid-state`.
   *
   * @param remote the peer's address.
   * @throws SocketError: `invalid-argument` for an address of another family, an unspecified one, an IPv4 address in IPv6 clothes,
   *   or port 0; `access-denied` where no `send` rule covers the address, or no `bind` rule the implicit bind to port 0;
   *   `remote-unreachable`.
   */
  connect(remote: SocketAddressLike): void {
    const slot = encodeAddress(remote);
    const descriptor = this.live('connect');
    this.checkPeer('connect', slot);
    this.#bindImplicitly('connect');
    this.#turnTo(undefined);
    descriptor.connect(slot);
    this.#turnTo(slot);
  }

  /**
   * Lets the socket communicate with anybody again. WIT: "`invalid-state`: The socket is not connected."
   *
   * @throws SocketError: `invalid-state` where there is no peer.
   */
  disconnect(): void {
    const descriptor = this.live('disconnect');
    if (this.#remote === undefined) throw notConnected('disconnect');
    this.#turnTo(undefined);
    descriptor.disconnect();
  }

  /** The streams that belong to a peer: nobody hears of another one's datagrams. */
  #streams(remote: Slot | undefined): [IncomingDatagramStream, OutgoingDatagramStream] {
    return [
      new IncomingDatagramStream(this.descriptor, this.sourcesOf(remote)),
      new OutgoingDatagramStream(this.descriptor, this.#destination, this.#options.writeBehind),
    ];
  }

  #turnTo(remote: Slot | undefined): void {
    const former = [this.#incoming, this.#outgoing];
    this.#waiting = undefined;
    this.#remote = remote;
    this.#destination = this.destinationOf(remote);
    [this.#incoming, this.#outgoing] = this.#streams(remote);
    this.#leave();
    for (const stream of former) stream[Symbol.dispose]();
    this.#awaitDatagrams();
  }

  /**
   * Sends one datagram, whose bytes are copied: resolves once the system has taken it. Waits while the socket has no room; sends
   * leave in the order of their calls. An unbound socket is bound to a free port first.
   *
   * @param data the payload.
   * @param remoteAddress where to; a `Route` says by which way the datagram leaves as well. Default: the peer.
   * @throws (rejects with) SocketError: `invalid-argument` for an address of another family, an unspecified one, port 0, one that
   *   is not the peer of a connected socket, or none where there is no peer; `datagram-too-large`; `access-denied` where no `send`
   *   rule covers the address, or no `bind` rule the implicit bind to port 0; or what the system answers. `connection-refused`
   *   tells of a datagram before: this one was not sent.
   * @throws (rejects with) ClosedError where the socket is closed while it waits; Trap after drop.
   */
  async send(data: Uint8Array, remoteAddress?: SocketAddressLike | Route): Promise<void> {
    const outgoing = this.#outgoing;
    this.live('send');
    const arena = freeArena();
    arena.clear();
    if (arena.add(data, remoteAddress, this.#destination) === Added.Refused)
      throw refusalError(arena.refusal, 'send()', arena.culprit, this.#destination);
    if (this.#outgoing !== outgoing) throw new Trap('send(): an address that is being read connects the socket anew');
    if (this.#mustWait() || this.deliver(arena, arena.payload) === 0) await this.#sendLater(arena, remoteAddress);
  }

  #mustWait(): boolean {
    return this.#waiting !== undefined && this.#waiting.pending > 0;
  }

  /**
   * @internal How many datagrams of the batch were accepted, 0 where the socket has no room. Throws only where the first one met an
   * error. Binds the socket first; what the batch holds keeps the rules of `destination`.
   */
  deliver(arena: Arena, payload: ArrayBuffer): number {
    this.#bindImplicitly('send');
    const untold = this.#waiting?.takeError();
    if (untold !== undefined) throw untold;
    if (this.#mustWait()) return 0;
    return this.#outgoing.deliver(arena, payload);
  }

  /** Has the arena's datagram wait for room. Its address is not read again; a route cannot change. */
  #sendLater(arena: Arena, address: SocketAddressLike | Route | undefined): Promise<void> {
    this.#waiting ??= this.#outgoing.queue({
      maxDatagrams: Number.MAX_SAFE_INTEGER,
      maxBytes: Number.MAX_SAFE_INTEGER,
    });
    const queue = this.#waiting;
    const { data, remoteAddress } = arena.first();
    return new Promise((resolve, reject) => {
      queue.send(data, Route.is(address) ? address : remoteAddress, (error) => {
        if (error === undefined) resolve();
        else reject(error instanceof ClosedError && this.#waiting !== queue ? turnedAway() : error);
      });
    });
  }

  /**
   * Receives one datagram; waits until there is one. Receives that wait are served in the order of their calls.
   *
   * @returns the datagram and its source.
   * @throws (rejects with) SocketError: `invalid-state` where the socket is not bound, `connection-refused` and the like where an
   *   earlier send was refused, which is told once.
   * @throws (rejects with) ClosedError where the socket is closed while it waits; Trap after drop.
   */
  async receive(): Promise<IncomingDatagram> {
    if (this.#receivers.length === 0) {
      const [datagram] = this.#listening().receive(1);
      if (datagram !== undefined) return datagram;
    } else this.#listening();
    return new Promise((resolve, reject) => {
      const serve = () => {
        try {
          const [datagram] = this.#listening().receive(1);
          if (datagram !== undefined) resolve(datagram);
          return datagram !== undefined;
        } catch (error) {
          reject(error);
          return true;
        }
      };
      this.awaitDatagram({ serve, fail: reject });
    });
  }

  /**
   * @internal Receives one datagram into the batch; false where there is none, or others wait for it. Throws as `receive`
   * rejects. `isServed`: for the receiver whose turn it is.
   */
  receiveInto(batch: IncomingBatch, isServed = false): boolean {
    const incoming = this.#listening();
    return (isServed || this.#receivers.length === 0) && incoming.receiveInto(batch, 1) > 0;
  }

  #listening(): IncomingDatagramStream {
    this.live('receive');
    if (!this.#isBound)
      throw new SocketError(
        'invalid-state',
        'receive: the socket is not bound: bind it, to port 0 for any, or send first',
      );
    const untold = this.#waiting?.takeError();
    if (untold !== undefined) throw untold;
    return this.#incoming;
  }

  /** @internal Has the receiver served behind those that wait. The function that is returned takes it away. */
  awaitDatagram(receiver: Receiver): () => void {
    this.#receivers.push(receiver);
    this.#awaitDatagrams();
    return () => {
      const at = this.#receivers.indexOf(receiver);
      if (at >= 0) this.#receivers.splice(at, 1);
      if (this.#receivers.length === 0) this.#leave();
    };
  }

  #leave(): void {
    this.#leaveWait?.();
    this.#leaveWait = undefined;
  }

  #awaitDatagrams(): void {
    if (this.#leaveWait !== undefined || this.#receivers.length === 0) return;
    const waiter: Waiter = {
      wake: () => {
        this.#leaveWait = undefined;
        this.serve();
        if (!this.descriptor.isClosed) this.#awaitDatagrams();
      },
      fail: (error) => {
        this.#leaveWait = undefined;
        for (const receiver of this.#receivers.splice(0)) receiver.fail(error);
      },
    };
    try {
      this.#leaveWait = awaitEvent({ descriptor: this.descriptor, interest: READABLE }, waiter);
    } catch (error) {
      waiter.fail(error as Error);
    }
  }

  /** @internal Serves those who wait for a datagram, in order, as far as there are any. */
  serve(): void {
    // One that is served may take others away, or drop the socket.
    for (let next = this.#receivers[0]; next?.serve(); next = this.#receivers[0])
      if (this.#receivers[0] === next) this.#receivers.shift();
  }

  /** @internal Calls once when the socket may have room. A function that is returned ends that. */
  awaitRoom(waiter: Waiter): () => void {
    return awaitEvent({ descriptor: this.descriptor, interest: WRITABLE }, waiter);
  }

  /** @internal The rules that a datagram must keep. */
  get destination(): Destination {
    this.live('send');
    return this.#destination;
  }

  /** @internal Whether small sends wait for each other: see `createHost`. */
  get writesBehind(): boolean {
    return this.#options.writeBehind !== undefined;
  }

  /**
   * The bound address. WIT: "requires `get-local-address` to return `invalid-state` when the socket hasn't been bound yet."
   *
   * @returns the address, with the port that the system chose.
   * @throws SocketError: `invalid-state` where the socket is not bound.
   */
  getLocalAddress(): IpSocketAddress {
    const descriptor = this.live('getLocalAddress');
    if (!this.#isBound)
      throw new SocketError(
        'invalid-state',
        'get-local-address: the socket is not bound: bind it, connect it, or send',
      );
    return decodeAddress(descriptor.localAddress());
  }

  /**
   * The peer. WIT: "`invalid-state`: The socket is not "connected" to a specific remote address."
   *
   * @returns the address.
   * @throws SocketError: `invalid-state` where there is no peer.
   */
  getRemoteAddress(): IpSocketAddress {
    this.live('getRemoteAddress');
    if (this.#remote === undefined) throw notConnected('get-remote-address');
    return decodeAddress(this.#remote);
  }

  /**
   * The family that the socket was created for. WIT: "Whether this is a IPv4 or IPv6 socket."
   *
   * @returns the family.
   */
  getAddressFamily(): IpAddressFamily {
    return this.live('getAddressFamily').family === 4 ? 'ipv4' : 'ipv6';
  }

  /**
   * The TTL of IPv4, the hop limit of IPv6.
   *
   * @returns how many routers a datagram may pass, 1 to 255.
   */
  getUnicastHopLimit(): number {
    return this.hopLimit('get-unicast-hop-limit');
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
  getReceiveBufferSize(): bigint {
    return this.bufferSize('get-receive-buffer-size', OPTION.receiveBuffer);
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
  getSendBufferSize(): bigint {
    return this.bufferSize('get-send-buffer-size', OPTION.sendBuffer);
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

  /** Closes the socket: what waits rejects with ClosedError; of sends that wait, the system takes what it can at once. May be called again. */
  override [Symbol.dispose](): void {
    this.#incoming[Symbol.dispose]();
    this.#outgoing[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

function notConnected(operation: string): SocketError {
  return new SocketError('invalid-state', `${operation}: the socket has no peer: connect it first`, {
    code: 'ENOTCONN',
  });
}

/** @internal For sends that waited while their peer was changed. */
export function turnedAway(): SocketError {
  return new SocketError(
    'invalid-state',
    'send: the peer was changed while the datagram waited for room: send it again',
  );
}
