import nodeModule from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { VERSION } from '../version.js';
import { LAYOUT } from './layout.js';

/** The platforms that have a package with a binary, as in package.json's `napi.targets`. */
export const PLATFORMS: readonly string[] = [
  'linux-x64-gnu',
  'linux-x64-musl',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
  'win32-arm64-msvc',
];

/** No binary could be loaded: the message names the platform, what was tried, and the remedy. */
export class BinaryError extends Error {
  readonly code = 'ERR_WASI_UDP_BINARY';
  /** Why each candidate failed, in the order that they were tried. */
  declare readonly reasons: readonly Error[];

  constructor(message: string, reasons: readonly Error[]) {
    super(message);
    // Not shown with the error, whose message has them all.
    Object.defineProperty(this, 'reasons', { value: reasons });
  }
}
BinaryError.prototype.name = 'BinaryError';

/** What the loader asks of a binary before it hands it out. */
interface Versioned {
  version(): string;
  layout(): number[];
}

/** Where this module lies. A bundler that makes CommonJS of it leaves `import.meta` empty. */
const HERE = import.meta.url ?? __filename;

/** What webpack has in its bundles. */
declare const __webpack_require__: unknown;

/** Whether a bundler has put this module into a file of its own: webpack keeps the name that it had. */
const IS_BUNDLED = !/[\\/]native[\\/]binary\.js$/.test(HERE) || typeof __webpack_require__ === 'function';

/**
 * Loads the addon: the file that NAPI_RS_NATIVE_LIBRARY_PATH names; else the one that a checkout has built; else the
 * package of this platform. On Linux the package of either C library will do: npm installs the one that fits, and the
 * system refuses the other. In a bundle: the file beside it, or beside the executable that holds it, or the package.
 *
 * Throws BinaryError where none loads, or where it is of another version than the JavaScript.
 */
export function loadBinary<T extends Versioned>(): { native: T; path: string } {
  const override = process.env['NAPI_RS_NATIVE_LIBRARY_PATH'];
  const candidates = override ? [{ name: override, from: HERE }] : IS_BUNDLED ? besideBundle() : ofPackage();
  const reasons: Error[] = [];
  for (const { name, from } of candidates) {
    try {
      // By a name that no bundler knows: webpack takes an imported createRequire away.
      const require = nodeModule.createRequire(from);
      const native: T = require(name);
      check(native, name);
      return { native, path: require.resolve(name) };
    } catch (error) {
      reasons.push(error as Error);
    }
  }
  const lines = candidates.map(({ name }, i) => `  ${name}: ${reasons[i]!.message.split('\n', 1)[0]}`);
  const message = `wasi-udp found no binary for ${system()}. It tried:\n${lines.join('\n')}\n${remedy(reasons)}`;
  throw new BinaryError(message, reasons);
}

/** What may be loaded: a module's name, and the module that it is resolved from. */
interface Candidate {
  name: string;
  from: string;
}

function ofPackage(): Candidate[] {
  const files = names().map((name) => `../../wasi-udp.${name}.node`);
  return [...files, ...names().map((name) => `wasi-udp-${name}`)].map((name) => ({ name, from: HERE }));
}

function besideBundle(): Candidate[] {
  const beside = [HERE, process.argv[1], process.execPath].filter((file) => file !== undefined);
  const folders = [
    ...new Set(beside.map((file) => path.dirname(file.startsWith('file:') ? fileURLToPath(file) : file))),
  ];
  const files = folders.flatMap((folder) => names().map((name) => path.join(folder, `wasi-udp.${name}.node`)));
  const packages = folders.flatMap((folder) =>
    names().map((name) => ({ name: `wasi-udp-${name}`, from: path.join(folder, 'bundle.js') })),
  );
  return [...files.map((name) => ({ name, from: HERE })), ...packages];
}

/** What this system is, in words: platform, C library, runtime. */
export function system(): string {
  const { platform, arch, versions } = process;
  const runtime = versions['bun']
    ? `Bun ${versions['bun']}`
    : versions['deno']
      ? `Deno ${versions['deno']}`
      : `Node.js ${versions.node}`;
  return `${platform}-${arch}${platform === 'linux' ? ` with ${libc()}` : ''}, ${runtime}`;
}

/** The name of the binary that fits this system, whether there is one or not. */
function platformName(): string {
  return names().find((name) => !name.endsWith(libc().startsWith('glibc') ? '-musl' : '-gnu'))!;
}

/** The names of the binaries that may fit. */
function names(): string[] {
  const { platform, arch } = process;
  if (platform === 'win32') return [`win32-${arch}-msvc`];
  return platform === 'linux' ? [`linux-${arch}-gnu`, `linux-${arch}-musl`] : [`${platform}-${arch}`];
}

/** The C library of the running process. A report takes milliseconds, so it is asked for only where people read it. */
function libc(): string {
  try {
    const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
    const version = report?.header?.glibcVersionRuntime;
    return version === undefined ? 'musl' : `glibc ${version}`;
  } catch {
    // Deno reports nothing where it was not allowed to look.
    return 'glibc or musl';
  }
}

/** Refuses a binary of another version, or one that reads tables otherwise than `layout.ts` writes them. */
function check(native: Versioned, path: string): void {
  const version = native.version();
  if (version !== VERSION) throw new VersionMismatch(`${path} is version ${version}, the JavaScript is ${VERSION}`);
  const [theirs, ours] = [native.layout().join(), Object.values(LAYOUT).join()];
  if (theirs !== ours) throw new VersionMismatch(`${path} reads tables as ${theirs}, the JavaScript writes ${ours}`);
}

class VersionMismatch extends Error {}

/** What to do, by what went wrong. */
function remedy(reasons: readonly Error[]): string {
  const name = platformName();
  if (process.env['NAPI_RS_NATIVE_LIBRARY_PATH'])
    return 'NAPI_RS_NATIVE_LIBRARY_PATH names that file: correct or unset it.';
  if (!PLATFORMS.includes(name)) {
    return `There are binaries for ${PLATFORMS.join(', ')}. Elsewhere, build it with Rust: "npm run setup" in a checkout.`;
  }
  if (reasons.some((reason) => reason instanceof VersionMismatch)) {
    return `Install both of one version: npm install wasi-udp@${VERSION}; in a checkout, run "npm run setup".`;
  }
  if (reasons.some((reason) => (reason as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED')) {
    return 'Node.js was told to load no addons: run it with --allow-addons beside --permission, and without --no-addons.';
  }
  if (reasons.some((reason) => reason.name === 'NotCapable')) {
    return 'Deno was not allowed to load it: run it with --allow-ffi, --allow-read and --allow-env.';
  }
  if (reasons.some((reason) => (reason as NodeJS.ErrnoException).code === 'ERR_DLOPEN_FAILED')) {
    return (
      'A file is there, but the system does not load it, for the reason above: linux-x64-gnu needs glibc 2.17, ' +
      'linux-arm64-gnu 2.31, and the file system must allow execution.'
    );
  }
  if (IS_BUNDLED) {
    return (
      `This is a bundle, which cannot hold the binary: put wasi-udp.${name}.node, of the package wasi-udp-${name}, beside ` +
      'the bundle or its executable, or name it by NAPI_RS_NATIVE_LIBRARY_PATH, or leave wasi-udp out of the bundle: docs/bundling.md.'
    );
  }
  return (
    `Install wasi-udp-${name}: npm leaves it out under --omit=optional, and where package-lock.json was written on ` +
    'another platform; then remove node_modules and package-lock.json, and run "npm install" again.'
  );
}
