import { constants } from 'node:os';
import util from 'node:util';
import { describe, expect, it } from 'vitest';
import {
  AsyncUdpSocket,
  ClosedError,
  createHost,
  type ErrorCode,
  type OpenUdp,
  openUdp,
  openUdpAsync,
  poll,
  SocketError,
  sendAll,
  Trap,
  UdpSocket,
} from '../dist/index.js';
import { systemError } from '../dist/native/native.js';
import { open, opened } from './support/opened.js';
import { bytes, thrownBy } from './support/outcomes.js';

/** A port where nobody listens, and which nobody else is given: a socket that is connected to itself holds it. */
function nobody(): number {
  const holder = open({ local: '127.0.0.1:0' });
  for (const stream of [holder.incoming, holder.outgoing]) stream.close();
  opened.unshift(...holder.socket.stream(holder.localAddress));
  return holder.localAddress.val.port;
}

/** What stands on an error, but for its text. */
const facts = (error: unknown) => ({ ...(error as object) });
const send = ({ outgoing }: OpenUdp, remoteAddress?: string) => {
  outgoing.checkSend();
  return outgoing.send([{ data: bytes('x'), remoteAddress }]);
};
const errnoOf = (name: string) =>
  [...util.getSystemErrorMap()].find(([, [own]]) => own === name)?.[0] ?? expect.unreachable(name);

describe('an error of the system has what Node.js has on its own', () => {
  it('a refusal: the call, the name, the number, the peer', async () => {
    const port = nobody();
    const udp = open({ remote: `127.0.0.1:${port}` });
    send(udp);
    const refused = {
      payload: 'connection-refused',
      code: 'ECONNREFUSED',
      errno: errnoOf('ECONNREFUSED'),
      address: '127.0.0.1',
      port,
    };
    udp.outgoing.doubt();
    expect(facts(thrownBy(() => udp.outgoing.checkSend()))).toEqual({ ...refused, syscall: 'send' });
    send(udp);
    expect(facts(thrownBy(() => udp.incoming.receive()))).toEqual({ ...refused, syscall: 'recvmsg' });
    const failed = await sendAll(udp.outgoing, [{ data: bytes('x') }]).catch((error) => error);
    expect(facts(failed)).toEqual({ ...refused, syscall: 'send' });
    expect(failed.accepted).toBe(1n);
    expect(util.getSystemErrorName(failed.errno)).toBe(failed.code);
  });

  it('the first datagram that was refused, by its own address', () => {
    const udp = open({ local: '127.0.0.1:0' });
    expect(facts(thrownBy(() => send(udp, '255.255.255.255:9')))).toMatchObject({
      payload: 'access-denied',
      code: expect.stringMatching(/^E/),
      syscall: 'send',
      address: '255.255.255.255',
      port: 9,
    });
  });

  it('a bind: the address that is in use', () => {
    const { address, port } = open({ local: '[::1]:0' }).socket.localAddress().val;
    expect(address.at(-1)).toBe(1);
    const error = thrownBy(() => openUdp({ local: { address: '::1', port } }));
    expect(facts(error)).toEqual({
      payload: 'address-in-use',
      code: 'EADDRINUSE',
      errno: errnoOf('EADDRINUSE'),
      syscall: 'bind',
      address: '::1',
      port,
    });
    expect(facts(thrownBy(() => openUdp({ local: '192.0.2.1:0' })))).toMatchObject({
      code: 'EADDRNOTAVAIL',
      address: '192.0.2.1',
      port: 0,
    });
  });

  it('an option: no address', () => {
    const udp = open({ local: '127.0.0.1:0' });
    const error = thrownBy(() => udp.pathMtu);
    expect(facts(error)).toMatchObject({ syscall: 'getsockopt', code: expect.stringMatching(/^E/) });
    expect(error).not.toHaveProperty('address');
    expect(error).not.toHaveProperty('port');
  });

  it('a name: what node:dns tells', async () => {
    const reason = Object.assign(new Error('x'), { code: 'ENOTFOUND', errno: -3008, syscall: 'getaddrinfo' });
    const lookup = (_: string, __: unknown, callback: (error: Error, addresses: []) => void) => callback(reason, []);
    const error = await openUdpAsync({ remote: { address: 'a.example', port: 7 }, lookup }).catch((one) => one);
    expect(facts(error)).toEqual({
      payload: 'name-unresolvable',
      code: 'ENOTFOUND',
      errno: -3008,
      syscall: 'getaddrinfo',
    });
    expect(error.message).toMatch(/looking up "a\.example"/);
  });

  it.skipIf(process.platform === 'win32')('every number of the system has the name that Node.js has for it', () => {
    for (const [name, number] of Object.entries(constants.errno)) {
      const error = systemError('send', 'send', number);
      expect(error.errno).toBe(-number);
      expect([name, util.getSystemErrorName(-number), error.code]).toContain(error.code);
      const known = util.getSystemErrorMap().get(-number)?.[0];
      if (known !== undefined) expect(error.code).toBe(known);
      expect(error.message).toContain(error.code);
    }
  });
});

