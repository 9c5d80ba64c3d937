import type nodeDgram from 'node:dgram';
import { once } from 'node:events';
import { BlockList } from 'node:net';
import { inspect } from 'node:util';
import { describe } from 'vitest';
import { bound, type Dgram, type Log, major, outcome, portOf, quiet, same, watch } from './support/like-node.js';

/* Arguments of every kind, in every place: what they are refused with, or taken as, is what node:dgram does with them. */

const SYMBOL = Symbol('s');
class Thing {}

/** What is passed, made anew for each call. */
const VALUES: (() => unknown)[] = [
  ...[
    undefined,
    null,
    true,
    false,
    0,
    -1,
    1,
    9,
    64,
    255,
    256,
    65_535,
    65_536,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ],
  ...[-(2 ** 31), 2 ** 31, 2 ** 32, 2 ** 33, 2 ** 53, 1e21, SYMBOL, 9n],
  ...['', ' ', 'x', '9', ' 9', '9 ', '0x9', '9e0', "it's", 'a\nb', 'a'.repeat(20), 'é'.repeat(40)],
  ...['127.0.0.1', '127.1', '0127.0.0.1', '127.0.0.1 ', '0.0.0.0', '192.0.2.1', '255.255.255.255', '[::1]'],
  ...['::1', '::', '::%lo', '::1%lo', '::%1', '::%nope', 'fe80::1', 'fe80::1%lo', '::ffff:127.0.0.1'],
  ...['224.0.0.114', '239.1.2.3', '232.1.1.1', 'ff02::1', 'ff02::1%lo', 'ff3e::1'],
].map((value) => () => value);
const OBJECTS: (() => unknown)[] = [
  () => ({}),
  () => [],
  () => [9],
  () => ['127.0.0.1'],
  () => ['a', 1],
  () => ['a', SYMBOL],
  // biome-ignore lint/suspicious/noSparseArray: a list may have a hole.
  () => ['a', , 'b'],
  () => [null],
  () => [new Uint16Array(2)],
  () => new Thing(),
  () => function named() {},
  () => () => {},
  () => Buffer.from('hello'),
  () => new Uint16Array(3),
  () => new DataView(new ArrayBuffer(5)),
  () => new ArrayBuffer(3),
  () => new Uint8Array(new SharedArrayBuffer(4)),
  () => new Date(0),
  () => /x/,
  () => new Map([[1, 2]]),
  () => new String('127.0.0.1'),
  () => new Number(9),
  () => ({ toString: () => '224.0.0.114' }),
  () => ({ [Symbol.toPrimitive]: () => 9 }),
  () => new Proxy([], {}),
];
const ALL = [...VALUES, ...OBJECTS];

const METHODS: [string, (type: string) => unknown[][]][] = [
  [
    'send',
    (ip) => [[], ['text'], ['text', 9], ['text', 9, ip], ['text', 1, 2], ['text', 1, 2, 9], ['text', 1, 2, 9, ip]],
  ],
  ['sendto', (ip) => [[], ['text'], ['text', 1], ['text', 1, 2], ['text', 1, 2, 9], ['text', 1, 2, 9, ip]]],
  ['connect', () => [[], [9]]],
  ...['setBroadcast', 'setTTL', 'setMulticastTTL', 'setMulticastLoopback', 'setMulticastInterface'].map(
    (name): [string, () => unknown[][]] => [name, () => [[]]],
  ),
  ...['addMembership', 'dropMembership'].map((name): [string, () => unknown[][]] => [
    name,
    () => [[], ['224.0.0.114'], ['ff02::1']],
  ]),
  ...['addSourceSpecificMembership', 'dropSourceSpecificMembership'].map((name): [string, () => unknown[][]] => [
    name,
    () => [[], ['127.0.0.1'], ['127.0.0.1', '232.1.1.1'], ['::1', 'ff3e::1']],
  ]),
  ['setRecvBufferSize', () => [[]]],
  ['setSendBufferSize', () => [[]]],
];

/** Whether a value is text of a kind: where a group is not, Node.js 22 and newer lose the error on their way. */
function hasText(value: unknown): boolean {
  try {
    return typeof `${value}` === 'string';
  } catch {
    return false;
  }
}

