import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { OutgoingDatagram } from '../arena.js';
import { bufferCost, COUNTS, FREED, RECEIVED, WANTED } from './flow.js';

/** How long nothing may arrive before what is in flight counts as lost, in milliseconds. */
const LOST_AFTER_MS = 1000;

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
  #wake = () => {};

  private constructor(worker: Worker, counts: BigInt64Array, port: number, bufferBytes: number) {
    this.port = port;
    this.#worker = worker;
    this.#counts = counts;
    this.#window = bufferBytes / 2;
    worker.on('message', () => this.#wake());
  }

  static async start(): Promise<Receiver> {
    const counts = new BigInt64Array(new SharedArrayBuffer(COUNTS * BigInt64Array.BYTES_PER_ELEMENT));
    const worker = new Worker(new URL('./receiver-worker.js', import.meta.url), { workerData: counts });
    const [{ port, bufferBytes }] = await once(worker, 'message');
    return new Receiver(worker, counts, port, bufferBytes);
  }

  /** How many datagrams have arrived. */
  get received(): number {
    return Number(Atomics.load(this.#counts, RECEIVED));
  }

  /**
   * How many of the batch, at least one, may be sent now; waits until the receiver has room for them.
   * At most half of the window at once, so that the receiver has work while the sender sends.
   */
  async admit(batch: readonly OutgoingDatagram[]): Promise<number> {
    let cost = 0;
    let count = 0;
    for (const { data } of batch) {
      const next = cost + bufferCost(data.length);
      if (count > 0 && next > this.#window / 2) break;
      cost = next;
      count += 1;
    }
    await this.#untilInFlight(Math.max(0, this.#window - cost));
    this.#admitted += cost;
    return count;
  }

  /** Waits until all that was let go has arrived, or nothing more comes; then what is missing is lost. */
  async settle(): Promise<void> {
    await this.#untilInFlight(0);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  /** Waits until at most so much is in flight, or until nothing has come for a while: then what is missing is lost. */
  async #untilInFlight(most: number): Promise<void> {
    const wanted = this.#admitted - most;
    while (this.#freed < wanted) {
      const before = this.#freed;
      const isTold = await this.#told(wanted);
      if (!isTold && this.#freed === before) {
        this.#admitted = before;
        return;
      }
    }
  }

  /** Waits for the worker's message that FREED may be as wanted; false where none comes in LOST_AFTER_MS. */
  #told(wanted: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, LOST_AFTER_MS, false);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
      Atomics.store(this.#counts, WANTED, BigInt(wanted));
      // What arrived before the worker could see the wish is not told.
      if (this.#freed >= wanted) this.#wake();
    });
  }

  get #freed(): number {
    return Number(Atomics.load(this.#counts, FREED));
  }
}
