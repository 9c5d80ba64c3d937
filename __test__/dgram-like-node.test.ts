import { AsyncLocalStorage } from 'node:async_hooks';
import nodeDgram from 'node:dgram';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import dns from 'node:dns';
import { errorMonitor, once } from 'node:events';
import { BlockList, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe } from 'vitest';
import {
  bound,
  type Dgram,
  type Log,
  major,
  minor,
  outcome,
  portOf,
  quiet,
  same,
  shown,
  watch,
} from './support/like-node.js';

/* What node:dgram does in each scenario, wasi-udp/dgram does: events, arguments, errors, in their order. */

describe('createSocket', () => {
  const types: unknown[] = [undefined, null, 'udp', 'UDP4', 4, {}, { type: 'x' }, [], Symbol('udp4'), { type: null }];
  same('takes types', (dgram, log) => {
    for (const type of [...types, 'udp4', 'udp6', { type: 'udp4' }]) {
      log.push(
        outcome(() => {
          const socket = dgram.createSocket(type as 'udp4');
          return [socket instanceof nodeDgram.Socket, (socket as unknown as { type: string }).type];
        }),
      );
    }
  });
  same('checks its options', (dgram, log) => {
    for (const options of [
      { lookup: null },
      { lookup: 'x' },
      { recvBufferSize: -1 },
      { recvBufferSize: '8' },
      { recvBufferSize: 1.5 },
      { sendBufferSize: 2 ** 33 },
      { sendBufferSize: {} },
      { signal: null },
      { signal: {} },
      { signal: 'x' },
      { signal: 1 },
      { lookup: 'x'.repeat(29) },
      { lookup: "it's" },
    ])
      log.push(outcome(() => dgram.createSocket({ type: 'udp4', ...options } as never) && 'made'));
  });
  same('a listener hears messages', async (dgram, log) => {
    const socket = dgram.createSocket('udp4', (message, { port, ...remote }) => log.push([String(message), remote]));
    log.push(socket.listeners('message').length);
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    socket.send('hello', portOf(socket), '127.0.0.1');
    await once(socket, 'message');
  });
  same('publishes to diagnostics_channel', (dgram, log) => {
    const hear = (message: unknown) => log.push(Object.keys(message as object));
    subscribe('udp.socket', hear);
    dgram.createSocket('udp4');
    unsubscribe('udp.socket', hear);
  });
  same('a class of its own, and the old way of inheriting', async (dgram, log) => {
    class Own extends dgram.Socket {
      constructor() {
        super('udp4');
      }
      override address() {
        return { ...super.address(), port: 1 };
      }
    }
    const socket = new Own();
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    log.push(socket instanceof Own, socket instanceof dgram.Socket, socket.address());
    socket.close();
    function Old(this: nodeDgram.Socket) {
      (dgram.Socket as unknown as (type: string) => void).call(this as never, 'udp6');
    }
    Object.setPrototypeOf(Old.prototype, dgram.Socket.prototype);
    const old = new (Old as unknown as new () => nodeDgram.Socket)();
    old.bind(0);
    await once(old, 'listening');
    log.push(old.address().family);
    old.close();
  });
});

