import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type AllowRule,
  createHost,
  type HostOptions,
  MeteredOutgoing,
  openUdp,
  parseSocketAddress,
  ResourceTable,
  Trap,
  UdpSocket,
} from '../dist/index.js';
import { ENTRANCES, Guest, outcomeOf, textOf } from './support/guest-api.js';
import { FAMILIES, Receiver } from './support/receiver.js';
import { openedSince, openSockets, runFixture } from './support/runtime.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const CASES = ENTRANCES.flatMap((entrance) => FAMILIES.map((familyCase) => ({ ...familyCase, entrance })));

describe.each(CASES)('what a guest may do, by $entrance.title over $family', (at) => {
  const { entrance, family, loopback, unspecified } = at;
  const block = family === 'ipv4' ? '127.0.0.0/8' : '[::1/128]';
  const otherBlock = family === 'ipv4' ? '10.0.0.0/8' : '[fd00::/8]';
  let receiver: Receiver;

  beforeEach(async () => {
    receiver = await Receiver.open(at);
  });
  afterEach(() => receiver[Symbol.asyncDispose]());

  const any = parseSocketAddress(`${loopback}:0`);
  const port = () => receiver.address.val.port;
  const guestWith = (allow: HostOptions['allow']) => new Guest(entrance.open({ allow: allow! }));
  const bindAny: AllowRule = { bind: `${loopback}:0` };

  describe('bind', () => {
    it.each<[string, AllowRule[] | undefined, string]>([
      ['by default', undefined, 'access-denied'],
      ['by default, with other rules', [{ send: '*:*' }, { receive: '*:*' }], 'access-denied'],
      ['by port', [{ bind: `${loopback}:1-65535` }], 'access-denied'],
      ['by CIDR', [{ bind: `${otherBlock}:*` }], 'access-denied'],
      ['to one address', [{ bind: `${loopback}:0` }], 'ok'],
      ['to a CIDR', [{ bind: `${block}:*` }], 'ok'],
      ['to anything', [{ bind: '*:*' }], 'ok'],
    ])('%s: %j gives %s', (_, allow, expected) => {
      const guest = new Guest(entrance.open(allow === undefined ? { allow: [] } : { allow }));
      const before = openSockets();
      const socket = guest.create(family);
      expect(outcomeOf(() => guest.bind(socket, any))).toBe(expected);
      expect(outcomeOf(() => socket.localAddress())).toBe(expected === 'ok' ? 'ok' : 'invalid-state');
      socket[Symbol.dispose]();
      expect(openedSince(before)).toBe(0);
    });

    it('a loopback rule does not cover the unspecified address', () => {
      const guest = guestWith([{ bind: `${block}:*` }]);
      expect(outcomeOf(() => guest.bound(parseSocketAddress(`${unspecified}:0`)))).toBe('access-denied');
    });

    it('a host without options denies it', () => {
      const guest = new Guest(createHost());
      expect(outcomeOf(() => guest.bound(any))).toBe('access-denied');
    });
  });

  describe('connect and send', () => {
    it.each<[string, (port: number) => AllowRule[], string]>([
      ['by default', () => [], 'access-denied'],
      ['by default, with other rules', () => [{ bind: '*:*' }, { receive: '*:*' }], 'access-denied'],
      ['by port', (port) => [{ send: `${loopback}:1-${port - 1}` }, { send: `*:${port + 1}` }], 'access-denied'],
      ['by CIDR', () => [{ send: `${otherBlock}:*` }], 'access-denied'],
      ['to one address', (port) => [{ send: `${loopback}:${port}` }], 'ok'],
      ['to a CIDR', (port) => [{ send: `${block}:${port}` }], 'ok'],
      ['to anything', () => [{ send: '*:*' }], 'ok'],
    ])('%s', async (_, rules, expected) => {
      const guest = guestWith([bindAny, ...rules(port())]);
      const connecting = guest.bound(any);
      expect(outcomeOf(() => connecting.stream(receiver.address))).toBe(expected);
      expect(outcomeOf(() => connecting.remoteAddress())).toBe(expected === 'ok' ? 'ok' : 'invalid-state');
      const [, outgoing] = guest.bound(any).stream();
      outgoing.checkSend();
      const send = () => outgoing.send([{ data: bytes('from the guest'), remoteAddress: receiver.address }]);
      expect(outcomeOf(send)).toBe(expected);
      await expectArrived(expected === 'ok' ? ['from the guest'] : []);
    });

    it('a denied address in the middle of a list cuts the batch there, and nothing of it reaches the wire', async () => {
      const denied = await Receiver.open(at);
      const guest = guestWith([bindAny, { send: `${loopback}:${port()}` }]);
      const [, outgoing] = guest.bound(any).stream();
      const to = (text: string, remoteAddress = receiver.address) => ({ data: bytes(text), remoteAddress });
      outgoing.checkSend();
      expect(outgoing.send([to('a'), to('b'), to('denied', denied.address), to('never')])).toBe(2n);
      outgoing.checkSend();
      expect(outcomeOf(() => outgoing.send([to('denied', denied.address), to('never')]))).toBe('access-denied');
      await expectArrived(['a', 'b']);
      await expectArrived([], denied);
      await denied[Symbol.asyncDispose]();
    });
  });

  describe('receive', () => {
    /** A guest's socket with these rules, three senders, and the texts that the guest hears of what they send. */
    const heardBy = (rules: (ports: number[]) => AllowRule[]) => {
      const senders = [1, 2, 3].map(() => openUdp({ local: `${loopback}:0` }));
      const ports = senders.map(({ localAddress }) => localAddress.val.port);
      const host = createHost({ allow: [bindAny, ...rules(ports)] });
      const guest = new Guest(host);
      const socket = guest.bound(any);
      const [incoming] = socket.stream();
      const remoteAddress = socket.localAddress();
      for (let round = 0; round < 3; round++) {
        for (const [i, { outgoing }] of senders.entries()) {
          outgoing.checkSend();
          outgoing.send([`${i}`, `${i}`].map((text) => ({ data: bytes(text), remoteAddress })));
        }
      }
      const texts: string[] = [];
      while (guest.readyWithin(incoming.subscribe(), 50)) texts.push(...incoming.receive(1000n).map(textOf));
      for (const sender of senders) sender[Symbol.dispose]();
      const { refused } = host;
      host[Symbol.dispose]();
      return { texts: texts.join(''), refused };
    };

    it('by default nothing is heard, and it is counted', () => {
      expect(heardBy(() => [])).toEqual({ texts: '', refused: 18 });
    });

    it('without a receive rule, those that a send rule covers', () => {
      expect(heardBy(([first]) => [{ send: `${loopback}:${first}` }])).toEqual({ texts: '000000', refused: 12 });
    });

    it('by port, with a receive rule: only those that it names', () => {
      const rules = ([first, second]: number[]) => [
        { send: `${loopback}:${first}` },
        { receive: `${loopback}:${second}` },
      ];
      expect(heardBy(rules)).toEqual({ texts: '111111', refused: 12 });
    });

    it('by CIDR', () => {
      expect(heardBy(() => [{ receive: `${otherBlock}:*` }])).toEqual({ texts: '', refused: 18 });
      expect(heardBy(() => [{ receive: `${block}:*` }])).toEqual({ texts: '001122001122001122', refused: 0 });
    });

    it('of the peer, too', () => {
      const sender = openUdp({ local: `${loopback}:0` });
      const text = `${loopback}:${sender.localAddress.val.port}`;
      const guest = guestWith([bindAny, { send: text }, { receive: `${otherBlock}:*` }]);
      const socket = guest.bound(any);
      const [incoming] = socket.stream(parseSocketAddress(text));
      sender.outgoing.checkSend();
      sender.outgoing.send([{ data: bytes('x'), remoteAddress: socket.localAddress() }]);
      guest.readyWithin(incoming.subscribe(), 10_000);
      expect(incoming.receive(1n)).toEqual([]);
      sender[Symbol.dispose]();
    });
  });

  it('the direct API obeys rules where it is given some', async () => {
    const remote = receiver.text;
    expect(outcomeOf(() => openUdp({ remote, allow: [bindAny] }))).toBe('access-denied');
    const before = openSockets();
    expect(outcomeOf(() => openUdp({ local: `${loopback}:0`, remote, allow: [bindAny] }))).toBe('access-denied');
    expect(openedSince(before)).toBe(0);
    const { outgoing } = openUdp({ local: `${loopback}:0`, remote, allow: [bindAny, { send: remote }] });
    outgoing.checkSend();
    expect(outgoing.send([{ data: bytes('allowed') }])).toBe(1n);
    await expectArrived(['allowed']);
  });

  /** Sends a last datagram past the host, and expects exactly these texts before it. */
  async function expectArrived(texts: string[], where = receiver) {
    const { outgoing } = openUdp({ remote: where.text });
    outgoing.checkSend();
    outgoing.send([{ data: bytes('last') }]);
    await where.until(texts.length + 1);
    expect(where.texts).toEqual([...texts, 'last']);
  }
});

