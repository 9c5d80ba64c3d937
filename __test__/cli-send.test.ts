import { spawn } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { closeSync, openSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { type OpenUdp, openUdp } from '../dist/index.js';
import { Command, MAIN } from './support/command.js';
import { createSocket } from './support/dgram.mjs';
import { closedPort, FAMILIES, Receiver } from './support/receiver.js';
import { RUNTIME } from './support/runtime.js';

const [IPV4, IPV6] = FAMILIES;
const receivers: Receiver[] = [];
const opened: number[] = [];
afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver[Symbol.asyncDispose]();
  for (const descriptor of opened.splice(0)) closeSync(descriptor);
});

async function open(familyCase = IPV4 as (typeof FAMILIES)[number]): Promise<Receiver> {
  const receiver = await Receiver.open(familyCase);
  receivers.push(receiver);
  return receiver;
}

function device(path: string): number {
  opened.push(openSync(path, 'r'));
  return opened.at(-1)!;
}

/** Runs it with a pipe as standard input, through which the text comes. */
async function piped(text: string, ...args: string[]): Promise<Command & { code: number | null }> {
  const command = new Command(['send', ...args], { stdin: 'pipe' });
  command.child.stdin!.end(text);
  return Object.assign(command, { code: await command.end() });
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('send without FILE', () => {
  test('sends the lines of standard input where it is a pipe, as nc does', async () => {
    const receiver = await open();
    const { code, summary, stderr } = await piped('hi\nthere\n', '--to', receiver.text);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(summary['accepted']).toBe('2 datagrams, 7 bytes');
    await receiver.until(2);
    expect(receiver.texts).toEqual(['hi', 'there']);
  });

  test('an empty pipe: nothing is sent, which is told, exit code 0', async () => {
    const receiver = await open();
    const { code, summary, stderr } = await piped('', '--to', receiver.text);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: 'wasi-udp: standard input is empty: nothing was sent\n',
    });
    expect(summary['accepted']).toBe('0 datagrams, 0 bytes');
    expect(receiver.texts).toEqual([]);
  });

  const nothing = /^wasi-udp: send takes a FILE, lines piped into it, .*: see wasi-udp send --help\r?\n$/;

  test.skipIf(process.platform === 'win32')('/dev/null is no input: exit code 2', async () => {
    const receiver = await open();
    const command = new Command(['send', '--to', receiver.text], { stdin: device('/dev/null') });
    expect(await command.end()).toBe(2);
    expect(command.stdout).toBe('');
    expect(command.stderr).toMatch(nothing);
    await pause(50);
    expect(receiver.texts).toEqual([]);
  });

  test.skipIf(process.platform === 'win32')('/dev/null that is named by - has no lines: exit code 0', async () => {
    const receiver = await open();
    const command = new Command(['send', '-', '--to', receiver.text], { stdin: device('/dev/null') });
    expect(await command.end()).toBe(0);
    expect(command.stderr).toBe('wasi-udp: standard input is empty: nothing was sent\n');
  });

  test('a terminal is no input: exit code 2', async ({ skip }) => {
    const receiver = await open();
    const words = [...RUNTIME, MAIN, 'send', '--to', receiver.text].map((word) => `'${word}'`).join(' ');
    const child = spawn('script', ['-qec', words, '/dev/null']);
    const failure = new Promise<null>((resolve) => child.on('error', () => resolve(null)));
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    const result = await Promise.race([new Promise<number>((resolve) => child.on('close', resolve)), failure]);
    if (result === null) return skip('script(1) is not installed');
    expect(result).toBe(2);
    expect(output).toMatch(nothing);
  });

  test('-- ends the options', async () => {
    const command = new Command(['send', '--to', '127.0.0.1:9', '--', '--no-such-file']);
    expect(await command.end()).toBe(2);
    expect(command.stderr).toMatch(/^wasi-udp: cannot read --no-such-file \(ENOENT\): /);
  });
});

