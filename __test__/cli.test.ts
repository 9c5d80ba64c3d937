import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { createSocket, type Socket } from './support/dgram.mjs';
import { noInterrupt, RUNTIME } from './support/runtime.js';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const EXAMPLE = fileURLToPath(new URL('../examples/send.mjs', import.meta.url));
const RECORDING = fileURLToPath(new URL('../examples/vmstat.txt', import.meta.url));
const README = fileURLToPath(new URL('../README.md', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'wasi-udp-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A file of the test's. */
function fileOf(content: string | Buffer): string {
  const path = join(folder, `input-${Math.random()}`);
  writeFileSync(path, content);
  return path;
}

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
  /** The summary, by label. */
  summary: Record<string, string>;
}

async function ended(child: ChildProcessWithoutNullStreams): Promise<Ended> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const [code] = await once(child, 'close');
  const entries = output.stdout.split('\n').map((line) => [line.slice(0, 12).trim(), line.slice(12)]);
  return { code, ...output, summary: Object.fromEntries(entries) };
}

function start(...args: string[]): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [MAIN, ...args]);
}

async function send(...args: string[]): Promise<Ended> {
  const child = start('send', ...args);
  child.stdin.end();
  return await ended(child);
}

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

/** A receiver of the test's, and the texts that it got. */
async function receiver(type: 'udp4' | 'udp6' = 'udp4'): Promise<{ port: number; texts: string[]; socket: Socket }> {
  const socket = createSocket({ type, recvBufferSize: 1 << 20 });
  const texts: string[] = [];
  socket.on('message', (data) => texts.push(data.toString()));
  socket.bind(0, type === 'udp4' ? '127.0.0.1' : '::1');
  await once(socket, 'listening');
  sockets.push(socket);
  return { port: socket.address().port, texts, socket };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** What was sent may be read after the sender's end. */
async function expectArrived(texts: string[], expected: string[]): Promise<void> {
  await until(() => texts.length >= expected.length);
  expect(texts).toEqual(expected);
}

describe('send, to a receiver of its own', () => {
  test('sends a file, loses nothing, compares with node:dgram, draws no bar in a pipe', async () => {
    const lines = readFileSync(RECORDING, 'utf8').trimEnd().split('\n');
    const { code, summary, stderr, stdout } = await send(RECORDING, '--repeat', '20');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const total = (20 * lines.length).toLocaleString('en-US');
    const bytes = (20 * lines.join('').length).toLocaleString('en-US');
    expect(summary['accepted']).toBe(`${total} datagrams, ${bytes} bytes`);
    expect(summary['received']).toBe(`${total}, counted by the receiver`);
    expect(summary['lost']).toBe('0');
    expect(summary['batches']).toMatch(/^[\d,]+, [\d.]+ datagrams each$/);
    expect(summary['blocked']).toMatch(/^[\d,]+ times$/);
    expect(summary['wasi-udp']).toMatch(/^[\d,]+ ns a datagram$/);
    expect(summary['node:dgram']).toContain(`received ${total} of ${total}`);
    expect(summary['ratio']).toMatch(/^[\d.]+ times as fast as node:dgram$/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: no control sequence is what the test is for.
    expect(stdout).not.toMatch(/\x1b|\r/);
  });

  test('sends a recording up to 200,000 datagrams where no file is named', async () => {
    const { code, summary } = await send('--no-compare');
    expect(code).toBe(0);
    expect(summary['accepted']).toMatch(/^200,000 datagrams, /);
    expect(summary['received']).toMatch(/^200,000, /);
    expect(summary['node:dgram']).toBeUndefined();
  });

  test('keeps datagrams of every size within what the receiver holds', async () => {
    const sizes = [0, 1, 64, 512, 1200, 1472, 4096, 9000, 33_000, 65_507];
    const file = fileOf(sizes.map((size) => `${'x'.repeat(size)}\n`.repeat(100)).join(''));
    const { code, summary } = await send(file, '--batch', '1024');
    expect(code).toBe(0);
    expect(summary['received']).toBe('1,000, counted by the receiver');
    expect(summary['lost']).toBe('0');
    expect(summary['node:dgram']).toContain('received 1,000 of 1,000');
  });

  test('sends no more than --batch at once', async () => {
    const { summary } = await send(RECORDING, '--batch', '7', '--no-compare');
    expect(summary['batches']).toBe('69, 7.0 datagrams each');
  });

  test('reads standard input to its end', async () => {
    const child = start('send', '-');
    child.stdin.end('one\ntwo\nthree');
    const { code, summary } = await ended(child);
    expect(code).toBe(0);
    expect(summary['accepted']).toBe('3 datagrams, 11 bytes');
    expect(summary['received']).toBe('3, counted by the receiver');
    expect(summary['node:dgram']).toContain('received 3 of 3');
  });

  test('has nothing to say about an empty input', async () => {
    const { code, summary } = await send(fileOf(''));
    expect(code).toBe(0);
    expect(summary['accepted']).toBe('0 datagrams, 0 bytes');
    expect(summary['ratio']).toBe('nothing was sent');
  });

  test('draws a bar on a terminal', async ({ skip }) => {
    const command = [...RUNTIME, MAIN, 'send', '--no-compare'].map((word) => `'${word}'`).join(' ');
    const child = spawn('script', ['-qec', command, '/dev/null']);
    const failure = new Promise<null>((resolve) => child.on('error', () => resolve(null)));
    child.stdin.end();
    const result = await Promise.race([ended(child), failure]);
    if (result === null) return skip('script(1) is not installed');
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('of 200000 datagrams');
    expect(result.stdout).toMatch(/received {4}200,000, counted by the receiver/);
  });
});

describe('send --to', () => {
  test('sends each line once, the empty ones too, without line ends', async () => {
    const { port, texts } = await receiver();
    const { code, summary, stdout } = await send(fileOf('one\n\ntwo\r\nthree ö\n'), '--to', `127.0.0.1:${port}`);
    expect(code).toBe(0);
    expect(stdout).toContain(`to 127.0.0.1:${port}\n`);
    await expectArrived(texts, ['one', '', 'two', 'three ö']);
    expect(summary['accepted']).toBe('4 datagrams, 14 bytes');
    expect(summary['received']).toBe('not known here: the target counts');
    expect(summary['node:dgram']).toContain('to a receiver of our own, received 4 of 4');
  });

  test('sends to IPv6, and to a name', async () => {
    const { port, texts } = await receiver('udp6');
    expect((await send(fileOf('a'), '--to', `[::1]:${port}`, '--no-compare')).code).toBe(0);
    await expectArrived(texts, ['a']);
    const named = await receiver();
    expect((await send(fileOf('b'), '--to', `localhost:${named.port}`, '--no-compare')).code).toBe(0);
    await expectArrived(named.texts, ['b']);
  });

  test('sends everything, though nobody reads its summary', async () => {
    const { port, texts } = await receiver();
    const child = start('send', RECORDING, '--to', `127.0.0.1:${port}`, '--no-compare');
    child.stdin.end();
    child.stdout.destroy();
    const { code, stderr } = await ended(child);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    await until(() => texts.length === 480);
  });

  test('repeats, evenly by --rate', async () => {
    const { port, texts, socket } = await receiver();
    const times: number[] = [];
    socket.on('message', () => times.push(performance.now()));
    const { code } = await send(
      fileOf('a\nb\n'),
      '--to',
      `127.0.0.1:${port}`,
      '--rate',
      '200/s',
      '--repeat',
      '25',
      '--no-compare',
    );
    expect(code).toBe(0);
    await expectArrived(
      texts,
      Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? 'a' : 'b')),
    );
    // 50 at 200 a second take 245 ms, less the 10 that may be made up for at once: no faster, however busy the machine.
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(150);
  });

  const interrupted = 'sends lines of standard input as they arrive, and after an interrupt tells what was sent';
  test.skipIf(noInterrupt)(`${interrupted} ${noInterrupt ?? ''}`, async () => {
    const { port, texts } = await receiver();
    const child = start('send', '-', '--to', `127.0.0.1:${port}`);
    const end = ended(child);
    child.stdin.write('first\nsec');
    await until(() => texts.length === 1);
    child.stdin.write('ond\nunfinished');
    await until(() => texts.length === 2);
    child.kill('SIGINT');
    const { code, summary, stderr } = await end;
    expect(stderr).toBe('');
    expect(code).toBe(130);
    expect(texts).toEqual(['first', 'second']);
    expect(summary['accepted']).toBe('2 datagrams, 11 bytes');
    expect(summary['node:dgram']).toBeUndefined();
  });

  test.each(['127.0.0.1', '[::1]'])(
    'a port of %s where nobody listens: connection-refused, exit code 1',
    async (host) => {
      const { port, socket } = await receiver(host === '[::1]' ? 'udp6' : 'udp4');
      sockets.length = 0;
      await new Promise<void>((resolve) => socket.close(resolve));
      for (const file of [fileOf('only one'), RECORDING]) {
        const { code, stderr } = await send(file, '--to', `${host}:${port}`);
        expect(code).toBe(1);
        expect(stderr).toMatch(/^wasi-udp: connection-refused: .*\n$/);
        expect(stderr).toContain('(1 datagram had been accepted before)');
      }
    },
  );

  test('an address that may not be sent to: its error code, exit code 1', async () => {
    const { code, stderr } = await send(RECORDING, '--to', '255.255.255.255:9');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasi-udp: access-denied: .*\n$/);
  });

  test('a name that is none: name-unresolvable, exit code 1', async () => {
    const { code, stderr } = await send(RECORDING, '--to', 'no-such-host.invalid:9');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasi-udp: name-unresolvable: .*no-such-host\.invalid.*\n$/);
  });

  test('a line that no datagram holds: named, with nothing sent', async () => {
    const { port, texts } = await receiver();
    const file = fileOf(`short\n${'x'.repeat(65_508)}\n`);
    const { code, stderr } = await send(file, '--to', `127.0.0.1:${port}`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasi-udp: datagram-too-large: .*65507 bytes, line 2 of .*\n$/);
    expect(texts).toEqual([]);
  });
});

