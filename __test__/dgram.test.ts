import { spawn } from 'node:child_process';
import nodeDgram from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import dgram, { createSocket, Socket } from '../dist/dgram/index.js';
import { openUdp } from '../dist/index.js';
import { native } from '../dist/native/native.js';
import { bytes } from './support/outcomes.js';
import { fixture, RUNTIME, run, runFixture } from './support/runtime.js';

/* What wasi-udp/dgram is beyond what node:dgram is, which dgram-like-node.test.ts compares; and what other runtimes show as well. */

const isDeno = 'Deno' in globalThis;
const isNode = !isDeno && !('Bun' in globalThis);
const opened: Socket[] = [];

async function bound(type: 'udp4' | 'udp6' = 'udp4'): Promise<Socket> {
  const socket = createSocket(type);
  opened.push(socket);
  socket.bind(0, type === 'udp4' ? '127.0.0.1' : '::1');
  await once(socket, 'listening');
  return socket;
}

afterEach(() => {
  for (const socket of opened.splice(0)) {
    try {
      socket.close();
    } catch {
      // The test has closed it.
    }
  }
});

const portOf = (socket: Socket) => socket.address().port;

describe('a socket', () => {
  it('is an EventEmitter, and one of node:dgram', async () => {
    const socket = await bound();
    expect(socket).toBeInstanceOf(EventEmitter);
    expect(socket).toBeInstanceOf(nodeDgram.Socket);
    expect(socket).toBeInstanceOf(dgram.Socket);
    expect(dgram.Socket).toBe(Socket);
  });

  it('sends and hears, each message with its source', async () => {
    const [one, two] = [await bound(), await bound()];
    const heard = once(two, 'message');
    expect(
      await new Promise((resolve) => one.send('hello', portOf(two), '127.0.0.1', (...args) => resolve(args))),
    ).toEqual([null, 5]);
    const [message, remote] = await heard;
    expect(String(message)).toBe('hello');
    expect(remote).toEqual({ address: '127.0.0.1', family: 'IPv4', port: portOf(one), size: 5 });
  });

  it('gives each message memory of its own', async () => {
    const [sender, socket] = [await bound(), await bound()];
    const sizes = [1, 64, 65, 1200, 9000];
    const heard: Buffer[] = [];
    const all = new Promise<void>((resolve) => {
      socket.on('message', (message) => {
        if (heard.push(message) === sizes.length) resolve();
      });
    });
    for (const size of sizes) sender.send(Buffer.alloc(size, size), portOf(socket), '127.0.0.1');
    await all;
    expect(heard.map(({ length }) => length)).toEqual(sizes);
    for (const message of heard) {
      expect(Buffer.isBuffer(message)).toBe(true);
      expect([message.byteOffset, message.buffer.byteLength]).toEqual([0, message.length]);
    }
  });

  it('hears a run of datagrams that came as one, in order', async () => {
    const socket = await bound();
    using udp = openUdp({ remote: `127.0.0.1:${portOf(socket)}` });
    udp.outgoing.checkSend();
    udp.outgoing.send(Array.from({ length: 200 }, (_, i) => ({ data: bytes(String(i).padStart(3, '0')) })));
    const heard: string[] = [];
    while (heard.length < 200) heard.push(String((await once(socket, 'message'))[0]));
    expect(heard).toEqual(Array.from({ length: 200 }, (_, i) => String(i).padStart(3, '0')));
  });

  it('what a turn sends leaves in few system calls', async () => {
    const [sender, receiver] = [await bound(), await bound()];
    const handle = (sender as unknown as { _handle: { fd: number } })._handle;
    expect(handle.fd).toBeGreaterThan(0);
    let heard = 0;
    receiver.on('message', () => (heard += 1));
    for (let i = 0; i < 100; i++) sender.send(`${i}`, portOf(receiver), '127.0.0.1');
    expect([sender.getSendQueueCount(), sender.getSendQueueSize()]).toEqual([100, 190]);
    while (heard < 100) await sleep(1);
    expect(sender.getSendQueueCount()).toBe(0);
  });

  it('sends what was sent before it is closed', async () => {
    const [sender, receiver] = [await bound(), await bound()];
    const heard = once(receiver, 'message');
    sender.send('last', portOf(receiver), '127.0.0.1');
    sender.close();
    expect(String((await heard)[0])).toBe('last');
  });

  it('copies the bytes of a send at its call', async () => {
    const [sender, receiver] = [await bound(), await bound()];
    const heard = once(receiver, 'message');
    const data = Buffer.from('before');
    sender.send(data, portOf(receiver), 'localhost');
    data.fill('x');
    expect(String((await heard)[0])).toBe('before');
  });

  it('tells what a connected peer refused, and loses no datagram by it', async () => {
    const socket = await bound();
    // No system gives this port to a socket that asks for any.
    socket.connect(1, '127.0.0.1');
    await once(socket, 'connect');
    const errors: NodeJS.ErrnoException[] = [];
    socket.on('error', (error) => errors.push(error));
    // The system limits how many refusals it sends, of all processes together: some datagrams have none.
    while (errors.length === 0) {
      const outcomes = await Promise.all(
        [0, 1, 2].map((i) => new Promise((resolve) => socket.send(`${i}`, (error) => resolve(error)))),
      );
      expect(outcomes).toEqual([null, null, null]);
      await sleep(20);
    }
    for (const error of errors)
      expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'recvmsg', message: 'recvmsg ECONNREFUSED' });
  });

  it.skipIf(process.platform === 'win32' || isDeno)('takes over a descriptor that a parent passed', async () => {
    using passed = openUdp({ local: '127.0.0.1:0' });
    const fd = native.descriptor(passed.socket.descriptor.socket);
    const [file, ...args] = [...RUNTIME, fixture('dgram-adopted.mjs')];
    const child = spawn(file!, args, { stdio: ['ignore', 'pipe', 'inherit', fd] });
    let stdout = '';
    child.stdout!.on('data', (chunk) => (stdout += chunk));
    expect((await once(child, 'close'))[0]).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      port: passed.localAddress.val.port,
      heard: 'itself',
      file: 'Unsupported fd type: FILE',
    });
  });

  // The event loop tells, where its own handles are what waits.
  const isLoop = isNode && process.platform !== 'win32' && process.env['WASI_UDP_POLLER'] !== 'thread';
  it.skipIf(!isLoop || !('_handle' in nodeDgram.Socket.prototype))(
    'takes no descriptor that a socket of node:dgram has',
    async () => {
      const theirs = nodeDgram.createSocket('udp4');
      theirs.bind(0, '127.0.0.1');
      await once(theirs, 'listening');
      const { fd } = (theirs as unknown as { _handle: { fd: number } })._handle;
      const socket = createSocket('udp4');
      expect(() => socket.bind({ fd })).toThrow('open EEXIST');
      socket.close();
      theirs.send('still', theirs.address().port, '127.0.0.1');
      expect(String((await once(theirs, 'message'))[0])).toBe('still');
      theirs.close();
    },
  );

  it('a method of node:dgram that is not here says so', () => {
    const own = Object.getOwnPropertyNames(Socket.prototype);
    const theirs = Object.getOwnPropertyNames(nodeDgram.Socket.prototype);
    expect(theirs.filter((name) => !own.includes(name))).toEqual([]);
  });

  it('speaks both protocols by udp6, and shows IPv4 as node:dgram does', async () => {
    const socket = createSocket('udp6');
    opened.push(socket);
    socket.bind(0);
    await once(socket, 'listening');
    const four = await bound();
    four.send('four', portOf(socket), '127.0.0.1');
    const [message, remote] = await once(socket, 'message');
    expect([String(message), remote]).toEqual([
      'four',
      { address: '::ffff:127.0.0.1', family: 'IPv6', port: portOf(four), size: 4 },
    ]);
    const answer = once(four, 'message');
    socket.send('answer', remote.port, remote.address);
    expect(String((await answer)[0])).toBe('answer');
  });
});

