import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WaitableSet } from '../dist/host/core/subtasks.js';
import { createHost, type OpenUdp, openUdp, type UdpHost } from '../dist/index.js';
import { component } from './support/guests.js';
import {
  DATA,
  EXIT,
  HostileGuest,
  PARAMS,
  RESULT,
  RETURNED,
  type Slice,
  STARTED,
  WAIT,
} from './support/hostile-guest.js';
import { fixture, noNamespaces, ON_ONE_PROCESSOR, run, runInNamespace } from './support/runtime.js';
import { noAsyncGuests, SUSPENDING } from './support/suspending.js';

// Tasks of WASI 0.3 that share sets, sockets and instances.

let host: UdpHost;
let one: HostileGuest;
let source: OpenUdp;
beforeEach(() => {
  host = createHost({ allow: 'all' });
  one = new HostileGuest(host);
  source = openUdp({ remote: `127.0.0.1:${one.port}` });
});
afterEach(() => {
  source[Symbol.dispose]();
  host[Symbol.dispose]();
});

function send(...texts: string[]): void {
  source.outgoing.checkSend();
  source.outgoing.send(texts.map((text) => ({ data: Buffer.from(text) })));
}
const received = (at: number) =>
  Buffer.from(one.exports.memory.buffer, one.word(at + 4), one.word(at + 8)).toString('latin1');
/** A receive into `at`, which waits, and joins the set. */
function receive(at: number, set: number): number {
  const status = one.exports['receive']!(one.socket, at);
  expect(status & 15).toBe(STARTED);
  one.exports['join']!(status >>> 4, set);
  return status >>> 4;
}

describe('tasks of a core module', () => {
  it('that wait on one set hear of its events, each of one', async () => {
    const set = one.exports['set_new']!();
    const seen: number[] = [];
    const wait: Slice = () => {
      receive(RESULT + 64 * seen.length, set);
      return (set << 4) | WAIT;
    };
    const end: Slice = (_, subtask, state) => {
      expect(state).toBe(RETURNED);
      seen.push(subtask);
      return EXIT;
    };
    const tasks = [one.run(wait, end), one.run(wait, end), one.run(wait, end)];
    for (const text of ['one', 'two', 'three']) {
      await setTimeout(5);
      send(text);
    }
    await Promise.all(tasks);
    expect(new Set(seen).size).toBe(3);
  });

  it('a wait on no set traps, and the drop of a set on which a task waits', async () => {
    await expect(one.run(() => (77 << 4) | WAIT)).rejects.toThrow(/names no waitable set/);
    const set = one.exports['set_new']!();
    let subtask = 0;
    const waiting = one.run(
      () => {
        subtask = receive(RESULT, set);
        return (set << 4) | WAIT;
      },
      () => EXIT,
    );
    await setTimeout(5);
    one.exports['join']!(subtask, 0);
    expect(() => one.exports['set_drop']!(set)).toThrow(/waits on waitable set/);
    one.exports['join']!(subtask, set);
    send('for who waits');
    await waiting;
  });

  it('a receive that blocks, behind one that waits, gets the second datagram', async () => {
    await one.run(() => {
      const status = one.exports['receive']!(one.socket, RESULT);
      expect(status & 15).toBe(STARTED);
      send('first', 'second');
      one.exports['receive_sync']!(one.socket, RESULT + 64);
      expect([received(RESULT), received(RESULT + 64)]).toEqual(['first', 'second']);
      expect(one.exports['subtask_cancel']!(status >>> 4)).toBe(RETURNED);
      return EXIT;
    });
  });

  it('an allocator that has trapped is not called again', async () => {
    const set = one.exports['set_new']!();
    one.exports.mode.value = 3;
    const running = one.run(() => {
      receive(RESULT, set);
      receive(RESULT + 64, set);
      return (set << 4) | WAIT;
    });
    const trapped = expect(running).rejects.toThrow(/unreachable/i);
    await setTimeout(5);
    send('lost');
    await trapped;
    one.exports.mode.value = 0;
    send('left alone');
    await setTimeout(5);
    expect(one.exports['receive']!(one.socket, RESULT)).toBe(RETURNED);
    expect(received(RESULT)).toBe('left alone');
  });

  it('what a slice has sent leaves before its socket turns to another peer', async () => {
    const other = openUdp({ local: '127.0.0.1:0' });
    const peer = openUdp({ local: '127.0.0.1:0' });
    const connect = ({ localAddress }: OpenUdp) => {
      one.exports['connect']!(one.socket, 0, localAddress.val.port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, RESULT + 64);
      expect(one.byte(RESULT + 64)).toBe(0);
    };
    new Uint8Array(one.exports.memory.buffer).set(Buffer.from('abc'), DATA);
    await one.run(() => {
      connect(peer);
      one.params(0, { option: 0 });
      one.exports['send']!(PARAMS, RESULT);
      connect(other);
      return EXIT;
    });
    expect(one.byte(RESULT)).toBe(0);
    expect([peer, other].map(({ incoming }) => incoming.receive().length)).toEqual([1, 0]);
    other[Symbol.dispose]();
    peer[Symbol.dispose]();
  });
});

