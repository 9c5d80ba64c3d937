/**
 * `npm run fuzz`: each fuzz target for a while, an hour by default, and one line a target of what came of it.
 *
 *     node scripts/fuzz.mjs [--seconds N] [--target NAME] [--seed N]
 *
 * The targets of the engine are libFuzzer's, built by cargo-fuzz, which is installed into build/tools; what they find new is kept
 * in build/fuzz/corpus, and an input that fails in build/fuzz/artifacts. Those of the TypeScript are seeded programs. Exit code
 * 1 where a target fails; its line says how to run that again.
 */
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { requireRust, root, setupOrExit } from './setup.mjs';
import { cargoTool } from './tools.mjs';

const crate = path.join(root, 'crates/fuzz');
const work = path.join(root, 'build/fuzz');
/** libFuzzer's targets, and the programs in scripts/fuzz. */
const ENGINE = fs.readdirSync(path.join(crate, 'targets')).map((file) => path.basename(file, '.rs'));
const TYPESCRIPT = ['policy', 'guest'];
const TARGETS = [...ENGINE, ...TYPESCRIPT];

/** Builds the targets of the engine; the folder of their programs. */
function buildEngine() {
  const fuzz = cargoTool('cargo-fuzz', '0.13.2');
  const target = path.join(work, 'target');
  const { status, stderr } = spawnSync(fuzz, ['fuzz', 'build', '--fuzz-dir', crate, '--target-dir', target], {
    cwd: root,
    // AddressSanitizer and coverage are unstable options, which the stable compiler has.
    env: { ...process.env, RUSTC_BOOTSTRAP: '1' },
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`cargo fuzz build ended with ${status}:\n${stderr}`);
  const [triple] = fs
    .readdirSync(target)
    .filter((name) => fs.existsSync(path.join(target, name, 'release', ENGINE[0])));
  return path.join(target, triple, 'release');
}

/** Runs a target of the engine; what came of it, and whether it is clean. */
async function fuzzEngine(name, programs, { seconds, seed }) {
  const [corpus, artifacts] = ['corpus', 'artifacts'].map((folder) => path.join(work, folder, name));
  for (const folder of [corpus, artifacts]) fs.mkdirSync(folder, { recursive: true });
  const before = new Set(fs.readdirSync(artifacts));
  const program = path.join(programs, name);
  const { code, output } = await run(program, [
    ...[corpus, path.join(crate, 'seeds', name)],
    ...[
      `-max_total_time=${seconds}`,
      `-seed=${seed % 2 ** 32}`,
      '-timeout=30',
      '-rss_limit_mb=2048',
      '-print_final_stats=1',
    ],
    `-artifact_prefix=${artifacts}/`,
  ]);
  const [, inputs] = /^stat::number_of_executed_units: (\d+)/m.exec(output) ?? [];
  if (code === 0 && inputs !== undefined) return [true, `${inputs} inputs, seed ${seed}, clean`];
  console.error(
    output
      .split('\n')
      .filter((line) => !line.startsWith('#'))
      .slice(-60)
      .join('\n'),
  );
  const [found] = fs.readdirSync(artifacts).filter((file) => !before.has(file));
  return [
    false,
    found ? `FAILED, run again: ${program} ${path.join(artifacts, found)}` : `FAILED with ${code}, seed ${seed}`,
  ];
}

/** Runs a target of the TypeScript, in a network of its own where the system gives one: only a failure would send anything. */
async function fuzzTypeScript(name, { seconds, seed }) {
  const script = path.join(root, 'scripts/fuzz', `${name}.mjs`);
  const program = [process.execPath, script, '--seconds', `${seconds}`, '--seed', `${seed}`];
  const alone = ['unshare', '--user', '--map-root-user', '--net', 'sh', '-ec', 'ip link set lo up; exec "$@"', 'sh'];
  const isGiven = spawnSync(alone[0], [...alone.slice(1), 'true']).status === 0;
  const [command, ...args] = isGiven ? [...alone, ...program] : program;
  const { code, output } = await run(command, args);
  const [, told] = new RegExp(`^${name}: (.*)$`, 'm').exec(output) ?? [];
  if (code === 0 && told?.endsWith('clean')) return [true, told];
  console.error(output);
  const [, failed = seed] = /FAILED at seed (\d+)/.exec(output) ?? [];
  return [false, `FAILED with ${code}, run again: npm run fuzz -- --target ${name} --seed ${failed}`];
}

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        // What libFuzzer tells of hours is long, and its end is what counts.
        output = (output + text).slice(-200_000);
      });
    }
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ code: status ?? signal, output }));
  });
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3600' },
    target: { type: 'string', multiple: true },
    seed: { type: 'string' },
  },
});
const names = values.target ?? TARGETS;
const unknown = names.filter((name) => !TARGETS.includes(name));
const options = { seconds: Number(values.seconds), seed: Number(values.seed ?? Date.now()) };
if (unknown.length > 0 || !(options.seconds > 0) || !Number.isSafeInteger(options.seed) || options.seed < 0) {
  console.error(`usage: node scripts/fuzz.mjs [--seconds N] [--target ${TARGETS.join('|')}] [--seed N]`);
  process.exit(2);
}
await setupOrExit();
let programs;
let failed = 0;
const next = names.values();
/** Runs one target after the other, of those that no other worker runs. */
async function worker() {
  for (const name of next) {
    let isClean = false;
    let line;
    try {
      if (ENGINE.includes(name)) {
        requireRust();
        programs ??= buildEngine();
        [isClean, line] = await fuzzEngine(name, programs, options);
      } else [isClean, line] = await fuzzTypeScript(name, options);
    } catch (error) {
      line = `FAILED: ${error.message}`;
    }
    if (!isClean) failed += 1;
    console.log(`${name}: ${line}`);
  }
}
// Each is one thread: two at once take half the time.
await Promise.all([worker(), worker()]);
console.log(`fuzz: ${names.length - failed} of ${names.length} targets clean, ${options.seconds} s each`);
process.exitCode = failed === 0 ? 0 : 1;
