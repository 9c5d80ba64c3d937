/**
 * A clock that stands still, in place of the process's: what waits for a moment, or for the event loop, waits for a turn of
 * the simulation. To be imported before the package.
 */
import { syncBuiltinESMExports } from 'node:module';
import process from 'node:process';
import timersPromises from 'node:timers/promises';

/** The real time in nanoseconds, for whoever measures. */
export const realTime = process.hrtime.bigint;

/** Milliseconds since the simulation began. */
let now = 0;
let lastTimer = 0;
const timers = new Map();
let immediates = [];

process.hrtime.bigint = () => BigInt(now) * 1_000_000n;
Object.defineProperty(performance, 'now', { value: () => now });
globalThis.setTimeout = (run, milliseconds = 1) => {
  lastTimer += 1;
  timers.set(lastTimer, { at: now + Math.max(1, milliseconds), run });
  return lastTimer;
};
globalThis.clearTimeout = (timer) => void timers.delete(timer);
timersPromises.setImmediate = (value) => new Promise((resolve) => immediates.push(() => resolve(value)));
syncBuiltinESMExports();

/** Lets time go by. */
export function advanceClock(milliseconds) {
  now += milliseconds;
}

/** Runs the timers that are due. */
export function runTimers() {
  for (const [timer, { at, run }] of timers) {
    if (at > now || !timers.delete(timer)) continue;
    run();
  }
}

/** Runs what waits for the event loop's next turn. */
export function runImmediates() {
  const due = immediates;
  immediates = [];
  for (const run of due) run();
}

/** Runs promise reactions until there are none. Not to be called from one. */
export const drain = process._tickCallback;

/** Forgets what a simulation left. */
export function resetClock() {
  now = 0;
  timers.clear();
  immediates = [];
}
