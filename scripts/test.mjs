/**
 * `npm test`: set-up, then the suites, and what came of them in all. `node scripts/test.mjs SUITE...` runs those alone.
 * Exit code 1 where anything failed, a suite that could not run included.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { RUNTIMES, runtime } from './runtimes.mjs';
import { requireRust, root, setupOrExit } from './setup.mjs';

/** Each suite, by name; those of `npm test` first. */
const SUITES = {
  cargo: () => cargo('--workspace'),
  'cargo-portable': () => cargo('--package', 'wasi-udp-engine', '--features', 'portable'),
  vitest: () => vitest('vitest', {}, undefined, AT_ONCE),
  // The same tests on the backend of any Unix, built with debug assertions; without those that know no backend, and those of all
  // arguments: it joins IPv6's groups of one source by an interface alone, as macOS has it.
  'vitest-portable': async () => {
    const environment = { WASI_UDP_TEST_ADDON: await buildPortable() };
    return vitestAgain('vitest-portable', environment, undefined, without([...ABOVE_SOCKETS, 'dgram-arguments']));
  },
  // The same tests with a poller thread in place of the event loop's own.
  'vitest-thread': () => vitestAgain('vitest-thread', { WASI_UDP_POLLER: 'thread' }, undefined, without(ABOVE_SOCKETS)),
  // The same tests on other runtimes.
  ...Object.fromEntries(
    Object.keys(RUNTIMES).map((name) => [
      `vitest-${name}`,
      () => vitestAgain(`vitest-${name}`, {}, runtime(name), BETWEEN.includes(name) ? OF_RUNTIMES : without(OF_NONE)),
    ]),
  ),
};
/** How many files at once: one more than there are processors, since a test waits for processes, timers and links. */
const AT_ONCE = [`--maxWorkers=${os.availableParallelism() + 1}`];
/** Files that test what stands on sockets, and is the same on each backend: commands, guests' memory, caches, documents. */
const ABOVE_SOCKETS = [
  ...['cli*', 'completion', 'component-cache', 'documents', 'workflows'],
  ...['guests', 'hostile-*', 'limits', 'run', 'run-async', 'shim-copies'],
];
/** Files that test what no runtime has a part in. */
const OF_NONE = ['completion', 'documents', 'workflows'];
/** Versions between others that run all: they run what V8, libuv, N-API and streams have a part in. */
const BETWEEN = ['node22', 'node24'];
const OF_RUNTIMES = [
  ...['native', 'binary', 'workers', 'cores', 'leaks', 'adopted', 'address-likes', 'seccomp', 'pollable', 'waits'],
  ...['wake-ups', 'reentry', 'queue-turns', 'datagram-queue', 'read-ahead', 'write-behind', 'dgram', 'async', 'jco'],
  ...['host', 'guests', 'instantiate-core', 'run', 'cli-input', 'cli-output', 'cli-signals'],
];
const DEFAULT_SUITES = ['cargo', 'cargo-portable', 'vitest'];

/** Runs `cargo test`; sums the results that each test binary prints, but not those of one that runs a single test again. */
async function cargo(...args) {
  requireRust();
  const { code, output } = await run('cargo', ['test', '--no-fail-fast', ...args]);
  const failures = Array.from(output.matchAll(/^test (.*) \.\.\. FAILED$/gm), ([, name]) => name);
  const counts = { passed: 0, failed: 0, skipped: 0, failures };
  for (const [, passed, failed, ignored] of output.matchAll(
    /^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored; .* 0 filtered out/gm,
  )) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
    counts.skipped += Number(ignored);
  }
  return truthful(counts, code);
}

/** Runs vitest once more, with fewer rounds in the long tests; `files` are arguments that choose some. */
function vitestAgain(name, environment, program, files) {
  return vitest(name, { WASI_UDP_TEST_ROUNDS: '20', ...environment }, program, [...AT_ONCE, ...files]);
}

/** The arguments that leave files out. */
function without(files) {
  return files.map((file) => `--exclude=**/${file}.test.ts`);
}

