import { spawn, spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import net from 'node:net';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { formatSocketAddress, type OpenUdpOptions, openUdp } from '../dist/index.js';
import { native, OPTION } from '../dist/native/native.js';
import { bytes, thrownBy } from './support/outcomes.js';
import { fixture, RUNTIME } from './support/runtime.js';

interface Standing {
  local: string;
  remote: string | false;
  ipv6Only: boolean;
  coalesces: boolean;
  isItself: boolean;
  /** Options that were read more than once. */
  reread: string[];
  heard: [string, string][];
  isOpen: boolean;
  /** The error that the first receive met. */
  refusal?: string;
  error?: { payload: string; message: string };
}

/** Has a child adopt a descriptor of this process as its own number 3. */
async function adopted(descriptor: number, options: OpenUdpOptions = {}, answer?: string): Promise<Standing> {
  const [file, ...args] = [...RUNTIME, fixture('adopted.mjs'), JSON.stringify(options)];
  const child = spawn(file!, answer === undefined ? args : [...args, answer], {
    stdio: ['ignore', 'pipe', 'inherit', descriptor],
    env: { ...process.env, LISTEN_FDS: '1' },
  });
  let stdout = '';
  child.stdout!.on('data', (chunk) => (stdout += chunk));
  const [code] = await once(child, 'close');
  expect(code).toBe(0);
  return JSON.parse(stdout) as Standing;
}

/** The system's number of a socket of ours. */
const numberOf = (udp: ReturnType<typeof openUdp>) => native.descriptor(udp.socket.descriptor.socket);

const open = (options: OpenUdpOptions) => openUdp({ local: '127.0.0.1:0', ...options });

const python = spawnSync('python3', ['--version']).status === 0;

/** Connects a socket that is not bound to a port where nobody listens, sends, and passes it on as descriptor 3. */
const CONNECTED = `
import os, socket, sys
gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
gone.bind(('127.0.0.1', 0))
peer = gone.getsockname()
gone.close()
passed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
passed.connect(peer)
passed.send(b'question')
print('%s:%d %s:%d' % (passed.getsockname() + peer), flush=True)
os.dup2(passed.fileno(), 3)
os.set_inheritable(3, True)
os.execvp(sys.argv[1], sys.argv[1:])
`;

/** Deno's spawn passes no descriptors beyond the standard ones. */
const cannotPass = process.platform === 'win32' || 'Deno' in globalThis;

describe.skipIf(cannotPass)('a descriptor that a parent passed', () => {
  it('is bound, hears and answers, and is closed at the end', async () => {
    using peer = open({});
    using passed = open({});
    peer.outgoing.checkSend();
    peer.outgoing.send([{ data: bytes('question'), remoteAddress: passed.localAddress }]);
    const standing = await adopted(numberOf(passed), {}, 'answer');
    expect(standing).toEqual({
      local: formatSocketAddress(passed.localAddress),
      remote: false,
      ipv6Only: false,
      coalesces: false,
      isItself: true,
      reread: [],
      heard: [['question', formatSocketAddress(peer.localAddress)]],
      isOpen: false,
    });
    await peer.incoming.subscribe().wait();
    const [answer] = peer.incoming.receive();
    expect(Buffer.from(answer!.data).toString()).toBe('answer');
    expect(answer!.remoteAddress).toEqual(passed.localAddress);
  });

  it('may be one of node:dgram', async (context) => {
    const socket = dgram.createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { fd } = (socket as unknown as { _handle?: { fd?: number } })._handle ?? {};
    if (fd === undefined) {
      socket.close();
      context.skip();
      return;
    }
    const { port } = socket.address();
    const standing = await adopted(fd);
    socket.close();
    expect(standing).toMatchObject({ local: `127.0.0.1:${port}`, isItself: true, isOpen: false });
  });

  it('stays connected, or goes to another peer', async () => {
    using peer = open({});
    using other = open({});
    using passed = open({ remote: peer.localAddress });
    peer.outgoing.checkSend();
    peer.outgoing.send([{ data: bytes('question'), remoteAddress: passed.localAddress }]);
    const standing = await adopted(numberOf(passed), {}, 'answer');
    expect(standing.remote).toBe(formatSocketAddress(peer.localAddress));
    expect(standing.heard).toEqual([['question', standing.remote]]);
    await peer.incoming.subscribe().wait();
    expect(Buffer.from(peer.incoming.receive()[0]!.data).toString()).toBe('answer');
    const turned = await adopted(numberOf(passed), { remote: other.localAddress });
    expect(turned.remote).toBe(formatSocketAddress(other.localAddress));
    expect(turned.local).toBe(standing.local);
  });

  it.skipIf(!python)('keeps the port that a connection chose, and the refusal that is pending', () => {
    const { stdout } = spawnSync('python3', ['-c', CONNECTED, ...RUNTIME, fixture('adopted.mjs')], {
      encoding: 'utf8',
    });
    const [before, after] = stdout.trim().split('\n') as [string, string];
    const { local, remote, refusal } = JSON.parse(after) as Standing;
    expect(`${local} ${remote}`).toBe(before);
    expect(refusal).toBe('ECONNREFUSED');
  });

  it('speaks the protocols that it spoke', async () => {
    using dual = openUdp({ ipv6Only: false });
    using six = openUdp({ local: '[::1]:0' });
    expect(await adopted(numberOf(dual))).toMatchObject({
      ipv6Only: false,
      local: formatSocketAddress(dual.localAddress),
    });
    expect(await adopted(numberOf(six))).toMatchObject({
      ipv6Only: true,
      local: formatSocketAddress(six.localAddress),
    });
  });

  it('is bound where it was not', async () => {
    const handle = native.open(4);
    expect((await adopted(native.descriptor(handle), { local: '127.0.0.1:0' })).local).toMatch(/^127\.0\.0\.1:[1-9]/);
    native.close(handle);
    const another = native.open(6);
    expect((await adopted(native.descriptor(another))).local).toMatch(/^\[::\]:[1-9]/);
    native.close(another);
  });

  it('takes no local address where it is bound, and is closed', async () => {
    using passed = open({});
    const { error, isOpen } = await adopted(numberOf(passed), { local: '127.0.0.1:0' });
    expect(error).toMatchObject({ payload: 'invalid-state' });
    expect(error!.message).toContain(formatSocketAddress(passed.localAddress));
    expect(isOpen).toBe(false);
  });

  it('keeps to the policy', async () => {
    using passed = open({});
    expect((await adopted(numberOf(passed), { allow: [{ bind: '127.0.0.2:*' }] })).error?.payload).toBe(
      'access-denied',
    );
    expect((await adopted(numberOf(passed), { allow: [{ bind: '127.0.0.1:*' }] })).error).toBeUndefined();
  });

  it('is refused where it is another thing, and left open', async () => {
    const file = openSync('/dev/null', 'r');
    const noSocket = await adopted(file);
    closeSync(file);
    expect(noSocket.error!.message).toContain('is no socket');
    expect(noSocket.isOpen).toBe(true);
  });

  it('is refused where a socket of ours has it, which lives on', () => {
    const handle = native.open(4);
    const fd = native.descriptor(handle);
    expect(thrownBy(() => openUdp({ fd }))).toMatchObject({ code: 'EEXIST' });
    expect(native.getOption(handle, OPTION.broadcast)).toBe(0);
    native.close(handle);
  });

  it('is refused where another thread has it, whose socket lives on', async () => {
    const worker = new Worker(fixture('holder.mjs'));
    const [{ fd, address }] = (await once(worker, 'message')) as [{ fd: number; address: string }];
    for (let tries = 0; tries < 3; tries++) expect(thrownBy(() => openUdp({ fd }))).toMatchObject({ code: 'EEXIST' });
    using udp = openUdp({ remote: address });
    udp.outgoing.checkSend();
    udp.outgoing.send([{ data: bytes('still there') }]);
    await udp.incoming.subscribe().wait();
    expect(String(udp.incoming.receive()[0]!.data)).toBe('still there');
    worker.postMessage('close');
    await once(worker, 'exit');
    // What another owner opens by that number later is free again.
    const numbers = Array.from({ length: 64 }, () => open({}));
    for (const one of numbers) one.close();
    expect(thrownBy(() => openUdp({ fd }))).not.toMatchObject({ code: 'EEXIST' });
  });

  it('is refused where it is a socket of TCP', async (context) => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { fd } = (server as unknown as { _handle?: { fd?: number } })._handle ?? {};
    if (fd === undefined || fd < 0) context.skip();
    else expect((await adopted(fd)).error).toMatchObject({ payload: 'invalid-argument' });
    server.close();
  });
});

describe.skipIf(process.platform === 'win32')('what is no descriptor', () => {
  it.each([-1, 1.5, 2 ** 31, Number.NaN, '3', null])('%s is a TypeError', (fd) => {
    expect(() => openUdp({ fd: fd as number })).toThrow(TypeError);
  });

  it('a number that is not open', () => {
    expect((thrownBy(() => openUdp({ fd: 1_000_000 })) as Error).message).toContain('is not open');
  });
});

describe.runIf(process.platform === 'win32')('Windows', () => {
  it('adopts none', () => {
    expect(thrownBy(() => openUdp({ fd: 3 }))).toMatchObject({ payload: 'not-supported' });
  });
});
