import { constants } from 'node:os';
import util from 'node:util';

/** The error-codes of wasi:sockets/network@0.2, in the order and spelling of the WIT. */
export const ERROR_CODES = [
  'unknown',
  'access-denied',
  'not-supported',
  'invalid-argument',
  'out-of-memory',
  'timeout',
  'concurrency-conflict',
  'not-in-progress',
  'would-block',
  'invalid-state',
  'new-socket-limit',
  'address-not-bindable',
  'address-in-use',
  'remote-unreachable',
  'connection-refused',
  'connection-reset',
  'connection-aborted',
  'datagram-too-large',
  'name-unresolvable',
  'temporary-resolver-failure',
  'permanent-resolver-failure',
] as const;

/** An error-code of wasi:sockets/network@0.2. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** The cases of the variant error-code of wasi:sockets/types@0.3, in the order and spelling of the WIT. */
export const ERROR_CASES = [
  'access-denied',
  'not-supported',
  'invalid-argument',
  'out-of-memory',
  'timeout',
  'invalid-state',
  'address-not-bindable',
  'address-in-use',
  'remote-unreachable',
  'connection-refused',
  'connection-broken',
  'connection-reset',
  'connection-aborted',
  'datagram-too-large',
  'other',
] as const;

/** A case of the error-code of wasi:sockets/types@0.3. */
export type ErrorCase = (typeof ERROR_CASES)[number];

/**
 * The case of 0.3 for an error: its own code, where 0.3 has it. "`connection-broken`: ... POSIX equivalent: EPIPE", which 0.2 does
 * not know; `other` is "A catch-all for errors not captured by the existing variants".
 */
export function caseOf({ payload, code }: SocketError): ErrorCase {
  if (code === 'EPIPE') return 'connection-broken';
  return (ERROR_CASES as readonly string[]).includes(payload) ? (payload as ErrorCase) : 'other';
}

/**
 * The system's name for each error-code, where no rule has one of its own: the first that network.wit and types.wit give as its
 * "POSIX equivalent", spelled as Node.js does; of names, what node:dns has.
 */
const NAMES: Record<ErrorCode, string> = {
  unknown: 'UNKNOWN',
  'access-denied': 'EACCES',
  'not-supported': 'ENOTSUP',
  'invalid-argument': 'EINVAL',
  'out-of-memory': 'ENOMEM',
  timeout: 'ETIMEDOUT',
  'concurrency-conflict': 'EALREADY',
  'not-in-progress': 'EINVAL',
  'would-block': 'EAGAIN',
  'invalid-state': 'EINVAL',
  'new-socket-limit': 'EMFILE',
  'address-not-bindable': 'EADDRNOTAVAIL',
  'address-in-use': 'EADDRINUSE',
  'remote-unreachable': 'EHOSTUNREACH',
  'connection-refused': 'ECONNREFUSED',
  'connection-reset': 'ECONNRESET',
  'connection-aborted': 'ECONNABORTED',
  'datagram-too-large': 'EMSGSIZE',
  'name-unresolvable': 'ENOTFOUND',
  'temporary-resolver-failure': 'EAI_AGAIN',
  'permanent-resolver-failure': 'EAI_FAIL',
};

/** Node.js's own names of error numbers, which on Windows are libuv's; by number, and by name. */
const byNumber: ReadonlyMap<number, readonly [name: string, message: string]> = util.getSystemErrorMap?.() ?? new Map();
const byName = new Map([...byNumber].map(([number, [name]]) => [name, number]));

/** The number that Node.js has for a name of the system, which it negates on POSIX; undefined where the platform has none. */
export function numberOf(name: string): number | undefined {
  const number = byName.get(name);
  if (number !== undefined || process.platform === 'win32') return number;
  const { [name]: own } = constants.errno as Record<string, number>;
  return own === undefined ? undefined : -own;
}

/** The name that Node.js has for such a number, if it has one. */
export function nameOf(number: number): string | undefined {
  return byNumber.get(number)?.[0];
}

/** What Node.js has beside the message of a system's error. What is not known is absent. */
export interface ErrorFacts {
  /** The system's name of the error. Default: that of the error-code. */
  readonly code?: string | undefined;
  /** Node.js's number for it. Default: that of the name, where the platform has one. */
  readonly errno?: number | undefined;
  /** The call that the system refused. */
  readonly syscall?: string | undefined;
  /** The host of the address that was concerned. */
  readonly address?: string | undefined;
  /** The port of that address, 0 to 65535. */
  readonly port?: number | undefined;
}

