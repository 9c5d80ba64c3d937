/**
 * As hunt.mjs, for guests of WASI 0.3: tasks of a few core modules send, receive, cancel, join, poll and wait on sets that they
 * share, in an order that follows from a seed. Each datagram that was not cancelled must arrive once, in the order of the sends and
 * of the receives, and every task must go on.
 *
 *     node scripts/hunt-async.mjs [--seed N] [--steps N] [--send-buffer BYTES] [--write-behind]
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { AsyncRound } from './hunt/async-round.mjs';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    steps: { type: 'string' },
    'send-buffer': { type: 'string' },
    'write-behind': { type: 'boolean' },
  },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
const steps = Number(values.steps ?? 1_000_000);
const sendBuffer = values['send-buffer'] === undefined ? undefined : Number(values['send-buffer']);

/** Steps of one round, and how long it may take, in milliseconds: what never ends is told. */
const ROUND = 2000;
const LONGEST_MS = 30_000;

const began = performance.now();
let done = 0;
for (let number = seed; done < steps; number++) {
  const round = new AsyncRound(number, sendBuffer, values['write-behind'] ?? false);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the round goes on after ${LONGEST_MS} ms`)), LONGEST_MS);
  });
  try {
    await Promise.race([round.run(ROUND), late]);
  } catch (error) {
    for (const [guest, what, detail] of round.trace) console.error(`guest ${guest}: ${what} ${detail}`);
    console.error(error.stack);
    console.error(`\nFAILED. Again: node scripts/hunt-async.mjs --seed ${number} --steps ${ROUND}`);
    process.exit(1);
  }
  clearTimeout(timer);
  done += ROUND;
}
console.log(`${done} steps from seed ${seed} in ${((performance.now() - began) / 1000).toFixed(1)} s: nothing found`);
