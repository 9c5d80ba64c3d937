import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { OutgoingDatagram } from '../batch/arena.js';
import { bufferCost, COUNTS, FREED, RECEIVED, WANTED } from './flow.js';
import { Failure } from './report.js';

/**
 * A receiver in a worker, and the knowledge of what it has received. No more is let go than its buffer surely holds, so
 * nothing need be dropped.
 */
export class Receiver {
  readonly port: number;
  readonly #worker: Worker;
  readonly #counts: BigInt64Array;
  /** The buffer cost that may be in flight: half of the buffer, since Linux gives back what was read in quarters. */
  readonly #window: number;
  /** The buffer cost of all that was let go. */
  #admitted = 0;

  private constructor(worker: Worker, counts: BigInt64Array, port: number, bufferBytes: number) {
    this.port = port;
    this.#worker = worker;
    this.#counts = counts;
    this.#window = bufferBytes / 2;
  }

  /** Rejects with Failure where the system has no socket for it. */
  static async start(): Promise<Receiver> {
    const counts = new BigInt64Array(new SharedArrayBuffer(COUNTS * BigInt64Array.BYTES_PER_ELEMENT));
    const worker = new Worker(new URL('./receiver-worker.js', import.meta.url), { workerData: counts });
    const [{ port, bufferBytes }] = await once(worker, 'message').catch((error: Error) => {
      throw new Failure(`no receiver of our own can be opened: ${error.message}`);
    });
    return new Receiver(worker, counts, port, bufferBytes);
  }

  /** How many datagrams have arrived. */
  get received(): number {
    return Number(Atomics.load(this.#counts, RECEIVED));
  }

  /** How many of the batch, at least one, may be sent now; waits until the receiver has room for them. */
  async admit(batch: readonly OutgoingDatagram[]): Promise<number> {
    let cost = 0;
    let count = 0;
    for (const { data } of batch) {
      const next = cost + bufferCost(data.length);
      if (count > 0 && next > this.#window) break;
      cost = next;
      count += 1;
    }
    if (this.#admitted - this.#freed + cost > this.#window) await this.settle();
    this.#admitted += cost;
    return count;
  }

  /** Waits until all that was let go has arrived, or nothing more comes for a while: then what is missing is lost. */
  async settle(): Promise<void> {
    if (this.#freed >= this.#admitted) return;
    Atomics.store(this.#counts, WANTED, BigInt(this.#admitted));
    Atomics.notify(this.#counts, WANTED);
    await once(this.#worker, 'message');
    this.#admitted = this.#freed;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  get #freed(): number {
    return Number(Atomics.load(this.#counts, FREED));
  }
}
