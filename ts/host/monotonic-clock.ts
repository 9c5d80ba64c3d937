import { Pollable } from '../readiness/pollable.js';

/** A moment that nobody lives to see: 292 years from the clock's start. */
const NEVER = 2n ** 63n - 1n;

/** `wasi:clocks/monotonic-clock`, with `wrap` making a guest's object of a pollable. */
export function monotonicClock<T>(wrap: (pollable: Pollable) => T) {
  const at = (instant: bigint) => {
    const moment = instant < NEVER ? instant : NEVER;
    return wrap(new Pollable({ readyAt: () => moment }));
  };
  return {
    /** Nanoseconds since some moment. */
    now: () => process.hrtime.bigint(),
    resolution: () => 1n,
    /** A pollable that is ready from that moment on. */
    subscribeInstant: at,
    /** A pollable that is ready after so many nanoseconds. */
    subscribeDuration: (nanoseconds: bigint) => at(process.hrtime.bigint() + nanoseconds),
  };
}