it('events take no memory once they are seen, though others are always there', () => {
  const set = new WaitableSet(1);
  const subtask: Parameters<WaitableSet['add']>[0] = Object.create({});
  set.add(subtask);
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 4_000_000; i++) {
    set.add(subtask);
    set.shift();
  }
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(16 << 20);
  expect(set.hasEvent).toBe(true);
});

it.skipIf(noNamespaces)(
  `sends that wait for room while their peer is changed end with invalid-state, and reach nobody ${noNamespaces ?? ''}`,
  async () => {
    const slow = `tc qdisc add dev lo root tbf rate 400kbit burst 3k limit 200k
      ${ON_ONE_PROCESSOR}`;
    const { errors, former, latter } = await runInNamespace<{
      errors: (number | null)[];
      former: number[];
      latter: number[];
    }>(slow, 'async-turned.mjs');
    const INVALID_STATE = 5;
    const sent = errors.filter((error) => error === null).length;
    // The last one was sent to the new peer.
    expect(errors).toEqual([...Array(sent - 1).fill(null), ...Array(200 - sent).fill(INVALID_STATE), null]);
    expect(sent).toBeLessThan(200);
    expect(former).toEqual(Array.from({ length: sent - 1 }, (_, number) => number));
    expect(latter).toEqual([199]);
  },
);

describe.skipIf(noAsyncGuests).each(['js', 'hybrid'])(
  `components, by %s bindings ${noAsyncGuests ?? ''}`,
  (bindings) => {
    const seen = async (name: string, scenario: unknown[], options: object = {}) => {
      const settings = [bindings, component(name), JSON.stringify(scenario), JSON.stringify(options)];
      const { code, stdout, stderr } = await run([
        ...SUSPENDING,
        '--expose-gc',
        fixture('async-passed.mjs'),
        ...settings,
      ]);
      if (code !== 0) throw new Error(stderr);
      return JSON.parse(stdout) as unknown;
    };

    it('sockets that come by exports are what the guest sends from', async () => {
      expect(await seen('async-passed', ['crossed'])).toEqual([[true, 1]]);
    });

    it('a socket outlives the guest that has given it away', async () => {
      expect(await seen('async-passed', ['forgotten'])).toBe(1);
    });

    it.each<[string, object]>([
      ['', {}],
      [', with no socket more than its own', { limits: { sockets: 1, resources: 1 } }],
    ])('the only export of one may be called while it waits%s', async (_, options) => {
      expect(await seen('async-single', ['again', 3], options)).toEqual([
        [1, 2, 3],
        [1, 2, 3],
      ]);
    });
  },
);
