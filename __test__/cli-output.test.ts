import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { formatSocketAddress, openUdp } from '../dist/index.js';
import { Command, MAIN } from './support/command.js';
import { component, noGuests } from './support/guests.js';
import { Listener, sendTo } from './support/listener.js';
import { RUNTIME } from './support/runtime.js';

const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
const input = path.join(folder, 'input');
writeFileSync(input, 'one\ntwo\n');

const opened: number[] = [];
afterEach(() => {
  for (const descriptor of opened.splice(0)) closeSync(descriptor);
});

/** A device that has no room for anything: full(4). */
const FULL = '/dev/full';
const noFull = !existsSync(FULL)
  ? '(/dev/full is not there)'
  : 'Deno' in globalThis
    ? "(Deno throws out of a write, the caller's or commander's)"
    : undefined;
function full(): number {
  opened.push(openSync(FULL, 'w'));
  return opened.at(-1)!;
}

const bytes = (text: string) => new TextEncoder().encode(text);

/** An address that takes datagrams and keeps few of them. */
const sink = openUdp({ local: '127.0.0.1:0' });
afterAll(() => sink[Symbol.dispose]());
const SINK = formatSocketAddress(sink.localAddress);

/** Commands that print and end by themselves, with their exit codes. */
const PRINTING: [string[], number][] = [
  [['--help'], 0],
  [['--version'], 0],
  [['send', '--help'], 0],
  [['compare', input], 0],
  [['send', input, '--to', SINK], 0],
  [['completion', 'bash'], 0],
  [['doctor'], 0],
];

describe('a reader of standard output that has gone', () => {
  test.each(PRINTING)('%j ends quietly, exit code %d', async (args, expected) => {
    const command = new Command(args);
    command.child.stdout!.destroy();
    expect(await command.end()).toBe(expected);
    expect(command.stderr).toBe('');
  });

  test.each([[[]], [['--count', '5']]])('listen %j ends with the next datagram, exit code 0', async (options) => {
    const listener = await Listener.start('127.0.0.1', options);
    sendTo(listener.address, [bytes('heard')]);
    await listener.until('stdout', 'heard\n');
    listener.child.stdout!.destroy();
    // What is under way while the reader goes is still written by some systems.
    const timer = setInterval(() => sendTo(listener.address, [bytes('unheard')]), 50);
    const code = await listener.end();
    clearInterval(timer);
    expect(code).toBe(0);
    expect(listener.stderr).toMatch(/^listening +\S+\nreceived +\d datagrams, \d+ bytes\ndropped .*\ntook .*\n$/);
  });

  test.skipIf(noGuests)(`ends a component that prints without end, exit code 0 ${noGuests ?? ''}`, async () => {
    const command = new Command(['run', component('prints')]);
    await command.until('stdout', 'line 1,');
    command.child.stdout!.destroy();
    expect(await command.end()).toBe(0);
    expect(command.stderr).toBe('');
  });
});

describe.skipIf(noFull)(`standard output on a full disk ${noFull ?? ''}`, () => {
  const guest = noGuests === undefined ? [[['run', component('prints')]]] : [];
  test.each([...PRINTING.map(([args]) => [args]), ...guest])('%j: one line, exit code 1', async (args) => {
    const command = new Command(args, { stdout: full() });
    expect(await command.end()).toBe(1);
    expect(command.stderr).toBe(
      'wasi-udp: standard output cannot be written (ENOSPC): what it had not taken is lost\n',
    );
  });

  test('ends listen, which tells what it received', async () => {
    const command = new Command(['listen', '127.0.0.1:0'], { stdout: full() });
    await command.until('stderr', '\n');
    sendTo(/^listening +(\S+)$/m.exec(command.stderr)![1]!, [bytes('lost')]);
    expect(await command.end()).toBe(1);
    expect(command.stderr).toMatch(/^wasi-udp: standard output cannot be written \(ENOSPC\): .*$/m);
    expect(command.stderr).toMatch(/^received +1 datagram, 4 bytes$/m);
  });
});

describe('standard error that takes nothing', () => {
  test('a reader that has gone does not end listen', async () => {
    const listener = await Listener.start('127.0.0.1', ['--count', '1']);
    listener.child.stderr!.destroy();
    sendTo(listener.address, [bytes('heard')]);
    expect(await listener.end()).toBe(0);
    expect(listener.stdout).toMatch(/heard\n$/);
  });

  test.skipIf(noFull)(`a full disk changes no exit code ${noFull ?? ''}`, async () => {
    expect(await new Command(['send', '/no/such/file', '--to', SINK], { stderr: full() }).end()).toBe(2);
  });
});

test.skipIf(process.platform === 'win32')('a help text is whole where the pipe is full at first', () => {
  const [runtime, ...args] = [...RUNTIME, MAIN, 'send', '--help'];
  const script = '{ head -c 65536 /dev/zero; "$0" "$@"; } | { sleep 1; tail -c +65537; }';
  const { stdout } = spawnSync('sh', ['-c', script, runtime!, ...args], { encoding: 'utf8' });
  expect(stdout).toMatch(/^Usage: /);
  expect(stdout).toContain('Exit codes: ');
});

test.skipIf(noGuests)(`what a component prints waits for its reader, and is whole ${noGuests ?? ''}`, async () => {
  const command = new Command(['run', component('prints'), '--', '20000']);
  command.child.stdout!.pause();
  await new Promise((resolve) => setTimeout(resolve, 500));
  command.child.stdout!.resume();
  expect(await command.end()).toBe(0);
  expect(command.stdout.split('\n').length).toBe(20_001);
});
