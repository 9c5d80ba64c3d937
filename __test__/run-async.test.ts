import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import * as preview3 from '@bytecodealliance/preview3-shim';
import { describe, expect, it } from 'vitest';
import { GuestOutputs } from '../dist/cli/guest-output.js';
import { sandbox, shut } from '../dist/cli/sandbox.js';
import { worldOf } from '../dist/cli/world.js';
import { createHost } from '../dist/host/jco.js';
import { openUdp } from '../dist/index.js';
import { component, noGuests } from './support/guests.js';
import { type Finished, RUNTIME, run } from './support/runtime.js';
import { noAsyncGuests, SUSPENDING } from './support/suspending.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const MAIN = path.join(root, 'dist/cli/main.js');

/** Runs a component of WASI 0.3: options of `wasi-udp run`, and behind `--` arguments of its own. */
const wasiUdp = (name: string, ...args: string[]) => run([...SUSPENDING, MAIN, 'run', component(name), ...args]);
const denial = (action: 'bind' | 'send', address: string) =>
  `wasi-udp: denied: ${action} to ${address}: allow it with --allow-${action} ${address}\n`;
const clean = (stdout: string): Finished => ({ code: 0, signal: null, stdout, stderr: '' });

/** A server on loopback that answers each datagram with what `answer` makes of it. */
async function udpServer(answer: (text: string) => string) {
  const server = createSocket('udp4', (data, { port, address }) => server.send(answer(`${data}`), port, address));
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

describe.skipIf(noAsyncGuests)(`wasi-udp run of components of WASI 0.3 ${noAsyncGuests ?? ''}`, () => {
  it('passes arguments and variables, and nothing else: no environment, no working directory, no files', async () => {
    expect(await wasiUdp('run-hello', '--env', 'LEVEL=a=b', '--', '--allow-all', 'two words')).toEqual(
      clean('argument --allow-all\nargument two words\nLEVEL a=b\nno working directory\n0 folders\n'),
    );
  });

  it('passes standard input, to its end', async () => {
    const [file, ...words] = [...SUSPENDING, MAIN, 'run', component('run-input')];
    const child = spawn(file!, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    const text = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join('');
    child.stdin.end(text);
    let copied = '';
    child.stdout.on('data', (chunk) => (copied += chunk));
    const [code] = await once(child, 'close');
    expect({ code, isEqual: copied === text }).toEqual({ code: 0, isEqual: true });
  });

  it.each([
    ['ok', 0],
    ['err', 1],
    ['exit-ok', 0],
    ['exit-err', 1],
    ['exit-7', 7],
  ])('%s: exit code %i, with what it had printed', async (how, code) => {
    expect(await wasiUdp('run-ends', '--', how)).toEqual({ ...clean('before\nand again\n'), code });
  });

  it.each(['trap', 'trap-later'])("%s: tells it in one line, and the guest's own frames", async (how) => {
    const { code, stdout, stderr } = await wasiUdp('run-ends', '--', how);
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'before\nand again\n' });
    const [line, ...frames] = stderr.trimEnd().split('\n');
    expect(line).toMatch(/^wasi-udp: .*run-ends.wasm trapped: .*unreachable/i);
    expect(frames.length).toBeGreaterThan(0);
    for (const frame of frames) expect(frame).toMatch(/^ +at .*wasm:\/\//);
  });

  it.each([
    ['aside', 0],
    ['aside-exit', 7],
  ])('%s: writes what nobody waited for, and leaves timers that nobody waits for', async (how, code) => {
    const stdout = `before\nand again\n${'x'.repeat(300_000)}`;
    expect(await wasiUdp('run-ends', '--', how)).toEqual({ ...clean(stdout), code });
  });

  it('writes at once what it prints, though it never waits again', async () => {
    const [file, ...words] = [...SUSPENDING, MAIN, 'run', component('run-ends'), '--', 'spin'];
    const child = spawn(file!, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.on('data', (chunk) => (printed += chunk));
    while (printed !== 'before\nand again\n') await once(child.stdout, 'data');
    child.kill();
  });

  it('a reader that has heard enough ends it, which is no error', async () => {
    const [file, ...words] = [...SUSPENDING, MAIN, 'run', component('run-ends'), '--', 'lines'];
    const child = spawn(file!, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk) => (stderr += chunk));
    const [first] = await once(child.stdout, 'data');
    expect(`${first}`).toMatch(/^before\n/);
    child.stdout.destroy();
    const [code, signal] = await once(child, 'close');
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' });
  });

  it('sends datagrams in order', async () => {
    using receiver = openUdp({ local: '127.0.0.1:0' });
    const { port } = receiver.localAddress.val;
    const rules = ['--allow-bind', '0.0.0.0:0', '--allow-send', `127.0.0.1:${port}`];
    expect(await wasiUdp('run-sender', ...rules, '--', String(port), '40')).toEqual(clean('failed: 0\n'));
    const arrived = receiver.incoming.receive().map(({ data }) => Buffer.from(data).toString());
    expect(arrived).toEqual(Array.from({ length: 40 }, (_, i) => `no ${String(i).padStart(2, '0')}`));
  });

  it('answers datagrams, while it waits for the next', async () => {
    const [file, ...words] = [...SUSPENDING, MAIN, 'run', component('run-echo')];
    using client = openUdp({ local: '127.0.0.1:0' });
    // A port that was free a moment ago.
    const probe = openUdp({ local: '127.0.0.1:0' });
    const remoteAddress = probe.localAddress;
    const port = String(remoteAddress.val.port);
    probe[Symbol.dispose]();
    const rules = [
      '--allow-bind',
      `127.0.0.1:${port}`,
      '--allow-receive',
      '127.0.0.1:*',
      '--allow-send',
      '127.0.0.1:*',
    ];
    const child = spawn(file!, [...words, ...rules, '--', port, '3'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.on('data', (chunk) => (printed += chunk));
    while (printed !== 'bind: ok\n') await once(child.stdout, 'data');
    for (const text of ['one', '', 'three']) {
      client.outgoing.checkSend();
      client.outgoing.send([{ data: Buffer.from(text), remoteAddress }]);
      await client.incoming.subscribe().wait();
      expect(client.incoming.receive().map(({ data }) => Buffer.from(data).toString())).toEqual([text]);
    }
    expect(await once(child, 'close')).toEqual([0, null]);
  });

  it('runs a component that imports 0.2 beside the sockets of 0.3', async () => {
    const server = await udpServer((text) => `${text}, answer`);
    const { port } = server.address();
    const rules = ['--allow-bind', '0.0.0.0:0', '--allow-send', `127.0.0.1:${port}`];
    const allowed = await wasiUdp('run-mixed', ...rules, '--', String(port));
    server.close();
    expect(allowed).toEqual(clean('connect: ok\nwaited\nquestion, answer\n'));
    expect(await wasiUdp('run-mixed', '--allow-bind', '0.0.0.0:0', '--', String(port))).toEqual({
      ...clean('connect: access-denied\n'),
      code: 1,
      stderr: denial('send', `127.0.0.1:${port}`),
    });
  });

  it('allows nothing that no rule allows, and neither TCP nor names by any', async () => {
    let heard = 0;
    const server = await udpServer((text) => {
      heard += 1;
      return text;
    });
    const { port } = server.address();
    const denied = ['bind', 'connect', 'send', 'tcp', 'names'].map((call) => `${call}: access-denied\n`);
    const { stderr, ...rest } = await wasiUdp('run-denied', '--', String(port));
    expect({ ...rest, stderr: '' }).toEqual(clean(denied.join('')));
    // Once, though it connects and sends there.
    expect(stderr.split('\n').filter((line) => line.includes('--allow-send')).length).toBe(1);
    expect(stderr).toContain(denial('send', `127.0.0.1:${port}`));
    expect(stderr).toMatch(/^wasi-udp: denied: bind to (\S+): allow it with --allow-bind \1$/m);
    const allowed = ['bind: ok\n', 'connect: ok\n', 'send: ok\n', ...denied.slice(3)];
    expect(heard).toBe(0);
    const all = await wasiUdp('run-denied', '--allow-all', '--', String(port));
    expect({ ...all, stderr: '' }).toEqual(clean(allowed.join('')));
    const [tcp, lookup, ...more] = all.stderr.split('\n');
    expect(tcp).toMatch(/^wasi-udp: denied: use TCP: .* gives UDP alone: run it by a host of your own \(createHost/);
    expect(lookup).toMatch(/^wasi-udp: denied: look up ".+": .*: give it an address, or run it by a host of your own/);
    expect(more).toEqual(['']);
    server.close();
  });

  it('--verbose tells how core modules call the sockets of 0.3, and nothing of others', async () => {
    const line =
      'instantiateCore' in createHost() ? /^wasi-udp: core module 1, wasi:sockets.*: the fast way, .+\n$/ : /^$/;
    const { stderr, ...rest } = await wasiUdp('run-sender', '--verbose', '--', '9', '0');
    expect(rest).toEqual({ code: 0, signal: null, stdout: 'failed: 0\n' });
    expect(stderr).toMatch(line);
    expect(await wasiUdp('run-hello', '--verbose')).toEqual(clean('no working directory\n0 folders\n'));
  });

  it('without the shim of 0.3: what needs it names it, exit code 2; what does not runs', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
    const modules = path.join(folder, 'node_modules');
    const own = path.join(modules, 'wasi-udp');
    mkdirSync(path.join(modules, '@bytecodealliance'), { recursive: true });
    cpSync(path.join(root, 'dist'), path.join(own, 'dist'), { recursive: true });
    for (const file of readdirSync(root).filter((name) => /^package\.json$|\.node$/.test(name)))
      cpSync(path.join(root, file), path.join(own, file));
    const others = ['commander', 'cli-progress', '@bytecodealliance/jco', '@bytecodealliance/preview2-shim'];
    for (const name of others) symlinkSync(path.join(root, 'node_modules', name), path.join(modules, name));
    const command = (...args: string[]) => run([...SUSPENDING, path.join(own, 'dist/cli/main.js'), 'run', ...args]);
    try {
      const { code, stdout, stderr } = await command(component('run-hello'));
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(
        /^wasi-udp: .*run-hello.wasm .* @bytecodealliance\/preview3-shim \S+ .* is not there: npm install @bytecodealliance\/preview3-shim@0.7\n$/,
      );
      const mixed = await command(component('run-mixed'), '--', '9');
      expect({ ...mixed, stderr: '' }).toEqual({ ...clean('connect: access-denied\n'), code: 1 });
      expect(await command(component('environment'), '--', '0')).toMatchObject({ code: 0, stderr: '' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

const cannotSuspend = noGuests ?? ('Suspending' in WebAssembly ? '(this runtime can suspend stacks)' : undefined);

describe.skipIf(cannotSuspend)(`wasi-udp run where stacks cannot be suspended ${cannotSuspend ?? ''}`, () => {
  it('a component of WASI 0.3: exit code 2, and one line that names the version it needs and this one', async () => {
    const { code, stdout, stderr } = await run([...RUNTIME, MAIN, 'run', component('run-hello')]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(
      /^wasi-udp: .*run-hello.wasm .*WASI 0\.3.* Node\.js 24\.21 or later .* this is .*\d+\.\d+.*\n$/,
    );
  });
});

describe('the outputs of WASI 0.3', () => {
  /** An output that keeps what it is given. */
  function kept() {
    const chunks: string[] = [];
    const output = { write: (chunk: Uint8Array) => chunks.push(Buffer.from(chunk).toString()) };
    return { chunks, output: output as unknown as NodeJS.WriteStream };
  }

  /** A stream, as jco gives it, of chunks a few milliseconds apart, which then stays open. */
  function slow(...texts: string[]) {
    return {
      async read({ count }: { count: number }) {
        if (count > 0) return { value: Buffer.from(texts.shift()!), done: false };
        await (texts.length > 0 ? sleep(3) : new Promise(() => {}));
        return { value: Buffer.alloc(0), done: true };
      },
    };
  }

  it('are written when what comes has come, though their streams stay open', async () => {
    const outputs = new GuestOutputs(() => {});
    const { chunks, output } = kept();
    outputs.of(output).writeViaStream(slow('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'));
    outputs.of(output).writeViaStream(slow());
    await outputs.written();
    expect(chunks.join('')).toBe('abcdefgh');
  });

  it('read from a jco that refuses to read nothing', async () => {
    const outputs = new GuestOutputs(() => {});
    const { chunks, output } = kept();
    const texts = ['a', 'b'];
    const read = async ({ count }: { count: number }) => {
      if (count < 1) throw new TypeError('invalid stream read count');
      return { value: Buffer.from(texts[0] ?? ''), done: texts.shift() === undefined };
    };
    expect(await outputs.of(output).writeViaStream({ read })).toEqual({ tag: 'ok' });
    expect(chunks).toEqual(['a', 'b']);
  });

  it('tell what the writing throws', async () => {
    const errors: unknown[] = [];
    const outputs = new GuestOutputs((error) => errors.push(error));
    const broken = new Error('it is full');
    const output = {
      write() {
        throw broken;
      },
    };
    const ended = outputs.of(output as unknown as NodeJS.WriteStream).writeViaStream(slow('a', 'b'));
    expect(await ended).toEqual({ tag: 'err', val: 'io' });
    expect(errors).toEqual([broken]);
  });
});

it('what the shut shim of WASI 0.2 denies is told, with the error that the interface has', () => {
  const heard: unknown[][] = [];
  const shim = new WASIShim({ sandbox: { enableNetwork: false } });
  const given = createHost({ shim }).imports() as Record<string, Record<string, (...values: unknown[]) => unknown>>;
  const own = shut(given, (...denied) => heard.push(denied)) as typeof given;
  const network = given['wasi:sockets/instance-network']!['instanceNetwork']!();
  const lookUp = own['wasi:sockets/ip-name-lookup']!['resolveAddresses']!;
  expect(() => lookUp(network, 'example.invalid')).toThrow('permanent-resolver-failure');
  own['wasi:sockets/tcp-create-socket']!['createTcpSocket']!('ipv4');
  expect(() => own['wasi:http/outgoing-handler']!['handle']!({})).toThrow(
    expect.objectContaining({ payload: { tag: 'HTTP-request-denied' } }),
  );
  expect(heard).toEqual([['look up "example.invalid"', 'give it an address'], ['use TCP'], ['make HTTP requests']]);
});

describe('the sandbox of WASI 0.3', () => {
  const outputs = new GuestOutputs(() => {});
  const heard: string[] = [];
  const hear = (what: string) => heard.push(what);
  const { sockets, http, filesystem, cli } = sandbox(preview3, outputs, hear) as unknown as typeof preview3;
  const code = (tag: string) => expect.objectContaining({ payload: { tag } });

  it.each(['ipv4', 'ipv6'] as const)('has no TCP: %s', (family) => {
    expect(() => sockets.types.TcpSocket.create(family)).toThrow(code('access-denied'));
    expect(Object.keys(sockets.types)).toEqual(['TcpSocket']);
  });

  it('looks up no names', async () => {
    await expect(sockets.ipNameLookup.resolveAddresses('127.0.0.1')).rejects.toEqual(code('access-denied'));
  });

  it('makes no HTTP requests', async () => {
    await expect(http.client.send({} as never)).rejects.toEqual(code('HTTP-request-denied'));
    await expect(http.handler.handle({} as never)).rejects.toEqual(code('HTTP-request-denied'));
    expect(heard.slice(-2)).toEqual(['make HTTP requests', 'make HTTP requests']);
  });

  it('has no folders, whatever the shim of this process has', () => {
    preview3.filesystem._setPreopens({ '/': '/' } as never);
    expect(preview3.filesystem.preopens.getDirectories()).toHaveLength(1);
    expect(filesystem.preopens.getDirectories()).toEqual([]);
    preview3.filesystem._setPreopens({});
  });

  it('has neither the variables nor the working directory of this process', () => {
    expect(Object.keys(cli.environment)).toEqual(['getInitialCwd']);
    expect(cli.environment.getInitialCwd()).toBeUndefined();
  });

  it('has nothing but sockets without the shim', () => {
    const { sockets: _, ...others } = sandbox(undefined, outputs, () => {});
    expect(others).toEqual({ cli: {}, clocks: {}, filesystem: {}, http: {}, random: {} });
  });
});

it('a world in WIT tells which interfaces of WASI 0.3 a component imports', () => {
  const world = (...lines: string[]) => worldOf(`package root:component;\n\nworld root {\n${lines.join('\n')}\n}\n`);
  expect(
    world(
      '  import wasi:clocks/monotonic-clock@0.2.12;',
      '  import wasi:clocks/monotonic-clock@0.3.0;',
      '  import wasi:sockets/types@0.3.0;',
      '  import other:package/api@0.3.0;',
      '  export wasi:cli/run@0.3.0;',
    ),
  ).toEqual({
    isAsync: true,
    imports: ['wasi:clocks/monotonic-clock', 'wasi:clocks/monotonic-clock', 'wasi:sockets/types', 'other:package/api'],
    asyncImports: ['wasi:clocks/monotonic-clock', 'wasi:sockets/types'],
  });
  expect(world('  import wasi:cli/exit@0.2.6;', '  import example:own/api;', '  export wasi:cli/run@0.2.6;')).toEqual({
    isAsync: false,
    imports: ['wasi:cli/exit', 'example:own/api'],
    asyncImports: [],
  });
  expect(world('  export wasi:cli/run@0.3.0;')).toEqual({ isAsync: true, imports: [], asyncImports: [] });
});