/** What a call returns: some return what they were given, which is another one each time. */
const shownResult = (result: unknown) => (typeof result === 'object' ? inspect(result, { depth: 0 }) : typeof result);

/** Finds the address of any name at once, so that nothing is asked of the network. */
const lookup = (_: string, family: number, found: (error: null, address: string, family: number) => void) =>
  found(null, family === 4 ? '127.0.0.1' : '::1', family);

describe('arguments', () => {
  for (const type of ['udp4', 'udp6'] as const) {
    const ip = type === 'udp4' ? '127.0.0.1' : '::1';
    for (const state of ['unbound', 'bound', 'closed']) {
      for (const [method, starts] of METHODS) {
        // Where node:dgram has no check, a closed socket's is an error of its own making there.
        if (state === 'closed' && !['send', 'sendto', 'addMembership', 'dropMembership'].includes(method)) continue;
        same(`of ${method}, ${type}, ${state}`, async (dgram, log) => {
          let socket: nodeDgram.Socket | undefined;
          for (const start of starts(ip)) {
            for (const make of ALL) {
              const values = [...start, make()];
              if (/^(add|drop)Mem/.test(method) && start.length === 0 && major >= 22 && !hasText(values[0])) continue;
              const isFresh = state === 'unbound' || method === 'connect' || method.includes('Membership');
              if (socket === undefined || isFresh) {
                socket?.close();
                socket = dgram.createSocket({ type, lookup: lookup as never });
                socket.on('error', () => {});
                if (state !== 'unbound') socket.bind(0);
                if (state === 'closed') socket.close();
              }
              const call = (socket as unknown as Record<string, (...values: unknown[]) => unknown>)[method]!;
              log.push([inspect(values, { depth: 1 }), outcome(() => shownResult(call.apply(socket, values)))]);
              if (state === 'closed') socket = undefined;
            }
          }
          await new Promise((resolve) => setImmediate(resolve));
        });
      }
    }
  }

  same('of createSocket', (dgram, log) => {
    const keys = ['type', 'recvBufferSize', 'sendBufferSize', 'lookup', 'signal', 'reuseAddr', 'ipv6Only'];
    for (const key of [...keys, ...(major >= 24 ? ['receiveBlockList', 'sendBlockList'] : [])]) {
      for (const make of ALL) {
        const options = { type: 'udp4', [key]: make() };
        log.push([key, inspect(make()), outcome(() => typeof dgram.createSocket(options as never))]);
      }
    }
  });

  /** Options that note in which order they are read first; `bad` of them throws. */
  function noting(read: string[], values: Record<string, unknown>, bad?: string): object {
    const options = {};
    for (const key of Object.keys(values)) {
      Object.defineProperty(options, key, {
        get() {
          if (!read.includes(key)) read.push(key);
          if (key === bad) throw new Error(`no ${key}`);
          return values[key];
        },
      });
    }
    return options;
  }
  same('of createSocket are read in an order', (dgram, log) => {
    const values = {
      signal: undefined,
      ipv6Only: false,
      reuseAddr: true,
      sendBufferSize: undefined,
      recvBufferSize: undefined,
      lookup: undefined,
      type: 'udp4',
      ...(major >= 24 && { sendBlockList: undefined, receiveBlockList: new BlockList(), reusePort: false }),
    };
    for (const bad of [undefined, ...Object.keys(values)]) {
      const read: string[] = [];
      log.push([bad, outcome(() => typeof dgram.createSocket(noting(read, values, bad) as never)), read]);
    }
  });
  same('of createSocket are those of the call', async (dgram, log) => {
    const options = { type: 'udp4', reuseAddr: false, ipv6Only: false };
    const first = await bound(dgram, { type: 'udp4', reuseAddr: true });
    const second = dgram.createSocket(options as never);
    Object.assign(options, { reuseAddr: true, ipv6Only: true });
    second.on('error', (error) => log.push((error as NodeJS.ErrnoException).code));
    second.bind(portOf(first), '127.0.0.1');
    await quiet();
    second.bind(0, '127.0.0.1');
    await once(second, 'listening');
    log.push('bound');
  });
  same('of bind', async (dgram, log) => {
    for (const make of ALL) {
      for (const values of [[0, make()], [{ port: 0, address: make() }], [{ port: make() }], [make()]]) {
        const socket = dgram.createSocket({ type: 'udp4', lookup: lookup as never });
        const name = inspect(values, { depth: 2 });
        watch(socket, log, `${name}: `);
        socket.on('error', () => {});
        log.push([name, outcome(() => socket.bind(...(values as [number])))]);
        socket.close();
      }
    }
    await quiet();
  });
});

