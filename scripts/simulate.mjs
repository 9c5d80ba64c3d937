/**
 * `npm run simulate`: the package over a simulated kernel and clock, against a plain model of the interface.
 *
 * `--seed N` simulates one seed; `--seeds A..B` several; `--minutes M` as many as there is time for, from the seed on;
 * `--steps N` is how long each is. The exit code is 1 where a rule was broken; the same seed and steps replay it.
 * `--unmend [WORD]` takes mends out of a copy, those of defects with the word in them, and shows that each is missed.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { packages, root, setupOrExit, simulatedAddon, typescript } from './setup.mjs';
import { unmend } from './simulate/unmend.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    steps: { type: 'string', default: '10000' },
    minutes: { type: 'string' },
    unmend: { type: 'boolean' },
  },
});
const steps = Number(values.steps);
const [first, last] = (values.seeds ?? `${values.seed ?? 1}..${values.seed ?? (values.minutes ? 2 ** 31 : 20)}`)
  .split('..')
  .map(Number);
if (![steps, first, last].every(Number.isSafeInteger)) {
  console.error('usage: npm run simulate -- [--seed N | --seeds A..B] [--steps N] [--minutes M]');
  process.exit(2);
}

if (values.unmend) process.exit(unmend(positionals[0]));
await setupOrExit([packages, simulatedAddon, typescript]);
process.env.NAPI_RS_NATIVE_LIBRARY_PATH = path.join(root, simulatedAddon.writes());
const { realTime } = await import('./simulate/clock.mjs');
const { simulate } = await import('./simulate/simulation.mjs');

const started = realTime();
const seconds = () => Number(realTime() - started) / 1e9;
let done = 0;
for (let seed = first; seed <= last; seed++) {
  if (values.minutes !== undefined && seconds() > 60 * Number(values.minutes)) break;
  // Outside of promises, so that the simulation can run their reactions itself.
  const broken = await new Promise((resolve) => setImmediate(() => resolve(simulate(seed, steps))));
  if (broken !== undefined) {
    for (const line of broken.history.slice(-40)) console.log(line.join(' '));
    console.log(broken.broken.stack);
    console.log(`seed ${seed}, step ${broken.step}: ${broken.broken.message}`);
    console.log(`npm run simulate -- --seed ${seed} --steps ${steps}`);
    process.exit(1);
  }
  done += 1;
}
const total = done * steps;
console.log(
  `${done} seeds, ${total} steps in ${seconds().toFixed(1)} s: ${Math.round(total / seconds())} a second; no rule broken`,
);
