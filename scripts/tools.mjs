// Tools that cargo installs, kept in build/tools.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { root } from './setup.mjs';

/** The program of a crate of crates.io in that version, which is built where it is not there yet, quickly rather than well: about a minute. */
export function cargoTool(name, version) {
  const folder = path.join(root, 'build', 'tools');
  const program = path.join(folder, 'bin', name);
  const isThere = () =>
    spawnSync(program, [name.replace(/^cargo-/, ''), '--version'], { encoding: 'utf8' }).stdout?.includes(version);
  if (isThere()) return program;
  fs.mkdirSync(folder, { recursive: true });
  process.stderr.write(`Installing ${name} ${version} ...\n`);
  const target = path.join(folder, 'target');
  const install = [
    'install',
    '--quiet',
    '--debug',
    '--locked',
    '--root',
    folder,
    '--target-dir',
    target,
    `${name}@${version}`,
  ];
  const { status, stderr } = spawnSync('cargo', install, { cwd: root, encoding: 'utf8' });
  fs.rmSync(target, { recursive: true, force: true });
  if (status !== 0) throw new Error(`cargo install ${name} ended with ${status}:\n${stderr}`);
  return program;
}
