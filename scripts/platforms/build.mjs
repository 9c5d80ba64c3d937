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
};
const addon = ['--locked', '--package', 'wasi-udp-addon', '-Zbuild-std=std,panic_abort'];

/** Builds the addon for a target; the path of its binary and its size. */
export function build({ name, triple, glibc }) {
  makeLibnode();
  inRoot(['cargo', 'zigbuild', '--release', '--target', glibc ? `${triple}.${glibc}` : triple, ...addon], { env });
  const [prefix, extension] = name.startsWith('win32')
    ? ['', 'dll']
    : ['lib', name.startsWith('darwin') ? 'dylib' : 'so'];
  const binary = join(cache, `wasi-udp.${name}.node`);
  copyFileSync(join(cache, 'target', triple, 'release', `${prefix}wasi_udp_addon.${extension}`), binary);
  return { binary, bytes: statSync(binary).size };
}

/** Type-checks the addon for a target. */
export function check({ triple }) {
  makeLibnode();
  inRoot(['cargo', 'check', '--target', triple, ...addon], { env });
}

/** An empty libnode: napi-build has the gnu linkers name one, though each function is looked up at run time. */
function makeLibnode() {
  mkdirSync(libnode, { recursive: true });
  writeFileSync(join(libnode, 'libnode.dll'), '');
  for (const archive of ['libnode.a', 'libnode.dll.a']) writeFileSync(join(libnode, archive), '!<arch>\n');
}