describe('send of generated datagrams', () => {
  test('--size and --repeat: so many of so many bytes', async () => {
    const receiver = await open();
    const command = new Command(['send', '--to', receiver.text, '--size', '1200', '--repeat', '100']);
    expect(await command.end()).toBe(0);
    expect(command.summary['accepted']).toBe('100 datagrams, 120,000 bytes');
    expect(command.summary['rate']).toMatch(/^[\d,]+ datagrams a second, [\d.]+ Mbit\/s of payload$/);
    await receiver.until(100);
    expect(new Set(receiver.received.map(({ length }) => length))).toEqual(new Set([1200]));
  });

  test('--size and --duration: for so long', async () => {
    const receiver = await open();
    const started = performance.now();
    const command = new Command(['send', '--to', receiver.text, '--size', '10', '--duration', '0.5', '--rate', '.4k']);
    expect(await command.end()).toBe(0);
    expect(performance.now() - started).toBeGreaterThan(500);
    await receiver.until(1);
    // 400 a second for half a second: no more, however busy the machine, but for what may be made up for at once.
    expect(receiver.received.length).toBeLessThanOrEqual(221);
  });

  test('--duration ends a wait for lines, exit code 0', async () => {
    const receiver = await open();
    const command = new Command(['send', '-', '--to', receiver.text, '--duration', '1'], { stdin: 'pipe' });
    command.child.stdin!.write('one\ntw');
    expect(await command.end()).toBe(0);
    expect(command.stderr).toBe('');
    expect(command.summary['accepted']).toBe('1 datagram, 3 bytes');
  });
});

describe('send --json', () => {
  test('prints the summary as one object, and nothing else', async () => {
    const receiver = await open();
    const { code, stdout, stderr } = await piped('one\nthree\n', '--to', receiver.text, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^\{.*\}\n$/);
    expect(JSON.parse(stdout)).toEqual({
      to: receiver.text,
      accepted: 2,
      bytes: 8,
      refused: {},
      batches: expect.any(Number),
      blocked: 0,
      seconds: expect.any(Number),
      sendingSeconds: expect.any(Number),
    });
  });
});

// Deno's receivers of these tests tell no host: see support/dgram.mjs.
const tellsNoHost = 'Deno' in globalThis;

describe.skipIf(tellsNoHost)('send --replies', () => {
  /** A server that answers each datagram twice. */
  async function echo() {
    const server = createSocket({ type: 'udp4' });
    server.on('message', (message, { port, address }) => {
      server.send(message, port, address);
      server.send(`${message}!`, port, address);
    });
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    return { text: `127.0.0.1:${server.address().port}`, [Symbol.dispose]: () => server.close() };
  }

  test('prints what comes back; the summary goes to standard error', async () => {
    using server = await echo();
    const { code, stdout, stderr, summary } = await piped('one\ntwo\\\n', '--to', server.text, '--replies', '0.5');
    expect(code).toBe(0);
    expect(stdout.split('\n').toSorted()).toEqual(['', 'one', 'one!', 'two\\\\', 'two\\\\!']);
    expect(stderr).toMatch(/^sending +standard input to /);
    expect(summary['replies']).toBe('4 datagrams');
  });

  test('--json: objects on standard output, the summary on standard error', async () => {
    using server = await echo();
    const { code, stdout, stderr } = await piped('hi', '--to', server.text, '--json', '--replies');
    expect(code).toBe(0);
    const objects = stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(objects).toEqual([
      { from: server.text, bytes: 2, base64: 'aGk=' },
      { from: server.text, bytes: 3, base64: 'aGkh' },
    ]);
    expect(JSON.parse(stderr)).toMatchObject({ accepted: 1, replies: 2 });
  });

  test('nothing that comes back: ends after so long', async () => {
    const receiver = await open();
    const { code, stdout, summary } = await piped('hi', '--to', receiver.text, '--replies', '0.1');
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(summary['replies']).toBe('0 datagrams');
  });

  test('a refusal that a receive is told is told all the same, exit code 1', async () => {
    const { code, stderr } = await piped('hi', '--to', closedPort(IPV4), '--replies', '0.1');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasi-udp: connection-refused: /m);
    expect(stderr).toMatch(/^refused +1 time, connection-refused$/m);
  });
});

