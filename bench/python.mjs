/**
 * CPython's `socket.sendto` in a loop, as a guest of `wasi-udp run` and natively, in slices that take turns: nanoseconds a
 * datagram by the clock, and on Linux by the processor's time of the thread, which other work on the machine changes less.
 * `node bench/python.mjs [--bytes 64] [--rounds 20] [--gro]`, in Node.js 22 or newer; `--gro` gives the receiver UDP_GRO.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pythonGuests } from '../scripts/python.mjs';
import { Child, openReceiver } from './processes.mjs';

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '20' },
    gro: { type: 'boolean', default: false },
  },
});
const WARM_UP = 30_000;
const SLICE = 20_000;
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const run = [process.execPath, path('../dist/cli/main.js'), 'run'];

execFileSync('cargo', ['build', '--release', '--quiet', '--package', 'wasi-udp-peers'], { stdio: 'inherit' });
const { sender } = pythonGuests();
const { receiver, to } = await openReceiver({ family: 4, gro: values.gro, destinations: 1, link: 'lo' });
await receiver.ask('unread');
const guest = (...options) => [...run, sender, '--allow-all', ...options, '--', to, values.bytes];
const commands = { native: ['python3', path('guests/sender.py'), to, values.bytes], exact: guest() };
const { stdout: help } = spawnSync(run[0], [...run.slice(1), '--help'], { encoding: 'utf8' });
if (help.includes('--write-behind')) commands['write-behind'] = guest('--write-behind');

/** Nanoseconds of the processor that a process's first thread has taken, where the system tells. */
function processorTime({ pid }) {
  const file = `/proc/${pid}/schedstat`;
  return fs.existsSync(file) ? Number(fs.readFileSync(file, 'utf8').split(' ')[0]) : Number.NaN;
}

const children = {};
const clock = {};
const processor = {};
try {
  for (const [name, command] of Object.entries(commands)) {
    children[name] = new Child(command);
    console.log(`${name}: CPython ${await children[name].line()}`);
    await children[name].ask(WARM_UP);
    clock[name] = [];
    processor[name] = [];
  }
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, child] of Object.entries(children)) {
      const before = processorTime(child);
      clock[name].push((await child.ask(SLICE)) / SLICE);
      processor[name].push((processorTime(child) - before) / SLICE);
    }
  }
} finally {
  for (const child of Object.values(children)) child.end();
  receiver.end();
}

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
const columns = (figure, of, name) => ({
  [figure]: Math.round(median(of[name])),
  [`${figure}, least`]: Math.round(Math.min(...of[name])),
  [`${figure}, x native`]: Number(median(of[name].map((value, round) => value / of.native[round])).toFixed(2)),
});
console.log(`nanoseconds a sendto, ${values.bytes} bytes${values.gro ? ', receiver with GRO' : ''}; medians of slices`);
console.table(
  Object.fromEntries(
    Object.keys(children).map((name) => [
      name,
      { ...columns('clock', clock, name), ...columns('processor', processor, name) },
    ]),
  ),
);
