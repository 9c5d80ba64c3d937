/** A function that first does something else; as a method, too. */
export function preceded<A extends unknown[], R>(first: () => void, call: (...values: A) => R): (...values: A) => R {
  return function (this: unknown, ...values: A) {
    first();
    return call.apply(this, values);
  };
}