describe('a rule of the interface has the name that the WIT gives beside it', () => {
  const any = '0.0.0.0:0';
  const rules: [string, ErrorCode, string, (() => unknown) | undefined, object][] = [
    ['EAFNOSUPPORT', 'invalid-argument', 'another family', () => send(open(), '[::1]:9'), { address: '::1', port: 9 }],
    ['EDESTADDRREQ', 'invalid-argument', 'no host', () => send(open(), '0.0.0.0:9'), { address: '0.0.0.0', port: 9 }],
    ['EDESTADDRREQ', 'invalid-argument', 'no port', () => send(open(), '127.0.0.1:0'), { port: 0 }],
    ['EDESTADDRREQ', 'invalid-argument', 'no address', () => send(open()), {}],
    [
      'EISCONN',
      'invalid-argument',
      'another peer',
      () => send(open({ remote: '127.0.0.1:9' }), '127.0.0.1:10'),
      { address: '127.0.0.1', port: 10 },
    ],
    [
      'EINVAL',
      'invalid-argument',
      'IPv4 in IPv6 clothes',
      () => send(open({ local: '[::1]:0' }), '[::ffff:127.0.0.1]:9'),
      { address: '::ffff:7f00:1' },
    ],
    ['EINVAL', 'invalid-argument', 'what is no address', () => send(open(), 'nobody'), {}],
    [
      'EMSGSIZE',
      'datagram-too-large',
      'too many bytes',
      () => {
        const { outgoing } = open({ remote: '127.0.0.1:9' });
        outgoing.checkSend();
        outgoing.send([{ data: new Uint8Array(65_508) }]);
      },
      {},
    ],
    [
      'EACCES',
      'access-denied',
      'a peer that the policy forbids',
      () => openUdp({ remote: '127.0.0.1:9', allow: [{ bind: any }] }),
      { address: '127.0.0.1', port: 9 },
    ],
    [
      'EACCES',
      'access-denied',
      'a local address that it forbids',
      () => openUdp({ local: '127.0.0.1:0', allow: [{ bind: any }] }),
      { address: '127.0.0.1', port: 0 },
    ],
    ['EAFNOSUPPORT', 'not-supported', 'no family', () => new UdpSocket('inet' as never), {}],
    ['EINVAL', 'invalid-argument', 'no hops', () => open().socket.setUnicastHopLimit(0), {}],
    ['EINVAL', 'invalid-state', 'a second bind', () => open().socket.startBind(any), {}],
    ['ENOTCONN', 'invalid-state', 'no peer', () => open().socket.remoteAddress(), {}],
    ['EINVAL', 'not-in-progress', 'no bind', () => new UdpSocket('ipv4').finishBind(), {}],
    [
      'EALREADY',
      'concurrency-conflict',
      'two binds',
      () => {
        const socket = new UdpSocket('ipv4');
        socket.startBind(any);
        socket.startBind(any);
      },
      {},
    ],
    ['ENOTCONN', 'invalid-state', 'no peer of 0.3', () => AsyncUdpSocket.create('ipv4').disconnect(), {}],
  ];

  it.each(rules)('%s, %s: %s', (code, payload, _, call, more) => {
    const error = thrownBy(call!);
    expect(error).toBeInstanceOf(SocketError);
    expect(facts(error)).toMatchObject({ payload, code, errno: errnoOf(code), ...more });
    // The system was not asked.
    expect(error).not.toHaveProperty('syscall');
    if (!('port' in more) && !('address' in more)) expect(error).not.toHaveProperty('address');
  });

  it('an error of one’s own has the name of its error-code', () => {
    expect(facts(new SocketError('access-denied', 'over the limit'))).toEqual({
      payload: 'access-denied',
      code: 'EACCES',
      errno: errnoOf('EACCES'),
    });
    expect(facts(new SocketError('permanent-resolver-failure', 'no'))).toMatchObject({ code: 'EAI_FAIL' });
  });

  it('a guest sees the error-code', () => {
    const host = createHost({ allow: [] });
    const socket = host.udpCreateSocket.createUdpSocket('ipv4');
    const local = { tag: 'ipv4', val: { port: 0, address: [127, 0, 0, 1] } } as const;
    const network = host.instanceNetwork.instanceNetwork();
    const denied = thrownBy(() => socket.startBind(network, local as never));
    expect(denied).toMatchObject({ payload: 'access-denied' });
  });
});

