import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  formatSocketAddress,
  IncomingBatch,
  type IncomingDatagram,
  type OpenUdp,
  type OpenUdpOptions,
  openUdp,
  type PeerError,
  Route,
  sendAll,
} from '../dist/index.js';
import { native } from '../dist/native/native.js';
import { open } from './support/opened.js';
import { thrownBy } from './support/outcomes.js';
import { PEER } from './support/pair.js';
import { noNamespaces, runInNamespace } from './support/runtime.js';

const isLinux = process.platform === 'linux';
/** The backend of any Unix has no queue of errors. */
const hasReports = native.features().backend === 'sendmmsg';
const textOf = (udp: OpenUdp) => formatSocketAddress(udp.localAddress);
const portOf = (udp: OpenUdp) => udp.localAddress.val.port;
const payloadOf = (error: unknown) => (error as { payload?: string }).payload;

function send(udp: OpenUdp, list: [string, (string | Route)?][]): bigint {
  udp.outgoing.checkSend();
  return udp.outgoing.send(
    list.map(([text, to]) => ({
      data: Buffer.from(text),
      ...(to !== undefined && { remoteAddress: to instanceof Route ? to : new Route(to) }),
    })),
  );
}

/** As many datagrams as are named, at most `most` a call. */
async function heard(udp: OpenUdp, count: number, most?: number): Promise<IncomingDatagram[]> {
  const list: IncomingDatagram[] = [];
  while (list.length < count) {
    await udp.incoming.subscribe().wait();
    list.push(...udp.incoming.receive(most));
  }
  return list;
}

const told = (list: IncomingDatagram[]) => list.map(({ data, info }) => [Buffer.from(data).toString(), info]);

