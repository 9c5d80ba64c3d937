import { show } from './address.js';

/** One more than the longest array. */
const LENGTHS = 2 ** 32;

/**
 * The length of a list that a caller gave, for the one time that it is read: a Proxy of an array may tell another one each time,
 * or none that an array has. Throws TypeError where `list` is no array of a whole number of items.
 *
 * `rule` says what the call takes, `remedy` what to give it.
 */
export function lengthOf(list: readonly unknown[], rule: string, remedy: string): number {
  if (!Array.isArray(list)) throw new TypeError(`${rule}, got ${show(list)}: ${remedy}`);
  const { length } = list;
  if (Number.isInteger(length) && length >= 0 && length < LENGTHS) return length;
  throw new TypeError(`${rule}, got one of length ${show(length)}: ${remedy}`);
}
