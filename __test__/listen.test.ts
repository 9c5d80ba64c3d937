import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { MAIN } from './support/command.js';
import { Listener, queued, sendTo } from './support/listener.js';
import { FAMILIES } from './support/receiver.js';
import { RUNTIME, run } from './support/runtime.js';

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
      expect(listener.stderr).toMatch(/^received +1 datagrams, 5 bytes\ndropped +not known here\n/m);
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
    [['127.0.0.1:0', '--count', '0'], /It takes a whole number from 1/],
    [[], /missing required argument/],
  ])('wrong usage, exit code 2: %j', async (args, message) => {
    const { code, stdout, stderr } = await run([...RUNTIME, MAIN, 'listen', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
  });
});
