import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createHost, type OpenUdp, openUdp, type UdpHost } from '../dist/index.js';
import {
  DATA,
  EXIT,
  HostileGuest,
  MEMORY,
  PARAMS,
  RESULT,
  RETURNED,
  type Slice,
  STARTED,
  STARTING,
  WAIT,
} from './support/hostile-guest.js';
import { ROUNDS } from './support/runtime.js';

const CALLS = 5000 * ROUNDS;

let receiver: OpenUdp;
let hosts: UdpHost[];
beforeEach(() => {
  receiver = openUdp({ local: '127.0.0.1:0' });
  hosts = [];
});
afterEach(() => {
  receiver[Symbol.dispose]();
  for (const host of hosts) host[Symbol.dispose]();
});

function guest(options: Parameters<typeof createHost>[0] = { allow: 'all' }): HostileGuest {
  const host = createHost(options);
  hosts.push(host);
  return new HostileGuest(host);
}
const port = () => receiver.localAddress.val.port;
const arrived = () => receiver.incoming.receive().map(({ data }) => Buffer.from(data).toString('latin1'));
const traps = (call: () => unknown) => expect(call).toThrow(WebAssembly.RuntimeError);

/** The send at once, outside of a task; and within a slice, where it may wait. */
const PLACES = ['at once', 'within a slice'] as const;

async function attempt(one: HostileGuest, place: (typeof PLACES)[number], call: () => number): Promise<unknown> {
  try {
    if (place === 'at once') return call();
    let status: unknown;
    await one.run(() => {
      status = call();
      return EXIT;
    });
    return status;
  } catch (error) {
    return error;
  }
}

describe.each(PLACES)('a hostile send, %s', (place) => {
  it.each<[string, (one: HostileGuest) => [params: number, result: number] | undefined]>([
    ['parameters that end with the memory', () => [MEMORY - 44, RESULT]],
    ['parameters behind the memory', () => [0x7fff_fff0, RESULT]],
    ['parameters that wrap around', () => [-4, RESULT]],
    ['parameters askew', () => [PARAMS + 1, RESULT]],
    ['a result that ends with the memory', () => [PARAMS, MEMORY - 16]],
    ['a result outside', () => [PARAMS, -8]],
    ['a result askew', () => [PARAMS, RESULT + 2]],
    ['data that end behind the memory', (one) => void one.params(port(), { data: MEMORY - 2 })],
    ['data of all lengths', (one) => void one.params(port(), { length: 0xffff_ffff })],
    ['an option that is none', (one) => void one.params(port(), { option: 2 })],
    ['an address that is none', (one) => void one.params(port(), { tag: 7 })],
    ['a forged socket', (one) => void one.params(port(), { socket: 5 })],
    ['another kind of handle', (one) => void one.params(port(), { socket: 2 ** 27 })],
  ])('%s traps that guest alone, and sends nothing', async (_, forge) => {
    const one = guest();
    const other = guest();
    one.params(port());
    const [params, result] = forge(one) ?? [PARAMS, RESULT];
    const outcome = await attempt(one, place, () => one.exports['send']!(params, result));
    expect(outcome).toBeInstanceOf(WebAssembly.RuntimeError);
    expect(arrived()).toEqual([]);
    other.params(port());
    new Uint8Array(other.exports.memory.buffer).set(Buffer.from('abc'), DATA);
    await attempt(other, place, () => other.exports['send']!(PARAMS, RESULT));
    expect(other.byte(RESULT)).toBe(0);
    expect(arrived()).toEqual(['abc']);
  });

  it('parameters and data that end with the memory are read', async () => {
    const one = guest();
    one.params(port(), { at: MEMORY - 48, data: MEMORY - 60 });
    new Uint8Array(one.exports.memory.buffer).set(Buffer.from('xyz'), MEMORY - 60);
    const outcome = await attempt(one, place, () => one.exports['send']!(MEMORY - 48, RESULT));
    expect(outcome).not.toBeInstanceOf(Error);
    expect(one.byte(RESULT)).toBe(0);
    expect(arrived()).toEqual(['xyz']);
  });
});