describe('what a received datagram tells', () => {
  it('nothing where nothing was asked for', async () => {
    const udp = open();
    send(open(), [['plain', `127.0.0.1:${portOf(udp)}`]]);
    const [datagram] = await heard(udp, 1);
    expect(Object.keys(datagram!)).toEqual(['data', 'remoteAddress']);
  });

  it('packetInfo: the address that it was sent to, and the interface', async () => {
    const udp = open({ packetInfo: true });
    const sender = open();
    const loopback = JSON.stringify(['127.0.0.1', '127.0.0.9', '127.0.0.1']);
    send(
      sender,
      ['127.0.0.1', '127.0.0.9', '127.0.0.1'].map((host) => [host, `${host}:${portOf(udp)}`]),
    );
    const list = await heard(udp, 3);
    expect(JSON.stringify(list.map(({ info }) => info!.localAddress))).toBe(loopback);
    for (const { info } of list) {
      expect(info).toEqual({ localAddress: info!.localAddress, interface: expect.any(Number), isShared: false });
      expect(info!.interface).toBeGreaterThan(0);
    }
  });

  it.runIf(isLinux)('packetInfo: a broadcast address, from which no answer leaves', async () => {
    const udp = open({ packetInfo: true });
    const sender = open({ broadcast: true });
    send(sender, [['to all', `127.255.255.255:${portOf(udp)}`]]);
    const [datagram] = await heard(udp, 1);
    expect(datagram!.info).toMatchObject({ localAddress: '127.255.255.255', isShared: true });
    expect(send(udp, [['answer', Route.replyTo(datagram!)]])).toBe(1n);
    expect(formatSocketAddress((await heard(sender, 1))[0]!.remoteAddress)).toBe(`127.0.0.1:${portOf(udp)}`);
  });

  it('packetInfo of IPv6, and of a socket of both protocols, which tells IPv4 as such', async () => {
    const six = open({ local: '[::]:0', packetInfo: true });
    send(open({ local: '[::1]:0' }), [['six', `[::1]:${portOf(six)}`]]);
    expect((await heard(six, 1))[0]!.info).toMatchObject({ localAddress: '::1', isShared: false });
    const both = open({ ipv6Only: false, packetInfo: true });
    send(open(), [['four', `127.0.0.7:${portOf(both)}`]]);
    expect((await heard(both, 1))[0]!.info).toMatchObject({ localAddress: '127.0.0.7', isShared: false });
    send(open({ local: '[::1]:0' }), [['six', `[::1]:${portOf(both)}`]]);
    expect((await heard(both, 1))[0]!.info).toMatchObject({ localAddress: '::1' });
  });

  it.skipIf(process.platform === 'win32')('receiveTrafficClass: class and ECN, of each datagram', async () => {
    for (const [local, options] of [
      ['127.0.0.1', { receiveTrafficClass: true }],
      ['[::1]', { local: '[::1]:0', receiveTrafficClass: true }],
      ['127.0.0.1', { ipv6Only: false, receiveTrafficClass: true }],
    ] as const) {
      const udp = open(options);
      const to = `${local}:${portOf(udp)}`;
      const sender = open({ local: `${local}:0`, trafficClass: 0x20 });
      const classes = [0x20, 0xb9, 0xb9, 0xb8, 0x20, 1, 2, 3, 0xff];
      send(
        sender,
        classes.map((trafficClass, i) => [`${i}`, i === 0 || i === 4 ? to : new Route(to, { trafficClass })]),
      );
      const list = await heard(udp, classes.length);
      expect(told(list)).toEqual(classes.map((trafficClass, i) => [`${i}`, { isShared: false, trafficClass }]));
    }
  });

  it.skipIf(process.platform === 'win32')('timestamps: ordered, within a millisecond of the clock', async () => {
    const udp = open({ timestamps: true });
    const sender = open();
    const to = `127.0.0.1:${portOf(udp)}`;
    // The kernel begins to take times a moment after the first socket asks for them; what comes before has that of its receipt.
    send(sender, [['first', to]]);
    await heard(udp, 1);
    await setTimeout(100);
    const before = Date.now();
    for (let i = 0; i < 100; i++) send(sender, [[`${i}`, to]]);
    const after = Date.now();
    const times = (await heard(udp, 100)).map(({ info }) => info!.timestamp!);
    expect(times).toEqual([...times].sort((a, b) => (a < b ? -1 : 1)));
    expect(Number(times[0]! / 1_000_000n)).toBeGreaterThanOrEqual(before - 1);
    expect(Number(times.at(-1)! / 1_000_000n)).toBeLessThanOrEqual(after + 1);
  });

  it('read ahead, one datagram at a time: each has its own', async () => {
    const udp = open({ packetInfo: true });
    const sender = open();
    const hosts = Array.from({ length: 200 }, (_, i) => `127.0.0.${1 + (i % 7)}`);
    send(
      sender,
      hosts.map((host) => [host, `${host}:${portOf(udp)}`]),
    );
    for (const { data, info } of await heard(udp, hosts.length, 1))
      expect(info!.localAddress).toBe(Buffer.from(data).toString());
  });

  it('an option may change while datagrams are kept', async () => {
    const udp = open();
    const sender = open();
    const to = `127.0.0.1:${portOf(udp)}`;
    for (let i = 0; i < 20; i++) send(sender, [[`${i}`, to]]);
    // The second one is read with another.
    const first = [...(await heard(udp, 1, 1)), ...(await heard(udp, 1, 1))];
    udp.packetInfo = true;
    expect(udp.packetInfo).toBe(true);
    send(sender, [['told', to]]);
    const others = await heard(udp, 19, 1);
    expect(told([...first, ...others]).map(([text]) => text)).toEqual([
      ...Array.from({ length: 20 }, (_, i) => `${i}`),
      'told',
    ]);
    expect(others.at(-1)!.info).toMatchObject({ localAddress: '127.0.0.1' });
    expect(others[0]!.info).toEqual({ isShared: false });
    udp.packetInfo = false;
    send(sender, [['silent', to]]);
    expect((await heard(udp, 1))[0]!.info).toBeUndefined();
  });

  it('a batch tells as well', async () => {
    const udp = open({ packetInfo: true });
    const batch = new IncomingBatch();
    send(open(), [['one', `127.0.0.3:${portOf(udp)}`]]);
    await udp.incoming.subscribe().wait();
    expect(udp.incoming.receiveInto(batch)).toBe(1);
    expect(batch.info(0)).toMatchObject({ localAddress: '127.0.0.3' });
    expect(() => batch.info(1)).toThrow(RangeError);
    udp.packetInfo = false;
    send(open(), [['one', `127.0.0.3:${portOf(udp)}`]]);
    await udp.incoming.subscribe().wait();
    expect(udp.incoming.receiveInto(batch)).toBe(1);
    expect(batch.info(0)).toBeUndefined();
  });

  it('with all of it on, runs of equal datagrams keep their bounds', async () => {
    const udp = open({
      packetInfo: true,
      ...(process.platform !== 'win32' && { receiveTrafficClass: true, timestamps: true }),
    });
    const sender = open();
    const route = new Route(`127.0.0.1:${portOf(udp)}`);
    send(
      sender,
      Array.from({ length: 200 }, (_, i) => [`datagram ${100 + i}`, route]),
    );
    const list = await heard(udp, 200);
    expect(told(list).map(([text]) => text)).toEqual(Array.from({ length: 200 }, (_, i) => `datagram ${100 + i}`));
  });
});

