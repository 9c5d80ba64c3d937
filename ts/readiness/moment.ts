/** The most that a timer of Node.js waits, in milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Whole milliseconds until a moment of `process.hrtime.bigint()`, rounded up, and no more than a timer waits; 0 where it has come.
 */
export function millisecondsUntil(moment: bigint): number {
  const left = moment - process.hrtime.bigint();
  return left <= 0n ? 0 : Math.min(Number((left + 999_999n) / 1_000_000n), LONGEST_TIMER_MS);
}