describe('a burst', () => {
  it('has promises between its messages', async () => {
    const [sender, socket] = [await bound(), await bound()];
    for (let i = 0; i < 20; i++) sender.send(`${i}`, portOf(socket), '127.0.0.1');
    const heard: string[] = [];
    for (let i = 0; i < 20; i++) heard.push(String((await once(socket, 'message'))[0]));
    expect(heard.join()).toBe(Array.from({ length: 20 }, (_, i) => i).join());
  });

  // What Node.js warns of is what is not documented: where it would warn, the burst goes another way.
  it.skipIf(!isNode).each([[[]], [['--pending-deprecation']]])('goes on behind what throws, %j', async (flags) => {
    const [node = '', ...args] = RUNTIME;
    const logs = ['node:dgram', '../../dist/dgram/index.js'].map(async (module) => {
      const { code, stdout, stderr } = await run([node, ...args, ...flags, fixture('dgram-throws.mjs'), module]);
      expect([code, stderr]).toEqual([0, '']);
      return JSON.parse(stdout);
    });
    const [theirs, ours] = await Promise.all(logs);
    expect(ours).toEqual(theirs);
    expect(ours).toContain('uncaught throws with ticks left');
  });

  it.skipIf(!isNode || process.env['WASI_UDP_POLLER'] === 'thread')(
    'is heard as with node:dgram, whatever its handlers do',
    async () => {
      const seed = Date.now() % 2 ** 32;
      const [theirs, ours] = await Promise.all(
        ['node:dgram', '../../dist/dgram/index.js'].map((module) =>
          runFixture<string[][]>('dgram-bursts.mjs', [module, `${seed}`, '200']),
        ),
      );
      expect({ seed, heard: ours }).toEqual({ seed, heard: theirs });
      expect(ours!.flat().length).toBeGreaterThan(1000);
    },
  );
});

describe('a process', () => {
  it.each([
    ['unbound', false],
    ['unref', false],
    ['bound', true],
    ['ref', true],
  ])('with a socket that is %s', async (how, waits) => {
    expect(await runFixture('dgram-alive.mjs', [how])).toEqual({ waited: waits });
  });

  it.skipIf(!isNode)('of a cluster shares its sockets', async () => {
    expect(await runFixture('dgram-cluster.mjs')).toEqual({ onePort: true, answered: 200, once: true, heard: true });
  });
});

describe('register', () => {
  const at = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const expected = { same: true, isOwn: true, isInstance: true, text: 'hello', fromSender: true };

  // Bun has no way to give names to those who import a builtin module.
  const programs = isNode || isDeno ? ['dgram-user.cjs', 'dgram-user.mjs'] : ['dgram-user.cjs'];
  it.each(programs)('replaces node:dgram for %s', async (program) => {
    const now = [isNode ? '--import' : '--preload', at('../dist/dgram/register-now.js')];
    const { code, stdout, stderr } = await run([...RUNTIME, ...now, at(`fixtures/${program}`)]);
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toEqual(expected);
    const without = await run([...RUNTIME, at(`fixtures/${program}`)]);
    expect(JSON.parse(without.stdout)).toEqual({ ...expected, isOwn: false });
  });
});
