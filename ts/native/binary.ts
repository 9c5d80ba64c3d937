import { createRequire } from 'node:module';
import process from 'node:process';
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
  readonly reasons: readonly Error[];

  constructor(message: string, reasons: readonly Error[]) {
    super(message);
    this.reasons = reasons;
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

/**
 * Loads the addon: the file that NAPI_RS_NATIVE_LIBRARY_PATH names; else the one that a checkout has built; else the
 * package of this platform. On Linux the package of either C library will do: npm installs the one that fits, and the
 * system refuses the other.
 *
 * Throws BinaryError where none loads, or where it is of another version than the JavaScript.
 */
export function loadBinary<T extends Versioned>(): { native: T; path: string } {
  const require = createRequire(HERE);
  const override = process.env['NAPI_RS_NATIVE_LIBRARY_PATH'];
  const candidates = override
    ? [override]
    : [...names().map((name) => `../../wasi-udp.${name}.node`), ...names().map((name) => `wasi-udp-${name}`)];
  const reasons: Error[] = [];
  for (const candidate of candidates) {
    try {
      const native: T = require(candidate);
      check(native, candidate);
      return { native, path: require.resolve(candidate) };
    } catch (error) {
      reasons.push(error as Error);
    }
  }
  const lines = candidates.map((candidate, i) => `  ${candidate}: ${reasons[i]!.message.split('\n', 1)[0]}`);
  const message = `wasi-udp found no binary for ${system()}. It tried:\n${lines.join('\n')}\n${remedy(reasons)}`;
  throw new BinaryError(message, reasons);
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
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  const version = report?.header?.glibcVersionRuntime;
  return version === undefined ? 'musl' : `glibc ${version}`;
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
  if (reasons.some((reason) => (reason as NodeJS.ErrnoException).code === 'ERR_DLOPEN_FAILED')) {
    return (
      'A file is there, but the system does not load it, for the reason above: linux-x64-gnu needs glibc 2.17, ' +
      'linux-arm64-gnu 2.31, and the file system must allow execution.'
    );
  }
  return (
    `Install wasi-udp-${name}: npm leaves it out under --omit=optional, and where package-lock.json was written on ` +
    'another platform; then remove node_modules and package-lock.json, and run "npm install" again.'
  );
}
