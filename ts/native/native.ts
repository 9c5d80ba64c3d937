import { type ErrorCode, type ErrorFacts, nameOf, remedy, SocketError } from '../errors.js';
import { loadBinary } from './binary.js';
import type { Endpoint } from './endpoint.js';

/**
 * The functions of the Rust addon. Results of 0 and above are success, a negative one is the operating system's error
 * number, negated; a malformed argument is a thrown Error. A socket is a positive integer that belongs to its thread.
 */
export interface Native {
  /** Layout of the table, in the order of `LAYOUT`. */
  layout(): number[];
  version(): string;
  /** A nonblocking socket of the family; its handle. */
  open(family: Family): number;
  /** A socket of this thread over the system's descriptor of another thread's socket, and a descriptor of its own. */
  adopt(descriptor: number): number;
  /** A socket of this thread over a descriptor that the process has open, and gives up: see `Descriptor.adopt`. */
  takeOver(descriptor: number): number;
  family(socket: number): Family;
  bind(socket: number, slot: Uint8Array): number;
  /** Connects or reconnects; the bound address survives. */
  connect(socket: number, slot: Uint8Array): number;
  /** Dissolves the connection; the bound address survives. */
  disconnect(socket: number): number;
  /** Writes the bound address into the slot. */
  localAddress(socket: number, slot: Uint8Array): number;
  /** Writes the peer's address into the slot. */
  remoteAddress(socket: number, slot: Uint8Array): number;
  getOption(socket: number, option: number): number;
  setOption(socket: number, option: number, value: number): number;
  /** Joins a multicast group on an interface (0 for the system's choice) or leaves it, of one source, or of any (a slot of zeros). */
  setMulticastAddress(socket: number, slot: Uint8Array): number;
  setMembership(socket: number, join: 0 | 1, interfaceIndex: number, group: Uint8Array, source: Uint8Array): number;
  /** The index of the network interface of that name; 0 where there is none. */
  interfaceIndex(name: string): number;
  close(socket: number): void;
  /** Sends the datagrams of the first `entries` of the table (`addresses` with HAS_RECORDS where each has a record); how many datagrams the kernel accepted, with bits of `LEFT`. */
  send(socket: number, payload: ArrayBuffer, table: ArrayBuffer, entries: number, addresses: number): number;
  /** Gives back an error that a later pass of one list consumed: the next check or send reports it. 0, with bits of `LEFT`. */
  deferError(socket: number, errno: number): number;
  /** Polls once: 1 writable, 0 not, with bits of `LEFT`; a pending error is taken and returned. */
  checkSend(socket: number): number;
  /**
   * Receives at most `max` datagrams into `payload`, and writes their entries and addresses into the table; how many, with
   * bits of `LEFT`.
   */
  receive(socket: number, payload: ArrayBuffer, table: ArrayBuffer, max: number): number;
  /**
   * Takes the oldest report of an error that a datagram met: error number, whether an ICMP message told it, MTU and bytes quoted in
   * four 32-bit numbers; a slot of where it was to go; those bytes. 1, or 0 where there is none.
   */
  takeReport(socket: number, report: Uint8Array): 0 | 1;
  /** Polls `count` items of three numbers: socket, interest, events (written); how many have any. */
  pollSync(list: Int32Array, count: number, timeoutMs: number): number;
  /**
   * Names the functions that hear of watched sockets. `ready` hears of events, or of an error number, negated, with which the
   * system refused to watch; it answers for which of the events somebody waited. When what it set off has run, `wanted` tells
   * for which events somebody waits now. With AGAIN in an answer, `ready` is called once more, with no events.
   */
  onReady(ready: (socket: number, events: number) => number, wanted: (socket: number) => number): void;
  /**
   * Somebody waits for the events, or nobody (0): `ready` hears of them. While somebody waits, the event loop stays alive, unless
   * the interest has QUIET.
   */
  watch(socket: number, interest: number): number;
  /** Has the runtime deal with what was thrown as with an exception that nobody caught; comes back where a handler took it. */
  fatalException(error: unknown): void;
  errorInfo(errno: number): { code: ErrorCode; name: string; message: string };
  features(): Features;
  descriptor(socket: number): number;
  statistics(socket: number): number[];
}

/** An address family as the addon counts it. */
export type Family = 4 | 6;

/** What the addon found on this system: the text of `wasi-udp doctor`. */
export interface Features {
  platform: string;
  backend: string;
  segmentation: boolean;
  receiveCoalescing: boolean;
  poller: string;
  notes: string[];
}

/** Interests and events of a socket, as bits. */
export const READABLE = 1;
export const WRITABLE = 2;
/** Beside an interest: the process may end though somebody waits. */
export const QUIET = 4;
/** In an answer of either: what the event set off goes on in another call of `ready`. */
export const AGAIN = 8;

/** Options of `getOption` and `setOption`, by the numbers of `SocketOption` in `crates/engine/src/options.rs`. */
export const OPTION = {
  hopLimit: 1,
  receiveBuffer: 2,
  sendBuffer: 3,
  segmentation: 4,
  coalescingReceive: 5,
  reuseAddress: 6,
  reusePort: 7,
  broadcast: 8,
  ipv6Only: 9,
  multicastHopLimit: 10,
  multicastLoopback: 11,
  multicastInterface: 12,
  trafficClass: 13,
  dontFragment: 14,
  pathMtu: 15,
  device: 16,
  packetInfo: 17,
  receiveTrafficClass: 18,
  timestamps: 19,
  drops: 20,
  errorReports: 21,
  incomingCpu: 22,
} as const;

const binary = loadBinary<Native>();

/**
 * The addon. This module is the only one that loads it. A copy, since the exports of an addon are a dictionary, where each
 * call would look its function up.
 */
export const native: Native = { ...binary.native };

/** The file that it was loaded from. */
export const binaryPath: string = binary.path;

/** What an error number of the operating system means: the error-code, its text, and what stands beside it. */
export function systemFacts(
  syscall: string,
  errno: number,
  endpoint?: Endpoint,
): { payload: ErrorCode; text: string; facts: ErrorFacts & { code: string } } {
  const { code: payload, name, message } = native.errorInfo(errno);
  // Windows has numbers of its own, which libuv replaces.
  const number = process.platform === 'win32' ? undefined : -errno;
  const code = (number === undefined ? undefined : nameOf(number)) ?? name;
  return {
    payload,
    text: `the system answered ${code} (${message})`,
    facts: { code, errno: number, syscall, ...endpoint },
  };
}

/** The error result for an error number of the operating system, from that call of it, about that address. */
export function systemError(operation: string, syscall: string, errno: number, endpoint?: Endpoint): SocketError {
  const { payload, text, facts } = systemFacts(syscall, errno, endpoint);
  return new SocketError(payload, `${operation}: ${text}${remedy(payload)}`, facts);
}
