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
export function caseOf({ code, errno }: SocketError): ErrorCase {
  if (errno === 'EPIPE') return 'connection-broken';
  return (ERROR_CASES as readonly string[]).includes(code) ? (code as ErrorCase) : 'other';
}

/**
 * An error result of the interface: what a guest sees as `err(code)`.
 *
 * jco turns a thrown value with an own `payload` into the err case of the function's result.
 */
export class SocketError extends Error {
  /** The WIT error-code. */
  readonly payload: ErrorCode;
  /** The same error-code, under the name that Node.js users look for. */
  readonly code: ErrorCode;
  /** The operating system's name of the error, such as `ECONNREFUSED`, where the error came from there. */
  declare readonly errno?: string;
  /** How many datagrams had been accepted before the error: set by `sendAll`. */
  declare accepted?: bigint;

  constructor(code: ErrorCode, message: string, errno?: string) {
    super(message);
    this.payload = code;
    this.code = code;
    if (errno !== undefined) this.errno = errno;
  }
}
SocketError.prototype.name = 'SocketError';

/** `WebAssembly.RuntimeError`, by which jco knows a trap; typed plainly, since not every consumer has the DOM's types. */
const RuntimeError = (globalThis as unknown as { WebAssembly: { RuntimeError: ErrorConstructor } }).WebAssembly
  .RuntimeError;

/** A broken contract, not a result: it has no `payload`, so jco traps the guest that caused it. */
export class Trap extends RuntimeError {}
Trap.prototype.name = 'Trap';

/** The rejection of a wait or a loop that its AbortSignal ended; `cause` is the signal's reason. */
export class AbortError extends Error {
  readonly code = 'ABORT_ERR';
  /** How many datagrams had been accepted before the abort: set by `sendAll`. */
  declare accepted?: bigint;

  constructor(signal: AbortSignal) {
    super('the operation was aborted', { cause: signal.reason });
  }
}
AbortError.prototype.name = 'AbortError';

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
