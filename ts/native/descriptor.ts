import { SocketError, Trap } from '../errors.js';
import { endpointOf } from './endpoint.js';
import { COUNT, LEFT, newSlot, type Slot, slotBytes } from './layout.js';
import { type Family, native, OPTION, READABLE, systemError, WRITABLE } from './native.js';

/** Closes what JavaScript forgot: a descriptor that was collected with owners left. */
const forgotten = new FinalizationRegistry<number>((socket) => native.close(socket));

/** What is the matter with a descriptor that is no UDP socket, by the error that the system answers. */
const NO_UDP: Record<string, string> = {
  EBADF: 'is not open: pass one that the process has, such as 3 of LISTEN_FDS',
  ENOTSOCK: 'is no socket: pass that of a UDP socket of IPv4 or IPv6',
  EPROTOTYPE: 'is a socket, but none of UDP: pass that of a UDP socket of IPv4 or IPv6',
  EEXIST: 'is one of a socket that is open here already, of wasi-udp or of Node.js: use that one',
  EAFNOSUPPORT: 'is a socket of another family than IPv4 and IPv6: pass that of a UDP socket of these',
};

/** One native socket, shared by the resources that own it; it closes with the last of them. */
export class Descriptor {
  /** The handle of the addon; 0 once closed. */
  #socket: number;
  #owners = 1;
  readonly family: Family;
  /** Whether an IPv6 socket speaks IPv4 as well. */
  dualStack = false;
  /** Whether receives tell more of each datagram than its source. */
  tells = false;
  /** Who takes the reports of errors that datagrams met; nobody, where none were asked for. */
  onReports: (() => void) | undefined;
  /** Whether the process may end though somebody waits for the socket. */
  isQuiet = false;

  /** What the last call left with the socket, as bits of `LEFT`. */
  #left = 0;
  /** Who hears of what a call leaves for those who wait: the pending waits, once there were any. */
  waits: { hear(events: number): void } | undefined;
  /** Who hears of each use of the socket; mostly nobody. */
  #observers: Set<() => void> | undefined;

  /** Opens a socket, or takes over one that the addon has opened, with its maker as the first owner. */
  constructor(family: Family, socket = native.open(family)) {
    if (socket < 0) {
      const error = systemError('create-udp-socket', 'socket', -socket);
      // WIT: "`not-supported`: The specified `address-family` is not supported. (EAFNOSUPPORT)".
      throw error.code === 'EAFNOSUPPORT' ? new SocketError('not-supported', error.message, error) : error;
    }
    this.#socket = socket;
    this.family = family;
    forgotten.register(this, socket, this);
  }

  /**
   * Takes over an open descriptor of the process, which closes with the last owner. Throws SocketError, and leaves the descriptor
   * to its owner, where it is no UDP socket of IPv4 or IPv6.
   */
  static adopt(operation: string, descriptor: number): Descriptor {
    const socket = native.takeOver(descriptor);
    if (socket < 0) {
      const error = systemError(operation, 'open', -socket);
      const remedy = NO_UDP[error.code];
      if (remedy === undefined) throw error;
      throw new SocketError(error.payload, `${operation}: descriptor ${descriptor} ${remedy}`, error);
    }
    const family = native.family(socket);
    const adopted = new Descriptor(family, socket);
    adopted.dualStack = family === 6 && native.getOption(socket, OPTION.ipv6Only) === 0;
    return adopted;
  }

  /** Whether the last owner is gone. */
  get isClosed(): boolean {
    return this.#socket === 0;
  }

  /** The addon's handle. Traps once the last owner is gone, so that a stale handle never crosses. */
  get socket(): number {
    if (this.#socket === 0) trapClosed();
    return this.#socket;
  }

  /** Takes a share. */
  share(): this {
    this.#owners += 1;
    return this;
  }

  /** Gives a share back; the last one closes the socket. */
  release(): void {
    this.#owners -= 1;
    if (this.#owners === 0) {
      const socket = this.#socket;
      this.#socket = 0;
      forgotten.unregister(this);
      native.close(socket);
    }
    this.used();
  }

  /**
   * Takes in what a native call answered: the count, or the error number, negated. What the call left with the socket wakes
   * those who wait for it.
   */
  took(answer: number): number {
    const value = answer < 0 ? -answer : answer;
    this.#left = value & ~COUNT;
    if (this.waits !== undefined && this.events !== 0) this.waits.hear(this.events);
    if (this.#left & LEFT.reports) this.onReports?.();
    this.used();
    return answer < 0 ? -(value & COUNT) : value & COUNT;
  }

  /** The events that are there whatever the kernel says: of datagrams and errors that calls have left with the socket. */
  get events(): number {
    if (this.#left & LEFT.error) return READABLE | WRITABLE;
    return this.#left & LEFT.datagrams ? READABLE : 0;
  }

  /** Whether the last call was a receive, and took all that the kernel had. */
  get isDrained(): boolean {
    return (this.#left & LEFT.drained) !== 0;
  }

  /** Tells the observers that the socket was used, so that it may be ready, or ready no longer. */
  used(): void {
    if (this.#observers !== undefined) for (const observer of this.#observers) observer();
  }

  /** Has `observer` hear of each use, until the function that is returned is called. */
  observe(observer: () => void): () => void {
    this.#observers ??= new Set();
    this.#observers.add(observer);
    return () => this.#observers?.delete(observer);
  }

  /** The bound address, from the system. */
  localAddress(): Slot {
    const slot = newSlot();
    this.#check('local-address', 'getsockname', native.localAddress(this.socket, slotBytes(slot)));
    return slot;
  }

  /** The peer's address, from the system; none where it has no peer. */
  remoteAddress(): Slot | undefined {
    const slot = newSlot();
    return native.remoteAddress(this.socket, slotBytes(slot)) < 0 ? undefined : slot;
  }

  bind(slot: Slot): void {
    const result = native.bind(this.socket, slotBytes(slot));
    if (result < 0) throw systemError('bind', 'bind', -result, endpointOf(slot));
  }

  connect(slot: Slot): void {
    this.#leftBehind();
    this.#checkConnect('connect', native.connect(this.socket, slotBytes(slot)), slot);
  }

  /** Dissolves the connection. */
  disconnect(): void {
    this.#leftBehind();
    this.#checkConnect('disconnect', native.disconnect(this.socket));
  }

  /**
   * udp.wit, stream: "`address-in-use`: Tried to perform an implicit bind, but there were no ephemeral ports available.
   * (EADDRINUSE, EADDRNOTAVAIL on Linux, EAGAIN on BSD)".
   */
  #checkConnect(operation: string, result: number, slot?: Slot): void {
    if (result >= 0) return;
    const error = systemError(operation, 'connect', -result, slot && endpointOf(slot));
    throw error.payload === 'would-block' ? new SocketError('address-in-use', error.message, error) : error;
  }

  /** Another peer, or none: errors of the former one are nobody's. */
  #leftBehind(): void {
    this.#left &= LEFT.datagrams;
  }

  getOption(operation: string, option: number): number {
    return this.#check(operation, 'getsockopt', native.getOption(this.socket, option));
  }

  setOption(operation: string, option: number, value: number): void {
    this.#check(operation, 'setsockopt', native.setOption(this.socket, option, value));
  }

  /** Passes a native result on, an error number as the error result of `operation`. */
  #check(operation: string, syscall: string, result: number): number {
    if (result < 0) throw systemError(operation, syscall, -result);
    return result;
  }
}

function trapClosed(): never {
  throw new Trap('the socket is closed: a dropped resource cannot be used, open another');
}
