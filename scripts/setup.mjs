/**
 * Makes a checkout runnable: npm packages, the Rust addon, the compiled TypeScript. Plain Node.js, no dependencies.
 *
 * Each step runs only when what it reads has changed since it last succeeded, so a second run costs milliseconds.
 * Two set-ups at once take turns. Progress goes to standard error, one line a step.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The top of the checkout. */
export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** A failure that the reader can mend: its message says how, so it is shown without a stack trace. */
export class SetupError extends Error {}

/**
 * Brings the checkout up to date, by these steps or by all. Rejects with SetupError where something is missing or a step
 * fails.
 */
export async function setup(steps = [packages, addon, typescript]) {
  checkNode();
  fs.mkdirSync(at('build'), { recursive: true });
  await takeLock();
  try {
    // First of all, so that nobody waits for npm to learn that Rust is missing.
    if (steps.some((step) => step.needsRust && !step.isDone())) requireRust();
    for (const step of steps) if (!step.isDone()) await perform(step);
  } finally {
    fs.rmSync(lockFile, { force: true });
  }
}

/** The npm packages, as the lockfile names them. */
export const packages = stamped({
  what: 'Installing npm packages',
  name: 'packages',
  reads: ['package-lock.json'],
  writes: () => 'node_modules/.package-lock.json',
  // Packages that somebody installed by hand since the lockfile last changed are as good.
  isDoneAnyhow: () => modified('node_modules/.package-lock.json') >= modified('package-lock.json'),
  command: [process.platform === 'win32' ? 'npm.cmd' : 'npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error'],
});

/** The npm packages of what builds the documents. */
export const sitePackages = stamped({
  what: 'Installing npm packages of site/',
  name: 'site-packages',
  reads: ['site/package-lock.json'],
  writes: () => 'site/node_modules/.package-lock.json',
  command: [
    process.platform === 'win32' ? 'npm.cmd' : 'npm',
    ...['--prefix', 'site', 'ci', '--no-audit', '--no-fund', '--loglevel=error'],
  ],
});

/** What an addon is made of. */
const RUST = ['Cargo.toml', 'Cargo.lock', 'build.rs', '.cargo', 'crates', 'package.json'];

/** The Rust addon, optimized: wasi-udp.PLATFORM.node at the top. */
const addon = stamped({
  what: 'Building the Rust addon',
  name: 'addon',
  needsRust: true,
  reads: RUST,
  writes: () => fs.readdirSync(root).find((file) => /^wasi-udp\..*\.node$/.test(file)),
  command: [
    process.execPath,
    ...['node_modules/@napi-rs/cli/dist/cli.js', 'build', '--release', '--platform', '--no-js'],
    ...['--manifest-path', 'crates/addon/Cargo.toml', '--output-dir', '.', '--dts', 'build/addon.d.ts'],
  ],
});

/** The addon over a simulated kernel, with all assertions: build/simulated/. */
export const simulatedAddon = stamped({
  what: 'Building the simulated addon',
  name: 'simulated',
  needsRust: true,
  reads: RUST,
  writes: () => 'build/simulated/wasi-udp.node',
  prepare: () => fs.rmSync(at('build/simulated'), { recursive: true, force: true }),
  command: [
    process.execPath,
    ...['node_modules/@napi-rs/cli/dist/cli.js', 'build', '--profile', 'simulated', '--features', 'simulated'],
    ...['--no-js', '--manifest-path', 'crates/addon/Cargo.toml', '--output-dir', 'build/simulated'],
    ...['--dts', 'addon.d.ts'],
  ],
});

/** The TypeScript: dist/. */
export const typescript = stamped({
  what: 'Compiling the TypeScript',
  name: 'typescript',
  reads: ['ts', 'tsconfig.json', 'package.json', 'package-lock.json', 'scripts/compile.mjs', 'scripts/compile'],
  writes: () => 'dist/index.js',
  // A module that is gone from ts/ must be gone from dist/ too.
  prepare: () => fs.rmSync(at('dist'), { recursive: true, force: true }),
  command: [process.execPath, 'scripts/compile.mjs'],
});

/**
 * A step that is done while the content of what it reads, and the file that it wrote, are as they were when it last
 * succeeded; its stamp, build/NAME.stamp, remembers both.
 */
function stamped(step) {
  const stamp = `build/${step.name}.stamp`;
  const state = () => {
    const output = step.writes();
    return output && fs.existsSync(at(output)) ? `${fingerprint(step.reads)} ${output} ${modified(output)}` : undefined;
  };
  return {
    ...step,
    isDone: () => step.isDoneAnyhow?.() || (fs.existsSync(at(stamp)) && fs.readFileSync(at(stamp), 'utf8') === state()),
    finish: () => fs.writeFileSync(at(stamp), state() ?? ''),
  };
}