describe('subtasks', () => {
  it('parameters that the guest spoils before its slice has ended trap it; what came before is sent', async () => {
    const one = guest();
    new Uint8Array(one.exports.memory.buffer).set(Buffer.from('abc'), DATA);
    one.params(port());
    one.params(port(), { at: PARAMS + 64 });
    const running = one.run(() => {
      expect(one.exports['send']!(PARAMS, RESULT) & 15).toBe(STARTING);
      expect(one.exports['send']!(PARAMS + 64, RESULT + 64) & 15).toBe(STARTING);
      one.params(port(), { at: PARAMS + 64, length: 0x7fff_ffff });
      return EXIT;
    });
    await expect(running).rejects.toThrow(WebAssembly.RuntimeError);
    expect(arrived().length).toBeLessThanOrEqual(1);
  });

  it('a memory that grows between the call and the end of the slice is followed', async () => {
    const one = guest();
    one.params(port());
    await one.run(() => {
      one.exports['send']!(PARAMS, RESULT);
      one.exports.memory.grow(3);
      return EXIT;
    });
    expect(one.byte(RESULT)).toBe(0);
    expect(arrived()).toHaveLength(1);
  });

  it.each<[string, (one: HostileGuest) => unknown]>([
    ['join of a subtask that is none', (one) => one.exports['join']!(2 ** 27 + 7, 0)],
    ['join of another waitable', (one) => one.exports['join']!(3, 0)],
    ['join to a set that is none', (one) => one.exports['join']!(2 ** 27, 99)],
    ['drop of a subtask that is none', (one) => one.exports['subtask_drop']!(2 ** 27 + 7)],
    ['drop of a number', (one) => one.exports['subtask_drop']!(-1)],
    ['cancel of a subtask that is none', (one) => one.exports['subtask_cancel']!(2 ** 27 + 9)],
    ['drop of a set that is none', (one) => one.exports['set_drop']!(12)],
    ['poll of a set that is none', (one) => one.exports['set_poll']!(12, RESULT)],
  ])('%s traps', (_, act) => {
    traps(() => act(guest()));
  });

  it('one is dropped once, and not before it has ended and was seen', async () => {
    const one = guest();
    const {
      receive,
      subtask_drop: drop,
      subtask_cancel: cancel,
      join,
      set_new: newSet,
      set_drop: dropSet,
    } = one.exports;
    await one.run(() => {
      const status = receive!(one.socket, RESULT);
      expect(status & 15).toBe(STARTED);
      const subtask = status >>> 4;
      const set = newSet!();
      join!(subtask, set);
      traps(() => drop!(subtask));
      traps(() => dropSet!(set));
      traps(() => one.exports['drop']!(one.socket));
      expect(cancel!(subtask)).toBe(4);
      traps(() => cancel!(subtask));
      drop!(subtask);
      traps(() => drop!(subtask));
      traps(() => join!(subtask, set));
      dropSet!(set);
      one.exports['drop']!(one.socket);
      return EXIT;
    });
  });

  it('a send that is cancelled before it left is not sent; one that is not is, once', async () => {
    const one = guest();
    const { send, subtask_cancel: cancel } = one.exports;
    for (let i = 0; i < 3; i++) {
      one.params(port(), { at: PARAMS + 64 * i, data: DATA + 4 * i });
      new Uint8Array(one.exports.memory.buffer).set(Buffer.from(`no${i}`), DATA + 4 * i);
    }
    await one.run(() => {
      const subtasks = [0, 1, 2].map((i) => send!(PARAMS + 64 * i, RESULT + 64 * i) >>> 4);
      expect(cancel!(subtasks[1]!)).toBe(3);
      return EXIT;
    });
    expect(arrived()).toEqual(['no0', 'no2']);
  });

  it('a storm of cancels loses no datagram, and gives none twice', async () => {
    const one = guest();
    const { receive, subtask_cancel: cancel, subtask_drop: drop, join, set_new: newSet } = one.exports;
    const source = openUdp({ remote: `127.0.0.1:${one.port}` });
    const sent: string[] = [];
    const got: string[] = [];
    const take = (at: number) => {
      expect(one.byte(at)).toBe(0);
      const [data, length] = [one.word(at + 4), one.word(at + 8)];
      got.push(Buffer.from(one.exports.memory.buffer, data, length).toString('latin1'));
    };
    const set = newSet!();
    const results = new Map<number, number>();
    const slice: Slice = (event, waitable, state) => {
      if (event === 1) {
        if (state === RETURNED) take(results.get(waitable)!);
        drop!(waitable);
        results.delete(waitable);
      }
      for (const [subtask] of results) {
        const state = cancel!(subtask);
        if (state === RETURNED) take(results.get(subtask)!);
        else expect(state).toBe(4);
        drop!(subtask);
        results.delete(subtask);
      }
      if (sent.length < 200) {
        const text = String(sent.length);
        sent.push(text);
        setImmediate(() => {
          source.outgoing.checkSend();
          source.outgoing.send([{ data: Buffer.from(text) }]);
        });
      }
      if (got.length === 200) return EXIT;
      for (let i = 0; i < 8; i++) {
        const at = 2048 + 64 * i;
        const status = receive!(one.socket, at);
        if ((status & 15) === RETURNED) take(at);
        else {
          results.set(status >>> 4, at);
          join!(status >>> 4, set);
        }
      }
      if (got.length === 200) {
        for (const [subtask] of results) {
          cancel!(subtask);
          drop!(subtask);
        }
        return EXIT;
      }
      return (set << 4) | WAIT;
    };
    await one.run(...Array.from({ length: 5000 }, () => slice));
    source[Symbol.dispose]();
    expect(got).toEqual(sent);
  });

  it.each<[string, number, RegExp]>([
    ['gives a block behind the memory', 1, /memory has/],
    ['traps', 3, /unreachable/i],
    ['receives', 4, /cabi_realloc/],
  ])('an allocator that %s traps its guest, in a wait too', async (_, mode, message) => {
    const one = guest();
    const source = openUdp({ remote: `127.0.0.1:${one.port}` });
    const sendOne = () => {
      source.outgoing.checkSend();
      source.outgoing.send([{ data: new Uint8Array(9) }]);
    };
    one.exports.mode.value = mode;
    sendOne();
    expect(() => one.exports['receive']!(one.socket, RESULT)).toThrow(message);
    const set = one.exports['set_new']!();
    const running = one.run(
      () => {
        one.exports['join']!(one.exports['receive']!(one.socket, RESULT) >>> 4, set);
        setTimeout(5).then(sendOne);
        return (set << 4) | WAIT;
      },
      () => EXIT,
    );
    await expect(running).rejects.toThrow(message);
    source[Symbol.dispose]();
  });

  it('an allocator that grows the memory is followed', async () => {
    const one = guest();
    const source = openUdp({ remote: `127.0.0.1:${one.port}` });
    one.exports.mode.value = 2;
    source.outgoing.checkSend();
    source.outgoing.send([{ data: Buffer.from('grown') }]);
    expect(one.exports['receive']!(one.socket, RESULT)).toBe(RETURNED);
    const data = Buffer.from(one.exports.memory.buffer, one.word(RESULT + 4), one.word(RESULT + 8));
    expect(data.toString()).toBe('grown');
    source[Symbol.dispose]();
  });

  it('a host that is dropped while its guest waits ends the guest, and leaves nothing open', async () => {
    const one = guest();
    const { port } = one;
    const set = one.exports['set_new']!();
    const running = one.run(() => {
      one.exports['join']!(one.exports['receive']!(one.socket, RESULT) >>> 4, set);
      return (set << 4) | WAIT;
    });
    await setTimeout(5);
    one.host[Symbol.dispose]();
    await expect(running).rejects.toThrow(WebAssembly.RuntimeError);
    const again = openUdp({ local: `127.0.0.1:${port}` });
    again[Symbol.dispose]();
  });

  it('a guest that is always answered at once lets the event loop turn', async () => {
    const one = guest();
    one.params(port());
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const set = one.exports['set_new']!();
    // Else for ever.
    const until = performance.now() + 30_000;
    const slice: Slice = (event, waitable) => {
      if (event === 1) one.exports['subtask_drop']!(waitable);
      while (turns < 2 && performance.now() < until) {
        const status = one.exports['send']!(PARAMS, RESULT);
        if ((status & 15) !== RETURNED) {
          one.exports['join']!(status >>> 4, set);
          return (set << 4) | WAIT;
        }
      }
      return EXIT;
    };
    await one.run(...Array.from({ length: 100_000 }, () => slice));
    clearInterval(timer);
    expect(turns).toBeGreaterThan(1);
  });
});

