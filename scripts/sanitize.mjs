/**
 * `npm run sanitize`: the engine's tests and the suite on an addon that AddressSanitizer watches, then the tests of the polling
 * thread and of workers on one that ThreadSanitizer watches. One line a step; exit code 1, and the reports, where one is not
 * clean. Debian, with gcc's runtimes of both sanitizers.
 *
 *     node scripts/sanitize.mjs [asan-engine|asan|tsan ...]
 *
 * The runtimes of JavaScript are not instrumented. AddressSanitizer knows their heap all the same, since it is the process's
 * allocator: ArrayBuffers have red zones. ThreadSanitizer sees their locks, since they are pthread's, but takes much of what they do
 * without locks for races: reports count where both accesses are the addon's.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { requireRust, root, setupOrExit } from './setup.mjs';

const work = path.join(root, 'build/sanitize');
const CPU = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
const TRIPLE = `${CPU}-unknown-linux-gnu`;

/** The suites that cross into the addon. */
const SUITES = [
  ...['native', 'conformance', 'outgoing-datagram-stream', 'datagram-writer', 'arena', 'send-all', 'segmentation'],
  ...['host', 'hostile-guests', 'guests', 'workers', 'pollable', 'backpressure', 'leaks'],
];

/** The suites in which threads meet. */
const THREADS = ['workers', 'pollable', 'native'];

/**
 * Of napi-rs (3.16, `dyn-symbols`): each environment that loads the addon writes the table of N-API's functions again, with the
 * very pointers that stand there, while others read it.
 */
const SUPPRESSIONS = 'race:^napi_module_register_by_symbol\n';

/** gcc's libtsan has no such functions of its own: LLVM calls them where it copies. */
const COPIES = `#include <string.h>
void *__tsan_memcpy(void *to, const void *from, size_t size) { return memcpy(to, from, size); }
void *__tsan_memmove(void *to, const void *from, size_t size) { return memmove(to, from, size); }
void *__tsan_memset(void *at, int byte, size_t size) { return memset(at, byte, size); }
`;

const STEPS = {
  'asan-engine': () => {
    // The model of runs is safe code throughout, and ten million times too many here.
    const args = ['test', '--package', 'wasi-udp-engine', ...cargoOptions('address'), '--', '--skip', 'ten_million'];
    const { status, output } = run('cargo', args, environment('address', { ASAN_OPTIONS: reporting('asan-engine') }));
    const passed = Array.from(output.matchAll(/^test result: ok\. (\d+) passed/gm), ([, count]) => Number(count));
    return judge('asan-engine', status, `${passed.reduce((sum, count) => sum + count, 0)} tests`, output);
  },
  asan: () => {
    const addon = build('address', 'asan');
    return vitest('asan', SUITES, [], {
      LD_PRELOAD: runtime('libasan.so'),
      ASAN_OPTIONS: `detect_leaks=0:${reporting('asan')}`,
      WASI_UDP_TEST_ADDON: addon,
    });
  },
  tsan: () => {
    const addon = build('thread', 'tsan', withStandardLibrary());
    const [suppressions, source, copies] = ['suppressions', 'copies.c', 'copies.so'].map((name) =>
      path.join(work, name),
    );
    fs.writeFileSync(suppressions, SUPPRESSIONS);
    fs.writeFileSync(source, COPIES);
    succeed('gcc', ['-O1', '-fno-builtin', '-shared', '-fPIC', '-o', copies, source]);
    // Random addresses may lie where the runtime keeps its shadow; 100,000 random calls have no threads.
    return vitest('tsan', THREADS, ['--testNamePattern', '^(?!.*100,000)'], {
      LD_PRELOAD: `${runtime('libtsan.so')} ${copies}`,
      TSAN_OPTIONS: `exitcode=0:suppressions=${suppressions}:${reporting('tsan')}`,
      WASI_UDP_TEST_ADDON: addon,
      WASI_UDP_POLLER: 'thread',
    });
  },
};

const reporting = (name) => `log_path=${path.join(work, 'reports', name)}`;

function cargoOptions(sanitizer) {
  return ['--target', TRIPLE, '--target-dir', path.join(work, sanitizer)];
}

/** The environment of a build. Sanitizers are unstable options, which the stable compiler has. */
function environment(sanitizer, more = {}) {
  const flags = [`-Zsanitizer=${sanitizer}`, '-Cdebuginfo=line-tables-only'];
  return { ...process.env, RUSTC_BOOTSTRAP: '1', RUSTFLAGS: flags.join(' '), ...more };
}

/**
 * What ThreadSanitizer takes beyond: a standard library that is instrumented too, since it has the locks. Its source comes with
 * Debian's compiler, which is unpacked into build/sanitize, not installed.
 */
