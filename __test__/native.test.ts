import { describe, expect, it } from 'vitest';
import { LAYOUT } from '../dist/native/layout.js';
import { native } from '../dist/native/native.js';
import { runFixture } from './support/runtime.js';

const STALE = /socket must be a handle that open\(\) gave to this thread, got -?\d+/;

describe('arguments of the addon', () => {
  it('100,000 random tables: a forged one is refused and sends nothing, a sound one sends what it counts', async () => {
    const result = await runFixture<Record<string, unknown>>('native-forged.mjs');
    expect(result.wrong).toEqual([]);
    expect(result.refused).toBeGreaterThan(50_000);
    expect(result.accepted).toBeGreaterThan(10_000);
    expect(result.received).toBe(result.accepted);
  });

  it('100,000 calls of every export with anything: an Error or an answer, and the process lives on', async () => {
    const result = await runFixture<Record<string, number | unknown[]>>('native-hostile.mjs');
    const functions = Object.values(native).filter((value) => typeof value === 'function').length;
    expect(result).toMatchObject({ functions, unheard: 0, wrong: [], leaked: 0, stillWorks: true });
    expect(result.calls).toBeGreaterThan(90_000);
    expect(result.refused).toBeGreaterThan(60_000);
  });

  const payload = new ArrayBuffer(65_536);
  const table = new ArrayBuffer(LAYOUT.tableBytes);
  const detached = new ArrayBuffer(8);
  structuredClone(detached, { transfer: [detached] });
  const socket = native.open(4);
  // biome-ignore lint/suspicious/noExplicitAny: wrong types are the point
  const any = native as any;

  it.each<[string, () => unknown, RegExp]>([
    [
      'a count of NaN',
      () => any.send(socket, payload, table, NaN, 0),
      /^entries must be an integer of 32 bits, got NaN$/,
    ],
    ['a fraction', () => any.send(socket, payload, table, 1.5, 0), /^entries must be an integer of 32 bits, got 1.5$/],
    ['a huge number', () => any.send(socket, payload, table, 1e300, 0), /^entries must be .* got 1e300$/],
    ['too many datagrams', () => any.send(socket, payload, table, 1025, 0), /^entries must be .* 0 to 1024, got 1025$/],
    ['a negative count', () => any.send(socket, payload, table, 0, -1), /^addresses must be .* 0 to 1024, got -1$/],
    ['a string', () => any.send('5', payload, table, 0, 0), /^socket must be an integer of 32 bits, got a string$/],
    ['nothing', () => any.checkSend(), /^socket must be an integer of 32 bits, got undefined$/],
    [
      'a view',
      () => any.send(socket, new Uint8Array(8), table, 0, 0),
      /^payload must be an ArrayBuffer.* got another obj/,
    ],
    [
      'shared memory',
      () => any.send(socket, new SharedArrayBuffer(8), table, 0, 0),
      /^payload must be an ArrayBuffer, not sh/,
    ],
    [
      'a detached buffer',
      () => any.send(socket, detached, table, 0, 0),
      /^payload must be an ArrayBuffer, not .*detached/,
    ],
    ['a short table', () => any.send(socket, payload, new ArrayBuffer(12), 0, 0), /^a table has 81920 bytes, got 12$/],
    [
      'one buffer twice',
      () => any.receive(socket, table, table, 1),
      /^payload and table must be different ArrayBuffers/,
    ],
    [
      'no room to receive',
      () => any.receive(socket, new ArrayBuffer(1500), table, 1),
      /^payload must have room .* got 1500$/,
    ],
    [
      'a short slot',
      () => any.bind(socket, new Uint8Array(31)),
      /^slot must be a Uint8Array of 32 bytes, .* got one of 31/,
    ],
    ['an empty slot', () => any.bind(socket, new Uint8Array(32)), /^slot must hold an address: family 4 or 6/],
    ['a family of 5', () => any.open(5), /^family must be 4 or 6, got 5$/],
    ['an unknown option', () => any.getOption(socket, 99), /^option must be an integer from 1 to \d+, got 99$/],
    ['an interest of 8', () => any.watch(socket, 8), /^interest must be an integer from 0 to 7, got 8$/],
    [
      'a list that ends early',
      () => any.pollSync(new Int32Array(5), 2, 0),
      /^count must be an integer from 0 to 1, got 2$/,
    ],
    ['a listener that is none', () => any.onReady({}, () => 0), /^ready must be a function, got another object$/],
    ['half a listener', () => any.onReady(() => 0), /^wanted must be a function, got undefined$/],
    ['an errno of 0', () => any.errorInfo(0), /^errno must be an integer from 1 to 2147483647, got 0$/],
  ])('%s is refused with the rule and what came', (_, call, message) => {
    expect(call).toThrow(message);
  });

  it('an empty payload is one: empty datagrams need no bytes', () => {
    expect(native.send(socket, new ArrayBuffer(0), table, 0, 0)).toBe(0);
  });
});

