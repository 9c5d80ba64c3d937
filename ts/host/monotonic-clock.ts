import { setTimeout } from 'node:timers/promises';
import { millisecondsUntil } from '../readiness/moment.js';
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

/** What `wasi:clocks/monotonic-clock` of 0.3 has beside `now`; `waits` is called before each wait. */
export function asyncMonotonicClock(waits: () => void) {
  const until = async (when: bigint): Promise<void> => {
    waits();
    for (let left = millisecondsUntil(when); left > 0; left = millisecondsUntil(when)) await setTimeout(left);
  };
  return {
    getResolution: () => 1n,
    /** Resolves when the clock has reached that moment. */
    waitUntil: until,
    /** Resolves after so many nanoseconds. */
    waitFor: (howLong: bigint) => until(process.hrtime.bigint() + howLong),
  };
}