describe('bind', () => {
  const forms: [string, (socket: nodeDgram.Socket, log: Log) => unknown][] = [
    ['()', (socket) => socket.bind()],
    ['(port)', (socket) => socket.bind(0)],
    ['(callback)', (socket, log) => socket.bind(() => log.push('callback'))],
    ['(port, callback)', (socket, log) => socket.bind(0, () => log.push('callback'))],
    ['(port, address)', (socket) => socket.bind(0, '127.0.0.1')],
    ['(port, address, callback)', (socket, log) => socket.bind(0, '127.0.0.1', () => log.push('callback'))],
    ['(port, undefined, callback)', (socket, log) => socket.bind(0, undefined, () => log.push('callback'))],
    ['(options)', (socket) => socket.bind({ port: 0, address: '127.0.0.1' })],
    ['(options, callback)', (socket, log) => socket.bind({ port: 0, exclusive: true }, () => log.push('callback'))],
    ['({})', (socket) => socket.bind({})],
    ['(null)', (socket) => socket.bind(null as never)],
    ['(no port)', (socket) => socket.bind('x' as never, '192.0.2.1')],
    ['(port as text)', (socket) => socket.bind('0' as never, '127.0.0.1')],
    ['(name)', (socket) => socket.bind(0, 'localhost')],
    ['(bad name)', (socket) => socket.bind(0, 'no-such-host.invalid')],
    ['(address of the other family)', (socket) => socket.bind(0, '::1')],
    ['(address of nobody)', (socket) => socket.bind(1, '192.0.2.1')],
  ];
  for (const [title, bind] of forms) {
    same(title, async (dgram, log) => {
      const socket = dgram.createSocket('udp4');
      watch(socket, log);
      socket.on('error', () => {});
      log.push(bind(socket, log) === socket, socket.listenerCount('error'), socket.listenerCount(errorMonitor));
      process.nextTick(() => log.push('tick'));
      log.push(outcome(() => socket.bind(0)));
      await (title.includes('name') ? sleep(500) : quiet());
      log.push(outcome(() => ({ ...socket.address(), port: 0 })));
    });
  }
  same('of udp6 is of both protocols, or of one', async (dgram, log) => {
    for (const ipv6Only of [false, true]) {
      const socket = dgram.createSocket({ type: 'udp6', ipv6Only });
      socket.on('message', (message, { port, ...remote }) => log.push([String(message), remote]));
      socket.bind(0);
      await once(socket, 'listening');
      log.push({ ...socket.address(), port: 0 });
      const peer = dgram.createSocket('udp4');
      peer.send('four', portOf(socket), '127.0.0.1');
      const six = dgram.createSocket('udp6');
      six.send('six', portOf(socket), '::1');
      await quiet();
      socket.send('mapped', portOf(socket), '::ffff:127.0.0.1', (error) => log.push(shown(error, portOf(socket))));
      socket.send('plain', portOf(socket), '127.0.0.1', (error) => log.push(shown(error, portOf(socket))));
      await quiet();
    }
  });
  same('to a port that is taken', async (dgram, log) => {
    const first = await bound(dgram);
    const second = dgram.createSocket('udp4');
    const port = portOf(first);
    const called: string[] = [];
    second.on('error', (error) => log.push(shown(error, port)));
    second.bind(port, '127.0.0.1', () => called.push('callback'));
    await once(second, 'error').catch(() => {});
    log.push(second.listenerCount('listening'), called.length);
    second.bind(0, '127.0.0.1', () => called.push('again'));
    await once(second, 'listening');
    log.push(called.join());
  });
  same('to a port that is shared by reuseAddr', async (dgram, log) => {
    const first = await bound(dgram, { type: 'udp4', reuseAddr: true });
    const second = dgram.createSocket({ type: 'udp4', reuseAddr: true });
    watch(second, log);
    second.bind(portOf(first), '127.0.0.1');
    await once(second, 'listening');
  });
  same(
    'to a port that is shared by reusePort',
    async (dgram, log) => {
      const first = await bound(dgram, { type: 'udp4', reusePort: true } as never);
      const second = dgram.createSocket({ type: 'udp4', reusePort: true } as never);
      watch(second, log);
      second.bind(portOf(first), '127.0.0.1');
      await once(second, 'listening');
    },
    major >= 23 && process.platform === 'linux',
  );
  same('ipv6Only is no flag of IPv4', async (dgram, log) => {
    const socket = dgram.createSocket({ type: 'udp4', ipv6Only: true });
    watch(socket, log);
    socket.on('error', () => {});
    socket.bind(0);
    await quiet();
  });
  same(
    'takes no descriptor that a socket has',
    async (dgram, log) => {
      const socket = await bound(dgram);
      const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
      log.push(outcome(() => dgram.createSocket('udp4').bind({ fd })));
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const ofTcp = (server as unknown as { _handle: { fd: number } })._handle.fd;
      log.push(outcome(() => dgram.createSocket('udp4').bind({ fd: ofTcp })));
      server.close();
      socket.send('x', portOf(socket), '127.0.0.1');
      await once(socket, 'message');
      log.push('heard');
    },
    '_handle' in nodeDgram.Socket.prototype && process.platform !== 'win32',
  );
  const hasSync = 'bindSync' in nodeDgram.Socket.prototype;
  same(
    'at once',
    async (dgram, log) => {
      const socket = dgram.createSocket('udp4');
      watch(socket, log);
      for (const options of [null, 1, { port: -1 }, { port: 70_000 }, { address: 'localhost' }, { address: 1 }])
        log.push(outcome(() => socket.bindSync(options as never)));
      log.push(
        { ...socket.bindSync({ address: '127.0.0.1' }), port: 0 },
        outcome(() => socket.bindSync()),
      );
      for (const address of [1, 'localhost', '::1']) log.push(outcome(() => socket.connectSync(9, address as never)));
      log.push(
        outcome(() => socket.connectSync(0)),
        outcome(() => socket.connectSync(9)),
      );
      log.push(
        outcome(() => socket.connectSync(9)),
        socket.remoteAddress(),
      );
      await sleep(1);
    },
    hasSync,
  );
});