it(`${CALLS} random calls within slices: results or traps, nothing else`, async () => {
  const names = ['create', 'bind', 'connect', 'disconnect', 'local_address', 'send_buffer_size', 'send', 'receive'];
  names.push(
    'drop',
    'set_new',
    'set_drop',
    'set_poll',
    'join',
    'subtask_drop',
    'subtask_cancel',
    'send_sync',
    'wait_for',
  );
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  // A million stacks take longer than the calls.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  onTestFinished(() => {
    Error.stackTraceLimit = stackTraceLimit;
  });
  let calls = 0;
  let trapped = 0;
  let results = 0;
  while (calls < CALLS) {
    // No policy rule lets a datagram out to anybody but the receiver.
    const one = guest({ allow: [{ bind: '127.0.0.1:*' }, { send: `127.0.0.1:${port()}` }], limits: { sockets: 20 } });
    const sockets = [one.socket, one.open()];
    const subtasks: number[] = [2 ** 27];
    const sets = [one.exports['set_new']!()];
    const value = (): number => {
      const kind = random(10);
      if (kind < 2) return sockets[random(sockets.length)]!;
      if (kind === 2) return subtasks[random(subtasks.length)]!;
      if (kind === 3) return sets[random(sets.length)]!;
      if (kind === 4) return random(2 ** 16) * 2 ** 16 + random(2 ** 16);
      if (kind === 5) return MEMORY - random(64);
      if (kind === 6) return [0, 1, 2, 127, port()][random(5)]!;
      return random(200) * 16;
    };
    const act = () => {
      calls += 1;
      if (random(3) === 0) one.params(port(), { at: random(100) * 16, socket: value(), length: random(70) });
      const name = names[random(names.length)]!;
      const call = one.exports[name]!;
      const values = Array.from({ length: call.length }, value);
      try {
        const result = name === 'wait_for' ? call(BigInt(random(1000))) : call(...values);
        results += 1;
        if (name === 'send' || name === 'receive' || name === 'wait_for') if (result >>> 4) subtasks.push(result >>> 4);
        if (name === 'set_new') sets.push(result);
        if (name === 'create' && one.byte(values[1]!) === 0) sockets.push(one.word(values[1]! + 4));
      } catch (error) {
        if (!(error instanceof WebAssembly.RuntimeError)) throw error;
        trapped += 1;
      }
    };
    // A task of its own kind now and then: the guest's earlier ones are gone.
    const steps = Math.min(CALLS - calls, 2000);
    await one
      .run(() => {
        for (let i = 0; i < steps; i++) act();
        return EXIT;
      })
      .catch((error: unknown) => {
        if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      });
    hosts.pop()![Symbol.dispose]();
    receiver.incoming.receive();
  }
  expect(trapped).toBeGreaterThan(calls / 100);
  expect(results).toBeGreaterThan(calls / 100);
});