describe('a host without jco', () => {
  it('calls streams by their handles', async () => {
    const receiver = await Receiver.open(FAMILIES[0]);
    const { table, outgoingDatagramStream: streams } = createHost();
    const { outgoing } = openUdp({ remote: receiver.text });
    const self = table.push(outgoing);
    expect(streams.checkSend(self)).toBe(1024n);
    expect(streams.send(self, [{ data: bytes('by handle') }])).toBe(1n);
    const pollable = streams.subscribe(self);
    expect(table.size).toBe(2);
    table.drop(pollable);
    streams.drop(self);
    expect(table.size).toBe(0);
    await receiver.until(1);
    expect(receiver.texts).toEqual(['by handle']);
    await receiver[Symbol.asyncDispose]();
  });

  it('traps for a handle that was dropped, was never given, or names something else', () => {
    const { table, outgoingDatagramStream: streams } = createHost();
    const { incoming, outgoing } = openUdp();
    const self = table.push(outgoing);
    const wrong = table.push(incoming) as unknown as typeof self;
    streams.drop(self);
    for (const handle of [self, wrong, 0 as typeof self, 1.5 as typeof self, undefined as unknown as typeof self]) {
      for (const call of ['checkSend', 'subscribe', 'drop'] as const) expect(() => streams[call](handle)).toThrow(Trap);
      expect(() => streams.send(handle, [])).toThrow(Trap);
    }
    expect(() => streams.checkSend(wrong)).toThrow(
      /must name a OutgoingDatagramStream, it names a IncomingDatagramStream/,
    );
    expect(() => streams.checkSend(self)).toThrow(/it names nothing \(dropped\?\)/);
    expect(() => table.drop(self)).toThrow(/drop each handle once/);
  });
});

