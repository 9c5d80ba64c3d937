import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
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
