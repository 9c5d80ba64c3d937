import { spawnSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { formatSocketAddress, type OpenUdp, openUdp } from '../dist/index.js';
import { Command } from './support/command.js';
import { FAMILIES, Receiver } from './support/receiver.js';

const [IPV4, IPV6] = FAMILIES;
const folder = mkdtempSync(join(tmpdir(), 'wasi-udp-test-'));
const opened: number[] = [];
const receivers: Receiver[] = [];
const sinks: OpenUdp[] = [];
afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver[Symbol.asyncDispose]();
  for (const udp of sinks.splice(0)) udp[Symbol.dispose]();
  for (const descriptor of opened.splice(0)) closeSync(descriptor);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function openReceiver(): Promise<Receiver> {
  const receiver = await Receiver.open(IPV4);
  receivers.push(receiver);
  return receiver;
}

const newPath = () => join(folder, `input-${Math.random()}`);

function fileOf(content: string | Buffer): string {
  const path = newPath();
  writeFileSync(path, content);
  return path;
}

/** A sparse file: zeros, with a newline behind each `lineBytes`. */
function sparseFile(bytes: number, lineBytes: number): string {
  const path = newPath();
  const descriptor = openSync(path, 'w');
  ftruncateSync(descriptor, bytes);
  const newline = Buffer.from('\n');
  for (let at = lineBytes; at < bytes; at += lineBytes + 1) writeSync(descriptor, newline, 0, 1, at);
  closeSync(descriptor);
  return path;
}

function openFile(path: string, flags = 'r'): number {
  const descriptor = openSync(path, flags);
  opened.push(descriptor);
  return descriptor;
}

/** Waits for the end; the exit code, and the most memory that it had, looked at now and then. */
async function watched(command: Command): Promise<{ code: number | null; peak: number }> {
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, command.peak() ?? 0);
  }, 20);
  const code = await command.end();
  clearInterval(timer);
  return { code, peak };
}

/** Of Node.js alone: a heap that holds a small part of the datagrams as objects. */
const SMALL_HEAP = ['--max-old-space-size=64'];
const noHeapLimit = 'Bun' in globalThis || 'Deno' in globalThis;
const noProc = process.platform !== 'linux';

/** An address that takes datagrams and keeps few of them. */
function sink(): string {
  const udp = openUdp({ local: '127.0.0.1:0' });
  sinks.push(udp);
  return formatSocketAddress(udp.localAddress);
}

/** Resident memory that a command may have at most, whatever it reads: 400 MB; on a busy machine Bun's collector comes late. */
const FLAT = 'Bun' in globalThis ? 800e6 : 400e6;

describe('send of a long text', () => {
  test.skipIf(noHeapLimit)('takes no more memory the more lines a file has', async () => {
    const lines = 1_500_000;
    const file = fileOf('twenty bytes a line\n'.repeat(lines));
    const command = new Command(['send', file, '--to', sink()], { flags: SMALL_HEAP });
    expect(await command.end()).toBe(0);
    expect(command.summary['accepted']).toBe('1,500,000 datagrams, 28,500,000 bytes');
  });

  test.skipIf(noHeapLimit)('takes no more memory the more empty lines standard input has', async () => {
    const file = fileOf('\n'.repeat(600_000));
    const command = new Command(['send', '--to', sink()], { flags: SMALL_HEAP, stdin: openFile(file) });
    expect(await command.end()).toBe(0);
    expect(command.summary['accepted']).toBe('600,000 datagrams, 0 bytes');
  });

  test.skipIf(noProc)('sends a file of more than 2 GiB', async () => {
    const lines = 33_000;
    const file = sparseFile(lines * 65_501, 65_500);
    const command = new Command(['send', file, '--to', sink()]);
    const { code, peak } = await watched(command);
    rmSync(file);
    expect(command.stderr).toBe('');
    expect(code).toBe(0);
    expect(command.summary['accepted']).toBe('33,000 datagrams, 2,161,500,000 bytes');
    expect(peak).toBeLessThan(FLAT);
  });

  test.skipIf(noProc)('a gigabyte without a newline: one line, exit code 1, little memory', async () => {
    const file = sparseFile(1e9, 2e9);
    for (const [args, stdin] of [
      [[file], 'ignore'],
      [['-'], openFile(file)],
    ] as const) {
      const command = new Command(['send', ...args, '--to', sink()], { stdin });
      const { code, peak } = await watched(command);
      expect(code).toBe(1);
      expect(command.stderr).toMatch(/^wasi-udp: datagram-too-large: .*65507 bytes, line 1 of .*\n$/);
      expect(peak).toBeLessThan(FLAT);
    }
  });

  test('repeats a file that is read again for each round, with the same lines in the comparison', async () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `${i} ${'x'.repeat(i % 100)}`);
    const command = new Command(['compare', fileOf(lines.join('\r\n')), '--repeat', '3']);
    expect(await command.end()).toBe(0);
    const bytes = (3 * lines.join('').length).toLocaleString('en-US');
    expect(command.summary['accepted']).toBe(`60,000 datagrams, ${bytes} bytes`);
    expect(command.summary['batches']).toBe('235, 255.3 datagrams each');
    expect(command.summary['node:dgram']).toContain('received 60,000 of 60,000');
  });

  test('repeats standard input, up to a bound that is told', async () => {
    const short = new Command(['compare', '-', '--repeat', '3'], { stdin: openFile(fileOf('a\nbc\n\nd')) });
    expect(await short.end()).toBe(0);
    expect(short.summary['accepted']).toBe('12 datagrams, 12 bytes');
    expect(short.summary['node:dgram']).toContain('received 12 of 12');
    const file = sparseFile(300e6, 65_500);
    const long = new Command(['send', '--repeat', '3', '--to', sink()], { stdin: openFile(file) });
    expect(await long.end()).toBe(1);
    rmSync(file);
    expect(long.stderr).toMatch(
      /^wasi-udp: standard input is longer than .* --repeat: name a file \(\d+ datagrams had /,
    );
  });
});

