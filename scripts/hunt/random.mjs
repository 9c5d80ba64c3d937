/** Whole numbers that follow from a seed (xorshift32). */
export class Random {
  #state;

  constructor(seed) {
    // Neighbouring seeds are to have nothing in common; 0 would stay 0.
    this.#state = Math.imul(seed + 1, 0x9e3779b1) || 1;
    for (let i = 0; i < 8; i++) this.below(2);
  }

  /** A number from 0 on, less than `limit`. */
  below(limit) {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }

  /** Whether the one of so many chances came. */
  oneIn(chances) {
    return this.below(chances) === 0;
  }

  pick(list) {
    return list[this.below(list.length)];
  }
}
