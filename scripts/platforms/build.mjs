import { copyFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cache, inRoot } from './root.mjs';

const libnode = join(cache, 'libnode');
const env = {
  RUSTC_BOOTSTRAP: '1', // -Zbuild-std: the standard library is built with the addon, from Debian's copy of its source
  CARGO_HOME: join(cache, 'cargo'),
  CARGO_TARGET_DIR: join(cache, 'target'),
  CARGO_ZIGBUILD_CACHE_DIR: join(cache, 'zigbuild'),
  ZIG_GLOBAL_CACHE_DIR: join(cache, 'zig'),
  MACOSX_DEPLOYMENT_TARGET: '11.0',
  LIBNODE_PATH: libnode,
  CARGO_PROFILE_DEV_DEBUG: 'false',
};
const addon = ['--locked', '--package', 'wasi-udp-addon', '-Zbuild-std=std,panic_abort'];

/** What building some targets takes: Debian's packages, and wheels of PyPI's. */
export function needs(targets) {
  return {
    packages: targets.flatMap((target) => target.package ?? []),
    wheels: targets.some(usesZig) ? ['cargo-zigbuild==0.24.0', 'ziglang==0.15.2'] : [],
  };
}

/** Builds the addon for a target, as a release or `quick`, without optimizations; the path of its binary and its size. */
export function build(target, { quick }) {
  const { name, triple, glibc } = target;
  makeLibnode();
  const command = usesZig(target) ? 'zigbuild' : 'build';
  const profile = quick ? 'dev' : 'release';
  inRoot(['cargo', command, '--profile', profile, '--target', glibc ? `${triple}.${glibc}` : triple, ...addon], {
    env,
  });
  const [prefix, extension] = name.startsWith('win32')
    ? ['', 'dll']
    : ['lib', name.startsWith('darwin') ? 'dylib' : 'so'];
  const binary = join(cache, `wasi-udp.${name}.node`);
  copyFileSync(
    join(cache, 'target', triple, quick ? 'debug' : 'release', `${prefix}wasi_udp_addon.${extension}`),
    binary,
  );
  return { binary, bytes: statSync(binary).size };
}

/** Type-checks the addon for targets, side by side. */
export function check(targets) {
  makeLibnode();
  inRoot(['cargo', 'check', ...targets.flatMap(({ triple }) => ['--target', triple]), ...addon], { env });
}

function usesZig(target) {
  return target.package === undefined;
}

/** An empty libnode: napi-build has the gnu linkers name one, though each function is looked up at run time. */
function makeLibnode() {
  mkdirSync(libnode, { recursive: true });
  writeFileSync(join(libnode, 'libnode.dll'), '');
  for (const archive of ['libnode.a', 'libnode.dll.a']) writeFileSync(join(libnode, archive), '!<arch>\n');
}
