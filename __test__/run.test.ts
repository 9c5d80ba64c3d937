import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { componentEmbed, componentNew, parse } from '@bytecodealliance/jco';
import { afterAll, describe, expect, it } from 'vitest';
import { fits } from '../dist/cli/peers.js';
import { openUdp } from '../dist/index.js';
import { component, noGuests } from './support/guests.js';
import { RUNTIME, run } from './support/runtime.js';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const wasiUdp = (args: string[], env: Record<string, string> = {}) => run([...RUNTIME, main, 'run', ...args], { env });

describe.skipIf(noGuests)(`wasi-udp run ${noGuests ?? ''}`, () => {
  it('passes arguments and variables, and nothing else: no environment, no files', async () => {
    const args = [component('environment'), '--env', 'LEVEL=a=b', '--', '0', '--allow-all', 'two words'];
    expect(await wasiUdp(args)).toEqual({
      code: 0,
      signal: null,
      stdout: 'argument 0\nargument --allow-all\nargument two words\nLEVEL a=b\nPATH unset\nfile not there\n',
      stderr: '',
    });
  });

  it('tells the time of day, and writes nothing but the result', async () => {
    const from = Date.now();
    const { code, stdout } = await wasiUdp([component('clock')]);
    const until = Date.now();
    expect(code, stdout).toBe(0);
    const [resolution, first, last] = stdout.split(' ').map(Number) as [number, number, number];
    expect(resolution).toBe(1e6);
    const moments = [from, Math.round(first / 1e6), Math.round(last / 1e6), until];
    expect(moments).toEqual(moments.toSorted((a, b) => a - b));
  });

  it('exits with failure where the component does', async () => {
    const { code, stdout, stderr } = await wasiUdp([component('environment'), '--', '3']);
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toContain('LEVEL unset');
  });

  it("tells a trap in one line, and the guest's own frames", async () => {
    const { code, stderr } = await wasiUdp([component('traps'), '--allow-all', '--', 'unreachable']);
    expect(code).toBe(1);
    const [line, ...frames] = stderr.trimEnd().split('\n');
    expect(line).toMatch(/^wasi-udp: .*traps.wasm trapped: .*unreachable/i);
    // Bun's stacks leave out the frames of WebAssembly.
    expect(frames.length > 0).toBe(!('Bun' in globalThis));
    for (const frame of frames) expect(frame).toMatch(/^ +at .*wasm:\/\//);
  });

  it.each(['exchange', 'states', 'stream'])('--write-behind: %s has every step as without', async (name) => {
    const exact = await wasiUdp([component(name), '--allow-all']);
    expect(exact.code).toBe(0);
    expect(await wasiUdp([component(name), '--allow-all', '--write-behind'])).toEqual(exact);
  });

  it('--write-behind: what a component sent leaves, though it ends or traps', async () => {
    const receiver = openUdp({ local: '127.0.0.1:0' });
    const { port } = receiver.localAddress.val;
    const arrived = () => receiver.incoming.receive().map(({ data }) => Buffer.from(data).toString());
    const { code } = await wasiUdp([component('denied'), '--allow-all', '--write-behind', '--', '0', String(port)]);
    expect({ code, arrived: arrived() }).toEqual({ code: 0, arrived: ['from the guest'] });
    receiver[Symbol.dispose]();

    // The port that this component names.
    using peer = openUdp({ local: '127.0.0.1:4320' });
    const trapped = await wasiUdp([component('traps'), '--allow-all', '--write-behind', '--', 'send-twice']);
    expect(trapped).toMatchObject({ code: 1, stdout: 'before\n' });
    expect(peer.incoming.receive().map(({ data }) => Buffer.from(data).toString())).toEqual(['hello']);
  });

  it('keeps what it translated, by content', async () => {
    const cache = mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
    const env = { XDG_CACHE_HOME: cache };
    const kept = () => readdirSync(path.join(cache, 'wasi-udp', 'components'));
    for (let i = 0; i < 2; i++) expect((await wasiUdp([component('environment')], env)).code).toBe(0);
    expect(kept()).toHaveLength(1);
    const [first, second] = await Promise.all([1, 2].map(() => wasiUdp([component('denied'), '--', '0', '9'], env)));
    expect(first).toMatchObject({ code: 0, stdout: 'bind: access-denied\n' });
    expect(second).toEqual(first);
    expect(kept()).toHaveLength(2);
  });

  it('tells what it denied, once each, and the option that allows it; the component sees no difference', async () => {
    using peer = openUdp({ local: '127.0.0.1:0' });
    const { port } = peer.localAddress.val;
    const command = (...options: string[]) => wasiUdp([component('denied'), ...options, '--', '0', String(port)]);
    const none = await command();
    expect(none).toMatchObject({ code: 0, stdout: 'bind: access-denied\n' });
    const [, bound] = /^wasi-udp: denied: bind to (\S+): allow it with --allow-bind \1\n$/.exec(none.stderr)!;
    const unsent = await command('--allow-bind', bound!);
    expect(unsent.stdout).toContain('access-denied');
    expect(unsent.stderr).toBe(
      `wasi-udp: denied: send to 127.0.0.1:${port}: allow it with --allow-send 127.0.0.1:${port}\n`,
    );
    const sent = await command('--allow-bind', bound!, '--allow-send', `127.0.0.1:${port}`);
    expect(sent).toMatchObject({ code: 0, stderr: '' });
    expect(sent.stdout).not.toContain('denied');
  });

  it("tells an error of the shim's in one line, and with --verbose where it was", async () => {
    const { code, stderr } = await wasiUdp([component('entropy')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^wasi-udp: .*entropy.wasm was ended by an error of its host: \w+: .* \(--verbose tells where\)\n$/,
    );
    const verbose = await wasiUdp([component('entropy'), '--verbose']);
    expect(verbose.code).toBe(1);
    expect(verbose.stderr).toMatch(/^ +at /m);
  });

  it.each([
    [['--allow-send', 'localhost:53'], /"send" rule is HOST:PORT, got "localhost:53"/],
    [['--allow-bind', '10.0.0.0/40:1'], /"bind" rule is HOST:PORT, got "10.0.0.0\/40:1": that is no prefix length/],
    [['--env', '=b'], /--env takes NAME=VALUE, got "=b"/],
    [['--allow-nothing'], /unknown option '--allow-nothing'/],
  ])('wrong usage, exit code 2: %j', async (options, message) => {
    const { code, stdout, stderr } = await wasiUdp([component('environment'), ...options]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd()).not.toContain('\n');
  });
});

describe('wasi-udp run of a component that needs more', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** A component of a world in WIT, whose core module is that text of WebAssembly. */
  async function build(name: string, wit: string, core: Uint8Array): Promise<string> {
    const embedded = await componentEmbed({ binary: core, witSource: `package test:test;\n${wit}`, world: 'guest' });
    const file = path.join(folder, name);
    writeFileSync(file, await componentNew(embedded, []));
    return file;
  }

  it('an interface that nobody gives: exit code 2, one line that names it', async () => {
    const core = await parse('(module (import "test:test/store" "get" (func)))');
    const wit = 'interface store { get: func(); } world guest { import store; }';
    const { code, stdout, stderr } = await wasiUdp([await build('store.wasm', wit, core)]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^wasi-udp: .*store.wasm imports test:test\/store, which wasi-udp run has not: .*\n$/);
  });

  const isOldNode = /^v2[01]\./.test(process.version) && !('Bun' in globalThis) && !('Deno' in globalThis);
  it.skipIf(!isOldNode)(
    'extended constant expressions, where there are none: exit code 2, which Node.js it needs',
    async () => {
      const core = await parse('(module (global i32 (i32.add (i32.const 1) (i32.const 2))) (func (export "start")))');
      const { code, stdout, stderr } = await wasiUdp([
        await build('constants.wasm', 'world guest { export start: func(); }', core),
      ]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(
        /^wasi-udp: .*constants.wasm has extended constant expressions .* Node\.js 22 or later, and this is v2\S+: run it there\n$/,
      );
    },
  );

  it.skipIf('Suspending' in WebAssembly)(
    'asynchronous functions, where stacks cannot be suspended: exit code 2, which Node.js it needs',
    async () => {
      const core = await parse('(module (func (export "start")))');
      const wit = 'world guest { export start: async func(); }';
      const { code, stdout, stderr } = await wasiUdp([await build('later.wasm', wit, core)]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(
        /^wasi-udp: .*later.wasm .*Node\.js 24\.21 or later .*, and this is v\S+: run it there\n$/,
      );
    },
  );
});

describe('wasi-udp run without what it needs', () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const modules = path.join(folder, 'node_modules');
  const own = path.join(modules, 'wasi-udp');
  const peers = path.join(modules, '@bytecodealliance');

  /** Installs packages of that version, which are nothing else, beside a copy of this one. */
  function install(versions: Record<string, string>): void {
    rmSync(modules, { recursive: true, force: true });
    mkdirSync(peers, { recursive: true });
    cpSync(path.join(root, 'dist'), path.join(own, 'dist'), { recursive: true });
    for (const file of readdirSync(root).filter((name) => /^package\.json$|\.node$/.test(name)))
      cpSync(path.join(root, file), path.join(own, file));
    for (const [name, version] of Object.entries(versions)) {
      mkdirSync(path.join(peers, name));
      const exports = { '.': './index.js', './instantiation': './index.js' };
      writeFileSync(
        path.join(peers, name, 'package.json'),
        JSON.stringify({ name: `@bytecodealliance/${name}`, version, type: 'module', exports }),
      );
      writeFileSync(path.join(peers, name, 'index.js'), '');
    }
  }

  // Deno finds packages by the package.json of a project, which none of these has.
  it.skipIf('Deno' in globalThis).each([
    [{}, '@bytecodealliance/jco is not there, @bytecodealliance/preview2-shim is not there'],
    [{ jco: '1.35.0' }, '@bytecodealliance/preview2-shim is not there'],
    [{ jco: '1.34.9', 'preview2-shim': '0.26.1' }, '@bytecodealliance/jco is here of version 1.34.9'],
    [{ jco: '1.36.0', 'preview2-shim': '0.27.0' }, '@bytecodealliance/preview2-shim is here of version 0.27.0'],
  ])('%j: exit code 2, one line: what it needs, what there is, what to install', async (versions, found) => {
    install(versions);
    const { code, stdout, stderr } = await run([...RUNTIME, path.join(own, 'dist/cli/main.js'), 'run', 'x.wasm']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe(
      'wasi-udp: run needs @bytecodealliance/jco ^1.35.0 and @bytecodealliance/preview2-shim ^0.26.1 beside wasi-udp, ' +
        `and ${found}: npm install @bytecodealliance/jco@1.35 @bytecodealliance/preview2-shim@0.26\n`,
    );
  });

  it.each([
    ['1.35.0', '^1.35.0', true],
    ['1.36.0-rc.1', '^1.35.0', true],
    ['1.35.9', '^1.35.1', true],
    ['1.34.9', '^1.35.0', false],
    ['2.35.0', '^1.35.0', false],
    ['0.26.1', '^0.26.1', true],
    ['0.26.0', '^0.26.1', false],
    ['0.27.1', '^0.26.1', false],
    [undefined, '^0.26.1', false],
  ])('version %s, range %s: %s', (version, range, expected) => {
    expect(fits(version, range)).toBe(expected);
  });
});

describe('wasi-udp run of what is no component', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(path.join(folder, name), content);
    return path.join(folder, name);
  };

  it.each([
    [
      'a missing file',
      () => path.join(folder, 'missing.wasm'),
      /missing.wasm cannot be loaded as a component \(ENOENT/,
    ],
    ['a text', () => file('text.wasm', 'hello'), /text.wasm cannot be loaded as a component/],
    [
      'a core module',
      () => file('core.wasm', Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)),
      /core.wasm cannot be loaded as a component/,
    ],
  ])('%s: exit code 2, one line', async (_, path, message) => {
    const { code, stdout, stderr } = await wasiUdp([path()]);
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd()).not.toContain('\n');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});
