import type { WaitableSet } from './subtasks.js';

/** A subtask of jco's that ends when we say so. */
export class Bell {
  /** The set that it is in, or 0. */
  set = 0;
  ring = () => {};
  readonly promise: Promise<never>;
  #leave: (() => void) | undefined;

  constructor() {
    this.promise = new Promise((_, reject) => {
      // An error result takes nothing of the guest's memory.
      this.ring = () => reject(Object.assign(new Error('rung'), { payload: { tag: 'timeout' } }));
    });
    this.promise.catch(() => {});
  }

  /** Rings when the set has an event. */
  arm(set: WaitableSet): void {
    this.disarm();
    this.#leave = set.await(this.ring);
  }

  /** Whether somebody waits for it. */
  get isArmed(): boolean {
    return this.#leave !== undefined;
  }

  /** From now on it does not ring. */
  disarm(): void {
    this.#leave?.();
    this.#leave = undefined;
  }
}