describe('ResourceTable', () => {
  it('gives every resource a handle of its own, and none of them again soon', () => {
    const table = new ResourceTable();
    const handles = new Set<number>();
    for (let i = 0; i < 10_000; i++) {
      const handle = table.push(new UdpSocketDouble());
      handles.add(handle);
      table.drop(handle);
    }
    expect(handles.size).toBe(10_000);
    expect(table.size).toBe(0);
  });

  it('drops what is left with itself, each once', () => {
    const table = new ResourceTable();
    const resources = [1, 2, 3].map(() => new UdpSocketDouble());
    const [first] = resources.map((resource) => table.push(resource));
    table.drop(first!);
    table[Symbol.dispose]();
    table[Symbol.dispose]();
    expect(resources.map(({ drops }) => drops)).toEqual([1, 1, 1]);
  });

  class UdpSocketDouble implements Disposable {
    drops = 0;
    [Symbol.dispose]() {
      this.drops += 1;
    }
  }
});

describe('MeteredOutgoing, a wrapper by delegation', () => {
  const metered = (options?: { rate?: number; burst?: number }) => {
    let meter: MeteredOutgoing | undefined;
    const host = createHost({
      allow: 'all',
      outgoing: (streams, table) => {
        meter = new MeteredOutgoing(streams, table, options);
        return meter;
      },
    });
    return { guest: new Guest(host), host, meters: () => [...meter!.meters.values()].map((one) => ({ ...one })) };
  };

  it('counts what each stream of a guest sends, and its errors', async () => {
    const receiver = await Receiver.open(FAMILIES[0]);
    const { guest, host, meters } = metered();
    const any = parseSocketAddress('127.0.0.1:0');
    const [, first] = guest.bound(any).stream(receiver.address);
    const [, second] = guest.bound(any).stream();
    guest.send(first, ['one', 'two', 'three']);
    guest.send(first, ['four']);
    second.checkSend();
    expect(outcomeOf(() => second.send([{ data: bytes('nowhere') }]))).toBe('invalid-argument');
    expect(meters().map(({ sends, datagrams, bytes, errors }) => ({ sends, datagrams, bytes, errors }))).toEqual([
      { sends: 2, datagrams: 4, bytes: 15, errors: 0 },
      { sends: 1, datagrams: 0, bytes: 0, errors: 1 },
    ]);
    first[Symbol.dispose]();
    expect(meters()).toHaveLength(1);
    host[Symbol.dispose]();
    expect(meters()).toEqual([]);
    await receiver.until(4);
    await receiver[Symbol.asyncDispose]();
  });

  it('holds a stream to a rate: permits are what it allows, and the pollable waits for the next', async () => {
    const receiver = await Receiver.open(FAMILIES[0]);
    const { guest } = metered({ rate: 50, burst: 3 });
    const [, outgoing] = guest.bound(parseSocketAddress('127.0.0.1:0')).stream(receiver.address);
    const list = Array.from({ length: 3 }, () => ({ data: bytes('x') }));
    const started = process.hrtime.bigint();
    let sent = 0;
    while (sent < 10) {
      const permit = Number(outgoing.checkSend());
      expect(permit).toBeLessThanOrEqual(3);
      if (permit === 0) {
        const pollable = outgoing.subscribe() as { ready(): boolean; block(): void };
        pollable.block();
        expect(outgoing.checkSend()).toBeGreaterThanOrEqual(1n);
        continue;
      }
      sent += Number(outgoing.send(list.slice(0, permit)));
    }
    // Three at once, and seven at fifty a second.
    expect(process.hrtime.bigint() - started).toBeGreaterThanOrEqual(140_000_000n);
    await receiver.until(10);
    await receiver[Symbol.asyncDispose]();
  });

  it('traps where more is sent than its own permit', () => {
    const { guest } = metered({ rate: 1, burst: 2 });
    const [, outgoing] = guest.bound(parseSocketAddress('127.0.0.1:0')).stream(parseSocketAddress('127.0.0.1:9'));
    expect(outgoing.checkSend()).toBe(2n);
    expect(outcomeOf(() => outgoing.send(Array.from({ length: 3 }, () => ({ data: bytes('x') }))))).toBe('trap');
    expect(outgoing.send([{ data: bytes('x') }])).toBe(1n);
    expect(outcomeOf(() => outgoing.send([{ data: bytes('x') }]))).toBe('trap');
  });

  it('counts what was sent, and permits what it counts, whatever lists and data say of themselves', async () => {
    const receiver = await Receiver.open(FAMILIES[0]);
    const { guest, meters } = metered({ rate: 1, burst: 2 });
    const [, outgoing] = guest.bound(parseSocketAddress('127.0.0.1:0')).stream(receiver.address);
    const lying = Object.defineProperty(bytes('four'), 'length', { value: 1000 });
    let reads = 0;
    const changing = {
      get data() {
        reads += 1;
        return reads === 1 ? bytes('seven b') : bytes('otherwise');
      },
    };
    const items = [{ data: lying }, changing, { data: bytes('third') }];
    let lengths = 0;
    const list = new Proxy(items, {
      get: (target, key) => (key === 'length' ? (lengths++ === 0 ? 2 : 3) : Reflect.get(target, key)),
    });
    expect(outgoing.checkSend()).toBe(2n);
    expect(outgoing.send(list)).toBe(2n);
    expect(meters()).toMatchObject([{ sends: 1, datagrams: 2, bytes: 11 }]);
    await receiver.until(2);
    expect(receiver.texts).toEqual(['four', 'seven b']);
    for (const length of [1.5, Number.NaN, -1, Infinity]) {
      const wrong = new Proxy(items, { get: (_, key) => (key === 'length' ? length : undefined) });
      expect(() => outgoing.send(wrong)).toThrow(/^send\(\) takes an array of datagrams, got one of length/);
    }
    await receiver[Symbol.asyncDispose]();
  });

  it('refuses a rate that is none', () => {
    expect(() => metered({ rate: 0 })).toThrow(/rate is datagrams a second, above 0, got 0/);
    expect(() => metered({ rate: 10, burst: 0 })).toThrow(/burst is a number of datagrams, at least 1, got 0/);
  });
});

