import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { PLATFORMS, system } from '../dist/native/binary.js';
import { binaryPath, native } from '../dist/native/native.js';
import { VERSION } from '../dist/version.js';
import { RUNTIME } from './support/runtime.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(path.join(os.tmpdir(), 'wasi-udp-binary-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Loads the package's JavaScript, without its binaries, in a folder of its own; what the error says. */
function load(name: string, env: NodeJS.ProcessEnv = {}, prelude = '', packages: Record<string, string> = {}): string {
  const folder = path.join(scratch, name);
  mkdirSync(folder);
  cpSync(path.join(root, 'dist'), path.join(folder, 'dist'), { recursive: true });
  writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
  for (const [id, source] of Object.entries(packages)) {
    mkdirSync(path.join(folder, 'node_modules', id), { recursive: true });
    writeFileSync(path.join(folder, 'node_modules', id, 'package.json'), '{ "main": "index.cjs" }');
    writeFileSync(path.join(folder, 'node_modules', id, 'index.cjs'), source);
  }
  const main = path.join(folder, 'main.mjs');
  writeFileSync(
    main,
    `${prelude};\nimport('./dist/index.js').catch((error) => console.log(error.code + '\\n' + error.message));\n`,
  );
  const [runtime, ...args] = RUNTIME;
  const run = spawnSync(runtime!, [...args, main], {
    env: { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: '', ...env },
    encoding: 'utf8',
  });
  expect(run.stderr).toBe('');
  return run.stdout;
}

const mine = path.basename(binaryPath).replace(/^wasi-udp\.(.*)\.node$/, '$1');

describe('the binary', () => {
  test('one version everywhere: package.json, Cargo.toml, JavaScript, binary', () => {
    const { version } = createRequire(import.meta.url)('../package.json');
    const cargo = /\[workspace\.package\]\nversion = "(.*)"/.exec(readFileSync(path.join(root, 'Cargo.toml'), 'utf8'));
    expect([VERSION, cargo?.[1], native.version()]).toEqual([version, version, version]);
  });

  test("the loader's platforms are those of napi.targets", () => {
    const { napi } = createRequire(import.meta.url)('../package.json');
    const names = napi.targets.map((target: string) => {
      const [cpu, , system, abi] = target.split('-');
      const arch = cpu === 'x86_64' ? 'x64' : 'arm64';
      return system === 'darwin' ? `darwin-${arch}` : `${system === 'windows' ? 'win32' : 'linux'}-${arch}-${abi}`;
    });
    expect([...PLATFORMS].sort()).toEqual(names.sort());
  });

  test('none installed: the error names the platform, what was tried, and the package to install', () => {
    const text = load('none');
    expect(text).toMatch(/^ERR_WASI_UDP_BINARY\nwasi-udp found no binary for /);
    expect(text).toContain(`no binary for ${system()}. It tried:`);
    expect(system()).toContain(`${process.platform}-${process.arch}`);
    expect(text).toContain(`../wasi-udp.${mine}.node: `);
    expect(text).toContain(`wasi-udp-${mine}: `);
    expect(text).toContain(`Install wasi-udp-${mine}`);
  });

  test('a platform without one: the error lists those that have', () => {
    const text = load('riscv', {}, "Object.defineProperty(process, 'arch', { value: 'riscv64' })");
    expect(text).toContain('riscv64');
    for (const name of PLATFORMS) expect(text).toContain(name);
    expect(text).toContain('build it with Rust');
  });

  test('another version: refused, with both versions and the remedy', () => {
    const other = `module.exports = { version: () => '9.9.9', layout: () => ${JSON.stringify(native.layout())} }`;
    const text = load('version', {}, '', { [`wasi-udp-${mine}`]: other });
    expect(text).toContain(`wasi-udp-${mine} is version 9.9.9, the JavaScript is ${VERSION}`);
    expect(text).toContain(`npm install wasi-udp@${VERSION}`);
  });

  test('another layout of the table: refused', () => {
    const other = `module.exports = { version: () => '${VERSION}', layout: () => [0] }`;
    const text = load('layout', {}, '', { [`wasi-udp-${mine}`]: other });
    expect(text).toContain(`wasi-udp-${mine} reads tables as 0, the JavaScript writes ${native.layout()}`);
  });

  test('a file that is no binary: the error says so, and who named it', () => {
    const file = path.join(scratch, 'text.node');
    writeFileSync(file, 'not a binary');
    const text = load('text', { NAPI_RS_NATIVE_LIBRARY_PATH: file });
    expect(text).toContain(file);
    expect(text).toContain('NAPI_RS_NATIVE_LIBRARY_PATH names that file');
  });
});
