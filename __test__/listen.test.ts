import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { MAIN } from './support/command.js';
import { Listener, queued, sendTo } from './support/listener.js';
import { FAMILIES } from './support/receiver.js';
import { noNamespaces, RUNTIME, run, unshared } from './support/runtime.js';

const bytes = (text: string) => new TextEncoder().encode(text);

describe.each(FAMILIES)('wasi-udp listen over $family', ({ loopback }) => {
  it('prints payloads as text, with what is not printable escaped', async () => {
    const listener = await Listener.start(loopback, ['--count', '6']);
    const payloads = [
      bytes('hello'),
      bytes(''),
      bytes('a\tb\\c\nd\re\u0000\u001b[0m'),
      bytes('Grüße 日本 🎉\u0085\u200b'),
      Uint8Array.of(0xff, 0x41, 0x0a, 0xc3),
      bytes('last'),
    ];
    const from = sendTo(listener.address, payloads);
    expect(await listener.end()).toBe(0);
    const texts = [
      'hello',
      '',
      'a\\tb\\\\c\\nd\\re\\x00\\x1b[0m',
      'Grüße 日本 🎉\\x85\\u{200b}',
      '\\xffA\\n\\xc3',
      'last',
    ];
    expect(listener.stdout).toBe(texts.map((text) => `${from}  ${text}\n`).join(''));
    const total = payloads.reduce((sum, { length }) => sum + length, 0);
    expect(listener.stderr).toMatch(new RegExp(`^received +6 datagrams, ${total} bytes\ndropped +0 `, 'm'));
  });

  it('prints hexadecimal', async () => {
    const listener = await Listener.start(loopback, ['--hex', '--count', '2']);
    const from = sendTo(listener.address, [Uint8Array.of(0, 255, 16), new Uint8Array(0)]);
    expect(await listener.end()).toBe(0);
    expect(listener.stdout).toBe(`${from}  00ff10\n${from}  \n`);
  });

  it('prints JSON', async () => {
    const listener = await Listener.start(loopback, ['--json', '--count', '2']);
    const from = sendTo(listener.address, [Uint8Array.of(0, 255, 16), bytes('x')]);
    expect(await listener.end()).toBe(0);
    const objects = listener.stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(objects).toEqual([
      { from, bytes: 3, base64: 'AP8Q' },
      { from, bytes: 1, base64: 'eA==' },
    ]);
  });

  it('prints when each was received: before a line, and in an object', async () => {
    const from = Date.now();
    const listener = await Listener.start(loopback, ['--timestamps', '--count', '1']);
    const source = sendTo(listener.address, [bytes('x')]);
    expect(await listener.end()).toBe(0);
    const [time, rest] = [listener.stdout.slice(0, 24), listener.stdout.slice(24)];
    expect(rest).toBe(`  ${source}  x\n`);
    expect(new Date(time).toISOString()).toBe(time);
    expect(Date.parse(time)).toBeGreaterThanOrEqual(from);
    expect(Date.parse(time)).toBeLessThanOrEqual(Date.now());
    const second = await Listener.start(loopback, ['--timestamps', '--json', '--count', '1']);
    sendTo(second.address, [bytes('x')]);
    expect(await second.end()).toBe(0);
    expect(JSON.parse(second.stdout).time).toMatch(/^\d{4}-.*Z$/);
  });

  it('counts alone, and ends at exactly the count', async () => {
    const listener = await Listener.start(loopback, ['--quiet', '--count', '100']);
    sendTo(
      listener.address,
      Array.from({ length: 150 }, () => bytes('counted')),
    );
    expect(await listener.end()).toBe(0);
    expect(listener.stdout).toBe('');
    expect(listener.stderr).toMatch(/^received +100 datagrams, 700 bytes$/m);
  });

  it.skipIf(process.platform !== 'linux')(
    'tells what the system dropped: received and dropped are all that was sent',
    async () => {
      const listener = await Listener.start(loopback, ['--quiet']);
      listener.signal('SIGSTOP');
      const total = 100_000;
      sendTo(
        listener.address,
        Array.from({ length: total }, () => new Uint8Array(900)),
      );
      listener.signal('SIGCONT');
      const received = () => Number(/^received +([\d,]+)/m.exec(listener.stderr)![1]!.replaceAll(',', ''));
      const dropped = () => Number(/^dropped +([\d,]+)/m.exec(listener.stderr)![1]!.replaceAll(',', ''));
      while (queued(listener.address) > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      listener.signal('SIGINT');
      expect(await listener.end()).toBe(0);
      expect(dropped()).toBeGreaterThan(0);
      expect(received() + dropped()).toBe(total);
    },
  );
});

describe('wasi-udp listen', () => {
  it('a port alone: every address, of IPv4 and of IPv6', async () => {
    const listener = new Listener(['listen', '0', '--count', '2']);
    await listener.until('stderr', '\n');
    expect(listener.address).toMatch(/^\[::\]:\d+$/);
    const port = listener.address.slice('[::]:'.length);
    for (const { loopback } of FAMILIES) sendTo(`${loopback}:${port}`, [bytes(loopback)]);
    expect(await listener.end()).toBe(0);
    expect(listener.stdout).toMatch(/^127\.0\.0\.1:\d+ {2}127\.0\.0\.1\n\[::1\]:\d+ {2}\[::1\]\n$/);
    expect(listener.stderr).toMatch(/^dropped +0 /m);
  });

  it.skipIf(noNamespaces)(
    `a port alone, where there is no IPv6: every address of IPv4 ${noNamespaces ?? ''}`,
    async () => {
      // In the shell's place, so that the command itself gets the signal.
      const setup = 'sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 || true\nexec "$0" "$@"';
      const listener = new Listener(['listen', '0'], { wrapper: unshared(setup, []) });
      await listener.until('stderr', '\n');
      listener.signal('SIGINT');
      expect(await listener.end()).toBe(0);
      expect(listener.stderr).toMatch(/^listening +(\[::\]|0\.0\.0\.0):\d+$/m);
    },
  );

  it.skipIf(process.platform === 'win32')(
    'head(1) behind it: ends with the next datagram, and without a word of it',
    async () => {
      const [runtime, ...args] = [...RUNTIME, MAIN, 'listen', '127.0.0.1:0'];
      // Where its standard input is a socket, bash reads the user's .bashrc, and that may print something.
      const child = spawn('bash', ['--norc', '-c', 'set -o pipefail; "$0" "$@" | head -n 1', runtime!, ...args]);
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (chunk) => (stdout += chunk));
      child.stderr.on('data', (chunk) => (stderr += chunk));
      while (!stderr.includes('\n')) await once(child.stderr, 'data');
      const address = /^listening +(\S+)$/m.exec(stderr)![1]!;
      const timer = setInterval(() => sendTo(address, [bytes('one'), bytes('two')]), 50);
      const [code] = await once(child, 'close');
      clearInterval(timer);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^127\.0\.0\.1:\d+ {2}one\n$/);
      expect(stderr).toMatch(/^listening .*\nreceived .*\ndropped .*\ntook .*\n$/);
    },
  );

  it('ends at Control-C: exit code 0 without a count, 130 with one that was not reached', async () => {
    for (const [options, expected] of [
      [[], 0],
      [['--count', '5'], 130],
    ] as const) {
      const listener = await Listener.start('127.0.0.1', [...options]);
      listener.signal('SIGINT');
      expect(await listener.end()).toBe(expected);
      expect(listener.stderr).toMatch(/^received +0 datagrams, 0 bytes$/m);
    }
  });

  const hide = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$0" "$@"'];
  const noHiding =
    'Bun' in globalThis || 'Deno' in globalThis || spawnSync(hide[0]!, [...hide.slice(1), 'true']).status !== 0
      ? '(needs Node.js, Linux and root)'
      : undefined;
  it.skipIf(noHiding)(
    `tells what it received where the system does not tell what it dropped ${noHiding ?? ''}`,
    async () => {
      const listener = await Listener.start('127.0.0.1', ['--count', '1'], { wrapper: hide });
      sendTo(listener.address, [bytes('heard')]);
      expect(await listener.end()).toBe(0);
      expect(listener.stderr).toMatch(/^received +1 datagram, 5 bytes\ndropped +not known here\n/m);
    },
  );

  it('address-in-use: one line, exit code 1', async () => {
    const listener = await Listener.start('127.0.0.1');
    const { code, stdout, stderr } = await run([...RUNTIME, MAIN, 'listen', listener.address]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^wasi-udp: address-in-use: .*\n$/);
    listener.child.kill('SIGKILL');
  });

  it.each([
    [['nowhere'], /It takes HOST:PORT/],
    [['127.0.0.1:70000'], /It takes HOST:PORT/],
    [['70000'], /It takes HOST:PORT or PORT/],
    [['0', '--group', '127.0.0.1'], /a group is of 224.0.0.0\/4/],
    [['0', '--interface', 'none0'], /"none0"/],
    [['127.0.0.1:0', '--count', '0'], /It takes a whole number from 1/],
    [[], /^wasi-udp: missing required argument '\[HOST:\]PORT': see wasi-udp listen --help\n$/],
  ])('wrong usage, exit code 2: %j', async (args, message) => {
    const { code, stdout, stderr } = await run([...RUNTIME, MAIN, 'listen', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });
});
