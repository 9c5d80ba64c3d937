import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

/** How much of a rate may be made up for at once, in milliseconds: timers are not exact. */
const BURST_MS = 50;

/** The longest that a timer waits, in milliseconds. */
const LONGEST_MS = 2 ** 31 - 1;

/** Lets so many datagrams a second go, evenly. */
export class Pacer {
  readonly #perMs: number;
  #credit = 1;
  #updated = performance.now();

  constructor(perSecond: number) {
    this.#perMs = perSecond / 1000;
  }

  /** How many, at least one, may go now; waits until one may. */
  async due(signal: AbortSignal): Promise<number> {
    this.#update();
    while (this.#credit < 1) {
      await sleep(Math.min((1 - this.#credit) / this.#perMs, LONGEST_MS), undefined, { signal });
      this.#update();
    }
    return Math.floor(this.#credit);
  }

  /** So many went. */
  spend(count: number): void {
    this.#credit -= count;
  }

  #update(): void {
    const now = performance.now();
    const earned = (now - this.#updated) * this.#perMs;
    this.#credit = Math.min(this.#credit + earned, Math.max(1, BURST_MS * this.#perMs));
    this.#updated = now;
  }
}
