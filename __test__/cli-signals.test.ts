import { spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { Command } from './support/command.js';
import { component, noGuests } from './support/guests.js';
import { Listener, queued, sendTo } from './support/listener.js';
import { FAMILIES, Receiver } from './support/receiver.js';

const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
const input = path.join(folder, 'input');
writeFileSync(input, 'one\ntwo\n');

const receivers: Receiver[] = [];
const opened: number[] = [];
afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver[Symbol.asyncDispose]();
  for (const descriptor of opened.splice(0)) closeSync(descriptor);
});

async function openReceiver(): Promise<Receiver> {
  const receiver = await Receiver.open(FAMILIES[0]);
  receivers.push(receiver);
  return receiver;
}

/** The signals that end a command, and its exit codes then. */
const SIGNALS = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const;

/** A pipe that nobody reads: its end for writing. */
function unreadPipe(): number {
  const fifo = path.join(folder, `fifo-${Math.random()}`);
  spawnSync('mkfifo', [fifo]);
  opened.push(openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK), openSync(fifo, 'w'));
  return opened.at(-1)!;
}

/** One that is full from the start. */
function fullPipe(): number {
  const pipe = unreadPipe();
  const block = Buffer.alloc(4096);
  try {
    for (;;) writeSync(opened.at(-2)!, block);
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
  }
  return pipe;
}

/** Why blocking outputs cannot be tested; undefined where they can. */
const noBlocking =
  process.platform !== 'linux' ? '(needs Linux)' : 'Deno' in globalThis ? '(Deno waits in its writes)' : undefined;

describe.each(SIGNALS)('%s', (signal, code) => {
  test.skipIf(noBlocking)(`ends listen while nobody reads its output, and is told so ${noBlocking ?? ''}`, async () => {
    const listener = await Listener.start('127.0.0.1', [], { stdout: unreadPipe() });
    const payloads = Array.from({ length: 1000 }, () => new Uint8Array(1000).fill(65));
    do sendTo(listener.address, payloads);
    while (await settles(() => queued(listener.address) === 0));
    listener.signal(signal);
    expect(await listener.end()).toBe(0);
    expect(listener.stderr).toMatch(/^received +[\d,]+ datagrams, [\d,]+ bytes$/m);
    expect(listener.stderr).toMatch(/^wasi-udp: standard output has not taken all of it: nobody reads it$/m);
  });

  test.skipIf(noBlocking)(
    `ends send while nobody reads its summary, which standard error has then ${noBlocking ?? ''}`,
    async () => {
      const receiver = await openReceiver();
      const command = new Command(['send', input, '--to', receiver.text], { stdout: fullPipe() });
      await receiver.until(2);
      await new Promise((resolve) => setTimeout(resolve, 200));
      command.signal(signal);
      expect(await command.end()).toBe(code);
      expect(command.summary['accepted']).toBe('2 datagrams, 6 bytes');
    },
  );

  test('ends send while standard input is idle', async () => {
    const receiver = await openReceiver();
    const command = new Command(['send', '-', '--to', receiver.text], { stdin: 'pipe' });
    command.child.stdin!.write('one\ntwo\nthr');
    await receiver.until(2);
    command.signal(signal);
    expect(await command.end()).toBe(code);
    expect(command.stderr).toBe('');
    expect(command.summary['accepted']).toBe('2 datagrams, 6 bytes');
  });

  test.skipIf(process.platform !== 'linux')('ends send while it reads through a file, with nothing sent', async () => {
    const receiver = await openReceiver();
    const file = path.join(folder, 'long');
    writeFileSync(file, Buffer.alloc(150e6, '\n'));
    const command = new Command(['send', file, '--to', receiver.text]);
    while (!(await settles(() => command.hasOpen(file))));
    command.signal(signal);
    expect(await command.end()).toBe(code);
    expect(command.stdout).toBe('');
    expect(command.stderr).toBe('wasi-udp: interrupted before anything was sent\n');
    expect(receiver.texts).toEqual([]);
  });

  test('ends send while it waits for the rate', async () => {
    const receiver = await openReceiver();
    const command = new Command(['send', input, '--to', receiver.text, '--rate', '0.01', '--repeat', '9']);
    await receiver.until(1);
    command.signal(signal);
    expect(await command.end()).toBe(code);
    expect(command.summary['accepted']).toBe('1 datagram, 3 bytes');
  });

  // Deno hears of signals by sendto(2) too.
  test.skipIf('Deno' in globalThis)(
    'ends send while the system takes nothing, though the socket is writable',
    async ({ skip }) => {
      // As of a device whose queue is full. The traced process is the child: its tracer detaches itself.
      const calls = 'sendmmsg,sendmsg,sendto';
      const inject = ['-e', `trace=${calls}`, '-e', `inject=${calls}:error=ENOBUFS`];
      const strace = ['strace', '-D', '-f', '-qq', '-o', path.join(folder, 'trace'), ...inject];
      if (spawnSync(strace[0]!, [...strace.slice(1), 'true']).status !== 0) return skip('strace(1) is not there');
      const receiver = await openReceiver();
      // Not to a pipe: some runtimes write to those by the same calls.
      const file = path.join(folder, `output-${signal}`);
      opened.push(openSync(file, 'w'));
      const options = { wrapper: strace, stdout: opened.at(-1)! };
      const command = new Command(['send', input, '--to', receiver.text], options);
      while (!readFileSync(file, 'utf8').includes('sending')) await new Promise((resolve) => setTimeout(resolve, 20));
      await new Promise((resolve) => setTimeout(resolve, 500));
      command.signal(signal);
      expect(await command.end()).toBe(code);
      const summary = readFileSync(file, 'utf8');
      expect(summary).toMatch(/^accepted +0 datagrams, 0 bytes$/m);
      expect(summary).toMatch(/^blocked +[1-9][\d,]* times$/m);
      expect(receiver.texts).toEqual([]);
    },
  );

  test.skipIf(noGuests || process.platform === 'win32')(
    `ends a component whose output nobody reads ${noGuests ?? ''}`,
    async () => {
      const command = new Command(['run', component('prints')], { stdout: unreadPipe() });
      await new Promise((resolve) => setTimeout(resolve, 2000));
      command.signal(signal);
      expect(await command.end()).toBe(null);
      expect(command.child.signalCode).toBe(signal);
    },
  );
});

/** Whether something holds within half a second. */
async function settles(condition: () => boolean): Promise<boolean> {
  for (let i = 0; i < 50; i++) {
    if (condition()) return true;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return false;
}
