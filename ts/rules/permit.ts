import { Trap } from '../errors.js';

/** The permit where no check-send has granted one. */
const NONE = -1;

/**
 * What `check-send` grants and `send` uses up.
 *
 * WIT: "Each call to `send` must be permitted by a preceding `check-send`. Implementations must trap if either `check-send`
 * was not called or `datagrams` contains more items than `check-send` permitted."
 */
export class Permit {
  #count = NONE;

  grant(count: number): void {
    this.#count = count;
  }

  revoke(): void {
    this.#count = NONE;
  }

  /** Uses the permit up for `count` datagrams of a call to `method`. Traps, and keeps it, where that is more than granted. */
  use(method: string, count: number): void {
    if (!(count <= this.#count)) this.#trap(method, count);
    this.#count = NONE;
  }

  #trap(method: string, count: number): never {
    const granted = this.#count;
    throw new Trap(
      granted === NONE
        ? `${method}() got ${count} datagrams with no checkSend() before: call checkSend() before each ${method}()`
        : `${method}() got ${count} datagrams, checkSend() permitted ${granted}: call it again and send no more than it returns`,
    );
  }
}
