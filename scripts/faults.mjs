/**
 * `npm run faults`: refuses system calls of the addon, below the shipped binary, each at every k with every error that it can
 * give, in programs that send, receive and wait; and looks whether counts are exact, nobody hangs, errors are clear, and the
 * sockets work on. Needs Linux and strace, which it installs on Debian as root. `--help` tells the rest.
 */
import { spawnSync } from 'node:child_process';
import os from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { Child, Fate, HANG, LONG_PATIENCE_MS, PATIENCE_MS } from './faults/child-process.mjs';
import { ERRORS, FILTERED, LATER, REPLACED } from './faults/errors.mjs';
import { judge } from './faults/judge.mjs';
import { PROGRAMS } from './faults/programs.mjs';
import { write } from './faults/report.mjs';
import { SCENARIOS } from './faults/scenarios.mjs';
import { dryRun, ours, refusal, refused, storm, Tracer } from './faults/strace.mjs';
import { setupOrExit } from './setup.mjs';

const USAGE = `usage: npm run faults -- [--quick | --full] [--only TEXT] [--write] [--verbose]

  --quick    each error at the first call, each call with one error; the default, in about a minute
  --full     each error at each call
  --only     the scenarios whose names have this text
  --write    write docs/faults.md; what --only leaves out stays as the last such run had it
  --verbose  tell each refusal`;

/** How a thread's sockets become ready, and the link: what processes differ in. */
const LANES = [
  { driver: 'libuv', slow: false },
  { driver: 'thread', slow: false },
  { driver: 'libuv', slow: true },
  { driver: 'thread', slow: true },
];

/** Calls that EINTR can end: a storm of signals ends every second of them. */
const INTERRUPTIBLE = ['sendto', 'sendmmsg', 'sendmsg', 'recvmmsg', 'recvmsg', 'poll', 'connect'];

/** Whether a scenario is run in such a process. The driver matters to waits alone. */
function belongs([name, { needs }], { driver, slow }) {
  if (needs.includes('slow') !== slow) return false;
  if (needs.includes('polling') || needs.includes('fresh')) return driver === 'thread';
  return driver === 'libuv' || /^(wait|load)/.test(name);
}

/** The refusals to try of a scenario, by the calls that its dry run made. */
function refusals(made, { quick, isProgram = false, driver }) {
  const list = [];
  for (const [call, { numbers, alone }] of Object.entries(made)) {
    // libuv takes EEXIST for a sign that the descriptor is known, and ends the process where it is not.
    const errors = ERRORS[call].filter((errno) => !(driver === 'libuv' && call === 'epoll_ctl' && errno === 'EEXIST'));
    const [first, ...rest] = numbers;
    for (const errno of quick && isProgram ? errors.slice(0, 2) : errors) list.push({ call, errno, k: first });
    for (const [i, k] of (quick ? thinned(rest, isProgram ? 1 : 4) : rest).entries())
      for (const errno of quick ? [errors[i % errors.length]] : errors) list.push({ call, errno, k });
    // For ever, where that is ours alone. What is to be tried again may be tried for ever.
    if (!alone || call === 'close') continue;
    const lasting = errors.filter((errno) => !LATER.includes(errno));
    const kept = (errno, i) =>
      !quick || i < (isProgram ? 1 : 2) || (REPLACED.includes(call) && FILTERED.includes(errno));
    for (const errno of lasting.filter(kept)) list.push({ call, errno, k: first, sticky: true });
  }
  const interrupted = Object.keys(made).filter((call) => made[call].alone && INTERRUPTIBLE.includes(call));
  if (interrupted.length > 0)
    list.push({ call: interrupted.join(), errno: 'EINTR', k: 'every second', storm: interrupted });
  return list;
}

/** At most so many of a list, spread over it, the last among them. */
function thinned(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, i) => list[Math.ceil(((i + 1) * list.length) / most) - 1]);
}

/** The calls of a dry run that are to be refused. */
function toRefuse(text, calls) {
  return Object.fromEntries(Object.entries(ours(text)).filter(([call]) => calls.includes(call)));
}

function optionsOf(fault) {
  return fault.storm ? storm(fault.storm) : refusal(fault);
}

/** Runs a scenario once in a child, traced with those options; what came of it. */
async function runScenario(child, name, options, patience = LONG_PATIENCE_MS) {
  const { needs } = SCENARIOS[name];
  child.patience = LONG_PATIENCE_MS;
  child.say(JSON.stringify({ name, polling: needs.includes('polling') }));
  const { thread } = await child.hear();
  const tracer = await Tracer.attach(thread, options);
  child.say('go');
  child.patience = patience;
  let outcome = {};
  try {
    outcome = await child.hear();
  } catch (error) {
    if (!(error instanceof Fate)) throw error;
    outcome.fate = error.message;
    await child.end();
  }
  const text = await tracer.detach();
  if (outcome.fate === undefined) {
    child.say('verify');
    try {
      Object.assign(outcome, await child.hear());
    } catch (error) {
      if (!(error instanceof Fate)) throw error;
      outcome.fate = `${error.message}, afterwards`;
      await child.end();
    }
  }
  return { ...outcome, text };
}

