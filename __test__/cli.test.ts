import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { closedPort, FAMILIES, type FamilyCase, Receiver } from './support/receiver.js';
import { RUNTIME } from './support/runtime.js';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const EXAMPLE = fileURLToPath(new URL('../examples/send.mjs', import.meta.url));
const RECORDING = fileURLToPath(new URL('../examples/vmstat.txt', import.meta.url));
const PAGE = fileURLToPath(new URL('../docs/sending.md', import.meta.url));

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

async function run(...args: string[]): Promise<Ended> {
  const child = start(...args);
  child.stdin.end();
  return await ended(child);
}

const send = (...args: string[]) => run('send', ...args);
const compare = (...args: string[]) => run('compare', ...args);

const [IPV4, IPV6] = FAMILIES;
const receivers: Receiver[] = [];
afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver[Symbol.asyncDispose]();
});

/** A receiver of the test's. */
async function open(familyCase: FamilyCase = IPV4): Promise<Receiver> {
  const receiver = await Receiver.open(familyCase);
  receivers.push(receiver);
  return receiver;
}

/** What was sent may be read after the sender's end. */
async function expectArrived(receiver: Receiver, texts: string[]): Promise<void> {
  await receiver.until(texts.length);
  expect(receiver.texts).toEqual(texts);
}

