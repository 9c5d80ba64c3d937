/** Rows of measurements that take the median of all windows: one that met what else the machine does may be too high or too low. */
export class Rows {
  #values = {};

  /** Adds what one window gave somebody, in the row of that name. */
  add(row, who, value) {
    this.#values[row] ??= {};
    this.#values[row][who] ??= [];
    this.#values[row][who].push(value);
  }

  /** The medians, by row and who. */
  medians() {
    const ofEach = (of, take) => Object.fromEntries(Object.entries(of).map(([key, value]) => [key, take(value)]));
    return ofEach(this.#values, (row) => ofEach(row, median));
  }
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}
