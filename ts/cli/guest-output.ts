import { writeSync } from 'node:fs';
import { outputFailure } from './output.js';
import { Failure } from './report.js';

/** How long a guest waits for the reader of an output before it tries again, in milliseconds. */
const RETRY_MS = 1;

/**
 * Has what a guest prints written at once, before the guest goes on, as in a process of its own: it may never let the event
 * loop turn, which else would keep all of it, and would not see that its reader has gone. Then `ended` is called, and throws.
 */
export function writeAtOnce(ended: () => never): void {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (const [stream, descriptor] of [
    [process.stdout, 1],
    [process.stderr, 2],
  ] as const) {
    stream.write = (data: string | Uint8Array) => {
      const bytes = typeof data === 'string' ? Buffer.from(data) : data;
      for (let written = 0; written < bytes.length; ) {
        try {
          written += writeSync(descriptor, bytes, written);
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException;
          if (code === 'EAGAIN') Atomics.wait(clock, 0, 0, RETRY_MS);
          // Where standard error fails, nobody can be told.
          else if (descriptor === 2) break;
          else if (code === 'EPIPE') ended();
          else throw new Failure(outputFailure(error as NodeJS.ErrnoException));
        }
      }
      return true;
    };
  }
}
