/** The values of a list in which a value may stand more than once: a guest may name one pollable a thousand times. */
export class Distinct<T> {
  /** Each value once, in the order of their first entries. */
  readonly values: readonly T[];
  /** For each entry the index of its value; none where each value stands once. */
  readonly #indexes: Uint32Array | undefined;

  constructor(list: ArrayLike<T>) {
    const known = new Map<T, number>();
    const indexes = new Uint32Array(list.length);
    for (let entry = 0; entry < list.length; entry++) {
      const value = list[entry]!;
      const index = known.get(value) ?? known.size;
      if (index === known.size) known.set(value, index);
      indexes[entry] = index;
    }
    this.values = [...known.keys()];
    this.#indexes = known.size === list.length ? undefined : indexes;
  }

  /** The entries of the values of those indexes, in the list's order. */
  entries(values: Uint32Array): Uint32Array {
    const indexes = this.#indexes;
    if (indexes === undefined) return values;
    const chosen = new Set(values);
    return Uint32Array.from(indexes.keys()).filter((entry) => chosen.has(indexes[entry]!));
  }
}
