/**
 * `npm run bench -- [--quick] [--only TEXT...] [--memory] [--json]`: builds what it needs, measures every case, prints tables,
 * and writes bench/results/. Progress goes to standard error.
 *
 *     --quick          what matters most, in two minutes
 *     --only TEXT...   the cases whose name contains one of the texts, such as echo, 'one at a time' or veth; writes no results
 *     --memory         ten million datagrams instead: heap and resident memory on the way
 *     --json           the report as JSON in place of tables
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { guests } from '../scripts/guests.mjs';
import { runtime } from '../scripts/runtimes.mjs';
import { requireRust, root, setupOrExit } from '../scripts/setup.mjs';
import { ALL, LIMITS, QUICK, TARGETS } from './cases.mjs';
import { measureCalls, measureEcho } from './echo.mjs';
import { closeVeth, openVeth } from './processes.mjs';
import { measureReceive } from './receive.mjs';
import { measureIdle, measureSend } from './send.mjs';
import { measureSink } from './sink.mjs';
import {
  asyncTable,
  coresTable,
  echoTable,
  guestReceiveTable,
  guestTable,
  memoryTable,
  receiveTable,
  sendTable,
  singleTable,
  targetTable,
} from './table.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    memory: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const only = options.only && [...options.only, ...positionals];
/**
 * How a case is measured: `generations` of processes; `warmUp` milliseconds of all of them at once, which do not count, since
 * JavaScript is compiled meanwhile, and what runs once a batch only after some hundred of them; `rounds` of turns, of
 * `milliseconds` each; or, where the load and not who bears it sets the pace, `windows` of turns, of `window` milliseconds.
 */
const SLICES = options.quick
  ? { generations: 1, warmUp: 800, rounds: 6, milliseconds: 25, windows: 3, window: 500 }
  : { generations: 2, warmUp: 1200, rounds: 5, milliseconds: 30, windows: 4, window: 1000 };
const MEASURES = {
  send: measureSend,
  receive: measureReceive,
  echo: measureEcho,
  calls: measureCalls,
  idle: measureIdle,
  sink: measureSink,
};
const results = fileURLToPath(new URL('results/', import.meta.url));

const report = await run();
if (options.json) console.log(JSON.stringify(report, null, 2));
else
  console.log(
    [
      ...[echoTable, coresTable, singleTable, sendTable, receiveTable, guestTable, guestReceiveTable, asyncTable],
      ...[targetTable, memoryTable],
    ]
      .map((table) => table(report))
      .filter(Boolean)
      .join('\n\n'),
  );
if (only === undefined && !options.memory) write(options.quick ? 'quick' : 'full');
process.exit();

async function run() {
  if (process.platform !== 'linux') {
    console.error(`npm run bench measures Linux's system calls, this is ${process.platform}: run it there`);
    process.exit(1);
  }
  await setupOrExit();
  requireRust();
  execFileSync('cargo', ['build', '--release', '--quiet', '--package', 'wasi-udp-peers'], {
    cwd: root,
    stdio: 'inherit',
  });
  const withMemory = options.memory || (!options.quick && only === undefined);
  const { measured, failures } = await runCases(options.memory ? [] : chosen());
  const targets = TARGETS.filter(({ case: name, ours, peer }) => measured[name]?.[ours] && measured[name][peer]);
  return {
    machine: machine(),
    slices: SLICES,
    unit: 'nanoseconds a datagram or a query, the least of all slices or the median of all windows; or system calls',
    measured,
    failures,
    targets: targets.map((target) => {
      const ratio = measured[target.case][target.peer] / measured[target.case][target.ours];
      return { ...target, ratio, met: ratio >= target.least };
    }),
    limits: LIMITS.filter(({ case: name, ours }) => measured[name]?.[ours]).map((limit) => {
      const value = measured[limit.case][limit.ours];
      return { ...limit, value, met: value <= limit.most };
    }),
    memory: withMemory ? runMemory() : undefined,
  };
}

function chosen() {
  const cases = (options.quick ? QUICK : ALL).filter(({ name }) => only?.some((text) => name.includes(text)) ?? true);
  if (cases.length > 0) return cases;
  console.error(`no case's name contains "${only.join('" or "')}": they are like "${ALL[0].name}"`);
  process.exit(2);
}

async function runCases(cases) {
  const measured = {};
  const failures = {};
  const started = performance.now();
  const hasVeth = cases.some(({ link }) => link === 'veth') && openVeth();
  if (hasVeth) {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
    process.once('exit', closeVeth);
  }
  const overVeth = cases.filter(({ link }) => link === 'veth' && !hasVeth);
  if (overVeth.length > 0) console.error(`skipped ${overVeth.length} cases over veth: they need root and iproute2`);
  const skipped = [
    ...overVeth,
    ...(await without('guests', cases.filter(isGuest), guests)),
    ...(await without('guests of 0.3', cases.filter(isAsyncGuest), () => runtime('node24'))),
  ];
  const kept = cases.filter((case_) => !skipped.includes(case_));
  for (const [i, case_] of kept.entries()) {
    const left = i === 0 ? '' : `, ${Math.ceil(((performance.now() - started) / 1000 / i) * (kept.length - i))} s left`;
    progress(`${i + 1}/${kept.length} ${case_.name}${left}`);
    const result = await MEASURES[case_.kind](case_, SLICES);
    Object.assign(measured, result.rows);
    if (Object.keys(result.failures).length > 0) failures[case_.name] = result.failures;
  }
  if (kept.length > 0) progress(`${kept.length} cases in ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
  return { measured, failures };
}

function isAsyncGuest({ name }) {
  return name.startsWith('async guest');
}

function isGuest(case_) {
  return case_.name.startsWith('guest') || isAsyncGuest(case_);
}

/** Has made what these cases need. Returns those that are to be skipped, since it cannot be: all, or none. */
async function without(what, cases, make) {
  if (cases.length === 0) return [];
  try {
    await make();
    return [];
  } catch ({ message }) {
    console.error(`skipped ${cases.length} cases of ${what}: ${message}`);
    return cases;
  }
}

function progress(text) {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}` : `${text.trimEnd()}\n`);
}

function runMemory() {
  progress('sending ten million datagrams\n');
  const script = fileURLToPath(new URL('memory.mjs', import.meta.url));
  return JSON.parse(execFileSync(process.execPath, ['--expose-gc', script], { cwd: root }).toString());
}

function machine() {
  const git = (...args) => spawnSync('git', args, { cwd: root }).stdout?.toString().trim() ?? '';
  return {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    kernel: release(),
    node: process.version,
    commit: `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '--', 'ts', 'crates') ? ' and changes' : ''}`,
    date: new Date().toISOString(),
  };
}

function write(name) {
  mkdirSync(results, { recursive: true });
  writeFileSync(`${results}${name}.json`, `${JSON.stringify(report, null, 2)}\n`);
  execFileSync(process.execPath, [fileURLToPath(new URL('./documents.mjs', import.meta.url))]);
  console.error(`written: bench/results/${name}.json, and its charts and tables in the documents`);
}