function withStandardLibrary() {
  const debian = path.join(work, 'debian');
  const compiler = path.join(debian, 'usr/bin/rustc');
  if (!fs.existsSync(compiler)) {
    const archives = path.join(debian, 'archives');
    fs.mkdirSync(path.join(archives, 'partial'), { recursive: true });
    const options = [
      '-qq',
      '--yes',
      '--no-install-recommends',
      '--download-only',
      '-o',
      `Dir::Cache::archives=${archives}`,
    ];
    succeed('apt-get', ['update', '-qq']);
    succeed('apt-get', ['install', ...options, 'rustc-web', 'rust-web-src']);
    for (const file of fs.readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
      succeed('dpkg', ['--extract', path.join(archives, file), debian]);
    }
  }
  const variables = { RUSTC: compiler, LD_LIBRARY_PATH: path.join(debian, 'usr/lib', `${CPU}-linux-gnu`) };
  return { variables, options: ['-Zbuild-std=std,panic_abort'] };
}

/** Builds the addon, with debug assertions; the path of it. */
function build(sanitizer, name, { variables = {}, options = [] } = {}) {
  const args = ['build', '--package', 'wasi-udp-addon', ...cargoOptions(sanitizer), ...options];
  succeed('cargo', args, environment(sanitizer, variables));
  const addon = path.join(work, `wasi-udp.${name}.node`);
  fs.copyFileSync(path.join(work, sanitizer, TRIPLE, 'debug/libwasi_udp_addon.so'), addon);
  return addon;
}

/** The path of a sanitizer's runtime, of gcc's. */
function runtime(name) {
  const file = spawnSync('gcc', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout?.trim() ?? '';
  if (!path.isAbsolute(file)) throw new Error(`there is no ${name}: install gcc, which brings it`);
  return fs.realpathSync(file);
}

/** Runs test files, with few rounds in the long tests. */
function vitest(name, suites, options, variables) {
  const report = path.join(work, `${name}.json`);
  fs.rmSync(report, { force: true });
  const files = suites.map((suite) => `__test__/${suite}.test.ts`);
  const args = [
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    '--maxWorkers=1',
    ...options,
  ];
  const program = [process.execPath, 'node_modules/vitest/vitest.mjs', ...args, '--testTimeout=300000', ...files];
  const env = { ...process.env, WASI_UDP_TEST_ROUNDS: '10', ...variables };
  // What is watched is slower, and has no addresses of its own choice.
  const { status, output } = run('setarch', ['--addr-no-randomize', ...program], env);
  const { numPassedTests = 0 } = fs.existsSync(report) ? JSON.parse(fs.readFileSync(report, 'utf8')) : {};
  return judge(name, status, `${numPassedTests} tests`, output);
}

/** What came of a step: clean where its tests passed and there is no report of the addon's own. */
function judge(name, status, what, output) {
  const folder = path.join(work, 'reports');
  const files = fs.readdirSync(folder).filter((file) => file.startsWith(`${name}.`));
  const texts = files.flatMap((file) => fs.readFileSync(path.join(folder, file), 'utf8').split(/^=+$/m));
  const reports = texts.filter((text) => (name === 'tsan' ? isOurRace(text) : text.trim() !== ''));
  if (status === 0 && reports.length === 0) return [true, `${what}, clean`];
  console.error(status === 0 ? '' : output.slice(-20_000));
  for (const report of reports.slice(0, 5)) console.error(report);
  return [false, `FAILED: exit code ${status}, ${what}, ${reports.length} reports in ${folder}`];
}

/** Whether a report of ThreadSanitizer is of two accesses of the addon's, in whichever function of the runtime they end. */
function isOurRace(text) {
  const stacks = text.split(/\n\n/).filter((part) => /\b(?:read|write) of size/i.test(part));
  const first = (stack) => stack.match(/^ +#\d+ .*$/gm)?.find((frame) => !/lib[at]san|copies\.so/.test(frame)) ?? '';
  return stacks.length >= 2 && stacks.every((stack) => first(stack).includes('wasi-udp.tsan.node'));
}

function run(command, args, env = process.env) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  return { status: error?.message ?? status ?? signal, output: `${stdout}${stderr}` };
}

function succeed(command, args, env) {
  const { status, output } = run(command, args, env);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${output.slice(-5000)}`);
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(STEPS);
if (names.some((name) => !(name in STEPS))) {
  console.error(`usage: node scripts/sanitize.mjs [${Object.keys(STEPS).join('|')} ...]`);
  process.exit(2);
}
await setupOrExit();
requireRust();
fs.rmSync(path.join(work, 'reports'), { recursive: true, force: true });
fs.mkdirSync(path.join(work, 'reports'), { recursive: true });
let failed = 0;
for (const name of names) {
  let isClean = false;
  let line;
  try {
    [isClean, line] = STEPS[name]();
  } catch (error) {
    line = `FAILED: ${error.message}`;
  }
  if (!isClean) failed += 1;
  console.log(`${name}: ${line}`);
}
console.log(`sanitize: ${names.length - failed} of ${names.length} steps clean`);
process.exitCode = failed === 0 ? 0 : 1;
