import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openUdp, parseSocketAddress } from '../dist/index.js';
import { component, guestCommand, noGuests, runGuest, WAYS } from './support/guests.js';
import { FAMILIES, Receiver } from './support/receiver.js';
import { fixture, RUNTIME, run, SMALL_HEAP } from './support/runtime.js';

describe.skipIf(noGuests).each(WAYS)(`real components by way of: %s ${noGuests ?? ''}`, (way) => {
  it('exchange: binds, streams, sends batches, polls with a timeout, receives and verifies', async () => {
    const { code, stdout, stderr } = await runGuest(way, 'exchange');
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: 'ipv4: 800 datagrams there and back\nipv6: 800 datagrams there and back\n',
      stderr: '',
    });
  });

  it.each(['bind', 'connect', 'states', 'sockopts', 'refused', 'stream'])(
    '%s: every step as the WIT has it',
    async (name) => {
      expect(await runGuest(way, name)).toMatchObject({ code: 0, stdout: '', stderr: '' });
    },
  );

  it.each([
    ['send-too-much', /send\(\) got 1025 datagrams, checkSend\(\) permitted 1024/],
    ['send-without-check', /send\(\) got 1 datagrams with no checkSend\(\) before/],
    ['send-twice', /send\(\) got 1 datagrams with no checkSend\(\) before/],
    ['stream-twice', /stream\(\): the streams of an earlier stream\(\) are not dropped/],
    ['poll-nothing', /empty list/],
    ['unreachable', /unreachable/i],
  ])('%s traps the guest, and says why', async (rule, message) => {
    const { code, stdout, stderr } = await runGuest(way, 'traps', [rule]);
    expect(stdout).toBe('before\n');
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
  });

  it('pollables without end trap the guest, not its host', async () => {
    // By way of the shim, each pollable is a call to its worker.
    const env = { ...SMALL_HEAP, WASI_UDP_TEST_LIMITS: way.startsWith('shim') ? '{ "resources": 500 }' : '{}' };
    const { code, stdout, stderr } = await runGuest(way, 'traps', ['subscribe-storm'], 'all', env);
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'before\n' });
    expect(stderr).toMatch(/a guest may hold \d+ resources \(limits.resources\), it has \d+ and asks for 1 more/);
  });

  // In the other ways the list is the shim's, or jco's, before it is ours.
  it.skipIf(way.includes('shim') || way.includes('js'))(
    'a pollable that is named twenty million times in one poll traps the guest, not its host',
    async () => {
      const { code, stdout, stderr } = await runGuest(way, 'traps', ['poll-storm'], 'all', SMALL_HEAP);
      expect({ code, stdout }).toEqual({ code: 1, stdout: 'before\n' });
      expect(stderr).toMatch(/a guest may name 65536 pollables in one poll\(\) \(limits.pollList\), got 20000000/);
    },
  );

  describe('with rules', () => {
    let receiver: Receiver;
    beforeEach(async () => {
      receiver = await Receiver.open(FAMILIES[0]);
    });
    afterEach(() => receiver[Symbol.asyncDispose]());

    it.each<[string, (port: number) => Parameters<typeof runGuest>[3], string]>([
      ['by default', () => [], 'bind: access-denied\n'],
      ['by port', () => [{ bind: '127.0.0.1:1-65535' }], 'bind: access-denied\n'],
      ['by CIDR', () => [{ bind: '10.0.0.0/8:*' }], 'bind: access-denied\n'],
      ['by default', () => [{ bind: '127.0.0.1:0' }], 'bind: ok\nconnect: access-denied\nsend: access-denied\n'],
      [
        'by port',
        (port) => [{ bind: '*:*' }, { send: `127.0.0.1:1-${port - 1}` }],
        'bind: ok\nconnect: access-denied\nsend: access-denied\n',
      ],
      [
        'by CIDR',
        (port) => [{ bind: '127.0.0.0/8:*' }, { send: `10.0.0.0/8:${port}` }],
        'bind: ok\nconnect: access-denied\nsend: access-denied\n',
      ],
      [
        'where allowed',
        (port) => [{ bind: '127.0.0.1:0' }, { send: `127.0.0.0/8:${port}` }],
        'bind: ok\nconnect: ok\nsend: ok\n',
      ],
    ])('%s: %o', async (_, rules, expected) => {
      const { port } = receiver.address.val;
      const { code, stdout } = await runGuest(way, 'denied', ['0', String(port)], rules(port));
      expect({ code, stdout }).toEqual({ code: 0, stdout: expected });
      const last = openUdp({ remote: receiver.text });
      last.outgoing.checkSend();
      last.outgoing.send([{ data: new TextEncoder().encode('last') }]);
      last[Symbol.dispose]();
      const arrived = expected.includes('send: ok') ? ['from the guest', 'last'] : ['last'];
      await receiver.until(arrived.length);
      expect(receiver.texts).toEqual(arrived);
    });
  });

  // wasi-udp run gives no TCP.
  it.skipIf(way === 'wasi-udp run')(
    "mixed: waits on UDP, and on the shim's TCP, stdin and clock, in one poll",
    async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const [file, ...args] = guestCommand(way, 'mixed', [String((server.address() as { port: number }).port)]);
      const child = spawn(file!, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
      const nextLine = async () => (await lines.next()).value;
      const [socket] = await once(server, 'connection');

      const [, port] = (await nextLine()).split(' ');
      const udp = openUdp({ remote: parseSocketAddress(`127.0.0.1:${port}`) });
      const say = (text: string) => {
        udp.outgoing.checkSend();
        udp.outgoing.send([{ data: new TextEncoder().encode(text) }]);
      };
      for (const [what, speak] of [
        ['tcp: one', () => socket.write('one')],
        ['udp: two', () => say('two')],
        ['udp: three', () => say('three')],
        ['tcp: four', () => socket.write('four')],
        ['stdin: five', () => child.stdin.write('five')],
      ] as const) {
        speak();
        expect(await nextLine()).toBe(what);
      }
      const [code] = await once(child, 'exit');
      expect(code).toBe(0);
      udp[Symbol.dispose]();
      socket.destroy();
      server.close();
    },
  );
});

/** Why guests cannot be suspended here; undefined where they can. */
const noSuspension = 'Suspending' in WebAssembly ? noGuests : 'needs JSPI, as in Node.js from 24.21 on';

describe.skipIf(noSuspension)(`guests that are suspended while they wait ${noSuspension ?? ''}`, () => {
  it.each(['js', 'hybrid'])(
    'two wait at once, and their event loop serves them, with %s bindings',
    async (bindings) => {
      const finished = await run([...RUNTIME, fixture('guest-async.mjs'), bindings, component('ping')]);
      expect(finished).toMatchObject({ code: 0, stderr: '' });
      expect(finished.stdout.match(/^5 of 5 answered$/gm)).toHaveLength(2);
    },
  );
});
