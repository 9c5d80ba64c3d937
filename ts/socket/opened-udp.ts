import { setTimeout } from 'node:timers/promises';
import { ClosedError } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { native, OPTION } from '../native/native.js';
import { keepAlive } from '../readiness/readiness.js';
import type { IpSocketAddress } from '../rules/address.js';
import type { IncomingDatagramStream } from './incoming-datagram-stream.js';
import { leavePort } from './leave-port.js';
import { type MembershipOptions, setMembership } from './multicast.js';
import type { OutgoingDatagramStream } from './outgoing-datagram-stream.js';
import { type ChangingUdpOptions, getOption, optionError, setOption } from './udp-options.js';
import type { UdpSocket } from './udp-socket.js';

/** What each option takes, whether or not it is given. */
type Value<K extends keyof ChangingUdpOptions> = NonNullable<ChangingUdpOptions[K]>;

/** How long a socket that leaves its port is left alone between two looks whether all is received, in milliseconds. */
const LOOK_MS = 1;

/**
 * An open UDP socket with its streams, and its options by the names that `openUdp` has for them, which also says what they mean.
 * Options are asked of the system each time.
 *
 * An option that the system refuses throws SocketError: `not-supported` where the system has none such, `invalid-argument`,
 * `access-denied`. A value that is none throws TypeError. All of it traps once the socket is closed.
 */
export class OpenUdp implements Disposable {
  /** The socket as `wasi:sockets` has it, bound already. */
  readonly socket: UdpSocket;
  /** What arrives: iterate it, or call `receive`. */
  readonly incoming: IncomingDatagramStream;
  /** What sends: `send` of lists, `queue()` of single datagrams, `writer()` of bytes. */
  readonly outgoing: OutgoingDatagramStream;
  /** The bound address, with the port that the system chose. */
  readonly localAddress: IpSocketAddress;
  #multicastInterface: number;

  /** @internal Takes the resources over. */
  constructor(
    socket: UdpSocket,
    [incoming, outgoing]: readonly [IncomingDatagramStream, OutgoingDatagramStream],
    multicastInterface: number,
  ) {
    this.socket = socket;
    this.incoming = incoming;
    this.outgoing = outgoing;
    this.localAddress = socket.localAddress();
    this.#multicastInterface = multicastInterface;
  }