describe('send behind a refusal', () => {
  test('lines as they come go on: told once, counted, exit code 1, and what follows arrives', async () => {
    // A port that is free, and becomes a receiver's.
    let udp: OpenUdp = openUdp({ local: '127.0.0.1:0' });
    const { port } = udp.localAddress.val;
    udp[Symbol.dispose]();
    const command = new Command(['send', '--to', `127.0.0.1:${port}`], { stdin: 'pipe' });
    let lost = 0;
    const timer = setInterval(() => {
      command.child.stdin!.write('lost\n');
      lost += 1;
    }, 50);
    await command.until('stderr', '(sending goes on, and later ones are counted)\n');
    clearInterval(timer);
    expect(command.stderr).toMatch(/^wasi-udp: connection-refused: .*\n$/);
    udp = openUdp({ local: `127.0.0.1:${port}` });
    try {
      command.child.stdin!.end('heard 1\nheard 2\n');
      expect(await command.end()).toBe(1);
      const texts = udp.incoming.receive().map(({ data }) => Buffer.from(data).toString());
      // What was on its way while the receiver opened may have found it.
      expect(texts.filter((text) => text !== 'lost')).toEqual(['heard 1', 'heard 2']);
    } finally {
      udp[Symbol.dispose]();
    }
    expect(command.summary['accepted']).toBe(`${lost + 2} datagrams, ${4 * lost + 14} bytes`);
    expect(command.summary['refused']).toMatch(/^[1-9]\d* times?, connection-refused$/);
    expect(command.stderr.match(/connection-refused/g)).toHaveLength(1);
  });

  test('--json counts refusals by code', async () => {
    const { code, stdout } = await piped('a\nb\n', '--to', closedPort(IPV6), '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout).refused).toEqual({ 'connection-refused': expect.any(Number) });
  });
});

describe('send of options of the socket', () => {
  test.skipIf(tellsNoHost)('--from: the source', async () => {
    const receiver = await open();
    await piped('hi', '--to', receiver.text, '--from', '127.0.0.3:0');
    await receiver.until(1);
    expect(receiver.sources[0]!.address).toBe('127.0.0.3');
  });

  test('-4 and -6: the family of a name', async ({ skip }) => {
    const hasBoth = await lookup('localhost', 6).catch(() => undefined);
    if (hasBoth === undefined) return skip('localhost has no IPv6 address here');
    const [four, six] = [await open(IPV4), await open(IPV6)];
    for (const [option, receiver] of [
      ['-4', four],
      ['-6', six],
    ] as const) {
      const { code } = await piped(option, '--to', `localhost:${receiver.address.val.port}`, option);
      expect(code).toBe(0);
      await receiver.until(1);
    }
    expect([four.texts, six.texts]).toEqual([['-4'], ['-6']]);
  });

  test('-6 of a name that has no such address: name-unresolvable', async ({ skip }) => {
    const address = await lookup('localhost', 6).catch(() => undefined);
    if (address !== undefined) return skip('localhost has an IPv6 address here');
    const { code, stderr } = await piped('hi', '--to', 'localhost:9', '-6');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wasi-udp: name-unresolvable: /);
  });

  test.skipIf(process.platform !== 'linux')('--broadcast: lets broadcast addresses be sent to', async () => {
    const refused = await piped('hi', '--to', '127.255.255.255:9');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/^wasi-udp: access-denied: /);
    expect((await piped('hi', '--to', '127.255.255.255:9', '--broadcast')).code).toBe(0);
  });

  test.skipIf(process.platform !== 'linux')('--interface and --ttl, to a group that listen has joined', async () => {
    const listener = new Command(['listen', '0', '--group', '239.1.2.3', '--interface', 'lo', '--count', '1']);
    await listener.until('stderr', '\n');
    const port = /:(\d+)$/m.exec(listener.stderr)![1];
    const { code } = await piped('hi', '--to', `239.1.2.3:${port}`, '--interface', 'lo', '--ttl', '3');
    expect(code).toBe(0);
    expect(await listener.end()).toBe(0);
    expect(listener.stdout).toMatch(/ {2}hi\n$/);
  });
});
