/**
 * Builds the benchmark's guest of WASI 0.3 in Rust, whose bindings wit-bindgen generates, to build/guests/bench-async-rust.wasm.
 * Needs cargo, and rustup where the standard library for wasm32 is not there yet; takes a minute. `node scripts/rust-guest.mjs`
 * prints what it built.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { asyncWit } from './guests.mjs';
import { root } from './setup.mjs';

const TARGET = 'wasm32-unknown-unknown';
const at = (...parts) => path.join(root, ...parts);
const folder = at('build', 'rust-guest');
const component = at('build', 'guests', 'bench-async-rust.wasm');

/** Builds it; its path. Throws an Error that says what is missing. */
export async function rustGuest() {
  // The macro of wit-bindgen reads it there.
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'guest.wit'), asyncWit(at('bench', 'guests', 'async', 'bench-async.wit')));
  const libraries = run('rustc', ['--print', 'target-libdir', '--target', TARGET]).trim();
  if (!fs.existsSync(libraries)) run('rustup', ['target', 'add', TARGET]);
  const manifest = at('bench', 'guests', 'async', 'rust', 'Cargo.toml');
  run('cargo', [
    ...['build', '--release', '--quiet', '--locked', '--target', TARGET],
    ...['--manifest-path', manifest, '--target-dir', folder],
  ]);
  const { componentNew } = await import('@bytecodealliance/jco');
  const core = fs.readFileSync(path.join(folder, TARGET, 'release', 'bench_async_rust.wasm'));
  const bytes = await componentNew(core, []);
  fs.mkdirSync(path.dirname(component), { recursive: true });
  // Renamed into place, so that nobody reads half a component.
  fs.writeFileSync(`${component}.${process.pid}`, bytes);
  fs.renameSync(`${component}.${process.pid}`, component);
  return component;
}

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the guest in Rust needs ${command}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(path.relative(process.cwd(), await rustGuest()));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