describe('send', () => {
  const forms: [string, (socket: nodeDgram.Socket, port: number, done: () => void) => void][] = [
    ['(text, port, callback)', (socket, port, done) => socket.send('text', port, done)],
    ['(text, port, address, callback)', (socket, port, done) => socket.send('tëxt', port, '127.0.0.1', done)],
    ['(text, port, name, callback)', (socket, port, done) => socket.send('text', port, 'localhost', done)],
    ["(text, port, '', callback)", (socket, port, done) => socket.send('text', port, '', done)],
    ['(text, port, null, callback)', (socket, port, done) => socket.send('text', port, null as never, done)],
    ['(text, port as text, callback)', (socket, port, done) => socket.send('text', String(port) as never, done)],
    ['(Buffer)', (socket, port, done) => socket.send(Buffer.from('bytes'), port, done)],
    ['(Uint16Array)', (socket, port, done) => socket.send(new Uint16Array([1, 2]), port, done)],
    ['(DataView)', (socket, port, done) => socket.send(new DataView(new ArrayBuffer(5), 1, 3), port, done)],
    ['(empty)', (socket, port, done) => socket.send('', port, done)],
    ['([])', (socket, port, done) => socket.send([], port, done)],
    ['([parts])', (socket, port, done) => socket.send(['a', Buffer.from('b'), new Uint8Array([99])], port, done)],
    ['(offset, length)', (socket, port, done) => socket.send('0123456', 2, 3, port, '127.0.0.1', done)],
    ['(offset, length, callback)', (socket, port, done) => socket.send(Buffer.from('0123'), 1, 2, port, done)],
    ['(offset, length 0)', (socket, port, done) => socket.send('0123', 4, 0, port, '127.0.0.1', done)],
  ];
  for (const [title, send] of forms) {
    same(title, async (dgram, log) => {
      const receiver = await bound(dgram);
      const socket = dgram.createSocket('udp4');
      watch(socket, log);
      const heard = once(receiver, 'message');
      await new Promise<void>((resolve) => {
        send(socket, portOf(receiver), ((...args: unknown[]) => {
          log.push(args);
          resolve();
        }) as () => void);
        log.push('returned');
      });
      const [message, { address, family, size, port }] = await heard;
      log.push(String(message), { address, family, size }, port === portOf(socket), message.buffer.byteLength);
    });
  }
  const wrong: [string, unknown[]][] = [
    ['nothing', []],
    ['no data', [undefined, 1]],
    ['a number', [5, 1]],
    ['an object', [{}, 1]],
    ['a list with a number', [['a', 5], 1]],
    ['no port', ['x']],
    ['port 0', ['x', 0]],
    ['port -1', ['x', -1]],
    ['port 65536', ['x', 65_536]],
    ['port 1.5', ['x', 1.5]],
    ['port NaN', ['x', Number.NaN]],
    ['port as empty text', ['x', '']],
    ['port null', ['x', null]],
    ['port a function', ['x', () => {}]],
    ['an address that is a number', ['x', 1, 1]],
    ['an address that is true', ['x', 1, true]],
    ['an address that is {}', ['x', 1, {}]],
    ['an offset beyond', ['x', 2, 1, 1, '127.0.0.1']],
    ['a length beyond', ['x', 0, 2, 1, '127.0.0.1']],
    ['offset and length of an object', [{}, 0, 1, 1, '127.0.0.1']],
  ];
  same('refuses', (dgram, log) => {
    for (const [title, values] of wrong) {
      const socket = dgram.createSocket('udp4');
      log.push([title, outcome(() => (socket.send as (...values: unknown[]) => void)(...values))]);
    }
    const socket = dgram.createSocket('udp4');
    for (const values of [[], ['x', 'a', 1], ['x', 0, 'a'], ['x', 0, 1, 'a'], ['x', 0, 1, 1, 5]])
      log.push(outcome(() => (socket as unknown as { sendto(...values: unknown[]): void }).sendto(...values)));
  });
  same('sendto', async (dgram, log) => {
    const receiver = await bound(dgram);
    const socket = dgram.createSocket('udp4') as unknown as nodeDgram.Socket & { sendto(...values: unknown[]): void };
    socket.sendto('hello', 1, 3, portOf(receiver), '127.0.0.1', (...args: unknown[]) => log.push(args));
    log.push(String((await once(receiver, 'message'))[0]));
    await quiet();
  });
  same('errors of the system go to the callback, or to nobody', async (dgram, log) => {
    const socket = await bound(dgram);
    watch(socket, log);
    socket.send(Buffer.alloc(70_000), 9, '127.0.0.1', (...args) => log.push(args.map((arg) => shown(arg))));
    socket.send(Buffer.alloc(70_000), 9, '127.0.0.1');
    socket.send('x', 9, '255.255.255.255', (...args) => log.push(args.map((arg) => shown(arg))));
    socket.send('x', 9, '::1', (...args) => log.push(args.map((arg) => shown(arg))));
    await quiet();
  });
  same('a name that there is not', async (dgram, log) => {
    const socket = await bound(dgram);
    socket.send('x', 9, 'no-such-host.invalid', (error) => log.push((error as NodeJS.ErrnoException).syscall));
    socket.send('x', 9, 'no-such-host.invalid');
    const [error] = await once(socket, 'error').catch((reason) => [reason]);
    log.push((error as NodeJS.ErrnoException).syscall);
    await sleep(1);
  });
  same('callbacks come in order, and bytes are those of the call', async (dgram, log) => {
    const receiver = await bound(dgram);
    const socket = await bound(dgram);
    const heard: string[] = [];
    receiver.on('message', (message) => heard.push(String(message)));
    const bytes = Buffer.from('0');
    for (let i = 0; i < 9; i++) {
      bytes.write(String(i));
      socket.send(Buffer.from(bytes), portOf(receiver), '127.0.0.1', () => log.push(i));
    }
    await sleep(50);
    log.push(heard.join());
  });
  same('before the socket is bound, waits', async (dgram, log) => {
    const receiver = await bound(dgram);
    const socket = dgram.createSocket('udp4');
    watch(socket, log);
    socket.bind(0, '127.0.0.1');
    for (const text of ['a', 'b', 'c']) socket.send(text, portOf(receiver), '127.0.0.1', () => log.push(text));
    const heard: string[] = [];
    receiver.on('message', (message) => heard.push(String(message)));
    await quiet();
    log.push(heard.join());
  });
  same('waits, and fails with the bind', async (dgram, log) => {
    const socket = dgram.createSocket({ type: 'udp4', lookup: (_, __, callback) => callback(new Error('no'), '', 4) });
    socket.on('error', (error) => log.push(shown(error)));
    socket.send('x', 9, '127.0.0.1', () => log.push('callback'));
    await quiet();
    socket.send('x', 9, '127.0.0.1');
    await quiet();
  });
  same('an own lookup is asked for each', async (dgram, log) => {
    const lookup = (...args: Parameters<typeof dns.lookup>) => {
      log.push(args.slice(0, -1));
      return dns.lookup(...args);
    };
    const receiver = await bound(dgram);
    const socket = dgram.createSocket({ type: 'udp4', lookup: lookup as never });
    await new Promise((resolve) => socket.send('a', portOf(receiver), '127.0.0.1', resolve));
    await new Promise((resolve) => socket.send('a', portOf(receiver), resolve));
    await new Promise((resolve) => socket.send('a', portOf(receiver), 'localhost', resolve));
  });
  same('an own lookup may answer at once', async (dgram, log) => {
    const lookup = (_: string, __: unknown, callback: (error: null, address: string, family: number) => void) =>
      callback(null, '127.0.0.1', 4);
    const receiver = await bound(dgram);
    const socket = dgram.createSocket({ type: 'udp4', lookup: lookup as never });
    watch(socket, log);
    const heard: string[] = [];
    receiver.on('message', (message) => heard.push(String(message)));
    for (const text of ['a', 'b']) socket.send(text, portOf(receiver), '127.0.0.1', () => log.push(`sent ${text}`));
    log.push('returned');
    await quiet();
    log.push(heard.join());
    const connected = dgram.createSocket({ type: 'udp4', lookup: lookup as never });
    watch(connected, log);
    connected.connect(portOf(receiver), '127.0.0.1', () => log.push('callback'));
    log.push('returned');
    await quiet();
  });
  same('the lookup of the runtime is asked for what node:dgram asks it', async (dgram, log) => {
    const { lookup } = dns;
    const ask = (...args: unknown[]) => {
      log.push(args.slice(0, -1));
      return (lookup as (...args: unknown[]) => void)(...args);
    };
    Object.assign(dns, { lookup: ask });
    try {
      const socket = await bound(dgram);
      log.push('bound');
      await new Promise((resolve) => socket.send('a', portOf(socket), '127.0.0.1', resolve));
      await new Promise((resolve) => socket.send('a', portOf(socket), 'localhost', resolve));
      socket.connect(portOf(socket), '127.0.0.1');
      await once(socket, 'connect');
    } finally {
      Object.assign(dns, { lookup });
    }
  });
  same('counts what waits', async (dgram, log) => {
    const socket = dgram.createSocket('udp4');
    log.push(socket.getSendQueueSize(), socket.getSendQueueCount());
    const receiver = await bound(dgram);
    socket.connect(portOf(receiver), '127.0.0.1');
    await once(socket, 'connect');
    await new Promise((resolve) => socket.send('12345', resolve));
    log.push(socket.getSendQueueSize(), socket.getSendQueueCount());
  });
});