/** Runs vitest; reads the counts from its JSON report. */
async function vitest(name, environment = {}, [program, ...options] = [process.execPath], flags = []) {
  const report = path.join(root, 'build', `${name}.json`);
  fs.rmSync(report, { force: true });
  const args = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...flags];
  const { code } = await run(program, [...options, 'node_modules/vitest/vitest.mjs', ...args], environment);
  if (!fs.existsSync(report)) return truthful({ passed: 0, failed: 0, skipped: 0, failures: [] }, code);
  const { numPassedTests, numPendingTests, numTodoTests, testResults } = readJson(report);
  const failures = testResults.filter(({ status }) => status === 'failed').flatMap(failuresOf);
  const skipped = numPendingTests + numTodoTests;
  return truthful({ passed: numPassedTests, failed: failures.length, skipped, failures }, code);
}

/** What failed in a file: its tests, each with the first line of why, or the file itself, which has none where it does not load. */
function failuresOf({ name, message, assertionResults }) {
  const file = path.relative(root, name);
  const failed = assertionResults.filter(({ status }) => status === 'failed');
  if (failed.length === 0) return [`${file}: ${firstLine(message)}`];
  return failed.map(({ fullName, failureMessages }) => `${file}: ${fullName}: ${firstLine(failureMessages[0])}`);
}

function firstLine(text = '') {
  return text.split('\n', 1)[0];
}

/** A suite that ended badly, or ran no test at all, has failed, whatever it counted. */
function truthful(counts, code) {
  const isSilent = counts.failed === 0 && (code !== 0 || counts.passed === 0);
  return isSilent ? { ...counts, failed: 1, failures: [`exit code ${code}, with no test that failed`] } : counts;
}

async function buildPortable() {
  const folder = 'build/portable';
  const options = ['--platform', '--no-js', '--features', 'portable', '--manifest-path', 'crates/addon/Cargo.toml'];
  const args = ['build', ...options, '--output-dir', folder, '--dts', 'addon.d.ts'];
  const { code } = await run(process.execPath, ['node_modules/@napi-rs/cli/dist/cli.js', ...args]);
  const file = code === 0 && fs.readdirSync(path.join(root, folder)).find((name) => name.endsWith('.node'));
  if (!file) throw new Error('the portable addon could not be built');
  return path.join(root, folder, file);
}

/** Longer than the slowest suite takes on a busy machine: what has not ended by then never does. */
const SUITE_MINUTES = 15;

/** Runs a command, shows its output as it comes, and returns it without colors. What hangs is ended, with all that it started. */
function run(command, args, environment = {}) {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...environment };
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    const interrupted = (signal) => {
      process.kill(-child.pid, signal);
      process.exit(1);
    };
    const interrupts = ['SIGINT', 'SIGTERM'];
    for (const signal of interrupts) process.once(signal, interrupted);
    const hangs = setTimeout(() => {
      process.kill(-child.pid, 'SIGKILL');
      reject(new Error(`${command} ${args.join(' ')} had not ended after ${SUITE_MINUTES} minutes`));
    }, SUITE_MINUTES * 60_000);
    const chunks = [];
    child.stdout.on('data', (chunk) => {
      chunks.push(chunk);
      process.stdout.write(chunk);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(hangs);
      for (const signal of interrupts) process.off(signal, interrupted);
      const output = Buffer.concat(chunks).toString();
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a color begins with.
      resolve({ code, output: output.replace(/\x1b\[[\d;]*m/g, '') });
    });
  });
}

function readJson(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

function text({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

await setupOrExit();
const names = process.argv.length > 2 ? process.argv.slice(2) : DEFAULT_SUITES;
const unknown = names.filter((name) => !(name in SUITES));
if (unknown.length > 0) {
  console.error(`there is no suite ${unknown.join(', ')}: name some of ${Object.keys(SUITES).join(', ')}`);
  process.exit(2);
}
const total = { passed: 0, failed: 0, skipped: 0 };
const lines = [];
const failed = [];
for (const name of names) {
  console.log(`\n== ${name}`);
  const { failures, ...counts } = await SUITES[name]().catch((error) => {
    console.error(error.message);
    return { passed: 0, failed: 1, skipped: 0, failures: [firstLine(error.message)] };
  });
  for (const key of Object.keys(total)) total[key] += counts[key];
  lines.push(`${name}: ${text(counts)}`);
  failed.push(...failures.map((failure) => `FAILED: ${name}: ${failure}`));
}
console.log(`\n${[...lines, ...failed].join('\n')}\nall suites: ${text(total)}`);
process.exitCode = total.failed === 0 ? 0 : 1;
