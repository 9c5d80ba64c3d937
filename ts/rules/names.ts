import { show } from './address.js';

/**
 * Throws TypeError for options that are no object, and for an option that is none of `known`: it names the nearest that is one.
 * `aliases` are names of other interfaces, in small letters, and what they are called here.
 */
export function checkNames(
  where: string,
  options: object,
  known: readonly string[],
  aliases: Readonly<Record<string, string>> = {},
): void {
  if (typeof options !== 'object' || options === null)
    throw new TypeError(
      `${where} takes options, an object with ${known.join(', ')}, got ${show(options)}: leave it out`,
    );
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const alias = Object.hasOwn(aliases, name.toLowerCase()) ? aliases[name.toLowerCase()] : undefined;
    const nearest = alias ?? nearestOf(name, known);
    throw new TypeError(`${where} has no option ${show(name)}: did you mean ${nearest}? It has ${known.join(', ')}`);
  }
}

/** The name that begins as this one does, where there is one; else that with the least changes of one letter. */
function nearestOf(name: string, known: readonly string[]): string {
  const text = name.slice(0, 40).toLowerCase();
  const distances = known.map((other) => {
    const word = other.toLowerCase();
    const isBeginning = text.length > 2 && (word.startsWith(text) || text.startsWith(word));
    return isBeginning ? 0 : distance(text, word);
  });
  return known[distances.indexOf(Math.min(...distances))]!;
}

/** How many letters are to be added, left out or exchanged (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const exchanged = row[j - 1]! + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(exchanged, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