describe('connect', () => {
  const wrong: unknown[][] = [[], [0], [-1], [65_536], ['x'], [null], [1, 1], [1, null], [1, {}], [1, true]];
  same('refuses', (dgram, log) => {
    for (const values of wrong) {
      const socket = dgram.createSocket('udp4');
      log.push(outcome(() => (socket.connect as (...values: unknown[]) => void)(...values)));
    }
  });
  same('has a peer, until disconnect', async (dgram, log) => {
    const peer = await bound(dgram);
    const port = portOf(peer);
    const socket = dgram.createSocket('udp4');
    watch(socket, log);
    log.push(
      outcome(() => socket.remoteAddress()),
      outcome(() => socket.disconnect()),
    );
    socket.connect(port, '127.0.0.1', () => log.push('callback'));
    log.push(outcome(() => socket.connect(port)));
    await once(socket, 'connect');
    log.push({ ...socket.remoteAddress(), port: socket.remoteAddress().port === port });
    log.push(outcome(() => socket.connect(port)));
    log.push(
      outcome(() => socket.send('x', port)),
      outcome(() => socket.send('x', 0, 1, port, '127.0.0.1')),
    );
    socket.send('plain', (...args: unknown[]) => log.push(args));
    socket.send(['a', 'b'], (...args: unknown[]) => log.push(args));
    socket.send('012345', 1, 2, (...args: unknown[]) => log.push(args));
    const heard: string[] = [];
    peer.on('message', (message) => heard.push(String(message)));
    await quiet();
    log.push(heard.join());
    socket.disconnect();
    log.push(
      outcome(() => socket.remoteAddress()),
      outcome(() => socket.send('x', undefined as never)),
    );
    socket.connect(port, () => log.push('again'));
    await once(socket, 'connect');
  });
  same('hears its peer alone', async (dgram, log) => {
    const [peer, stranger, socket] = [await bound(dgram), await bound(dgram), await bound(dgram)];
    socket.connect(portOf(peer), '127.0.0.1');
    await once(socket, 'connect');
    socket.on('message', (message) => log.push(String(message)));
    stranger.send('stranger', portOf(socket), '127.0.0.1');
    peer.send('peer', portOf(socket), '127.0.0.1');
    await quiet();
  });
  same('tells that nobody listens', async (dgram, log) => {
    const socket = dgram.createSocket('udp4');
    // No system gives this port to a socket that asks for any.
    socket.connect(1, '127.0.0.1');
    await once(socket, 'connect');
    watch(socket, log);
    const told = new Promise<void>((resolve) => socket.on('error', () => resolve()));
    socket.send('x', (...args: unknown[]) => log.push(args));
    // The system limits how many refusals it sends, of all processes together: some datagrams have none.
    const again = setInterval(() => socket.send('x'), 1000);
    await told;
    clearInterval(again);
  });
  same('to what is no address', async (dgram, log) => {
    const socket = dgram.createSocket('udp4');
    socket.on('error', (error) => log.push(shown(error)));
    socket.connect(9, '::1');
    await quiet();
    socket.connect(9, '::1', ((error: unknown) => log.push(shown(error))) as never);
    await quiet();
    log.push(socket.listenerCount('connect'));
  });
});