/**
 * An error result of the interface: what a guest sees as `err(payload)`, and what Node.js's own errors of the system have.
 *
 * jco turns a thrown value with an own `payload` into the err case of the function's result.
 */
export class SocketError extends Error {
  /** The error-code of the WIT. */
  readonly payload: ErrorCode;
  /**
   * The system's name, such as `ECONNREFUSED`; of a rule of the interface the one that the WIT gives beside it, such as
   * `EDESTADDRREQ`; of a name that was looked up node:dns's, such as `ENOTFOUND`.
   */
  readonly code: string;
  /** The number of `code` as `util.getSystemErrorName` takes it, where the platform has one. */
  declare readonly errno?: number;
  /** The call that the system refused, such as `bind` or `send`; absent where a rule did, before the system was asked. */
  declare readonly syscall?: string;
  /** The host that was concerned: of the first datagram that was refused, of the peer, or the one to bind to. */
  declare readonly address?: string;
  /** The port beside `address`. */
  declare readonly port?: number;
  /** How many datagrams had been accepted before the error: set by `sendAll`. */
  declare accepted?: bigint;

  /**
   * @param payload the error-code of the WIT.
   * @param message what is wrong, and the remedy.
   * @param facts what Node.js has beside the message. Default: what follows from the error-code.
   */
  constructor(payload: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message);
    const { code = NAMES[payload], errno = numberOf(code), syscall, address, port } = facts;
    this.payload = payload;
    this.code = code;
    if (errno !== undefined) this.errno = errno;
    if (syscall !== undefined) this.syscall = syscall;
    if (address !== undefined) this.address = address;
    if (port !== undefined) this.port = port;
  }
}
SocketError.prototype.name = 'SocketError';

/** What waited for a socket, a stream or a queue that was closed meanwhile. */
export class ClosedError extends Error {
  /** As Node.js's own: "An operation was attempted on an already closed socket". */
  readonly code = 'ERR_SOCKET_CLOSED';
  /** How many datagrams had been accepted before: set by `sendAll`. */
  declare accepted?: bigint;
}
ClosedError.prototype.name = 'ClosedError';

/** `WebAssembly.RuntimeError`, by which jco knows a trap; typed plainly, since not every consumer has the DOM's types. */
const RuntimeError = (globalThis as unknown as { WebAssembly: { RuntimeError: ErrorConstructor } }).WebAssembly
  .RuntimeError;

/** A broken contract, not a result: it has no `payload`, so jco traps the guest that caused it. */
export class Trap extends RuntimeError {}
Trap.prototype.name = 'Trap';

/** The rejection of a wait or a loop that its AbortSignal ended; `cause` is the signal's reason. */
export class AbortError extends Error {
  /** As of Node.js's own errors of an AbortSignal. */
  readonly code = 'ABORT_ERR';
  /** How many datagrams had been accepted before the abort: set by `sendAll`. */
  declare accepted?: bigint;

  /** @param signal the signal that aborted. */
  constructor(signal: AbortSignal) {
    super('the operation was aborted', { cause: signal.reason });
  }
}
AbortError.prototype.name = 'AbortError';

/** What a guest meets where TypeScript has the error: a wait for what was dropped traps. */
export function asTrap(error: unknown): unknown {
  return error instanceof ClosedError ? new Trap(error.message, { cause: error }) : error;
}

/** What to do about an error of the operating system; the end of its message. */
const REMEDIES: Partial<Record<ErrorCode, string>> = {
  'access-denied': 'the system forbids this address (a firewall, a prohibited route, broadcast or a privileged port)',
  'address-in-use': 'another socket is bound there: choose another port, or port 0 for a free one',
  'address-not-bindable': 'bind to an address of this machine, or to the unspecified address',
  'connection-refused': 'no socket listens at the remote address: start the receiver, or send to another',
  'datagram-too-large': 'send smaller datagrams',
  'new-socket-limit': 'close sockets, or raise the limit of open files',
  'out-of-memory': 'the system has no memory for it now: try again later',
  'remote-unreachable': 'there is no route to the remote address: check the address and the network',
};

/** The remedy of `code` as the end of a message, or nothing. */
export function remedy(code: ErrorCode): string {
  const text = REMEDIES[code];
  return text === undefined ? '' : `: ${text}`;
}
