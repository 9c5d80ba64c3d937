import { performance } from 'node:perf_hooks';
import { WRITABLE } from '../native/native.js';
import { Pollable } from '../readiness/pollable.js';
import type { DatagramQueue } from './datagram-queue.js';

/** The longest list that waits for others; a longer one is a batch of its own. */
export const SMALL_LIST = 32;

/** How long the oldest datagram may wait until a call sees to it, in milliseconds. */
const MOST_MS = 1;

/**
 * The small sends of one guest, which are counted as sent and leave together: the queues of its streams that hold something.
 *
 * WIT, send: "returns how many messages were actually sent (or queued for sending)".
 */
export class WriteBehind {
  /** Queues that held something at their last send. */
  readonly #queues = new Set<DatagramQueue>();
  /** When the oldest datagram came, by `performance.now()`. */
  #since = 0;
  /** Waits of the guest that nobody tells of: while there are any, each send leaves at once. */
  unheard = 0;

  /** A queue took in so many datagrams. */
  took(queue: DatagramQueue, count: number): void {
    const now = performance.now();
    if (!this.#queues.has(queue)) this.#queues.add(queue);
    if (queue.pending <= count && this.#queues.size === 1) this.#since = now;
    else if (now - this.#since >= MOST_MS) this.leave();
  }

  /** Sends all that waits, as far as the system takes it. */
  leave(): void {
    if (this.#queues.size === 0) return;
    for (const queue of this.#queues) if (queue.leave()) this.#queues.delete(queue);
  }

  /** Sends what waits where the oldest has waited for long enough. */
  look(): void {
    if (this.#queues.size > 0 && performance.now() - this.#since >= MOST_MS) this.leave();
  }

  /** What is to be waited for, beside what the guest waits for, until all has left. */
  get obstacles(): Pollable[] {
    return [...this.#queues].filter(({ pending }) => pending > 0).map((queue) => queue.obstacle());
  }

  /**
   * The guest asks for pollables, or waits for them: what waits leaves first, unless an outgoing stream of which is known that
   * it may send answers at once.
   */
  beforePoll(list: readonly object[]): void {
    if (this.#queues.size === 0) return;
    if (list.every((one) => one instanceof Pollable) && isAnswered(list)) this.look();
    else this.leave();
  }

  /** Resolves when all that waits is sent or refused. */
  async flush(): Promise<void> {
    await Promise.all([...this.#queues].map((queue) => queue.emptied()));
  }
}

/** Whether outgoing streams answer a poll, and all else in it is clocks. */
function isAnswered(list: readonly Pollable[]): boolean {
  const events = Pollable.sources(list).filter(({ event }) => event !== undefined);
  return (
    events.length > 0 &&
    events.every(({ event, readyAt }) => event!.interest === WRITABLE && readyAt === undefined && event!.granted())
  );
}