describe('close', () => {
  same('a connect of a closed socket leaves its callback', async (dgram, log) => {
    const socket = await bound(dgram);
    socket.close();
    try {
      socket.connect(9, '127.0.0.1', () => {});
    } catch (error) {
      log.push((error as Error).name.endsWith('Error'));
    }
    log.push(socket.listenerCount('connect'));
    await once(socket, 'close');
  });
  same('within the connect of a lookup that answers at once', async (dgram, log) => {
    const lookup = (_: string, __: unknown, found: (error: null, ip: string, family: number) => void) => {
      found(null, '127.0.0.1', 4);
    };
    const socket = dgram.createSocket({ type: 'udp4', lookup: lookup as never });
    socket.bind(0);
    watch(socket, log);
    socket.connect(9, '127.0.0.1', () => log.push('callback'));
    socket.close();
    await quiet();
  });
  same('and what comes after', async (dgram, log) => {
    const socket = await bound(dgram);
    watch(socket, log);
    log.push(socket.close(() => log.push('callback')) === socket);
    process.nextTick(() => log.push('tick'));
    for (const call of [
      () => socket.close(),
      () => socket.bind(0),
      () => socket.send('x', 9),
      () => socket.address(),
      () => socket.addMembership('224.0.0.114'),
      () => socket.dropMembership('224.0.0.114'),
      () => socket.addSourceSpecificMembership('127.0.0.1', '232.1.1.1'),
      () => socket.setMulticastInterface('0.0.0.0'),
      () => socket.ref(),
      () => socket.unref(),
    ])
      log.push(outcome(call));
    await sleep(1);
  });
  same('of a socket that was never bound', async (dgram, log) => {
    const socket = dgram.createSocket('udp4');
    watch(socket, log);
    socket.close();
    log.push(outcome(() => socket.address()));
    await sleep(1);
  });
  same('while it is being bound', async (dgram, log) => {
    const socket = dgram.createSocket('udp4');
    watch(socket, log);
    socket.bind(0, () => log.push('bound'));
    socket.close();
    await quiet();
  });
  same('behind sends that wait for the bind', async (dgram, log) => {
    const socket = dgram.createSocket('udp4');
    watch(socket, log);
    socket.send('x', 9, '127.0.0.1', () => log.push('callback'));
    log.push(socket.close() === socket);
    await quiet();
  });
  same('of a connected socket lets callbacks come', async (dgram, log) => {
    const peer = await bound(dgram);
    const socket = dgram.createSocket('udp4');
    socket.connect(portOf(peer), '127.0.0.1');
    await once(socket, 'connect');
    watch(socket, log);
    socket.send('last', (...args: unknown[]) => log.push(args));
    socket.close();
    log.push(String((await once(peer, 'message'))[0]));
  });
  same('in the tick of a send tells no callback', async (dgram, log) => {
    const [receiver, socket] = [await bound(dgram), await bound(dgram)];
    watch(socket, log);
    socket.send('x', portOf(receiver), '127.0.0.1', () => log.push('callback'));
    socket.close();
    await quiet();
  });
  same('by a signal', async (dgram, log) => {
    const controller = new AbortController();
    const socket = dgram.createSocket({ type: 'udp4', signal: controller.signal });
    watch(socket, log);
    socket.bind(0);
    await once(socket, 'listening');
    controller.abort();
    await sleep(1);
    const aborted = dgram.createSocket({ type: 'udp4', signal: AbortSignal.abort() });
    watch(aborted, log, 'aborted: ');
    await sleep(1);
  });
  same('by asyncDispose', async (dgram, log) => {
    const socket = await bound(dgram);
    watch(socket, log);
    await socket[Symbol.asyncDispose]();
    log.push('disposed');
    await socket[Symbol.asyncDispose]();
  });
});

