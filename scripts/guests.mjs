/**
 * Builds the guest components into build/guests/: each NAME.c of the folders below becomes NAME.wasm, a component
 * for wasi:cli/run whose socket imports come from wasi-udp.h. One with a NAME.wit beside it is a component of WASI 0.3, with the
 * world `guest` of that file. Builds only what has changed. Needs clang and lld with a wasm32
 * target and wasi-libc; on Debian, as root, it installs them. `node scripts/guests.mjs` prints what it built.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => path.join(root, ...parts);
const out = at('build', 'guests');

/** Where guests are: those of the tests, the example, those of the benchmark; a folder `async` has those of WASI 0.3. */
const FOLDERS = ['guests', 'guests/async', 'examples/guest', 'bench/guests', 'bench/guests/async'];

/** The packages of Debian that compile C to WebAssembly. */
const PACKAGES = ['clang', 'lld', 'wasi-libc', 'libclang-rt-14-dev-wasm32'];

const CLANG_FLAGS = [
  ...['--target=wasm32-wasi', '-O2', '-std=c11', '-Wall', '-Wextra', '-Werror', '-nostartfiles'],
  // A stack that overflows traps.
  ...['-Wl,--stack-first', '-Wl,-z,stack-size=262144'],
];

/** The world of a guest: what it may import. */
const VERSION = '0.2.12';
const WORLD = `package wasi-udp:guests;
world guest {
  import wasi:io/poll@${VERSION};
  import wasi:clocks/monotonic-clock@${VERSION};
  import wasi:clocks/wall-clock@${VERSION};
  import wasi:sockets/instance-network@${VERSION};
  import wasi:sockets/network@${VERSION};
  import wasi:sockets/udp@${VERSION};
  import wasi:sockets/udp-create-socket@${VERSION};
  import wasi:sockets/tcp@${VERSION};
  import wasi:sockets/tcp-create-socket@${VERSION};
  import wasi:io/streams@${VERSION};
  import wasi:cli/stdin@${VERSION};
}
`;

const ASYNC_VERSION = '0.3.0';

/** The packages of WASI that both versions have. */
const PACKAGES_OF_WIT = ['clocks', 'sockets', 'cli', 'filesystem', 'random'];

/** Builds what is out of date; the paths of all components by name. Throws an Error that says what is missing. */
export async function guests() {
  const files = FOLDERS.filter((folder) => fs.existsSync(at(folder))).flatMap((folder) =>
    fs.readdirSync(at(folder)).map((file) => at(folder, file)),
  );
  const sources = files.filter((file) => file.endsWith('.c'));
  const shared = [...files.filter((file) => /\.(h|wit)$/.test(file)), fileURLToPath(import.meta.url)];
  const newest = Math.max(...shared.map(modified));
  const components = {};
  for (const source of sources) {
    const name = path.basename(source, '.c');
    components[name] = path.join(out, `${name}.wasm`);
    if (modified(components[name]) > Math.max(newest, modified(source))) continue;
    requireClang();
    await build(source, components[name]);
  }
  return components;
}

function modified(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Compiles a guest, tells its world, and wraps it; one of 0.2 with jco's adapter for wasi-libc's WASI preview 1 calls. */
async function build(source, component) {
  const { componentEmbed, componentNew, preview1AdapterCommandPath } = await import('@bytecodealliance/jco');
  const core = component.replace(/\.wasm$/, '.core.wasm');
  const world = source.replace(/\.c$/, '.wit');
  const isAsync = fs.existsSync(world);
  const flags = isAsync ? ['-Wl,--no-entry'] : [];
  execFileSync('clang', [...CLANG_FLAGS, ...flags, source, '-o', core], { stdio: ['ignore', 'inherit', 'inherit'] });
  const witSource = isAsync ? asyncWit(world) : WORLD + packages(VERSION, ['io', ...PACKAGES_OF_WIT]);
  const embedded = await componentEmbed({ binary: fs.readFileSync(core), witSource, world: 'guest' });
  // What a guest of 0.3 uses of wasi-libc makes no calls.
  const adapters = isAsync ? [] : [['wasi_snapshot_preview1', fs.readFileSync(preview1AdapterCommandPath())]];
  const bytes = await componentNew(embedded, adapters);
  // Renamed into place, so that nobody reads half a component.
  fs.writeFileSync(`${component}.${process.pid}`, bytes);
  fs.renameSync(`${component}.${process.pid}`, component);
}

/** The text of a world's file with all that it may name, of 0.2 and of 0.3: a component may import both. */
export function asyncWit(world) {
  const text = fs.readFileSync(world, 'utf8');
  return text + packages(ASYNC_VERSION, [...PACKAGES_OF_WIT, 'http']) + packages(VERSION, ['io', ...PACKAGES_OF_WIT]);
}

/** Packages of WASI that jco brings, as WIT text that nests them. */
function packages(version, names) {
  const builtin = at('node_modules/@bytecodealliance/jco/lib/wit/builtin', version);
  return names
    .map((name) => fs.readFileSync(path.join(builtin, `wasi-${name}`, 'package.wit'), 'utf8'))
    .map((text) => `${text.replace(/^(package [^;]+);/m, '$1 {')}}\n`)
    .join('');
}

let isClangThere = false;

function requireClang() {
  isClangThere ||= compiles();
  if (isClangThere) return;
  const apt = (...args) =>
    spawnSync('apt-get', args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  if (process.getuid?.() === 0) {
    apt('update', '-qq');
    apt('install', '-y', '-qq', '--no-install-recommends', ...PACKAGES);
    if (compiles()) return;
  }
  throw new Error(
    `guest components need clang for wasm32 with wasi-libc: install ${PACKAGES.join(', ')} (Debian's names)`,
  );
}

/** Whether clang can compile and link an empty program. */
function compiles() {
  const source = path.join(out, 'probe.c');
  fs.mkdirSync(out, { recursive: true });
  fs.writeFileSync(source, 'void _start(void) {}\n');
  return spawnSync('clang', [...CLANG_FLAGS, source, '-o', path.join(out, 'probe.wasm')]).status === 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    for (const component of Object.values(await guests())) console.log(path.relative(process.cwd(), component));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
