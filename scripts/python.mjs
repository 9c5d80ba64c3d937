/**
 * Makes components of Python programs, into build/python/: CPython itself and a NAME.py of the folders below become NAME.wasm,
 * which runs its `main()` as wasi:cli/run. componentize-py comes from PyPI, into an environment of its own. Builds only what has
 * changed. Needs python3 with venv. `node scripts/python.mjs` prints what it built.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './setup.mjs';

const at = (...parts) => path.join(root, ...parts);
const out = at('build', 'python');

/** The first Node.js whose V8 takes what CPython is compiled to (constant expressions with an addition). */
export const MINIMUM_NODE = 22;

const COMPONENTIZE = 'componentize-py==0.25.1';
const FOLDERS = ['examples/python', 'bench/guests'];

/** The interfaces of a command, as jco brings them; each package after those that it names. */
const WIT = '0.2.12';
const PACKAGES = ['io', 'clocks', 'random', 'filesystem', 'sockets', 'cli'].map((name) =>
  at('node_modules/@bytecodealliance/jco/lib/wit/builtin', WIT, `wasi-${name}`),
);

/** Builds what is out of date; the paths of all components by name. `program` is the path of componentize-py. */
export function pythonGuests(program = componentize()) {
  const sources = FOLDERS.flatMap((folder) => fs.readdirSync(at(folder)).map((file) => at(folder, file)));
  const components = {};
  for (const source of sources.filter((file) => file.endsWith('.py'))) {
    const name = path.basename(source, '.py');
    components[name] = path.join(out, `${name}.wasm`);
    const newest = Math.max(modified(source), modified(fileURLToPath(import.meta.url)));
    if (modified(components[name]) <= newest) build(program, source, components[name]);
  }
  return components;
}

const modified = (file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** What componentize-py looks for: a class for the interface that the world exports. */
const entry = (name) => `import ${name}\n\n\nclass Run:\n    def run(self):\n        ${name}.main()\n`;

function build(program, source, component) {
  const name = path.basename(source, '.py');
  const folder = path.join(out, name);
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'app.py'), entry(name));
  const draft = `${component}.${process.pid}`;
  run(program, [
    ...PACKAGES.flatMap((folder) => ['-d', folder]),
    ...['-q', '-w', `wasi:cli/command@${WIT}`, 'componentize', 'app', '-o', draft],
    ...['-p', folder, '-p', path.dirname(source)],
  ]);
  // Renamed into place, so that nobody reads half a component.
  fs.renameSync(draft, component);
}

/** The path of componentize-py, which is installed where it is not there yet. Throws an Error that says what is missing. */
export function componentize() {
  const environment = path.join(out, COMPONENTIZE);
  const bin = path.join(environment, process.platform === 'win32' ? 'Scripts' : 'bin');
  const program = path.join(bin, 'componentize-py');
  if (fs.existsSync(program)) return program;
  try {
    run('python3', ['-m', 'venv', environment]);
    run(path.join(bin, 'python'), ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', COMPONENTIZE]);
  } catch (error) {
    throw new Error(`needs python3 with venv, and ${COMPONENTIZE} from PyPI (${error.message})`);
  }
  return program;
}

function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(error?.message ?? `${path.basename(command)}: ${stdout}${stderr}`.trim());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    for (const component of Object.values(pythonGuests())) console.log(path.relative(process.cwd(), component));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