describe('send of bytes of every kind', () => {
  test('lines over the bounds of what is read at once, carriage returns, NULs, no UTF-8, no newline at the end', async () => {
    const receiver = await openReceiver();
    const lines = Array.from({ length: 3000 }, (_, i) => {
      const bytes = Buffer.alloc(900 + (i % 7), i % 251);
      bytes.write(`${i}:`);
      return Buffer.from(bytes.map((byte) => (byte === 10 || byte === 13 ? 0 : byte)));
    });
    const ends = (i: number) => Buffer.from(i === lines.length - 1 ? '' : i % 3 === 0 ? '\r\n' : '\n');
    const file = fileOf(Buffer.concat(lines.flatMap((line, i) => [line, ends(i)])));
    const command = new Command(['send', file, '--to', receiver.text, '--rate', '6000']);
    expect(await command.end()).toBe(0);
    await receiver.until(lines.length);
    expect(Buffer.concat(receiver.received).equals(Buffer.concat(lines))).toBe(true);
    expect(receiver.received.map(({ length }) => length)).toEqual(lines.map(({ length }) => length));
  });

  test('the largest datagram of IPv6', async () => {
    const receiver = await Receiver.open(IPV6);
    receivers.push(receiver);
    const command = new Command(['send', fileOf('x'.repeat(65_527)), '--to', receiver.text]);
    expect(await command.end()).toBe(0);
    expect(command.stderr).toBe('');
    await receiver.until(1);
    expect(receiver.received[0]!.length).toBe(65_527);
  });
});

describe('send of what is no ordinary file', () => {
  const fifo = (): string | undefined => {
    const path = newPath();
    return spawnSync('mkfifo', [path]).status === 0 ? path : undefined;
  };

  test('a FIFO: its lines as they arrive', async ({ skip }) => {
    const path = fifo();
    if (path === undefined) return skip('mkfifo(1) is not there');
    const receiver = await openReceiver();
    const command = new Command(['send', path, '--to', receiver.text]);
    const writer = openSync(path, 'w');
    writeSync(writer, 'first\nsec');
    await receiver.until(1);
    writeSync(writer, 'ond\nthird');
    await receiver.until(2);
    closeSync(writer);
    expect(await command.end()).toBe(0);
    await receiver.until(3);
    expect(receiver.texts).toEqual(['first', 'second', 'third']);
  });

  const noEnd =
    'Bun' in globalThis || 'Deno' in globalThis ? '(Bun and Deno do not end while a FIFO is being opened)' : undefined;
  test.skipIf(noEnd)(`a FIFO that nobody writes to: an interrupt ends it ${noEnd ?? ''}`, async ({ skip }) => {
    const path = fifo();
    if (path === undefined) return skip('mkfifo(1) is not there');
    const command = new Command(['send', path, '--to', sink()]);
    await command.until('stdout', 'sending');
    command.signal('SIGINT');
    expect(await command.end()).toBe(130);
    expect(command.summary['accepted']).toBe('0 datagrams, 0 bytes');
  });

  test('a folder as standard input: one line, exit code 2', async () => {
    const command = new Command(['send', '-', '--to', sink()], { stdin: openFile(folder) });
    expect(await command.end()).toBe(2);
    expect(command.stderr).toBe(
      'wasi-udp: cannot read standard input (EISDIR): name a file, or - for standard input\n',
    );
  });

  test.skipIf(noProc)('a file of /proc, which tells no size: its lines', async () => {
    const command = new Command(['send', '/proc/self/limits', '--to', sink()]);
    expect(await command.end()).toBe(0);
    expect(command.summary['accepted']).toMatch(/^1\d datagrams, /);
  });

  test('a file that becomes shorter while it is read: one line, what was sent, exit code 1', async () => {
    const receiver = await openReceiver();
    const file = fileOf(`${'x'.repeat(999)}\n`.repeat(4000));
    const command = new Command(['send', file, '--to', receiver.text, '--rate', '1000']);
    await receiver.until(1);
    truncateSync(file, 1_100_000);
    expect(await command.end()).toBe(1);
    expect(command.stderr).toMatch(
      /^wasi-udp: .* became shorter while it was read, 4000000 bytes when it was opened and now 1100000: .*\(1\d\d\d datagrams had been accepted before\)\n$/,
    );
  });
});
