import { describe, expect, it } from 'vitest';
import { createHost as createJcoHost, udpSockets } from '../dist/host/jco.js';
import { createHost, parseSocketAddress, ResourceTable } from '../dist/index.js';
import { ENTRANCES, Guest, outcomeOf } from './support/guest-api.js';
import { openedSince, openSockets, runFixture, SMALL_HEAP } from './support/runtime.js';

const any = parseSocketAddress('127.0.0.1:0');

describe('limits', () => {
  it.each([
    ['createHost', createHost],
    ['createHost of wasi-udp/jco', createJcoHost],
    ['udpSockets of wasi-udp/jco', udpSockets],
  ] as const)('%s refuses what is none', (_, open) => {
    const limited = (limits: unknown) => () => open({ limits: limits as never });
    for (const limits of [{}, undefined, { resources: undefined }, { sockets: 0, pollList: 1, resources: 2 ** 24 }]) {
      limited(limits)()[Symbol.dispose]();
    }
    for (const [limits, message] of [
      [null, 'limits is an object, got null'],
      [5, 'limits is an object, got 5'],
      [[], 'limits is an object, got []'],
      [{ socket: 5 }, 'limits are resources, sockets, pollList, got "socket"'],
      [{ sockets: '5' }, 'limits.sockets is a whole number from 0 to 16777216, got "5"'],
      [{ pollList: 5n }, 'limits.pollList is a whole number from 0 to 16777216, got 5n'],
    ] as const) {
      expect(limited(limits), message).toThrow(TypeError);
      expect(limited(limits)).toThrow(message);
    }
    for (const value of [-1, 1.5, NaN, Infinity, 2 ** 24 + 1]) {
      expect(limited({ resources: value })).toThrow(RangeError);
      expect(limited({ resources: value })).toThrow(
        `limits.resources is a whole number from 0 to 16777216, got ${value}`,
      );
    }
  });
});

describe.each(ENTRANCES)('what a guest may use, by $title', ({ open }) => {
  it('a resource too many traps, before anything is made, and a drop makes room', () => {
    const before = openSockets();
    const api = open({ limits: { resources: 5 } });
    const guest = new Guest(api);
    // Of its socket and the network.
    const socket = guest.bound(any);
    const pollables: Disposable[] = [1, 2].map(() => socket.subscribe() as Disposable);
    const calls = {
      stream: () => socket.stream(),
      subscribe: () => pollables.push(socket.subscribe() as Disposable),
      clock: () => pollables.push(api.monotonicClock.subscribeDuration(0n) as Disposable),
      network: () => api.instanceNetwork.instanceNetwork(),
      create: () => guest.create('ipv4'),
    };
    // One is left, and a stream needs two.
    expect(outcomeOf(calls.stream)).toBe('trap');
    expect(outcomeOf(calls.clock)).toBe('ok');
    for (const call of Object.values(calls)) expect(outcomeOf(call)).toBe('trap');
    expect(calls.create).toThrow(
      /a guest may hold 5 resources \(limits.resources\), it has 5 and asks for 1 more: drop what is no longer used/,
    );
    expect(openedSince(before)).toBe(1);
    for (const pollable of pollables.splice(0, 2)) pollable[Symbol.dispose]();
    const [incoming, outgoing] = socket.stream();
    expect(outcomeOf(() => outgoing.subscribe())).toBe('trap');
    for (const one of [...pollables, incoming, outgoing, socket]) one[Symbol.dispose]();
    expect(openedSince(before)).toBe(0);
    expect(outcomeOf(() => guest.create('ipv4'))).toBe('ok');
    api[Symbol.dispose]();
    expect(openedSince(before)).toBe(0);
  });

  it('a socket too many is new-socket-limit; one is open until its streams are dropped, too', () => {
    const before = openSockets();
    const api = open({ limits: { sockets: 3 } });
    const guest = new Guest(api);
    const create = () => outcomeOf(() => guest.create('ipv6')[Symbol.dispose]());
    const sockets = [1, 2, 3].map(() => guest.bound(any));
    expect(create()).toBe('new-socket-limit');
    const streams = sockets[0]!.stream();
    sockets[0]![Symbol.dispose]();
    expect(create()).toBe('new-socket-limit');
    streams[0][Symbol.dispose]();
    expect(create()).toBe('new-socket-limit');
    streams[1][Symbol.dispose]();
    for (let i = 0; i < 10; i++) expect(create()).toBe('ok');
    expect(openedSince(before)).toBe(2);
    expect(outcomeOf(() => sockets[1]!.localAddress())).toBe('ok');
    api[Symbol.dispose]();
    expect(openedSince(before)).toBe(0);
  });

  it('a poll that names too many traps; one that names a pollable twice tells each entry', () => {
    const api = open({ limits: { pollList: 4 } });
    const ready = api.monotonicClock.subscribeDuration(0n);
    const late = api.monotonicClock.subscribeDuration(10_000_000_000n);
    const other = api.monotonicClock.subscribeDuration(0n);
    const poll = (...list: object[]) => [...(api.poll.poll(list as never) as Uint32Array)];
    expect(poll(ready)).toEqual([0]);
    expect(poll(late, ready, other)).toEqual([1, 2]);
    expect(poll(ready, late, ready, ready)).toEqual([0, 2, 3]);
    expect(poll(late, other, late, ready)).toEqual([1, 3]);
    expect(() => poll(ready, ready, ready, ready, ready)).toThrow(
      /a guest may name 4 pollables in one poll\(\) \(limits.pollList\), got 5: name each once/,
    );
    api[Symbol.dispose]();
  });
});