/** Runs a step's command with one line of progress; its output is shown only where it fails. */
async function perform({ what, command, prepare, finish }) {
  prepare?.();
  const started = performance.now();
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  const { stderr } = process;
  if (!stderr.isTTY) stderr.write(`${what} ...`);
  const ticker = stderr.isTTY && setInterval(() => stderr.write(`\r${what} ... ${seconds()}`), 100);
  const { code, output } = await new Promise((resolve) => {
    const child = spawn(command[0], command.slice(1), {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: command[0].endsWith('.cmd'),
    });
    const chunks = [];
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => chunks.push(chunk));
    child.on('error', (error) => resolve({ code: error.message, output: '' }));
    child.on('close', (status, signal) =>
      resolve({ code: status ?? signal, output: Buffer.concat(chunks).toString() }),
    );
  });
  clearInterval(ticker);
  const outcome = code === 0 ? 'done' : 'failed';
  stderr.write(stderr.isTTY ? `\r${what} ... ${outcome} in ${seconds()}\n` : ` ${outcome} in ${seconds()}\n`);
  if (code !== 0) throw new SetupError(`${output.trimEnd()}\n\nThis step failed (${code}): ${command.join(' ')}`);
  finish();
}

function checkNode() {
  const needed = JSON.parse(fs.readFileSync(at('package.json'), 'utf8')).engines.node.match(/\d+/)[0];
  const found = process.versions.node;
  if (Number.parseInt(found, 10) >= Number(needed)) return;
  throw new SetupError(`wasi-udp needs Node.js ${needed} or newer, this is ${found}: install a newer Node.js.`);
}

/** Checks that cargo and rustc are there and new enough; finds them where rustup puts them if PATH does not know them yet. */
export function requireRust() {
  const needed = fs.readFileSync(at('Cargo.toml'), 'utf8').match(/^rust-version = "(.*)"/m)[1];
  const install = `Install Rust ${needed} or newer with rustup (rust-lang.org/tools/install), then run this again.`;
  const home = path.join(process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo'), 'bin');
  if (versionOf('cargo') === undefined) process.env.PATH = `${process.env.PATH}${path.delimiter}${home}`;
  for (const tool of ['cargo', 'rustc']) {
    const found = versionOf(tool);
    if (found === undefined) throw new SetupError(`wasi-udp needs Rust to build, and there is no ${tool}. ${install}`);
    if (found.localeCompare(needed, 'en', { numeric: true }) < 0) {
      const update = `Update with "rustup update", or install Rust ${needed} or newer, then run this again.`;
      throw new SetupError(`wasi-udp needs Rust ${needed} or newer, ${tool} is ${found}. ${update}`);
    }
  }
}

/** The version that a tool of Rust tells, such as '1.95.0'; undefined where it cannot be run. */
function versionOf(tool) {
  const { status, stdout } = spawnSync(tool, ['--version'], { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout.match(/\d+\.\d+\.\d+/)?.[0] : undefined;
}

const lockFile = path.join(root, 'build', 'setup.lock');

/** Waits until no other set-up works on this checkout. The lock holds its owner's process id; one whose owner is gone is void. */
async function takeLock() {
  const mine = `${lockFile}.${process.pid}`;
  fs.writeFileSync(mine, String(process.pid));
  try {
    for (let waits = 0; ; waits++) {
      try {
        // A link appears with its content, or not at all.
        fs.linkSync(mine, lockFile);
        return;
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
      }
      const owner = Number(readIfThere(lockFile));
      if (owner !== 0 && !isAlive(owner)) {
        fs.copyFileSync(mine, `${mine}.new`);
        fs.renameSync(`${mine}.new`, lockFile);
        await sleep(100);
        if (readIfThere(lockFile) === String(process.pid)) return;
      }
      if (waits === 0) process.stderr.write(`Waiting for another set-up (process ${owner}, ${lockFile}) ...\n`);
      await sleep(100);
    }
  } finally {
    fs.rmSync(mine, { force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** A hash of the names and the content of files and folders. */
function fingerprint(names) {
  const hash = createHash('sha256');
  const add = (name) => {
    if (fs.statSync(at(name)).isDirectory())
      for (const child of fs.readdirSync(at(name)).sort()) add(`${name}/${child}`);
    else
      hash.update(`${name}\0`).update(
        createHash('sha256')
          .update(fs.readFileSync(at(name)))
          .digest(),
      );
  };
  for (const name of names) add(name);
  return hash.digest('hex');
}

/** When a file last changed, in milliseconds; -1 where there is none. */
function modified(name) {
  return fs.statSync(at(name), { throwIfNoEntry: false })?.mtimeMs ?? -1;
}

function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return '';
    throw error;
  }
}

function at(name) {
  return path.join(root, name);
}

/** Runs set-up; where it fails, says why and ends the process with exit code 1. */
export async function setupOrExit(steps) {
  try {
    await setup(steps);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await setupOrExit();