describe('usage', () => {
  test.each([
    [['--batch', '0'], 'from 1 to 1024'],
    [['--batch', '1025'], 'from 1 to 1024'],
    [['--batch', 'many'], 'from 1 to 1024'],
    [['--rate', '0'], 'datagrams a second'],
    [['--rate', '5/m'], 'datagrams a second'],
    [['--repeat', '1.5'], 'a whole number'],
    [['--to', 'localhost'], 'HOST:PORT'],
    [['--to', '127.0.0.1:0'], 'HOST:PORT'],
    [['--to', '127.0.0.1:65536'], 'HOST:PORT'],
    [['--to', '::1:53'], 'HOST:PORT'],
    [['--to'], 'argument missing'],
    [['--bach', '5'], '--bach'],
    [['one', 'two'], 'too many arguments'],
    [['/no/such/file'], '/no/such/file (ENOENT)'],
    [[folder], 'EISDIR'],
  ])('send %j: one clear line, exit code 2', async (args, text) => {
    const { code, stderr, stdout } = await send(...args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^wasi-udp: .+\n$/);
    expect(stderr).toContain(text);
  });

  test('an unknown command: one clear line, exit code 2', async () => {
    const { code, stderr } = await ended(start('sned'));
    expect(code).toBe(2);
    expect(stderr).toMatch(/^wasi-udp: .*sned.*send.*\n$/);
  });

  test('--help and --version: exit code 0', async () => {
    const help = await ended(start('send', '--help'));
    expect(help.code).toBe(0);
    for (const option of ['--to', '--batch', '--rate', '--repeat', 'Examples:']) expect(help.stdout).toContain(option);
    const version = await ended(start('--version'));
    expect(version.code).toBe(0);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('examples/send.mjs', () => {
  test('sends its counters', async () => {
    const { port, texts } = await receiver();
    const { code, stdout } = await ended(spawn(process.execPath, [EXAMPLE, `127.0.0.1:${port}`]));
    expect(code).toBe(0);
    expect(stdout).toBe('1000 datagrams accepted\n');
    await until(() => texts.length === 1000);
    expect(texts.slice(0, 4)).toEqual(['requests:0|c', 'errors:1|c', 'retries:2|c', 'requests:3|c']);
  });

  test('is the example of the README', () => {
    expect(readFileSync(README, 'utf8')).toContain(readFileSync(EXAMPLE, 'utf8'));
  });
});
