import { once } from 'node:events';
import { FAILURE_EXIT_CODE } from './report.js';

/** How long standard output has, after an interrupt, to take what it was given, in milliseconds. */
const GRACE_MS = 200;

const closed = new AbortController();

/** Whether standard output has not taken the last write: Bun tells it by that write's result, and by no length. */
let isBehind = false;

/** Aborts when standard output takes no more: its reader has gone, which is no error, or it failed, which was told. */
export const outputClosed: AbortSignal = closed.signal;

/**
 * Looks after both outputs. A reader that has heard enough, such as head(1), is no error: EPIPE of write(2). Any other
 * failure of standard output is told in one line, and is exit code 1. Where standard error fails, nobody can be told.
 */
export function guardOutputs(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (outputClosed.aborted) return;
    closed.abort();
    if (error.code === 'EPIPE') return;
    tell(`wasi-udp: ${outputFailure(error)}`);
    process.on('exit', (code) => {
      if (code === 0) process.exitCode = FAILURE_EXIT_CODE;
    });
  });
  process.stdout.on('drain', () => {
    isBehind = false;
  });
  process.stderr.on('error', () => {});
}

/** What to tell of an error of standard output. */
export function outputFailure({ code, message }: NodeJS.ErrnoException): string {
  return `standard output cannot be written (${code ?? message}): what it had not taken is lost`;
}

/** Writes to standard output, and does not wait for it; false where it is slower. */
export function write(text: string): boolean {
  if (outputClosed.aborted) return true;
  isBehind = !process.stdout.write(text);
  return !isBehind;
}

/** Writes to standard output; waits while it is slower, until the signal aborts or it is closed. */
export async function print(text: string, signal: AbortSignal): Promise<void> {
  if (write(text) || signal.aborted) return;
  await once(process.stdout, 'drain', { signal }).catch(() => {});
}

/** Waits until standard output has taken everything or is closed: true; false where it has not, a while after the signal. */
export async function flushed(signal: AbortSignal): Promise<boolean> {
  const isTaken = () => outputClosed.aborted || (!isBehind && process.stdout.writableLength === 0);
  if (isTaken()) return true;
  return await new Promise<boolean>((resolve) => {
    const look = () => {
      if (isTaken()) resolve(true);
    };
    process.stdout.write('', look);
    process.stdout.on('drain', look);
    outputClosed.addEventListener('abort', look);
    const soon = () => setTimeout(resolve, GRACE_MS, false);
    if (signal.aborted) soon();
    else signal.addEventListener('abort', soon);
  });
}

/** Writes a line to standard error. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}
