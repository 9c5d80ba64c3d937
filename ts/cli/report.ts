import { SocketError } from '../errors.js';
import { BinaryError } from '../native/binary.js';

/** The exit code of wrong usage; of a failure it is 1, of an interrupt that of interrupt.ts. */
export const USAGE_EXIT_CODE = 2;
export const FAILURE_EXIT_CODE = 1;

/** How the URL of a module begins that is its own text, in Base64: in a stack, its name says more. */
export const TEXT_URL = 'data:text/javascript;base64,';
const TEXTS = new RegExp(`${TEXT_URL}[\\w+/=]*`, 'g');

/** Wrong usage: its message is the rule, what was given, and the remedy. */
export class UsageError extends Error {}

/** A failure of something else than this program, such as a guest: its message says what and where. */
export class Failure extends Error {
  /** How many datagrams had been accepted before. */
  accepted = 0n;
}

/** How an error begins that tells of what an option of the same meaning was given. */
const OF_INTERFACE = /^\w+\(\), (device|multicastInterface|interface): /;

/**
 * The error to throw for one that a call threw: a value that is none, such as the name of no interface, is wrong usage; what the
 * system refuses is a failure.
 */
export function asUsage(error: unknown): unknown {
  const isRule = error instanceof SocketError && error.payload === 'invalid-argument' && error.syscall === undefined;
  if (!(error instanceof TypeError || isRule)) return error;
  return new UsageError((error as Error).message.replace(OF_INTERFACE, '--interface: '));
}

/** Writes an error on standard error, in one line where the user can mend it; the exit code. */
export function report(error: unknown): number {
  const isKnown = [UsageError, Failure, BinaryError, SocketError].some((type) => error instanceof type);
  const text = isKnown ? lineOf(error as Error) : error instanceof Error ? error.stack! : String(error);
  process.stderr.write(`wasi-udp: ${text.replace(TEXTS, 'component.js')}\n`);
  return error instanceof UsageError ? USAGE_EXIT_CODE : FAILURE_EXIT_CODE;
}

function lineOf(error: Error): string {
  const { message, accepted = 0n } = error as Error & { accepted?: bigint };
  const before = accepted === 1n ? '1 datagram' : `${accepted} datagrams`;
  const code = error instanceof SocketError ? `${error.payload}: ` : '';
  return `${code}${message}${accepted === 0n ? '' : ` (${before} had been accepted before)`}`;
}
