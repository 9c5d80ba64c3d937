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

/** Why there can be no root here; undefined where there can. */
export function noRoot() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `it needs Linux on x64, this is ${process.platform} on ${process.arch}`;
  }
  if (process.getuid() !== 0) return 'it makes a Debian root, which root may: run it with sudo or in a container';
  if (!works('unshare', '--mount', 'true')) return 'it mounts in a namespace of its own, which is forbidden here';
  if (!works('debootstrap', '--version') && !works('apt-get', '--version')) {
    return 'it needs debootstrap, or apt-get to fetch it: install debootstrap';
  }
  return undefined;
}

/** Makes the root, or adds what it lacks of the packages and wheels. A second call costs nothing. */
export function prepareRoot({ packages, wheels }) {
  mkdirSync(cache, { recursive: true });
  step('debian', bootstrap);
  const missing = [...compilers, ...packages].filter((name) => !isInstalled(name));
  if (missing.length > 0) {
    timed(`installing ${missing.join(' ')}`, () => {
      inRoot(['apt-get', 'update', '-q']);
      inRoot(['apt-get', 'install', '-qy', '--no-install-recommends', ...missing]);
    });
  }
  if (wheels.length > 0) {
    step('wheels', () => inRoot(['pip', 'install', '-q', '--break-system-packages', ...wheels]));
  }
}

/** Does a step once: its mark in the cache says that it is done. */
export function step(name, action) {
  const mark = join(cache, `${name}.done`);
  if (existsSync(mark)) return;
  timed(name, action);
  writeFileSync(mark, '');
}

/** Does what takes long, and tells so. */
export function timed(name, action) {
  process.stderr.write(`platforms: ${name} ...\n`);
  const start = Date.now();
  try {
    return action();
  } finally {
    process.stderr.write(`platforms: ${name} took ${Math.round((Date.now() - start) / 1000)} s\n`);
  }
}

/** Whether the root has a package: dpkg lists its files, by the architecture's name too where several may be installed. */
function isInstalled(name) {
  const info = join(root, 'var/lib/dpkg/info');
  return existsSync(join(info, `${name}.list`)) || existsSync(join(info, `${name}:amd64.list`));
}

function works(program, ...parameters) {
  return spawnSync(program, parameters).status === 0;
}

/** debootstrap is a shell script: taken from Debian's package, it need not be installed. */
function bootstrap() {
  rmSync(root, { recursive: true, force: true });
  let tool = 'debootstrap';
  const env = { ...process.env };
  if (!works(tool, '--version')) {
    const scratch = join(cache, 'debootstrap');
    mkdirSync(scratch, { recursive: true });
    run(['apt-get', 'update', '-q']);
    run(['apt-get', 'download', '-q', 'debootstrap'], { cwd: scratch });
    run(['sh', '-c', 'dpkg -x debootstrap_*.deb .'], { cwd: scratch });
    tool = join(scratch, 'usr/sbin/debootstrap');
    env.DEBOOTSTRAP_DIR = join(scratch, 'usr/share/debootstrap');
  }
  run([tool, '--variant=minbase', '--include=ca-certificates', 'trixie', root], { env });
  // A root that is made anew when it breaks need not be safe from power cuts: packages take half the time.
  writeFileSync(join(root, 'etc/dpkg/dpkg.cfg.d/unsafe-io'), 'force-unsafe-io\n');
  inRoot(['dpkg', '--add-architecture', 'arm64']);
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