  get #descriptor(): Descriptor {
    return this.socket.descriptor;
  }

  /** Whether others may bind the address too. SO_REUSEADDR. */
  get reuseAddress(): boolean {
    return getOption(this.#descriptor, 'reuseAddress') as boolean;
  }

  /** Whether others that say so too may bind the port. SO_REUSEPORT. */
  get reusePort(): boolean {
    return getOption(this.#descriptor, 'reusePort') as boolean;
  }

  /** False for an IPv4 socket. */
  get ipv6Only(): boolean {
    return getOption(this.#descriptor, 'ipv6Only') as boolean;
  }

  /** Whether the socket may send to a broadcast address. SO_BROADCAST. */
  get broadcast(): boolean {
    return getOption(this.#descriptor, 'broadcast') as boolean;
  }

  set broadcast(value: Value<'broadcast'>) {
    setOption(this.#descriptor, 'broadcast', value);
  }

  /** Routers that a unicast may pass, 1 to 255. IP_TTL, IPV6_UNICAST_HOPS. */
  get hopLimit(): number {
    return getOption(this.#descriptor, 'hopLimit') as number;
  }

  set hopLimit(value: Value<'hopLimit'>) {
    setOption(this.#descriptor, 'hopLimit', value);
  }

  /** Routers that a multicast may pass, 0 to 255. IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS. */
  get multicastHopLimit(): number {
    return getOption(this.#descriptor, 'multicastHopLimit') as number;
  }

  set multicastHopLimit(value: Value<'multicastHopLimit'>) {
    setOption(this.#descriptor, 'multicastHopLimit', value);
  }

  /** Whether this machine hears the multicasts that the socket sends. IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP. */
  get multicastLoopback(): boolean {
    return getOption(this.#descriptor, 'multicastLoopback') as boolean;
  }

  set multicastLoopback(value: Value<'multicastLoopback'>) {
    setOption(this.#descriptor, 'multicastLoopback', value);
  }

  /** The index of what was set last, since the system does not tell it of IPv4; 0 for the system's choice. */
  get multicastInterface(): number {
    return this.#multicastInterface;
  }

  set multicastInterface(value: Value<'multicastInterface'>) {
    this.#multicastInterface = setOption(this.#descriptor, 'multicastInterface', value);
  }

  /** The traffic class of what is sent, 0 to 255. IP_TOS, IPV6_TCLASS. */
  get trafficClass(): number {
    return getOption(this.#descriptor, 'trafficClass') as number;
  }

  set trafficClass(value: Value<'trafficClass'>) {
    setOption(this.#descriptor, 'trafficClass', value);
  }

  /** What becomes of datagrams that exceed the MTU of their path. IP_MTU_DISCOVER, IPV6_MTU_DISCOVER. */
  get dontFragment(): boolean | 'probe' {
    return getOption(this.#descriptor, 'dontFragment') as boolean | 'probe';
  }

  set dontFragment(value: Value<'dontFragment'>) {
    setOption(this.#descriptor, 'dontFragment', value);
  }

  /** Whether received datagrams tell where they were sent to, and by which interface they came. IP_PKTINFO, IPV6_RECVPKTINFO. */
  get packetInfo(): boolean {
    return getOption(this.#descriptor, 'packetInfo') as boolean;
  }

  set packetInfo(value: Value<'packetInfo'>) {
    setOption(this.#descriptor, 'packetInfo', value);
  }

  /** Whether received datagrams tell their traffic class. IP_RECVTOS, IPV6_RECVTCLASS. */
  get receiveTrafficClass(): boolean {
    return getOption(this.#descriptor, 'receiveTrafficClass') as boolean;
  }

  set receiveTrafficClass(value: Value<'receiveTrafficClass'>) {
    setOption(this.#descriptor, 'receiveTrafficClass', value);
  }

  /** Whether received datagrams tell when the kernel had them. SO_TIMESTAMPNS. */
  get timestamps(): boolean {
    return getOption(this.#descriptor, 'timestamps') as boolean;
  }

  set timestamps(value: Value<'timestamps'>) {
    setOption(this.#descriptor, 'timestamps', value);
  }

  /**
   * Packets for the socket that the kernel has dropped since it was opened, mostly because its receive buffer was full; what the
   * kernel coalesced counts once. Linux (the count of SO_RXQ_OVFL, asked for by SO_MEMINFO, so that it is up to date).
   *
   * Throws SocketError `not-supported` elsewhere.
   */
  get drops(): number {
    const result = native.getOption(this.#descriptor.socket, OPTION.drops);
    if (result < 0) throw optionError('drops', 'SO_MEMINFO', 'getsockopt', -result);
    return result;
  }

  /** Bytes, as the system made them. */
  get sendBufferSize(): number {
    return getOption(this.#descriptor, 'sendBufferSize') as number;
  }

  set sendBufferSize(value: Value<'sendBufferSize'>) {
    setOption(this.#descriptor, 'sendBufferSize', value);
  }

  /** Bytes, as the system made them. */
  get receiveBufferSize(): number {
    return getOption(this.#descriptor, 'receiveBufferSize') as number;
  }

  set receiveBufferSize(value: Value<'receiveBufferSize'>) {
    setOption(this.#descriptor, 'receiveBufferSize', value);
  }

  /**
   * Bytes of the largest IP packet that reaches the peer unfragmented, as the system knows it by now: headers included, which
   * leaves 28 bytes less for data over IPv4, 48 over IPv6. IP_MTU, IPV6_MTU.
   *
   * Throws SocketError `invalid-state` where the socket has no remote address; `not-supported` on macOS.
   */
  get pathMtu(): number {
    const result = native.getOption(this.#descriptor.socket, OPTION.pathMtu);
    if (result < 0) throw optionError('pathMtu', 'IP_MTU, IPV6_MTU', 'getsockopt', -result);
    return result;
  }

  /**
   * Joins a multicast group: the socket hears what is sent to the group and its own port. A group is joined for each interface and
   * each source by itself. MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP (RFC 3678).
   *
   * @param group its address, such as '224.0.0.251' or 'ff02::fb'.
   * @param options the interface, and the source, where only one is to be heard.
   * @throws SocketError: `invalid-argument` for what is no group of the socket's family, or no interface; `address-in-use` where it
   *   has joined already; or by the system's error number.
   */
  joinGroup(group: string, options: MembershipOptions = {}): void {
    setMembership('joinGroup', this.#descriptor, group, options);
  }

  /**
   * Leaves a group, by the same options with which it was joined.
   *
   * @param group its address.
   * @param options the interface, and the source, where only one is to be heard.
   * @throws SocketError: `address-not-bindable` where it has not joined; as `joinGroup` else.
   */
  leaveGroup(group: string, options: MembershipOptions = {}): void {
    setMembership('leaveGroup', this.#descriptor, group, options);
  }

  /**
   * Takes the socket out of its port: what comes from now on goes to the other sockets of the port (`reusePort`), or to nobody.
   * Resolves when all that had come is received, by whoever receives from `incoming`; it may be answered meanwhile. A `close()`
   * behind it, and behind that of the queue that answers, loses nothing. See docs/cores.md.
   *
   * Linux 5.4 or newer, where the socket is connected to itself: sockets that are connected are passed over
   * (`reuseport_select_sock` of net/core/sock_reuseport.c).
   *
   * @throws (rejects with) SocketError: `not-supported` elsewhere, and for a socket of the unspecified address without
   *   `packetInfo`, whose answers would have lost their source; `invalid-state` where it has a remote address.
   * @throws (rejects with) ClosedError where it is closed meanwhile.
   */
  async retire(): Promise<void> {
    leavePort(this.#descriptor, this.outgoing.isConnected);
    const pending = this.incoming.subscribe();
    // What was on its way to the socket when it left is there at once: twice none is none.
    for (let looks = 0; looks < 2; ) {
      await setTimeout(LOOK_MS);
      if (this.incoming.closed) throw new ClosedError('retire(): the socket was closed before all was received');
      looks = pending.ready() ? 0 : looks + 1;
    }
  }

  /**
   * Lets the process end though somebody waits for the socket.
   *
   * @returns the same object.
   */
  unref(): this {
    keepAlive(this.#descriptor, false);
    return this;
  }

  /**
   * Has waits for the socket keep the process alive, as they do at first.
   *
   * @returns the same object.
   */
  ref(): this {
    keepAlive(this.#descriptor, true);
    return this;
  }

  /**
   * Closes the socket and its streams: whoever waits for them hears of ClosedError, and iterations of `incoming` end. Of what queues
   * hold, the system takes what it can at once. May be called again.
   */
  close(): void {
    this[Symbol.dispose]();
  }

  /** As `close`, for `using`. */
  [Symbol.dispose](): void {
    for (const resource of [this.incoming, this.outgoing, this.socket]) resource[Symbol.dispose]();
  }
}