describe('routes', () => {
  it.runIf(isLinux)('the source is chosen, by list, queue and writer, and back', async () => {
    const udp = open({ packetInfo: true });
    const to = `127.0.0.1:${portOf(udp)}`;
    const sender = open({ local: '0.0.0.0:0', packetInfo: true });
    const [four, five] = ['127.0.0.4', '127.0.0.5'].map((localAddress) => new Route(to, { localAddress }));
    send(sender, [
      ['list 4', four],
      ['list 4', four],
      ['list 5', five],
      ['list -', to],
      ['list 4', new Route(to, { localAddress: '127.0.0.4' })],
    ]);
    const queue = sender.outgoing.queue();
    queue.send('queue 5', five);
    queue.send('queue -', to);
    queue.send('queue 4', four);
    await queue.close();
    const writer = sender.outgoing.writer();
    for (const route of [four, undefined, five]) {
      writer.bytes.set(Buffer.from('w'), writer.position);
      writer.commit(1, route ?? udpAddress(to));
    }
    sender.outgoing.checkSend();
    expect(writer.flush()).toBe(3n);
    await sendAll(sender.outgoing, [{ data: Buffer.from('all 5'), remoteAddress: five! }]);
    const list = await heard(udp, 12);
    const sources = list.map(({ data, remoteAddress }) => [
      Buffer.from(data).toString(),
      formatSocketAddress(remoteAddress).replace(/:\d+$/, ''),
    ]);
    const of = (host: number) => `127.0.0.${host}`;
    expect(sources).toEqual([
      ['list 4', of(4)],
      ['list 4', of(4)],
      ['list 5', of(5)],
      ['list -', of(1)],
      ['list 4', of(4)],
      ['queue 5', of(5)],
      ['queue -', of(1)],
      ['queue 4', of(4)],
      ['w', of(4)],
      ['w', of(1)],
      ['w', of(5)],
      ['all 5', of(5)],
    ]);
    // An answer leaves from where the question went.
    udp.outgoing.checkSend();
    udp.outgoing.send(list.map((datagram) => ({ data: datagram.data, remoteAddress: Route.replyTo(datagram) })));
    const answers = await heard(sender, 12);
    expect(answers.map(({ info }) => info!.localAddress)).toEqual(sources.map(([, host]) => host));
  });

  it.runIf(isLinux)('a server that is bound to all addresses answers from the one that was asked', async () => {
    for (const options of [{ local: '0.0.0.0:0' }, { ipv6Only: false }]) {
      const server = open({ ...options, packetInfo: true });
      const client = open({ remote: `127.0.0.8:${portOf(server)}` });
      send(client, [['query']]);
      const [query] = await heard(server, 1);
      server.outgoing.checkSend();
      server.outgoing.send([{ data: Buffer.from('answer'), remoteAddress: Route.replyTo(query!) }]);
      // A connected socket hears its peer alone.
      expect((await heard(client, 1)).map(({ data }) => Buffer.from(data).toString())).toEqual(['answer']);
    }
  });

  it('of a connected socket: no destination, or its own; another is refused', async () => {
    const udp = open({ receiveTrafficClass: process.platform !== 'win32' });
    const to = `127.0.0.1:${portOf(udp)}`;
    const sender = open({ remote: to });
    const route = new Route(undefined, { trafficClass: 1 });
    send(sender, [['a', route], ['b'], ['c', new Route(to, { trafficClass: 2 })], ['d', to], ['e', route]]);
    const list = await heard(udp, 5);
    expect(list.map(({ data }) => Buffer.from(data).toString())).toEqual(['a', 'b', 'c', 'd', 'e']);
    if (process.platform !== 'win32') expect(list.map(({ info }) => info!.trafficClass)).toEqual([1, 0, 2, 0, 1]);
    const other = new Route('127.0.0.1:9', { trafficClass: 1 });
    expect(payloadOf(thrownBy(() => send(sender, [['x', other]])))).toBe('invalid-argument');
    expect(payloadOf(thrownBy(() => send(open(), [['x', route]])))).toBe('invalid-argument');
    // A queue that keeps some of them, and drops others, keeps their order.
    const queue = sender.outgoing.queue();
    for (let i = 0; i < 100; i++) queue.send(`${i}`, i % 3 === 0 ? route : undefined);
    await queue.close();
    expect((await heard(udp, 100)).map(({ data }) => Buffer.from(data).toString())).toEqual(
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
  });

  it('destinations are judged as addresses are', () => {
    const udp = open({ allow: [{ bind: '*:*' }, { send: '127.0.0.2:*' }] });
    const cases: [string, string][] = [
      ['0.0.0.0:9', 'invalid-argument'],
      ['127.0.0.1:0', 'invalid-argument'],
      ['[::1]:9', 'invalid-argument'],
      ['127.0.0.1:9', 'access-denied'],
    ];
    for (const [to, code] of cases)
      expect(payloadOf(thrownBy(() => send(udp, [['x', new Route(to, { trafficClass: 1 })]])))).toBe(code);
    expect(send(udp, [['x', new Route('127.0.0.2:9', { trafficClass: 1 })]])).toBe(1n);
  });

  it('values that are none', () => {
    expect(() => new Route('127.0.0.1:9', { trafficClass: 256 })).toThrow(TypeError);
    expect(() => new Route('127.0.0.1:9', { trafficClass: '1' as never })).toThrow(TypeError);
    expect(payloadOf(thrownBy(() => new Route('127.0.0.1:9', { localAddress: '::1' })))).toBe('invalid-argument');
    expect(payloadOf(thrownBy(() => new Route('127.0.0.1:9', { localAddress: 'localhost' })))).toBe('invalid-argument');
    expect(payloadOf(thrownBy(() => new Route('127.0.0.1:9', { interface: 'no such' })))).toBe('invalid-argument');
    expect(payloadOf(thrownBy(() => new Route('nowhere')))).toBe('invalid-argument');
  });

  it.runIf(isLinux)('a source that is no address of this machine is refused, and costs no other', async () => {
    const udp = open();
    const to = `127.0.0.1:${portOf(udp)}`;
    const strange = new Route(to, { localAddress: '192.0.2.77' });
    const sender = open();
    expect(thrownBy(() => send(sender, [['x', strange]]))).toHaveProperty('payload');
    expect(
      send(sender, [
        ['a', to],
        ['x', strange],
        ['b', to],
      ]),
    ).toBe(1n);
    expect(send(sender, [['b', to]])).toBe(1n);
    expect((await heard(udp, 2)).map(({ data }) => Buffer.from(data).toString())).toEqual(['a', 'b']);
  });

  it('a source of the other family, where the connection names the destination, is refused, and named no destination', async () => {
    const cases: [string, OpenUdpOptions, string][] = [
      ['127.0.0.1:0', {}, '::1'],
      ['[::1]:0', {}, '127.0.0.1'],
      ['127.0.0.1:0', { ipv6Only: false }, '::1'],
    ];
    for (const [local, options, localAddress] of cases) {
      const receiver = open({ local });
      const udp = open({ ...options, remote: receiver.localAddress });
      const route = new Route(undefined, { localAddress });
      expect(thrownBy(() => send(udp, [['x', route]]))).toMatchObject({
        payload: 'invalid-argument',
        code: 'EAFNOSUPPORT',
        address: localAddress,
      });
      const refused: unknown[] = [];
      const queue = udp.outgoing.queue({ onError: (_, datagram) => refused.push(datagram!.remoteAddress) });
      queue.send('x', route);
      queue.send('y', new Route(receiver.localAddress, {}));
      await queue.close();
      await setTimeout(1);
      expect(refused).toEqual([undefined]);
      expect((await heard(receiver, 1)).map(({ data }) => data.toString())).toEqual(['y']);
    }
  });

  it('a policy covers sources by its bind rules, unless the socket is bound to all addresses', async () => {
    const receiver = open({ local: '127.0.0.1:0' });
    const from = (localAddress: string) => new Route(receiver.localAddress, { localAddress });
    const send1 = { send: '127.0.0.1:*' };
    const udp = open({ local: '127.0.0.1:0', allow: [{ bind: '127.0.0.1:*' }, { bind: '127.0.0.3:*' }, send1] });
    expect(send(udp, [['a', from('127.0.0.1')]])).toBe(1n);
    expect(thrownBy(() => send(udp, [['b', from('127.0.0.2')]]))).toMatchObject({
      payload: 'access-denied',
      code: 'EACCES',
      address: '127.0.0.2',
    });
    const refused: string[] = [];
    const queue = udp.outgoing.queue({
      onError: (_, { remoteAddress } = {} as never) => refused.push(`${remoteAddress}`),
    });
    queue.send('c', from('127.0.0.2'));
    await queue.close();
    await setTimeout(1);
    expect(refused).toEqual([textOf(receiver)]);
    const wide = open({ local: '0.0.0.0:0', allow: [{ bind: '0.0.0.0:0' }, send1] });
    expect(send(wide, [['d', from('127.0.0.1')]])).toBe(1n);
    // A rule of another port than the socket's own covers nothing.
    const port = portOf(open({ local: '127.0.0.1:0' }));
    const narrow = open({
      local: '127.0.0.1:0',
      allow: [{ bind: '127.0.0.1:*' }, { bind: `127.0.0.3:${port}` }, send1],
    });
    expect(payloadOf(thrownBy(() => send(narrow, [['e', from('127.0.0.3')]])))).toBe('access-denied');
    expect((await heard(receiver, 2)).map(({ data }) => data.toString())).toEqual(['a', 'd']);
  });

  it.runIf(isLinux)('an error behind a route without destination names the peer', async () => {
    const gone = openUdp({ local: '127.0.0.1:0' });
    gone.close();
    const udp = open({ remote: gone.localAddress });
    const route = new Route(undefined, { trafficClass: 1 });
    send(udp, [['x', route]]);
    const { port } = gone.localAddress.val;
    expect(thrownBy(() => send(udp, [['y', route]]))).toMatchObject({
      code: 'ECONNREFUSED',
      address: '127.0.0.1',
      port,
    });
  });

  it('unknown options are refused, by the name of the nearest', () => {
    const nearest: [object, string][] = [
      [{ source: '127.0.0.1' }, 'localAddress'],
      [{ device: 'lo' }, 'interface'],
      [{ tos: 1 }, 'trafficClass'],
      [{ trafficclass: 1 }, 'trafficClass'],
    ];
    for (const [options, name] of nearest)
      expect(() => new Route('127.0.0.1:9', options)).toThrow(`did you mean ${name}?`);
    expect(() => new Route('127.0.0.1:9', null as never)).toThrow('takes options');
    const datagram = { remoteAddress: open().localAddress };
    expect(() => Route.replyTo(datagram, { localAddress: '127.0.0.1' } as never)).toThrow('has no option');
    const udp = open({ local: '0.0.0.0:0' });
    expect(() => udp.joinGroup('224.0.0.251', { iface: 'lo' } as never)).toThrow('did you mean interface?');
    expect(() => udp.leaveGroup('224.0.0.251', null as never)).toThrow('takes options');
  });

  it.runIf(isLinux)('the zone of a source is its interface', () => {
    const [index] = readFileSync('/proc/net/igmp6', 'utf8').split(/\s/);
    const zoned = new Route('[::1]:9', { localAddress: `fe80::1%${index}` });
    expect(Route.recordOf(zoned)[1]).toBe(Number(index));
    expect(Route.recordOf(new Route('[::1]:9', { localAddress: `fe80::1%${index}`, interface: 77 }))[1]).toBe(77);
    expect(payloadOf(thrownBy(() => new Route('[::1]:9', { localAddress: 'fe80::1%no such' })))).toBe(
      'invalid-argument',
    );
  });

  it('an object that looks like a route is none', () => {
    const forged = Object.create(Route.prototype) as Route;
    expect(payloadOf(thrownBy(() => send(open(), [['x', forged]])))).toBe('invalid-argument');
    expect(() => Route.replyTo(undefined as never)).toThrow('takes a datagram');
    expect(() => open().incoming.receive(Symbol('all') as never)).toThrow(RangeError);
  });
});

describe.runIf(hasReports)('errors with their destinations', () => {
  /** A port of loopback where nobody listens. */
  function closedPort(host = '127.0.0.1'): string {
    const gone = openUdp({ local: `${host}:0` });
    const text = textOf(gone);
    gone[Symbol.dispose]();
    return text;
  }

  const shown = ({ payload, remoteAddress, data, isLocal }: PeerError) => [
    payload,
    formatSocketAddress(remoteAddress!),
    data.toString(),
    isLocal,
  ];

  it('a socket without a peer hears which destination refused which datagram, and all others arrive once', async () => {
    for (const host of ['127.0.0.1', '[::1]']) {
      const live = open({ local: `${host}:0` });
      const dead = [closedPort(host), closedPort(host)];
      const errors: PeerError[] = [];
      const sender = open({ local: `${host}:0`, onPeerError: (error) => errors.push(error) });
      const queue = sender.outgoing.queue();
      const rounds = 30;
      const arrived: string[] = [];
      for (let round = 0; round < rounds; round++) {
        for (let i = 0; i < 5; i++) {
          queue.send(`live ${round} ${i}`, textOf(live));
          if (i === round % 5) queue.send(`dead ${round}`, dead[round % 2]!);
        }
        await queue.flush();
        arrived.push(...(await heard(live, 5)).map(({ data }) => Buffer.from(data).toString()));
      }
      // Refusals of loopback are there when the send returns; the last are told by whatever looks next.
      sender.incoming.receive();
      await setTimeout(1);
      expect(arrived).toEqual(
        Array.from({ length: rounds }, (_, round) => Array.from({ length: 5 }, (_, i) => `live ${round} ${i}`)).flat(),
      );
      expect(errors.map(shown)).toEqual(
        Array.from({ length: rounds }, (_, round) => ['connection-refused', dead[round % 2], `dead ${round}`, false]),
      );
    }
  });

  it('a list that meets refusals of an earlier one is sent whole', async () => {
    const live = open();
    const to = `127.0.0.1:${portOf(live)}`;
    const errors: PeerError[] = [];
    const sender = open({ onPeerError: (error) => errors.push(error), segmentation: false });
    const dead = closedPort();
    for (let round = 0; round < 20; round++) {
      expect(send(sender, [['x', dead]])).toBe(1n);
      const texts = Array.from({ length: 40 }, (_, i) => `${round} ${i}`);
      let list: [string, string][] = texts.map((text) => [text, to]);
      while (list.length > 0) list = list.slice(Number(send(sender, list)));
      expect((await heard(live, 40)).map(({ data }) => Buffer.from(data).toString())).toEqual(texts);
    }
    await setTimeout(1);
    expect(errors).toHaveLength(20);
  });

  it('whoever waits is not woken by an error to find a failure, and hears the datagrams', async () => {
    const errors: PeerError[] = [];
    const udp = open({ onPeerError: (error) => errors.push(error) });
    const iterator = udp.incoming[Symbol.asyncIterator]();
    const next = iterator.next();
    const dead = closedPort();
    send(udp, [['lost', dead]]);
    for (let waited = 0; errors.length === 0 && waited < 10_000; waited++) await setTimeout(1);
    expect(errors.map(shown)).toEqual([['connection-refused', dead, 'lost', false]]);
    send(open(), [['found', `127.0.0.1:${portOf(udp)}`]]);
    const { value } = await next;
    expect((value as IncomingDatagram[]).map(({ data }) => Buffer.from(data).toString())).toEqual(['found']);
    await iterator.return?.();
  });

  it.each(['sendAll', 'a queue'])('%s tells of what it sent last before it resolves', async (way) => {
    const dead = closedPort();
    const errors: PeerError[] = [];
    const udp = open({ onPeerError: (error) => errors.push(error) });
    const list = [1, 2].map((number) => ({ data: Buffer.from([number]), remoteAddress: dead }));
    if (way === 'sendAll') await sendAll(udp.outgoing, list);
    else {
      const queue = udp.outgoing.queue();
      for (const { data, remoteAddress } of list) queue.send(data, remoteAddress);
      await queue.close();
    }
    await new Promise(setImmediate);
    expect(errors.length).toBeGreaterThan(0);
    expect(String(errors[0]!.remoteAddress)).toBe(dead);
  });

  it('a connected socket: its refusals are told there, and fail no call', async () => {
    const errors: PeerError[] = [];
    const dead = closedPort();
    const udp = open({ remote: dead, onPeerError: (error) => errors.push(error) });
    for (let i = 0; i < 10; i++) {
      expect(send(udp, [[`${i}`]])).toBe(1n);
      expect(udp.outgoing.checkSend()).toBe(1024n);
      expect(udp.incoming.receive()).toEqual([]);
    }
    await setTimeout(1);
    expect(errors.map(shown)).toEqual(
      Array.from({ length: 10 }, (_, i) => ['connection-refused', dead, `${i}`, false]),
    );
    expect(errors[0]).toMatchObject({ address: '127.0.0.1', port: Number(dead.split(':')[1]) });
  });

  it('what is too large for the path is refused as ever, and told with the MTU', async () => {
    const errors: PeerError[] = [];
    const udp = open({ dontFragment: true, onPeerError: (error) => errors.push(error) });
    const live = open();
    const mtu = Number(readFileSync('/sys/class/net/lo/mtu', 'utf8'));
    if (mtu > 65_500 + 28) return; // No datagram exceeds it.
    udp.outgoing.checkSend();
    const list = [{ data: new Uint8Array(mtu), remoteAddress: live.localAddress }];
    expect(thrownBy(() => udp.outgoing.send(list))).toHaveProperty('payload');
  });

  it('a callback that throws is an uncaught exception, and loses no other report', async () => {
    const dead = closedPort();
    const heardOf: string[] = [];
    const udp = open({ onPeerError: ({ data }) => heardOf.push(data.toString()) });
    send(udp, [['1', dead]]);
    send(udp, [['2', dead]]);
    udp[Symbol.dispose]();
    await setTimeout(1);
    // The second one's own report came too late: the socket is closed.
    expect(heardOf).toEqual(['1']);
  });

  it('where the receive buffer has no room for reports, sends go on, and the error is told without its destination', async () => {
    const errors: PeerError[] = [];
    const udp = open({ receiveBufferSize: 1, onPeerError: (error) => errors.push(error) });
    const live = open({ local: '127.0.0.1:0' });
    const crowd = Array.from({ length: 100 }, (): [string, string] => ['x', `127.0.0.1:${portOf(udp)}`]);
    send(open({ segmentation: false }), crowd);
    const dead = closedPort();
    for (let i = 0; i < 5; i++) {
      expect(send(udp, [['lost', dead]])).toBe(1n);
      // Whatever comes next meets the error: a check, a send, a receive.
      if (i % 2 === 0) expect(udp.outgoing.checkSend()).toBe(1024n);
      expect(send(udp, [[`${i}`, textOf(live)]])).toBe(1n);
    }
    expect(send(udp, [['lost', dead]])).toBe(1n);
    expect(udp.incoming.receive().length).toBeGreaterThan(0);
    expect((await heard(live, 5)).map(({ data }) => Buffer.from(data).toString())).toEqual(['0', '1', '2', '3', '4']);
    await setTimeout(1);
    expect(errors).toHaveLength(6);
    for (const { code, isLocal, remoteAddress } of errors)
      expect([code, isLocal, remoteAddress]).toEqual(['ECONNREFUSED', false, undefined]);
  });

  it('takes a function alone', () => {
    expect(() => open({ onPeerError: 'log' as never })).toThrow(TypeError);
  });
});

describe('drops', () => {
  it.runIf(isLinux && hasReports)('a slow reader is told exactly what was lost', async () => {
    const udp = open({ receiveBufferSize: 20_000 });
    const sender = open({ segmentation: false });
    expect(udp.drops).toBe(0);
    const to = `127.0.0.1:${portOf(udp)}`;
    let sent = 0;
    for (let round = 0; round < 20; round++)
      sent += Number(
        send(
          sender,
          Array.from({ length: 50 }, () => ['x', to]),
        ),
      );
    expect(sent).toBe(1000);
    let received = 0;
    for (let some = 1; some > 0; received += some) some = udp.incoming.receive().length;
    expect(received).toBeLessThan(1000);
    expect(udp.drops).toBe(1000 - received);
  });

  it.skipIf(isLinux)('are not told elsewhere', () => {
    expect(payloadOf(thrownBy(() => open().drops))).toBe('not-supported');
  });
});

/** A second address on the link, and routes by way of the peer to networks that it does not know. */
const ADDRESSES = `${PEER}
  ip addr add 10.1.0.7/24 dev near; ip addr add fd01::7/64 dev near nodad
  ip route add 10.3.0.0/24 via 10.1.0.2; ip route add fd03::/64 via fd01::2`;
const inPair = (scenario: string) => runInNamespace<never>(ADDRESSES, 'ancillary.mjs', [scenario]);

const noPython = spawnSync('python3', ['--version']).status === 0 ? undefined : '(needs python3)';
const noDgram = 'Deno' in globalThis ? '(needs a node:dgram with broadcasts)' : undefined;

describe.skipIf(noNamespaces)(`on the wire ${noNamespaces ?? ''}`, () => {
  it.skipIf(noPython)(`sources, classes and ECN are those of the routes ${noPython ?? ''}`, async () => {
    const seen = (first: string, second: string) => {
      const one = [
        { class: 0, source: first },
        ...[0, 1, 2, 3, 0xb8].map((trafficClass) => ({ class: trafficClass, source: second })),
        // Where none is asked for, the system chooses.
        { class: 0, source: expect.any(String) },
      ];
      return [...one, ...one];
    };
    expect(await inPair('headers')).toEqual({
      '10.1.0.2': seen('10.1.0.1', '10.1.0.7'),
      '[fd01::2]': seen('fd01::1', 'fd01::7'),
    });
  });

  it.skipIf(noDgram)(`the address of two that was asked is told, and answers ${noDgram ?? ''}`, async () => {
    expect(await inPair('asked')).toEqual([
      { localAddress: '10.1.0.1', isShared: false, answer: ['ok', 'answer from 10.1.0.1'] },
      { localAddress: '10.1.0.7', isShared: false, answer: ['ok', 'answer from 10.1.0.7'] },
    ]);
  });

  it.runIf(hasReports)('a router that knows no way is told with the destination, and fails no call', async () => {
    const seen = (address: string) => ({
      outcomes: ['ok'],
      errors: [{ payload: 'remote-unreachable', address, isLocal: false, data: 'astray' }],
      after: 'ok',
    });
    expect(await inPair('unreachable')).toEqual({ '10.3.0.9': seen('10.3.0.9'), '[fd03::9]': seen('fd03::9') });
  });

  it('sends of 0.3 that wait for room keep their routes', async () => {
    const slow = 'tc qdisc add dev lo root tbf rate 1mbit burst 2000 limit 1000000';
    const seen = { someWaited: true, ways: ['127.0.0.5 32'] };
    expect(await runInNamespace(slow, 'ancillary.mjs', ['waiting'])).toEqual(seen);
  });

  it.runIf(hasReports)('what the link cannot take is refused once, by each way of sending, and told once', async () => {
    const seen = {
      list: { outcome: [1, 'datagram-too-large'], errors: [['EMSGSIZE', true, 1500, 9]] },
      queue: { outcome: ['datagram-too-large', 1], errors: [['EMSGSIZE', true, 1500, 9]] },
      sendAll: { outcome: [2, 'datagram-too-large', 1], errors: [['EMSGSIZE', true, 1500, 9]] },
    };
    expect(await inPair('tooLarge')).toEqual({ '10.1.0.2': seen, '[fd01::2]': seen });
  });

  it.runIf(hasReports)('the MTU of a path is told with the destination', async () => {
    const seen = (address: string) => {
      const told = { payload: 'datagram-too-large', address, mtu: 1280, data: '1400 bytes' };
      return {
        before: 'ok',
        learned: { ...told, isLocal: false },
        after: 'datagram-too-large',
        // The kernel quotes nothing of what it refused itself.
        local: { ...told, isLocal: true, data: '' },
        fits: 'ok',
      };
    };
    expect(await inPair('mtu')).toEqual({
      '10.2.0.2': seen('10.2.0.2'),
      '[fd02::2]': seen('fd02::2'),
      '10.2.0.3': seen('10.2.0.3'),
      '[fd02::3]': seen('fd02::3'),
    });
  });
});

function udpAddress(text: string) {
  return new Route(text).remoteAddress!;
}
