/**
 * A clock that stands still, in place of the process's: what waits for a moment, or for the event loop, waits for a turn of
 * the simulation. To be imported before the package.
 */
import { syncBuiltinESMExports } from 'node:module';
import process from 'node:process';
import timers from 'node:timers';
import timersPromises from 'node:timers/promises';

/** The real time in nanoseconds, for whoever measures. */
export const realTime = process.hrtime.bigint;

/** Milliseconds since the simulation began. */
let now = 0;
/** What is to run, each with its moment; in the order that it was asked for. */
let timeouts = new Set();
let immediates = new Set();

/** Something to run later, as Node.js hands it out. */
class Later {
  constructor(run, at) {
    this.run = run;
    this.at = at;
  }
  ref() {
    return this;
  }
  unref() {
    return this;
  }
}

function add(list, run, at) {
  const later = new Later(run, at);
  list.add(later);
  return later;
}

process.hrtime.bigint = () => BigInt(now) * 1_000_000n;
Object.defineProperty(performance, 'now', { value: () => now });
timers.setTimeout = (run, milliseconds = 1) => add(timeouts, run, now + Math.max(1, milliseconds));
timers.clearTimeout = (later) => void timeouts.delete(later);
timers.setImmediate = (run) => add(immediates, run, now);
timers.clearImmediate = (later) => {
  if (later !== undefined) later.run = () => {};
};
timersPromises.setTimeout = (milliseconds) => new Promise((resolve) => timers.setTimeout(resolve, milliseconds));
timersPromises.setImmediate = (value) => new Promise((resolve) => timers.setImmediate(() => resolve(value)));
globalThis.setTimeout = timers.setTimeout;
globalThis.clearTimeout = timers.clearTimeout;
syncBuiltinESMExports();

/** Lets time go by. */
export function advanceClock(milliseconds) {
  now += milliseconds;
}

/** Runs the timers that are due. */
export function runTimers() {
  for (const later of [...timeouts].filter(({ at }) => at <= now)) if (timeouts.delete(later)) later.run();
}

/** Runs what waits for the event loop's next turn. */
export function runImmediates() {
  const due = immediates;
  immediates = new Set();
  for (const later of due) {
    // One may clear another.
    if (due.delete(later)) later.run();
    drain();
  }
}

/** Runs promise reactions until there are none. Not to be called from one. */
export const drain = process._tickCallback;

/** Forgets what a simulation left. */
export function resetClock() {
  now = 0;
  timeouts = new Set();
  immediates = new Set();
}