describe('guests in one process', () => {
  it('do not see each other: a resource of one host means nothing to another', () => {
    const [one, two] = [createHost({ allow: 'all' }), createHost({ allow: 'all' })];
    const socket = one.udpCreateSocket.createUdpSocket('ipv4');
    expect(socket).toBeInstanceOf(one.udp.UdpSocket);
    expect(socket).not.toBeInstanceOf(two.udp.UdpSocket);
    expect(one.table.size).toBe(1);
    expect(two.table.size).toBe(0);
    const addressFamily = two.udp.UdpSocket.prototype.addressFamily;
    expect(outcomeOf(() => addressFamily.call(socket))).toBe('trap');
    two[Symbol.dispose]();
    expect(socket.addressFamily()).toBe('ipv4');
    one[Symbol.dispose]();
    expect(outcomeOf(() => socket.addressFamily())).toBe('trap');
  });

  it('a host that is dropped closes what its guest left open', () => {
    const before = openSockets();
    const host = createHost({ allow: 'all' });
    const guest = new Guest(host);
    for (let i = 0; i < 10; i++) guest.bound(parseSocketAddress('127.0.0.1:0')).stream();
    expect(openedSince(before)).toBe(10);
    host[Symbol.dispose]();
    expect(openedSince(before)).toBe(0);
  });

  it('what a collected guest left open is closed, with its host alive or not', async () => {
    expect(await runFixture('forgotten-guests.mjs')).toEqual({ left: 0 });
  });
});

it('a socket is made by a family of WIT alone', () => {
  expect(outcomeOf(() => new UdpSocket('ipv5' as 'ipv4'))).toBe('not-supported');
});

it('the clocks have core forms, so that no call of theirs makes objects', () => {
  using host = createHost();
  const imports = host.imports() as Record<string, Record<string, object>>;
  const withCoreForm = (name: string) =>
    Object.entries(imports[name]!).flatMap(([key, value]) => (Symbol.for('cabiLower') in value ? [key] : []));
  expect(withCoreForm('wasi:clocks/monotonic-clock')).toEqual([
    'now',
    'resolution',
    'subscribeInstant',
    'subscribeDuration',
  ]);
  expect(withCoreForm('wasi:clocks/wall-clock')).toEqual(['now', 'resolution']);
});