it('a poll of a suspended guest obeys the same rules', async () => {
  using host = createHost({ async: true, limits: { pollList: 3 } });
  const [ready, late] = [0n, 10_000_000_000n].map((after) => host.monotonicClock.subscribeDuration(after));
  expect([...(await host.poll.poll([ready!, late!, ready!]))]).toEqual([0, 2]);
  expect(() => host.poll.poll([ready!, ready!, ready!, ready!])).toThrow(/a guest may name 3 pollables in one poll/);
});

describe('a guest does not end its host', () => {
  it.each<readonly [string, string, string]>([
    ['send', 'core', 'send() got 24000000 datagrams, checkSend() permitted 1024'],
    ['poll', 'core', 'a guest may name 65536 pollables in one poll() (limits.pollList), got 20000000'],
    ['poll', 'objects', 'a guest may name 65536 pollables in one poll() (limits.pollList), got 5000000'],
    ...['subscribe', 'clock', 'network'].flatMap((what) =>
      ['core', 'objects'].map((way) => [what, way, 'a guest may hold 65536 resources (limits.resources)'] as const),
    ),
  ])('%s without end, by %s', async (what, way, message) => {
    const { outcome, left } = await runFixture<Record<string, unknown>>('exhaust.mjs', [what, way], SMALL_HEAP);
    expect(outcome).toContain(message);
    expect(left).toBe(0);
  });

  it('pollables that jco is given, and drops, leave nothing; nor does a guest that is collected', async () => {
    const { kept, before, left, meters } = await runFixture<Record<string, number>>('jco-tables.mjs');
    expect(kept).toBeLessThan(4_000_000);
    expect({ before, left, meters }).toEqual({ before: 3, left: 0, meters: 0 });
  });

  it('pollables of the shim count, until they are dropped or collected', async () => {
    expect(await runFixture('shim-limits.mjs')).toEqual({ count: 5, again: ['ok', 'trap'], held: 8, left: 0 });
  });
});

it('a table of its own has no limit, and one with a limit traps', () => {
  const resource = { [Symbol.dispose]() {} };
  const table = new ResourceTable(1);
  table.push(resource);
  expect(() => table.push(resource)).toThrow(/a guest may hold 1 resources/);
  expect(table.size).toBe(1);
  const free = new ResourceTable();
  for (let i = 0; i < 70_000; i++) free.push(resource);
  expect(free.size).toBe(70_000);
});