describe('compare', () => {
  test('sends a file, loses nothing, compares with node:dgram, draws no bar in a pipe', async () => {
    const lines = readFileSync(RECORDING, 'utf8').trimEnd().split('\n');
    const { code, summary, stderr, stdout } = await compare(RECORDING, '--repeat', '20');
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

  test('sends two recordings up to 200,000 datagrams each where no file is named, and says which is which', async () => {
    const { code, stdout, stderr } = await compare();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [equal, mixed] = stdout.split('\n\n');
    expect(equal).toMatch(/^sending +vmstat\.txt, lines of equal length: the best case/);
    expect(mixed).toMatch(/^sending +dpkg\.log, lines of every length, as a log has them/);
    for (const part of [equal, mixed]) {
      expect(part).toMatch(/^accepted +200,000 datagrams, /m);
      expect(part).toMatch(/^received +200,000, counted by the receiver$/m);
      expect(part).toMatch(/^lost +0$/m);
      expect(part).toMatch(/^node:dgram .*, received 200,000 of 200,000$/m);
      expect(part).toMatch(/^ratio +[\d.]+ times as fast as node:dgram$/m);
    }
  });

  test('its recordings are what it says: one has lines of equal length, the other of many', () => {
    const lengths = (name: string) => {
      const file = fileURLToPath(new URL(`../examples/${name}`, import.meta.url));
      return new Set(Array.from(readFileSync(file, 'utf8').trimEnd().split('\n'), ({ length }) => length)).size;
    };
    // The last columns of vmstat grow now and then.
    expect(lengths('vmstat.txt')).toBeLessThan(4);
    expect(lengths('dpkg.log')).toBeGreaterThan(30);
  });

  test('repeats a recording as often as --repeat says', async () => {
    const { stdout } = await compare('--repeat', '2');
    expect(stdout.match(/^accepted +960 datagrams/gm)).toHaveLength(2);
  });

  test('keeps datagrams of every size within what the receiver holds', async () => {
    const sizes = [0, 1, 64, 512, 1200, 1472, 4096, 9000, 33_000, 65_507];
    const file = fileOf(sizes.map((size) => `${'x'.repeat(size)}\n`.repeat(100)).join(''));
    const { code, summary } = await compare(file, '--batch', '1024');
    expect(code).toBe(0);
    expect(summary['received']).toBe('1,000, counted by the receiver');
    expect(summary['lost']).toBe('0');
    expect(summary['node:dgram']).toContain('received 1,000 of 1,000');
  });

  test('sends no more than --batch at once', async () => {
    const { summary } = await compare(RECORDING, '--batch', '7');
    expect(summary['batches']).toBe('69, 7.0 datagrams each');
  });

  test('reads standard input to its end', async () => {
    const child = start('compare', '-');
    child.stdin.end('one\ntwo\nthree');
    const { code, summary } = await ended(child);
    expect(code).toBe(0);
    expect(summary['accepted']).toBe('3 datagrams, 11 bytes');
    expect(summary['received']).toBe('3, counted by the receiver');
    expect(summary['node:dgram']).toContain('received 3 of 3');
  });

  test('has nothing to say about an empty input', async () => {
    const { code, summary } = await compare(fileOf(''));
    expect(code).toBe(0);
    expect(summary['accepted']).toBe('0 datagrams, 0 bytes');
    expect(summary['ratio']).toBe('nothing was sent');
  });

  test('draws a bar on a terminal', async ({ skip }) => {
    const command = [...RUNTIME, MAIN, 'compare'].map((word) => `'${word}'`).join(' ');
    const child = spawn('script', ['-qec', command, '/dev/null']);
    const failure = new Promise<null>((resolve) => child.on('error', () => resolve(null)));
    child.stdin.end();
    const result = await Promise.race([ended(child), failure]);
    if (result === null) return skip('script(1) is not installed');
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('of 200000 datagrams');
    expect(result.stdout.match(/received {4}200,000, counted by the receiver/g)).toHaveLength(2);
  });
});

describe('send --to', () => {
  test('sends each line once, the empty ones too, without line ends', async () => {
    const receiver = await open();
    const { code, summary, stdout } = await send(fileOf('one\n\ntwo\r\nthree ö\n'), '--to', receiver.text);
    expect(code).toBe(0);
    expect(stdout).toContain(`to ${receiver.text}\n`);
    await expectArrived(receiver, ['one', '', 'two', 'three ö']);
    expect(summary['accepted']).toBe('4 datagrams, 14 bytes');
    for (const label of ['received', 'lost', 'refused', 'node:dgram', 'ratio']) expect(summary[label]).toBeUndefined();
  });

  test('sends to IPv6, and to a name', async () => {
    const receiver = await open(IPV6);
    expect((await send(fileOf('a'), '--to', receiver.text)).code).toBe(0);
    await expectArrived(receiver, ['a']);
    const named = await open();
    expect((await send(fileOf('b'), '--to', `localhost:${named.address.val.port}`)).code).toBe(0);
    await expectArrived(named, ['b']);
  });

  test('sends everything, though nobody reads its summary', async () => {
    const receiver = await open();
    const child = start('send', RECORDING, '--to', receiver.text);
    child.stdin.end();
    child.stdout.destroy();
    const { code, stderr } = await ended(child);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    await receiver.until(480);
    expect(receiver.texts.length).toBe(480);
  });

  test('repeats, evenly by --rate', async () => {
    const receiver = await open();
    const times: number[] = [];
    receiver.socket.on('message', () => times.push(performance.now()));
    const { code } = await send(fileOf('a\nb\n'), '--to', receiver.text, '--rate', '200/s', '--repeat', '25');
    expect(code).toBe(0);
    await expectArrived(
      receiver,
      Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? 'a' : 'b')),
    );
    // 50 at 200 a second take 245 ms, less the 10 that may be made up for at once: no faster, however busy the machine.
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(150);
  });

  test('sends lines of standard input as they arrive, and after an interrupt tells what was sent', async () => {
    const receiver = await open();
    const child = start('send', '-', '--to', receiver.text);
    const end = ended(child);
    child.stdin.write('first\nsec');
    await receiver.until(1);
    child.stdin.write('ond\nunfinished');
    await receiver.until(2);
    // Not by kill() of the child: Deno takes a child that got a signal that way for ended by it.
    process.kill(child.pid!, 'SIGINT');
    const { code, summary, stderr } = await end;
    expect(stderr).toBe('');
    expect(code).toBe(130);
    expect(receiver.texts).toEqual(['first', 'second']);
    expect(summary['accepted']).toBe('2 datagrams, 11 bytes');
    expect(summary['node:dgram']).toBeUndefined();
  });

  test.each(FAMILIES)(
    'a port of $loopback where nobody listens: connection-refused, exit code 1',
    async (familyCase) => {
      for (const file of [fileOf('only one'), RECORDING]) {
        const { code, stderr } = await send(file, '--to', closedPort(familyCase));
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
    const receiver = await open();
    const file = fileOf(`short\n${'x'.repeat(65_508)}\n`);
    const { code, stderr } = await send(file, '--to', receiver.text);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasi-udp: datagram-too-large: .*65507 bytes, line 2 of .*\n$/);
    expect(receiver.texts).toEqual([]);
  });
});

