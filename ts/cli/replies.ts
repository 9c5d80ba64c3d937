import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { IncomingBatch } from '../batch/incoming-batch.js';
import { AbortError, SocketError } from '../errors.js';
import { Turn } from '../readiness/turn.js';
import type { IncomingDatagramStream } from '../socket/incoming-datagram-stream.js';
import { print } from './output.js';

/** What comes back to a sender: printed as it comes. */
export class Replies {
  count = 0;
  readonly #incoming: IncomingDatagramStream;
  readonly #text: (batch: IncomingBatch) => string;
  readonly #onError: (error: SocketError) => void;
  #latest = 0;

  /** `text` makes lines of a batch; `onError` hears what the target's answers have left on the socket. */
  constructor(
    incoming: IncomingDatagramStream,
    text: (batch: IncomingBatch) => string,
    onError: (error: SocketError) => void,
  ) {
    this.#incoming = incoming;
    this.#text = text;
    this.#onError = onError;
  }

  /** Receives and prints until the signal ends it. */
  async read(signal: AbortSignal): Promise<void> {
    const batch = new IncomingBatch();
    const turn = new Turn();
    const readable = this.#incoming.subscribe();
    while (!signal.aborted) {
      if (this.#receive(batch) === 0) await readable.wait({ signal }).catch(ignoreAbort);
      else await print(this.#text(batch), signal);
      await turn.give();
    }
  }

  /** Resolves when nothing has come for so many milliseconds, or the signal ends it. */
  async silence(ms: number, signal: AbortSignal): Promise<void> {
    this.#latest = performance.now();
    for (let left = ms; left > 0 && !signal.aborted; left = this.#latest + ms - performance.now()) {
      await sleep(left, undefined, { signal }).catch(() => {});
    }
  }

  #receive(batch: IncomingBatch): number {
    try {
      const received = this.#incoming.receiveInto(batch);
      if (received > 0) this.#latest = performance.now();
      this.count += received;
      return received;
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      this.#onError(error);
      return 0;
    }
  }
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof AbortError)) throw error;
}
