import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';

/** How long a loop may go on before other work of the event loop gets its turn, in milliseconds. */
const TURN_MS = 8;

/** Lets the event loop turn now and then in a loop that hardly ever waits. */
export class Turn {
  #ends = performance.now() + TURN_MS;
  #giving: Promise<void> | undefined;

  /** Whether this loop has had its turn. */
  get isOver(): boolean {
    return performance.now() >= this.#ends;
  }

  /** The loop has waited, and others had their turn meanwhile. */
  begin(): void {
    this.#ends = performance.now() + TURN_MS;
  }

  /** Gives other work its turn where this loop has had its own. Who asks meanwhile goes on behind who asked before. */
  async give(): Promise<void> {
    if (this.#giving === undefined && this.isOver) {
      this.#giving = setImmediate().then(() => {
        this.#giving = undefined;
        this.begin();
      });
    }
    if (this.#giving !== undefined) await this.#giving;
  }
}