describe('usage', () => {
  test.each([
    [[], 'send needs --to HOST:PORT'],
    [[RECORDING], 'send needs --to HOST:PORT'],
    [['--to', '127.0.0.1:9', RECORDING, '--size', '5'], '--size sends datagrams in place of a text'],
    [['--to', '127.0.0.1:9', '--size', '65508'], 'holds at most 65507 bytes, got --size 65508'],
    [['--to', '127.0.0.1:9', '--size', 'big'], 'a whole number'],
    [['--to', '127.0.0.1:9', '--duration', '0'], 'It takes seconds'],
    [['--to', '127.0.0.1:9', '--duration', '9999999'], 'up to 2147483'],
    [['--to', '127.0.0.1:9', '-4', '-6'], '--ipv4 and --ipv6 take one family'],
    [['--to', '127.0.0.1:9', '--interface', 'none0'], '"none0"'],
    [['--to', '127.0.0.1:9', '--interface', 'none0'], 'wasi-udp: --interface: an interface is a name'],
    [['--batch', '0'], 'from 1 to 1024'],
    [['--batch', '1025'], 'from 1 to 1024'],
    [['--batch', 'many'], 'from 1 to 1024'],
    [['--rate', '0'], 'datagrams a second'],
    [['--rate', '5/m'], 'datagrams a second'],
    [['--repeat', '1.5'], 'a whole number'],
    [['--to', 'localhost'], 'HOST:PORT'],
    [['--to', '127.0.0.1:0'], 'HOST:PORT'],
    [['--to', '127.0.0.1:65536'], 'HOST:PORT'],
    [['--to', '127.0.0.1:65536'], 'a port from 1 to 65535'],
    [['--to', '[fe80::1%none0]:9'], 'a zone is the name of an interface'],
    [['--to', '::1:53'], 'HOST:PORT'],
    [['--to'], 'argument missing'],
    [['--bach', '5'], '--bach'],
    [['one', 'two'], 'too many arguments'],
    [['one', 'two'], 'see wasi-udp send --help'],
    [['--to', '127.0.0.1:9', ''], "cannot read '' (ENOENT)"],
    [['--to', '127.0.0.1:9', '/no/such/file'], '/no/such/file (ENOENT)'],
    [['--to', '127.0.0.1:9', folder], 'EISDIR'],
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
    const far = await ended(start('frobnicate'));
    expect(far).toMatchObject({ code: 2, stderr: "wasi-udp: unknown command 'frobnicate': see wasi-udp --help\n" });
  });

  test('a broadcast address names --broadcast; a link-local address without its interface names that', async () => {
    const { code, stderr } = await send(RECORDING, '--to', '255.255.255.255:9');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasi-udp: access-denied: .*: a broadcast address takes --broadcast\n$/);
    const local = await send(RECORDING, '--to', '[fe80::1]:9');
    expect(local.code).toBe(1);
    expect(local.stderr).toMatch(
      /^wasi-udp: (invalid-argument: .*--to \[fe80::1%eth0\]:PORT|remote-unreachable: .*)\n$/,
    );
  });

  test('a rate of less than one in days waits', async () => {
    const receiver = await open();
    const { code, stderr } = await send(
      fileOf('a\nb\n'),
      '--to',
      receiver.text,
      '--rate',
      '.0000001',
      '--duration',
      '.5',
    );
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(receiver.texts).toEqual(['a']);
  });

  test('--help and --version: exit code 0', async () => {
    const help = await ended(start('send', '--help'));
    expect(help.code).toBe(0);
    for (const option of ['--to', '--batch', '--rate', '--repeat', 'Examples:']) expect(help.stdout).toContain(option);
    for (const command of ['compare', 'listen', 'run', 'doctor', 'completion']) {
      const { code, stdout } = await ended(start(command, '--help'));
      expect(code, command).toBe(0);
      expect(stdout).toMatch(new RegExp(`^Usage: wasi-udp ${command} `));
      expect(stdout).toContain('Exit codes: ');
    }
    const version = await ended(start('--version'));
    expect(version.code).toBe(0);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('examples/send.mjs', () => {
  test('sends its counters', async () => {
    const receiver = await open();
    const { code, stdout } = await ended(spawn(process.execPath, [EXAMPLE, receiver.text]));
    expect(code).toBe(0);
    expect(stdout).toBe('1000 datagrams accepted\n');
    await receiver.until(1000);
    expect(receiver.texts.length).toBe(1000);
    expect(receiver.texts.slice(0, 4)).toEqual(['requests:0|c', 'errors:1|c', 'retries:2|c', 'requests:3|c']);
  });

  test('is the example of docs/sending.md', () => {
    expect(readFileSync(PAGE, 'utf8')).toContain(readFileSync(EXAMPLE, 'utf8'));
  });
});
