import assert from 'node:assert';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { SocketAddress } from 'node:net';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Arena } from '../dist/batch/arena.js';
import {
  AsyncUdpSocket,
  formatSocketAddress,
  IncomingBatch,
  type IncomingDatagram,
  type IpSocketAddress,
  type OpenUdp,
  openUdpAsync,
  parseSocketAddress,
  type SocketAddressLike,
  SocketError,
} from '../dist/index.js';
import { open, opened } from './support/opened.js';
import { bytes, thrownBy } from './support/outcomes.js';

async function receive({ incoming }: OpenUdp) {
  await incoming.subscribe().wait();
  return incoming.receive();
}

describe('an address', () => {
  const plain: IpSocketAddress = { tag: 'ipv4', val: { port: 53, address: [192, 0, 2, 1] } };

  it('prints as text, and is its own key', async () => {
    const address = parseSocketAddress('192.0.2.1:53');
    expect(String(address)).toBe('192.0.2.1:53');
    expect(`${parseSocketAddress('[fe80:0::1%7]:0')}`).toBe('[fe80::1%7]:0');
    expect(inspect({ remoteAddress: address })).toBe('{ remoteAddress: 192.0.2.1:53 }');
    const peers = new Map([[formatSocketAddress(address), 1]]);
    expect(peers.get(String(parseSocketAddress('192.0.2.1:53')))).toBe(1);

    const to = open({ local: '127.0.0.1:0' });
    const from = open({ remote: to.localAddress });
    from.outgoing.checkSend();
    from.outgoing.send([{ data: bytes('x') }]);
    const [datagram] = await receive(to);
    expect(String(datagram!.remoteAddress)).toBe(String(from.localAddress));
    expect(String(from.localAddress)).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it('is the plain data of jco', () => {
    const address = parseSocketAddress('192.0.2.1:53');
    expect(address).toEqual(plain);
    assert.deepEqual(address, plain);
    expect(Object.keys(address)).toEqual(['tag', 'val']);
    expect(JSON.parse(JSON.stringify(address))).toEqual(plain);
    // Another thread gets plain data, which is an address as well.
    expect(formatSocketAddress(structuredClone(address))).toBe('192.0.2.1:53');
  });

  it.each([
    ['[::]:1'],
    ['[::1]:1'],
    ['[1::]:1'],
    ['[1:0:0:2::3]:1'],
    ['[1::2:0:0:3:4]:1'],
    ['[1:0:2:3:4:5:6:7]:1'],
    ['[0:1:2:3:4:5:6:7]:1'],
    ['[1:2:3:4:5:6:7:0]:1'],
    ['[2001:db8::ff00:42:8329]:1'],
    ['[::ffff:7f00:1]:1'],
    ['[fe80::1%7]:65535'],
    ['255.255.255.255:65535'],
  ])('%s is read and written back', (text) => {
    expect(formatSocketAddress(parseSocketAddress(text))).toBe(text);
    // As WHATWG URLs have it, which follow RFC 5952.
    if (!text.includes('%') && text.includes('['))
      expect(new URL(`http://${text}`).hostname).toBe(text.slice(0, text.indexOf(']') + 1));
  });

  it('is as URLs have it, whatever the groups', () => {
    for (let i = 0; i < 2 ** 8; i++) {
      const address = Array.from({ length: 8 }, (_, at) => (i & (1 << at) ? 0xa0 + at : 0));
      const text = formatSocketAddress({ tag: 'ipv6', val: { port: 9, flowInfo: 0, scopeId: 0, address } } as never);
      const { hostname } = new URL(`http://[${address.map((group) => group.toString(16)).join(':')}]`);
      expect(text).toBe(`${hostname}:9`);
    }
  });
});

it('a text of any length is judged at once', () => {
  for (const text of [
    ':'.repeat(500_000),
    `${'1'.repeat(500_000)}%`,
    `${'%'.repeat(500_000)}:1`,
    `${'.1'.repeat(250_000)}x`,
  ]) {
    expect(() => parseSocketAddress(text)).toThrow('a socket address is');
    expect(() => parseSocketAddress({ address: text, port: 53 })).toThrow('the address beside a port is');
  }
});

describe('whatever is an address', () => {
  const likes: [string, (port: number) => SocketAddressLike][] = [
    ['text', (port) => `127.0.0.1:${port}`],
    ['{ address, port }', (port) => ({ address: '127.0.0.1', port })],
    ['rinfo', (port) => ({ address: '127.0.0.1', family: 'IPv4', port, size: 3 }) as SocketAddressLike],
    ['net.SocketAddress', (port) => new SocketAddress({ address: '127.0.0.1', port })],
    ['the WIT’s', (port) => ({ tag: 'ipv4', val: { address: [127, 0, 0, 1], port } })],
  ];

  it.each(likes)('%s is taken wherever an address is', async (_, like) => {
    const to = open({ local: like(0) });
    const { port } = to.localAddress.val;
    const texts: string[] = [];
    const arrived = async (count: number) => {
      while (texts.length < count) for (const { data } of await receive(to)) texts.push(String(data));
      return texts;
    };
    const from = open({ local: like(0) });
    const remoteAddress = like(port);
    from.outgoing.checkSend();
    from.outgoing.send([
      { data: bytes('a'), remoteAddress },
      { data: bytes('b'), remoteAddress: like(port) },
    ]);
    const writer = from.outgoing.writer();
    writer.bytes[0] = 99;
    writer.commit(1, remoteAddress);
    writer.bytes[writer.position] = 100;
    writer.commit(1, like(port));
    from.outgoing.checkSend();
    expect(writer.flush()).toBe(2n);
    const queue = from.outgoing.queue();
    queue.send('e', remoteAddress);
    queue.send('f', like(port));
    await queue.flush();
    const connected = open({ remote: remoteAddress });
    connected.outgoing.checkSend();
    // The peer may be named, in whatever form.
    connected.outgoing.send([{ data: bytes('g') }, { data: bytes('h'), remoteAddress: like(port) }]);
    const socket = AsyncUdpSocket.create('ipv4');
    opened.push(socket);
    await socket.send(bytes('i'), like(port));
    socket.connect(like(port));
    await socket.send(bytes('j'));
    expect(await arrived(10)).toEqual([...'abcdefghij']);
    const later = await openUdpAsync({ local: like(0), remote: like(port) });
    opened.push(later);
    const bound = AsyncUdpSocket.create('ipv4');
    opened.push(bound);
    bound.bind(like(0));
    expect(String(bound.getLocalAddress())).toMatch(/^127\.0\.0\.1:/);
    expect(formatSocketAddress(like(port))).toBe(`127.0.0.1:${port}`);
    expect(parseSocketAddress(like(port))).toEqual(parseSocketAddress(`127.0.0.1:${port}`));
  });

  it('one address in several forms is one run', () => {
    const list = likes.map(([, like]) => ({ data: bytes('same'), remoteAddress: like(53) }));
    const arena = new Arena();
    arena.pack(list, 0, list.length, { family: 4, remote: undefined, permits: undefined });
    expect([arena.count, arena.used, arena.addresses]).toEqual([list.length, 1, 1]);
  });

  it('node:dgram’s rinfo goes back as it came', async () => {
    const echo = dgram.createSocket('udp4');
    echo.bind(0, '127.0.0.1');
    await once(echo, 'listening');
    const udp = open({ local: '127.0.0.1:0' });
    udp.outgoing.checkSend();
    udp.outgoing.send([{ data: bytes('there'), remoteAddress: echo.address() }]);
    const [, rinfo] = await once(echo, 'message');
    echo.close();
    expect(formatSocketAddress(rinfo)).toBe(String(udp.localAddress));
  });

  it('of a host with a name', async () => {
    const to = open({ local: '127.0.0.1:0' });
    const { port } = to.localAddress.val;
    const lookup = (_: string, __: unknown, answer: (error: null, address: string) => void) =>
      answer(null, '127.0.0.1');
    const udp = await openUdpAsync({ remote: { address: 'peer.example', port }, lookup });
    opened.push(udp);
    expect(udp.socket.remoteAddress()).toEqual(to.localAddress);
  });

  it('each property is read once', () => {
    const reads: PropertyKey[] = [];
    const remoteAddress = new Proxy(
      { address: '127.0.0.1', port: 9 },
      {
        get(target, name, receiver) {
          reads.push(name);
          return Reflect.get(target, name, receiver);
        },
      },
    );
    const udp = open({ local: '127.0.0.1:0' });
    udp.outgoing.checkSend();
    udp.outgoing.send([{ data: bytes('x'), remoteAddress }]);
    expect(reads).toEqual(['tag', 'val', 'address', 'port']);
  });

  it('what changes behind a remembered text is no text of a host', () => {
    // The host '::1:53' and the text '[::1]:53' are two.
    expect(formatSocketAddress('[::1]:53')).toBe('[::1]:53');
    expect(formatSocketAddress({ address: '::1:53', port: 7 })).toBe('[::1:53]:7');
    expect(() => formatSocketAddress('::1:53')).toThrow(/in brackets/);
    expect(formatSocketAddress({ address: '::1', port: 53 })).toBe('[::1]:53');
    expect(formatSocketAddress({ address: '::1', port: 54 })).toBe('[::1]:54');
    const address = parseSocketAddress('[::1]:53');
    address.val.port = 1;
    address.val.address[7] = 2;
    expect(formatSocketAddress('[::1]:53')).toBe('[::1]:53');
    expect(String(address)).toBe('[::2]:1');
    for (let i = 0; i < 3000; i++) expect(formatSocketAddress(`10.0.${i >> 8}.${i & 255}:1`)).toMatch(/:1$/);
    expect(formatSocketAddress('[fe80::1%7]:1')).toBe('[fe80::1%7]:1');
    expect(formatSocketAddress({ address: 'fe80::1%7', port: 1 })).toBe('[fe80::1%7]:1');
  });

  it.each([
    [{ address: '127.0.0.1' }, /a port is an integer from 0 to 65535, got undefined/],
    [{ address: '127.0.0.1', port: 65_536 }, /a port is an integer from 0 to 65535, got 65536/],
    [{ address: '127.0.0.1', port: '53' }, /got "53"/],
    [{ address: 'localhost', port: 53 }, /an IP address such as .*, got "localhost": look names up, with openUdpAsync/],
    [{ address: '127.0.0', port: 53 }, /got "127\.0\.0": correct the address/],
    [{ address: '[::1]', port: 53 }, /got "\[::1\]"/],
    [{ address: 'fe80::1%nowhere0', port: 53 }, /a zone is the name of an interface/],
    [{ port: 53 }, /got \{ address: undefined, port: 53 \}/],
    [{ tag: 'ipv5', address: '127.0.0.1', port: 53 }, /got \{ tag: "ipv5", val: undefined \}/],
    [{}, /an address is '127\.0\.0\.1:53', .*, got \{ tag: undefined, val: undefined \}/],
    [53, /got 53/],
    [null, /got null/],
  ])('%j is none', (wrong, text) => {
    const error = thrownBy(() => formatSocketAddress(wrong as never));
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ payload: 'invalid-argument', code: 'EINVAL', message: expect.stringMatching(text) });
  });
});

