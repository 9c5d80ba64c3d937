// A Debian root in build/platforms that holds the compilers and emulators, so that the machine itself stays as it was.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './run.mjs';

export const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const cache = join(repository, 'build', 'platforms');
const root = join(cache, 'debian');

/** Debian's compiler for browsers: the one that comes with the standard library's source, for `-Zbuild-std`. */
const compilers = ['rustc-web', 'cargo-web', 'rust-web-src', 'rust-web-llvm', 'gcc', 'libc6-dev', 'python3-pip'];
/** wine for Windows; qemu with the C libraries for arm64; musl's loaders. */
const emulators = ['wine', 'wine64', 'qemu-user', 'libstdc++6-arm64-cross', 'musl', 'musl:arm64'];
const wheels = ['cargo-zigbuild==0.24.0', 'ziglang==0.15.2'];

/** Makes the root, or adds what it lacks. A second call costs nothing. */
export function prepareRoot() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`npm run platforms needs Linux on x64, this is ${process.platform} on ${process.arch}`);
  }
  if (process.getuid() !== 0)
    throw new Error('npm run platforms makes a Debian root, which needs root: run it with sudo or in a container');
  mkdirSync(cache, { recursive: true });
  step('debian', bootstrap);
  step('packages', () => {
    inRoot(['dpkg', '--add-architecture', 'arm64']);
    inRoot(['apt-get', 'update', '-q']);
    inRoot(['apt-get', 'install', '-qy', '--no-install-recommends', ...compilers, ...emulators]);
    inRoot(['pip', 'install', '-q', '--break-system-packages', ...wheels]);
  });
}

/** Does a step once: its mark in the cache says that it is done. */
export function step(name, action) {
  const mark = join(cache, `${name}.done`);
  if (existsSync(mark)) return;
  process.stderr.write(`platforms: ${name} ...\n`);
  const start = Date.now();
  action();
  writeFileSync(mark, '');
  process.stderr.write(`platforms: ${name} took ${Math.round((Date.now() - start) / 1000)} s\n`);
}

/** debootstrap is a shell script: taken from Debian's package, it need not be installed. */
function bootstrap() {
  rmSync(root, { recursive: true, force: true });
  let tool = 'debootstrap';
  const env = { ...process.env };
  if (spawnSync(tool, ['--version']).status !== 0) {
    const scratch = join('/tmp', `debootstrap-${process.pid}`);
    mkdirSync(scratch, { recursive: true });
    run(['apt-get', 'update', '-q'], {});
    run(['apt-get', 'download', '-q', 'debootstrap'], { cwd: scratch });
    run(['sh', '-c', 'dpkg -x debootstrap_*.deb .'], { cwd: scratch });
    tool = join(scratch, 'usr/sbin/debootstrap');
    env.DEBOOTSTRAP_DIR = join(scratch, 'usr/share/debootstrap');
  }
  run([tool, '--variant=minbase', '--include=ca-certificates', 'trixie', root], { env });
}

/**
 * Runs a command in the root, where this checkout stands at its own path. The mounts end with the command.
 * @param {string[]} command
 * @param {{ env?: Record<string, string>, cwd?: string }} [options]
 */
export function inRoot(command, { env = {}, cwd = repository } = {}) {
  const mounts = [
    ['/proc', '--rbind'],
    ['/dev', '--rbind'],
    ['/etc/ssl/certs', '--bind'],
    ['/etc/resolv.conf', '--bind'],
    [repository, '--bind'],
  ];
  mkdirSync(join(root, repository), { recursive: true });
  const script = [
    'set -e',
    ...mounts.map(([path, kind]) => `mount ${kind} '${path}' '${root}${path}'`),
    `exec chroot '${root}' env -C '${cwd}' "$@"`,
  ].join('\n');
  return run(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...command], {
    env: {
      ...process.env,
      DEBIAN_FRONTEND: 'noninteractive',
      PATH: '/usr/local/bin:/usr/bin:/usr/sbin:/bin',
      HOME: '/root',
      ...env,
    },
  });
}