describe('handles', () => {
  it('a closed handle is refused by every export, also when another socket has its slot', () => {
    const closed = native.open(4);
    native.close(closed);
    const next = native.open(4);
    expect(next).not.toBe(closed);
    const slot = new Uint8Array(LAYOUT.slotBytes);
    new Uint32Array(slot.buffer).set([4, 9]);
    const [payload, table] = [new ArrayBuffer(65_536), new ArrayBuffer(LAYOUT.tableBytes)];
    const calls: (() => unknown)[] = [
      () => native.bind(closed, slot),
      () => native.connect(closed, slot),
      () => native.disconnect(closed),
      () => native.localAddress(closed, slot),
      () => native.getOption(closed, 1),
      () => native.setOption(closed, 1, 1),
      () => native.close(closed),
      () => native.send(closed, payload, table, 0, 0),
      () => native.deferError(closed, 111),
      () => native.checkSend(closed),
      () => native.receive(closed, payload, table, 1),
      () => native.pollSync(Int32Array.of(closed, 1, 0), 1, 0),
      () => native.watch(closed, 1),
      () => native.descriptor(closed),
      () => native.statistics(closed),
    ];
    for (const call of calls) expect(call).toThrow(STALE);
    expect(native.checkSend(next)).toBe(1);
    native.close(next);
  });

  it('10,000 opened in turn have 10,000 handles', () => {
    const handles = new Set<number>();
    for (let i = 0; i < 10_000; i++) {
      const handle = native.open(4);
      native.close(handle);
      handles.add(handle);
    }
    expect(handles.size).toBe(10_000);
    expect(Math.min(...handles)).toBeGreaterThan(0);
  });
});

const BETWEEN = ['event 0', 'microtask 0', 'event 1', 'microtask 1'];
/** Deno delivers the events of a turn before their microtasks; the two may come in one turn or in two. */
const MICROTASKS =
  'Deno' in globalThis ? expect.toBeOneOf([['event 0', 'event 1', 'microtask 0', 'microtask 1'], BETWEEN]) : BETWEEN;

describe.each(['libuv', 'thread'])('readiness by %s', (poller) => {
  const env = { WASI_UDP_POLLER: poller };
  const usual = 'Bun' in globalThis || 'Deno' in globalThis ? 'thread' : 'libuv';

  it('reports an event to whoever waits for it, whenever the wait began', async () => {
    expect(await runFixture('native-readiness.mjs', ['cases'], env)).toEqual({
      poller: poller === 'thread' ? 'thread' : usual,
      eachOnce: [2, 1],
      waitedForAgain: [1, 1, 1],
      levelTriggered: [1, 1, 1],
      nobodyWaits: true,
      replaced: [1],
      replacedOnItsWay: [],
      stopped: [],
      closed: [],
      descriptorReused: [],
      error: [1, 3],
      closedByTheListener: [2],
      microtasksRunBetween: MICROTASKS,
      throwing: ['from the listener', 2],
    });
  });

  it('a wait keeps the process alive', async () => {
    expect(await runFixture('native-readiness.mjs', ['alive'], env)).toBe(1);
  });

  it('a process with sockets and no wait exits, though a watch is armed', async () => {
    expect(await runFixture('native-readiness.mjs', ['exits'], env)).toMatch(/nothing is left/);
  });
});