describe('options', () => {
  const calls: [string, (socket: nodeDgram.Socket) => unknown][] = [
    ...[0, 1, 64, 255, 256, -1, 1.5, '64', undefined, Number.NaN].flatMap(
      (value): [string, (socket: nodeDgram.Socket) => unknown][] => [
        [`setTTL(${value})`, (socket) => socket.setTTL(value as number)],
        [`setMulticastTTL(${value})`, (socket) => socket.setMulticastTTL(value as number)],
      ],
    ),
    ['setBroadcast(true)', (socket) => socket.setBroadcast(true)],
    ['setBroadcast(0)', (socket) => socket.setBroadcast(0 as never)],
    ['setMulticastLoopback(false)', (socket) => socket.setMulticastLoopback(false)],
    ["setMulticastLoopback('x')", (socket) => socket.setMulticastLoopback('x' as never)],
    ['setMulticastInterface()', (socket) => socket.setMulticastInterface(undefined as never)],
    ["setMulticastInterface('x')", (socket) => socket.setMulticastInterface('x')],
    ["setMulticastInterface('0.0.0.0')", (socket) => socket.setMulticastInterface('0.0.0.0')],
    ["setMulticastInterface('127.0.0.1')", (socket) => socket.setMulticastInterface('127.0.0.1')],
    ["setMulticastInterface('192.0.2.1')", (socket) => socket.setMulticastInterface('192.0.2.1')],
    ['getRecvBufferSize', (socket) => socket.getRecvBufferSize()],
    ['getSendBufferSize', (socket) => socket.getSendBufferSize()],
    ...[10_000, 0, -1, 1.5, 'x', 2 ** 31, 2 ** 32].map((size): [string, (socket: nodeDgram.Socket) => unknown] => [
      `setRecvBufferSize(${size})`,
      (socket) => {
        socket.setRecvBufferSize(size as number);
        return socket.getRecvBufferSize();
      },
    ]),
    ['addMembership()', (socket) => socket.addMembership(undefined as never)],
    ["addMembership('x')", (socket) => socket.addMembership('x')],
    ["addMembership('127.0.0.1')", (socket) => socket.addMembership('127.0.0.1', '127.0.0.1')],
    ["addMembership('224.0.0.114', 'x')", (socket) => socket.addMembership('224.0.0.114', 'x')],
    ["addMembership('224.0.0.114', '192.0.2.1')", (socket) => socket.addMembership('224.0.0.114', '192.0.2.1')],
    ["dropMembership('224.0.0.114')", (socket) => socket.dropMembership('224.0.0.114', '127.0.0.1')],
    ["addMembership('224.0.0.114')", (socket) => socket.addMembership('224.0.0.114', '127.0.0.1')],
    ['addMembership again', (socket) => socket.addMembership('224.0.0.114', '127.0.0.1')],
    ['dropMembership', (socket) => socket.dropMembership('224.0.0.114', '127.0.0.1')],
    ['addSourceSpecificMembership()', (socket) => socket.addSourceSpecificMembership(0 as never, '232.1.1.1')],
    ['addSourceSpecificMembership(x)', (socket) => socket.addSourceSpecificMembership('127.0.0.1', 0 as never)],
    [
      'addSourceSpecificMembership',
      (socket) => socket.addSourceSpecificMembership('127.0.0.1', '232.1.1.1', '127.0.0.1'),
    ],
    [
      'dropSourceSpecificMembership',
      (socket) => socket.dropSourceSpecificMembership('127.0.0.1', '232.1.1.1', '127.0.0.1'),
    ],
    [
      'dropSourceSpecificMembership again',
      (socket) => socket.dropSourceSpecificMembership('127.0.0.1', '232.1.1.1', '127.0.0.1'),
    ],
  ];
  same('of a bound socket', async (dgram, log) => {
    const socket = await bound(dgram);
    for (const [title, call] of calls) log.push([title, outcome(() => call(socket))]);
  });
  same('of a socket that is not bound', (dgram, log) => {
    for (const [title, call] of calls) {
      if (title.includes('(224') || title.startsWith('add') || title.startsWith('drop')) continue;
      log.push([title, outcome(() => call(dgram.createSocket('udp4')))]);
    }
    log.push(outcome(() => dgram.createSocket('udp4').address()));
  });
  same('a membership binds', (dgram, log) => {
    const socket = dgram.createSocket('udp4');
    socket.addMembership('224.0.0.114', '127.0.0.1');
    log.push({ ...socket.address(), port: socket.address().port > 0 });
  });
  same('a membership of no group does not bind', async (dgram, log) => {
    const socket = dgram.createSocket('udp4');
    log.push(outcome(() => socket.addMembership('x')));
    log.push(outcome(() => socket.addSourceSpecificMembership('x', '232.1.1.1')));
    log.push(outcome(() => socket.address()));
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    log.push(socket.address().address);
  });
  same('memberships of the other protocol', async (dgram, log) => {
    const [four, six] = [await bound(dgram), dgram.createSocket('udp6')];
    six.bind(0, '::');
    await once(six, 'listening');
    for (const socket of [four, six]) {
      for (const call of [
        () => socket.addMembership('224.0.0.114', '127.0.0.1'),
        () => socket.addMembership('224.0.0.115', '::1'),
        () => socket.addMembership('ff02::114', '::1'),
        () => socket.addMembership('ff02::115', '127.0.0.1'),
        () => socket.addSourceSpecificMembership('127.0.0.1', '232.1.1.1', '127.0.0.1'),
        () => socket.addSourceSpecificMembership('::1', '232.1.1.1'),
        () => socket.addSourceSpecificMembership('127.0.0.1', 'ff3e::1'),
        () => socket.setMulticastInterface('127.0.0.1'),
        () => socket.setMulticastInterface('::'),
        () => socket.dropMembership('224.0.0.114', '127.0.0.1'),
      ])
        log.push([String(call), outcome(call)]);
    }
    log.push(outcome(() => dgram.createSocket('udp4').setMulticastInterface('::')));
  });
  for (const type of ['udp4', 'udp6'] as const) {
    same(`multicast of ${type} leaves from the address that was set`, async (dgram, log) => {
      const [receiver, sender] = [dgram.createSocket(type), dgram.createSocket(type)];
      receiver.bind(0);
      sender.bind(0);
      await Promise.all([once(receiver, 'listening'), once(sender, 'listening')]);
      receiver.addMembership('224.0.0.114', '127.0.0.1');
      sender.setMulticastInterface('127.0.0.1');
      receiver.on('message', (message, { address, family }) => log.push([String(message), address, family]));
      sender.send('x', portOf(receiver), type === 'udp4' ? '224.0.0.114' : '::ffff:224.0.0.114');
      await once(receiver, 'message');
    });
  }
  same('buffer sizes of createSocket', async (dgram, log) => {
    const socket = await bound(dgram, { type: 'udp4', recvBufferSize: 9000, sendBufferSize: 11_000 });
    log.push(socket.getRecvBufferSize(), socket.getSendBufferSize());
  });
  same(
    'block lists',
    async (dgram, log) => {
      const list = new BlockList();
      list.addAddress('127.0.0.1');
      for (const options of [{ sendBlockList: {} }, { receiveBlockList: [] }])
        log.push(outcome(() => dgram.createSocket({ type: 'udp4', ...options } as never)));
      const deaf = await bound(dgram, { type: 'udp4', receiveBlockList: list } as never);
      const mute = await bound(dgram, { type: 'udp4', sendBlockList: list } as never);
      watch(deaf, log);
      const sender = await bound(dgram);
      sender.send('x', portOf(deaf), '127.0.0.1');
      mute.send('x', 9, '127.0.0.1', (error) => log.push(shown(error)));
      mute.connect(9, '127.0.0.1', ((error: unknown) => log.push(shown(error))) as never);
      await quiet();
    },
    major >= 24 || (major === 22 && minor >= 13),
  );
});