describe('close() while somebody waits', () => {
  const closed = { name: 'ClosedError', code: 'ERR_SOCKET_CLOSED' };

  it('ends a wait with an error that has a code, and is no trap', async () => {
    const udp = open({ local: '127.0.0.1:0' });
    const waits = [
      udp.incoming.subscribe().wait(),
      udp.socket.subscribe().wait({ signal: new AbortController().signal }),
      poll.wait([udp.incoming.subscribe()]),
    ].map((wait) => wait.catch((error: unknown) => error));
    udp.close();
    for (const error of await Promise.all(waits)) {
      expect(error).toMatchObject(closed);
      expect(error).toBeInstanceOf(ClosedError);
      expect(error).not.toBeInstanceOf(WebAssembly.RuntimeError);
    }
  });

  it('ends an iteration without an error', async () => {
    const udp = open({ local: '127.0.0.1:0' });
    const all = (async () => {
      const batches = [];
      for await (const batch of udp.incoming) batches.push(batch);
      return batches;
    })();
    await new Promise((resolve) => setImmediate(resolve));
    udp.close();
    expect(await all).toEqual([]);
  });

  it('ends sendAll, between its sends too', async () => {
    const udp = open({ remote: '127.0.0.1:9' });
    async function* source() {
      udp.close();
      yield { data: bytes('x') };
    }
    await expect(sendAll(udp.outgoing, source())).rejects.toMatchObject({ ...closed, accepted: 0n });
  });

  it('refuses what a queue is given later', async () => {
    const udp = open({ remote: '127.0.0.1:9' });
    const queue = udp.outgoing.queue();
    udp.close();
    expect(thrownBy(() => queue.send('late'))).toMatchObject(closed);
  });

  it('ends the receive of a socket of 0.3', async () => {
    const socket = AsyncUdpSocket.create('ipv4');
    socket.bind('127.0.0.1:0');
    const waiting = socket.receive();
    socket.close();
    await expect(waiting).rejects.toMatchObject(closed);
    await expect(socket.receive()).rejects.toBeInstanceOf(Trap);
  });

  it('may be called again, and closes what [Symbol.dispose] does', () => {
    const udp = open({ local: '127.0.0.1:0' });
    udp.close();
    udp.close();
    expect([udp.incoming.closed, udp.outgoing.closed]).toEqual([true, true]);
    expect(() => udp.outgoing.checkSend()).toThrow(Trap);
    expect(() => udp.socket.localAddress()).toThrow(Trap);
    const other = open({ local: '127.0.0.1:0' });
    other.incoming.close();
    other.outgoing.close();
    expect([other.incoming.closed, other.outgoing.closed]).toEqual([true, true]);
    other.socket.close();
    expect(() => other.socket.localAddress()).toThrow(Trap);
  });
});

describe('sendAll to nobody', () => {
  it('goes on behind a refusal where somebody hears of it, and resolves with all that was accepted', async () => {
    const udp = open({ remote: { address: '127.0.0.1', port: nobody() } });
    const told: [string, unknown][] = [];
    const list = Array.from({ length: 50 }, (_, i) => ({ data: bytes('x'.repeat(i)) }));
    const onError = (error: Error, datagram: unknown) => told.push([(error as SocketError).code, datagram]);
    expect(await sendAll(udp.outgoing, list, { onError })).toBe(50n);
    // Each of unequal length is refused by itself; the last one's refusal as well.
    expect(told).toEqual(Array(50).fill(['ECONNREFUSED', undefined]));
    expect(udp.outgoing.checkSend()).toBe(1024n);
  });

  it('closed behind its last datagram, it resolves', async () => {
    const udp = open({ remote: `127.0.0.1:${nobody()}` });
    const onProgress = () => udp.close();
    expect(await sendAll(udp.outgoing, [{ data: bytes('x') }], { onProgress })).toBe(1n);
  });
});