/** All refusals of the scenarios of one lane, one after the other in one process, or in a new one where the last came to grief. */
async function runLane(lane, { quick, only, verbose }, results) {
  let child;
  const renew = async () => {
    child?.process.kill('SIGKILL');
    await child?.ended;
    child = Child.scenarios(lane);
  };
  for (const [name, scenario] of Object.entries(SCENARIOS).filter((entry) => belongs(entry, lane))) {
    if (only !== undefined && !name.includes(only)) continue;
    const fresh = scenario.needs.includes('fresh');
    await renew();
    const { text, ...dry } = await runScenario(child, name, dryRun(scenario.calls));
    const verdict = judge({}, dry, scenario);
    if (verdict.problems.length > 0) {
      results.push({ lane, name, fault: { call: 'no call', errno: 'no error', k: 0 }, hits: 1, ...verdict });
      tell(results.at(-1), verbose);
      continue;
    }
    const made = toRefuse(text, scenario.calls);
    if (verbose) console.log(name, lane.driver, JSON.stringify(made));
    for (const fault of refusals(made, { quick, driver: lane.driver })) {
      if (fresh || child.fate !== undefined) await renew();
      let outcome = await runScenario(child, name, optionsOf(fault), PATIENCE_MS);
      if (outcome.fate?.startsWith(HANG)) {
        await renew();
        outcome = await runScenario(child, name, optionsOf(fault));
      }
      const hits = refused(outcome.text);
      // The k-th call was another's this time: nothing is learned.
      if (hits === undefined) {
        results.push({ lane, name, fault, hits: 0, problems: [], seen: 'not reached' });
        await renew();
        continue;
      }
      // Nothing was refused: less was done this time, as on a slow link.
      const verdict = judge(hits === 0 ? {} : fault, outcome, scenario);
      results.push({ lane, name, fault, hits, ...verdict });
      tell(results.at(-1), verbose);
      // A thread remembers the calls that a filter refuses it.
      const isRemembered = fault.sticky && REPLACED.includes(fault.call) && FILTERED.includes(fault.errno);
      if (verdict.problems.length > 0 || isRemembered) await renew();
    }
    if (verbose) console.log(`${name} (${lane.driver}) is done`);
  }
  await child?.end();
}

/** The refusals of a program, each in a process of its own. */
async function runPrograms({ quick, only, verbose }, results) {
  for (const [name, program] of Object.entries(PROGRAMS)) {
    if (only !== undefined && !name.includes(only)) continue;
    const missing = await program.missing();
    if (missing !== undefined) {
      console.log(`skipped: ${name}: ${missing}`);
      continue;
    }
    const { text, problems } = await program.run(dryRun(program.calls));
    if (problems.length > 0) {
      results.push({
        lane: LANES[0],
        name,
        fault: { call: 'no call', errno: 'no error', k: 0 },
        hits: 1,
        problems,
        seen: '',
      });
      tell(results.at(-1), verbose);
      continue;
    }
    const made = toRefuse(text, program.calls);
    if (verbose) console.log(name, JSON.stringify(made));
    for (const fault of refusals(made, { quick, isProgram: true, driver: 'libuv' })) {
      const outcome = await program.run(optionsOf(fault), fault);
      if (refused(outcome.text) === undefined) outcome.problems = [];
      results.push({ lane: LANES[0], name, fault, hits: refused(outcome.text) ?? 0, ...outcome });
      tell(results.at(-1), verbose);
    }
  }
}

function tell({ lane, name, fault: { call, errno, k, sticky }, hits, problems, seen }, verbose) {
  const where = `${name} (${lane.driver}): ${call} no. ${k}${sticky ? ' and later' : ''}, ${errno}`;
  for (const problem of problems) console.log(`FOUND: ${where}: ${problem.split('\n', 1)[0].slice(0, 300)}`);
  if (verbose && problems.length === 0) console.log(`${where}: ${hits} refused: ${seen}`);
}

/** Whether strace can attach to a process beside it; installs it on Debian, as root. */
function hasStrace() {
  const works = () => spawnSync('sh', ['-c', 'sleep 0.2 & strace -k -o /dev/null -p $!']).status === 0;
  if (works()) return true;
  if (process.getuid?.() === 0 && spawnSync('apt-get', ['--version']).status === 0) {
    spawnSync(
      'sh',
      [
        '-c',
        'apt-get install -y --no-install-recommends strace || { apt-get update && apt-get install -y --no-install-recommends strace; }',
      ],
      {
        stdio: 'ignore',
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      },
    );
  }
  return works();
}

function hasSlowLinks() {
  return (
    spawnSync('unshare', ['--net', 'sh', '-ec', 'ip link set lo up && tc qdisc show dev lo && taskset -p $$'])
      .status === 0
  );
}

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    full: { type: 'boolean' },
    only: { type: 'string' },
    write: { type: 'boolean' },
    verbose: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
if (process.platform !== 'linux' || !hasStrace()) {
  console.log(
    `skipped: refusing system calls needs Linux, and strace that may attach to processes; this is ${os.platform()}`,
  );
  process.exit(0);
}
await setupOrExit();
const started = Date.now();
const results = [];
const settings = { ...options, quick: !options.full };
const lanes = hasSlowLinks() ? LANES : LANES.filter(({ slow }) => !slow);
if (lanes.length < LANES.length) console.log('skipped: slow links need root, unshare, ip and tc');
// Two at a time.
const [one, ...others] = lanes;
await Promise.all([
  runLane(one, settings, results),
  (async () => {
    for (const lane of others) await runLane(lane, settings, results);
    await runPrograms(settings, results);
  })(),
]);
const found = results.filter(({ problems }) => problems.length > 0);
const missed = results.filter(({ hits }) => hits === 0);
const seconds = ((Date.now() - started) / 1000).toFixed(0);
console.log(
  `${results.length} refusals in ${seconds} s; ${missed.length} not reached; ${found.length} found something`,
);
if (options.write) write(results);
process.exitCode = found.length === 0 ? 0 : 1;