describe('messages', () => {
  /** Has a socket find several datagrams at once. */
  async function burst(dgram: Dgram, count: number): Promise<nodeDgram.Socket> {
    const [sender, socket] = [await bound(dgram), await bound(dgram)];
    let sent = 0;
    await new Promise<void>((resolve) => {
      for (let i = 0; i < count; i++) {
        sender.send(`${i}`, portOf(socket), '127.0.0.1', () => {
          sent += 1;
          if (sent === count) resolve();
        });
      }
    });
    return socket;
  }
  same('ticks and promises come between those of a burst', async (dgram, log) => {
    const socket = await burst(dgram, 5);
    socket.on('message', (message) => {
      log.push(String(message));
      process.nextTick(() => log.push(`tick ${message}`));
      Promise.resolve().then(() => log.push(`promise ${message}`));
    });
    await quiet();
  });
  same('one at a time by once()', async (dgram, log) => {
    const socket = await burst(dgram, 5);
    for (let i = 0; i < 5; i++) log.push(String((await once(socket, 'message'))[0]));
  });
  same('a close in the middle ends them', async (dgram, log) => {
    const socket = await burst(dgram, 5);
    socket.on('message', (message) => {
      log.push(String(message));
      if (String(message) === '2') socket.close(() => log.push('closed'));
    });
    await quiet();
  });
  same('a listener that leaves in the middle hears no more', async (dgram, log) => {
    const socket = await burst(dgram, 5);
    const hear = (message: Buffer) => {
      log.push(String(message));
      if (String(message) === '1') socket.removeListener('message', hear);
    };
    socket.on('message', hear);
    await quiet();
  });
  same('the context of a handler is that of the socket, of a callback that of its send', async (dgram, log) => {
    const context = new AsyncLocalStorage<string>();
    const socket = await context.run('socket', () => bound(dgram));
    const heard = new Promise<void>((resolve) => {
      context.run('listener', () =>
        socket.once('message', () => {
          log.push(context.getStore());
          resolve();
        }),
      );
    });
    for (const name of ['first', 'second']) {
      await new Promise<void>((resolve) => {
        context.run(name, () =>
          socket.send('x', portOf(socket), '127.0.0.1', () => {
            log.push(context.getStore());
            resolve();
          }),
        );
      });
    }
    await heard;
    log.sort();
  });
  same('over IPv6', async (dgram, log) => {
    const socket = await bound(dgram, { type: 'udp6' });
    socket.on('message', (message, { port, ...remote }) => log.push([String(message), remote]));
    socket.send('six', portOf(socket), '::1', (...args) => log.push(args));
    socket.send('default', portOf(socket), (...args) => log.push(args));
    await quiet();
    log.push({ ...socket.address(), port: 0 });
  });
  same('the largest, and the empty one', async (dgram, log) => {
    const socket = await bound(dgram);
    socket.on('message', (message, { size }) => log.push([message.length, size, message.every((byte) => byte === 7)]));
    socket.send(Buffer.alloc(65_507, 7), portOf(socket), '127.0.0.1');
    socket.send('', portOf(socket), '127.0.0.1');
    await quiet();
  });
});
