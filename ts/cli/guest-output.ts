import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
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

/** How long an output of 0.3 must be silent, once the guest has ended, to count as written: timers in a row, and milliseconds of each. */
const SILENT_TICKS = 3;
const TICK_MS = 5;

/** The end of a stream of bytes that jco gives to the host. */
interface StreamReader {
  read(options: { count: number; rejectLength?: number }): Promise<{ value: Uint8Array; done: boolean }>;
}

/** A read of no bytes: jco answers it when the guest writes, and the write waits for a read that takes bytes. */
const READ_OF_NOTHING = { count: 0, rejectLength: 2 ** 31 - 1 };
const READ = { count: 64 * 1024 };

/**
 * Standard output and error of WASI 0.3: what a guest gives to its streams is written in order, and before its write returns.
 * `failed` is told what the writing throws, and ends the guest.
 */
export class GuestOutputs {
  readonly #failed: (error: unknown) => void;
  /** How many streams have not ended, and how many chunks were written. */
  #open = 0;
  #written = 0;

  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** The interface `wasi:cli/stdout` or `wasi:cli/stderr` over an output. */
  of(output: NodeJS.WriteStream) {
    return {
      writeViaStream: async (reader: StreamReader): Promise<{ tag: 'ok' } | { tag: 'err'; val: 'io' }> => {
        this.#open += 1;
        try {
          for (;;) {
            // Without it, a guest's writes return while the bytes lie in a read that is not full. A jco that has none refuses it.
            await reader.read(READ_OF_NOTHING).catch(() => {});
            const { value, done } = await reader.read(READ);
            if (done) return { tag: 'ok' };
            this.#write(output, value);
          }
        } catch {
          return { tag: 'err', val: 'io' };
        } finally {
          this.#open -= 1;
        }
      },
    };
  }

  #write(output: NodeJS.WriteStream, chunk: Uint8Array): void {
    this.#written += 1;
    try {
      output.write(chunk);
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  /** Resolves when what the guest gave before it ended is written: it need not have closed its streams, or waited for them. */
  async written(): Promise<void> {
    for (let silent = 0, before = this.#written; this.#open > 0 && silent < SILENT_TICKS; silent++) {
      await sleep(TICK_MS);
      if (this.#written !== before) silent = -1;
      before = this.#written;
    }
  }
}
