import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from './report.js';

const JCO = '@bytecodealliance/jco';
const SHIM = '@bytecodealliance/preview2-shim';
const SHIM_OF_03 = '@bytecodealliance/preview3-shim';

/** What is imported of each package. */
const MODULES: Record<string, string> = { [JCO]: JCO, [SHIM]: `${SHIM}/instantiation`, [SHIM_OF_03]: SHIM_OF_03 };

/** The versions that this package works with, as npm writes them. */
const { peerDependencies: RANGES } = createRequire(import.meta.url)('../../package.json') as {
  peerDependencies: Record<string, string>;
};

/** What `run` needs beside this package: looked for before anything is loaded. Throws UsageError that says what to install. */
export function requirePeers(): void {
  requirePackages('run', [JCO, SHIM]);
}

/** What a component needs that imports more of WASI 0.3 than UDP and clocks, likewise. */
export function requireShimOf03(component: string): void {
  requirePackages(`${component} imports interfaces of WASI 0.3, and`, [SHIM_OF_03]);
}

function requirePackages(who: string, names: string[]): void {
  const wrong = names.filter((name) => !fits(versionOf(name), RANGES[name]!));
  if (wrong.length === 0) return;
  const found = wrong
    .map((name) => [name, versionOf(name)] as const)
    .map(([name, version]) => `${name} is ${version === undefined ? 'not there' : `here of version ${version}`}`)
    .join(', ');
  const needed = names.map((name) => `${name} ${RANGES[name]}`).join(' and ');
  const command = `npm install ${names.map((name) => `${name}@${RANGES[name]!.replace(/^\^|\.\d+$/g, '')}`).join(' ')}`;
  throw new UsageError(`${who} needs ${needed} beside wasi-udp, and ${found}: ${command}`);
}

/** The version of a package, as this one would import it; undefined where it is not there. */
function versionOf(name: string): string | undefined {
  try {
    let folder = path.dirname(fileURLToPath(import.meta.resolve(MODULES[name]!)));
    for (; folder !== path.dirname(folder); folder = path.dirname(folder)) {
      const file = path.join(folder, 'package.json');
      const found = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {};
      if (found.name === name) return found.version;
    }
  } catch {
    // It cannot be resolved.
  }
  return undefined;
}

/** Whether a version is in a range such as ^1.35.0 or ^0.26.1: "does not modify the left-most non-zero element" (npm, semver). */
export function fits(version: string | undefined, range: string): boolean {
  const [major, minor, patch] = numbers(version ?? '');
  const [leastMajor, leastMinor, leastPatch] = numbers(range);
  if (major !== leastMajor) return false;
  if (minor !== leastMinor) return major !== 0 && minor! > leastMinor!;
  return patch! >= leastPatch!;
}

function numbers(text: string): (number | undefined)[] {
  const [, ...parts] = /^\^?(\d+)\.(\d+)\.(\d+)/.exec(text) ?? [];
  return parts.map(Number);
}