describe('a lookup', () => {
  type Found = (error: unknown, address?: unknown, family?: number) => void;
  const lookups: Record<string, (name: string, family: number, found: Found) => void> = {
    'has an error that is 0': (_, __, found) => found(0, '127.0.0.1', 4),
    'has an error that is undefined': (_, __, found) => found(undefined, '127.0.0.1'),
    'has an error that is text': (_, __, found) => found('none'),
    'finds the other family': (_, __, found) => found(null, '::1', 6),
    'finds a name': (_, __, found) => found(null, 'name.invalid'),
    'finds nothing': (_, __, found) => found(null, ''),
    'answers twice': (_, __, found) => {
      found(null, '127.0.0.1', 4);
      found(null, '127.0.0.1', 4);
    },
    'answers later, and then fails': (_, __, found) => {
      setImmediate(() => {
        found(null, '127.0.0.1', 4);
        found(new Error('second'));
      });
    },
    throws: () => {
      throw new Error('thrown');
    },
    'never answers': () => {},
  };
  for (const [title, lookUp] of Object.entries(lookups)) {
    for (const method of ['bind', 'send', 'connect'] as const) {
      // Callbacks of sends come in their order here, whenever a lookup has failed.
      if (title === 'answers later, and then fails' && method === 'send') continue;
      same(`${title}: ${method}`, async (dgram, log) => {
        let isBinding = method !== 'bind';
        const receiver = await bound(dgram);
        const socket = dgram.createSocket({
          type: 'udp4',
          lookup: ((name: string, family: number, found: Found) => {
            if (isBinding) lookup(name, family, found as never);
            else lookUp(name, family, found);
          }) as never,
        });
        if (method !== 'bind') socket.bind(0);
        isBinding = false;
        watch(socket, log);
        socket.on('error', () => {});
        receiver.on('message', (message) => log.push(String(message)));
        const port = portOf(receiver);
        const told = function (this: unknown, ...values: unknown[]) {
          const facts = values.map((value) => (value instanceof Error ? (value as NodeJS.ErrnoException).code : value));
          log.push(['callback', this === socket, this === undefined, facts]);
        };
        if (method === 'bind') log.push(outcome(() => socket.bind(0, 'name', told)));
        if (method === 'send') log.push(outcome(() => socket.send('x', port, 'name', told)));
        if (method === 'connect') log.push(outcome(() => socket.connect(port, 'name', told)));
        await quiet();
        log.push(outcome(() => (socket.remoteAddress() as { port: number }).port === port));
      });
    }
  }
});

describe('odd data', () => {
  same('memory that was taken away has no bytes', async (dgram: Dgram, log: Log) => {
    const receiver = await bound(dgram);
    receiver.on('message', (message) => log.push(message.length));
    const data = new Uint8Array(4);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    const socket = await bound(dgram);
    await new Promise<void>((resolve) => {
      socket.send(data, portOf(receiver), '127.0.0.1', (...values) => {
        log.push(values);
        resolve();
      });
    });
    log.push(outcome(() => socket.send(data, 0, 1, portOf(receiver), '127.0.0.1')));
    await quiet();
  });
  same('who has wrapped send sees what waits for the bind again', async (dgram, log) => {
    const receiver = await bound(dgram);
    const socket = dgram.createSocket('udp4');
    for (const name of ['send', 'bind'] as const) {
      const wrapped = socket[name] as (...values: unknown[]) => unknown;
      socket[name] = function (this: unknown, ...values: unknown[]) {
        const port = portOf(receiver);
        log.push([
          name,
          values.map((value) => (value === port ? 'port' : typeof value === 'function' ? 'callback' : value)),
        ]);
        return wrapped.apply(this, values);
      } as never;
    }
    socket.send('text', portOf(receiver), '127.0.0.1', () => log.push('sent'));
    socket.send(Buffer.from('0123'), 1, 2, portOf(receiver));
    await quiet();
  });
});
