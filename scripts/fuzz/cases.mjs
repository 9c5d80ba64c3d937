// What the fuzzers in JavaScript share: numbers from a seed, and a loop over seeded cases.
import { parseArgs } from 'node:util';

/** Numbers that a seed decides: the same ones on every machine (xorshift of 32 bits, begun by a multiplication). */
export class Random {
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = Math.imul(seed, 0x9e37_79b1) ^ (seed / 2 ** 32) || 0x2545_f491;
    for (let i = 0; i < 8; i++) this.bits();
  }

  /** 32 bits. */
  bits() {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  /** An integer from 0 to below `bound`. */
  below(bound) {
    return Math.floor((this.bits() / 2 ** 32) * bound);
  }

  /** Whether something of one chance in `n` happens. */
  oneIn(n) {
    return this.below(n) === 0;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** An unsigned BigInt of so many bits. */
  big(bits) {
    let value = 0n;
    for (let i = 0; i < bits; i += 32) value = (value << 32n) | BigInt(this.bits());
    return BigInt.asUintN(bits, value);
  }
}

/**
 * Runs cases until the time is over, each from a seed of its own: the first has the seed that the command line names, the next
 * ones count up. So `--seed N` begins with the very case that failed. Exit code 1, and the case's seed, where one throws.
 *
 * @param {(random: Random) => unknown} one what a case does; a promise is waited for
 */
export async function runCases(name, one) {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '10' }, seed: { type: 'string' } },
  });
  const first = values.seed === undefined ? Date.now() : Number(values.seed);
  const end = performance.now() + Number(values.seconds) * 1000;
  let seed = first;
  do {
    try {
      await one(new Random(seed));
    } catch (error) {
      console.error(error);
      console.log(`${name}: FAILED at seed ${seed}`);
      process.exit(1);
    }
    seed += 1;
  } while (performance.now() < end);
  console.log(`${name}: ${seed - first} cases from seed ${first} on, clean`);
}
