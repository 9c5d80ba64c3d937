/** Numbers that look random, and are the same again for the same seed: mulberry32. */
export class Random {
  #state;

  constructor(seed) {
    this.#state = seed | 0;
  }

  /** 32 bits. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** A whole number below `limit`. */
  below(limit) {
    return this.next() % limit;
  }

  /** A whole number from `least` to `most`. */
  from(least, most) {
    return least + (this.next() % (most - least + 1));
  }

  /** Whether what happens once in so many times happens. */
  once(times) {
    return this.next() % times === 0;
  }

  /** One of a list. */
  of(list) {
    return list[this.next() % list.length];
  }
}