describe('received data', () => {
  it('are Buffers, by receive, by the iterator and by a batch', async () => {
    const to = open({ local: '127.0.0.1:0' });
    const from = open({ remote: to.localAddress });
    const list = Array.from({ length: 3 }, (_, i) => ({ data: bytes(`text ${i}`) }));
    for (let round = 0; round < 3; round++) {
      from.outgoing.checkSend();
      from.outgoing.send(list);
    }
    expect(to.incoming.receive(3).map(({ data }) => data.toString('latin1'))).toEqual(['text 0', 'text 1', 'text 2']);
    const batch = new IncomingBatch();
    expect(to.incoming.receiveInto(batch, 3)).toBe(3);
    expect(batch.data(2)).toEqual(Buffer.from('text 2'));
    for await (const datagrams of to.incoming) {
      expect(datagrams.map(({ data }) => Buffer.isBuffer(data))).toEqual([true, true, true]);
      break;
    }
  });

  it('keep no batch alive: 128 of them at most, and 32 KiB, or themselves where they are larger', async () => {
    const to = open({ local: '127.0.0.1:0' });
    to.receiveBufferSize = 1 << 20;
    const from = open({ remote: to.localAddress });
    for (const size of [1, 64, 1400, 4096, 5000, 20_000]) {
      const count = Math.min(200, Math.floor(100_000 / size));
      const list = Array.from({ length: count }, (_, i) => ({ data: new Uint8Array(size).fill(i) }));
      from.outgoing.checkSend();
      expect(from.outgoing.send(list)).toBe(BigInt(count));
      // The backend of any Unix gives 64 a call.
      const received: IncomingDatagram[] = [];
      while (received.length < count) received.push(...(await receive(to)));
      for (const [i, { data }] of received.entries()) {
        expect(data.equals(list[i]!.data)).toBe(true);
        // A pool of Node.js 26 is a little larger than it says.
        const pool = Buffer.poolSize + 1024;
        expect(data.buffer.byteLength).toBeLessThanOrEqual(Math.max(pool, Math.min(128 * size, 32_768), size));
      }
    }
  });
});
