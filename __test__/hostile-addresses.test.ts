import { describe, expect, it } from 'vitest';
import {
  formatSocketAddress,
  type IpSocketAddress,
  openUdp,
  parseSocketAddress,
  SocketError,
  Trap,
  UdpSocket,
} from '../dist/index.js';
import { Policy } from '../dist/rules/policy.js';
import { bytes, codeOf, outcome, textsAt, thrownBy } from './support/outcomes.js';
import { FAMILIES, Receiver } from './support/receiver.js';

// Addresses that answer otherwise each time they are asked, and those that are none.

/** An address that is `before` for so many reads of its properties, at any depth, and `after` from then on. */
function changing(before: IpSocketAddress, after: IpSocketAddress, reads: number): IpSocketAddress {
  let left = reads;
  const view = (one: object, other: object): object =>
    new Proxy(Array.isArray(one) ? [] : {}, {
      get(_, key) {
        const from = left > 0 ? one : other;
        left -= 1;
        const value = Reflect.get(from, key);
        if (typeof value !== 'object') return value;
        return view(Reflect.get(one, key), Reflect.get(other, key));
      },
      ownKeys: () => Reflect.ownKeys(left > 0 ? one : other),
      getOwnPropertyDescriptor: (target, key) =>
        Reflect.getOwnPropertyDescriptor(target, key) ?? {
          value: Reflect.get(left > 0 ? one : other, key),
          configurable: true,
          enumerable: true,
        },
    });
  return view(before, after) as IpSocketAddress;
}

/** More than the reads of any call. */
const READS = 80;

const allowed = parseSocketAddress('127.0.0.2:4321');
const denied = parseSocketAddress('127.0.0.3:4321');

/** `denied` by its elements, `allowed` by its own account. */
function joined(): IpSocketAddress {
  const address = Object.assign([127, 0, 0, 3], { join: () => '127.0.0.2' });
  return { tag: 'ipv4', val: { port: 4321, address } } as unknown as IpSocketAddress;
}

describe('what is judged is what is used', () => {
  const sides: [string, IpSocketAddress, IpSocketAddress][] = [
    ['allowed, then denied', allowed, denied],
    ['denied, then allowed', denied, allowed],
  ];
  const socketWith = (policy: Policy) => {
    const socket = new UdpSocket('ipv4', { policy });
    socket.startBind(parseSocketAddress('0.0.0.0:0'));
    socket.finishBind();
    return socket;
  };
  const mayStream = () => socketWith(new Policy([{ bind: '0.0.0.0:0' }, { send: '127.0.0.2:4321' }]));

  it('by stream, where an array has a join of its own', () => {
    using socket = mayStream();
    expect(outcome(() => socket.stream(joined()))).toBe('access-denied');
    expect(outcome(() => socket.remoteAddress())).toBe('invalid-state');
  });

  it('by start-bind, where an array has a join of its own', () => {
    using socket = new UdpSocket('ipv4', { policy: new Policy([{ bind: '127.0.0.2:*' }]) });
    expect(outcome(() => socket.startBind(joined()))).toBe('access-denied');
    expect(outcome(() => socket.finishBind())).toBe('not-in-progress');
  });

  describe.each(sides)('of an address that is %s', (_, before, after) => {
    it('by stream', () => {
      using socket = mayStream();
      for (let reads = 0; reads < READS; reads++) {
        const streams = outcome(() => socket.stream(changing(before, after, reads)));
        if (typeof streams === 'string') {
          expect(streams).toBe('access-denied');
          continue;
        }
        expect(formatSocketAddress(socket.remoteAddress())).toBe('127.0.0.2:4321');
        for (const stream of streams) stream[Symbol.dispose]();
      }
    });

    it('by start-bind', () => {
      for (let reads = 0; reads < READS; reads++) {
        using socket = new UdpSocket('ipv4', { policy: new Policy([{ bind: '127.0.0.2:0' }]) });
        const [one, other] = [before, after].map(
          ({ tag, val }) => ({ tag, val: { ...val, port: 0 } }) as IpSocketAddress,
        );
        const started = outcome(() => socket.startBind(changing(one!, other!, reads)));
        expect(started).toBe(started === undefined ? undefined : 'access-denied');
        if (started === undefined) socket.finishBind();
        if (started === undefined) expect(socket.localAddress().val.address).toEqual([127, 0, 0, 2]);
      }
    });

    it('by send and commit', async () => {
      const receiver = await Receiver.open(FAMILIES[0]);
      const other = await Receiver.open(FAMILIES[0]);
      const pick = (address: IpSocketAddress) => (address === allowed ? receiver : other).address;
      using udp = openUdp({ local: '127.0.0.1:0', allow: [{ bind: '127.0.0.1:0' }, { send: receiver.text }] });
      const writer = udp.outgoing.writer();
      let sent = 0;
      for (let reads = 0; reads < READS; reads++) {
        udp.outgoing.checkSend();
        const remoteAddress = changing(pick(before), pick(after), reads);
        const count = outcome(() => udp.outgoing.send([{ data: bytes('send'), remoteAddress }]));
        if (count !== 1n) expect(count).toBe('access-denied');
        const refused = outcome(() => writer.commit(0, changing(pick(before), pick(after), reads)));
        if (refused !== undefined) expect(refused).toBe('access-denied');
        sent += (count === 1n ? 1 : 0) + (refused === undefined ? 1 : 0);
      }
      udp.outgoing.checkSend();
      writer.flush();
      expect(sent).toBeGreaterThan(0);
      await receiver.until(sent);
      expect(await textsAt(other)).toEqual([]);
      await receiver[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
    });

    it('by openUdp', () => {
      const allow = [{ bind: '127.0.0.2:0' }];
      for (let reads = 0; reads < READS; reads++) {
        const [one, other] = [before, after].map(
          ({ tag, val }) => ({ tag, val: { ...val, port: 0 } }) as IpSocketAddress,
        );
        const udp = outcome(() => openUdp({ local: changing(one!, other!, reads), allow }));
        if (typeof udp === 'string') expect(udp).toBe('access-denied');
        else {
          expect(udp.localAddress.val.address).toEqual([127, 0, 0, 2]);
          udp[Symbol.dispose]();
        }
      }
    });
  });

  it("openUdp's rules are read once", () => {
    let reads = 0;
    const options = {
      local: '127.0.0.1:0',
      get allow() {
        reads += 1;
        return reads === 1 ? [] : ('all' as const);
      },
    };
    expect(outcome(() => openUdp(options))).toBe('access-denied');
    expect(reads).toBe(1);
  });

  it('a message shows what was judged', () => {
    using socket = mayStream();
    for (let reads = 0; reads < READS; reads++) {
      const error = thrownBy(() => {
        for (const stream of socket.stream(changing(denied, allowed, reads))) stream[Symbol.dispose]();
        throw new SocketError('unknown', 'it was allowed');
      });
      if (codeOf(error) === 'access-denied') expect(String(error)).toContain('got 127.0.0.3:4321');
      else expect(String(error)).toContain('it was allowed');
    }
  });

  it('a getter of the address that streams, binds or drops meanwhile is heard', () => {
    const calling = (address: IpSocketAddress, call: () => void): IpSocketAddress =>
      ({
        tag: 'ipv4',
        get val() {
          call();
          return address.val;
        },
      }) as IpSocketAddress;
    const remote = (port: number) => parseSocketAddress(`127.0.0.1:${port}`);
    const socket = new UdpSocket('ipv4');
    const local = parseSocketAddress('127.0.0.1:0');
    expect(outcome(() => socket.startBind(calling(local, () => socket.startBind(local))))).toBe('concurrency-conflict');
    socket.finishBind();
    expect(() => socket.stream(calling(remote(1), () => socket.stream(remote(2))))).toThrow(Trap);
    expect(socket.remoteAddress()).toEqual(remote(2));
    const dropped = new UdpSocket('ipv4');
    expect(() => dropped.startBind(calling(local, () => dropped[Symbol.dispose]()))).toThrow(Trap);
    socket[Symbol.dispose]();
  });
});

describe('addresses that are none', () => {
  const val = { port: 53, address: [127, 0, 0, 1] };
  const v6 = { port: 53, flowInfo: 0, address: [0, 0, 0, 0, 0, 0, 0, 1], scopeId: 0 };
  const holed = (parts: number[]) => {
    delete parts[1];
    return parts;
  };
  const throwing = () => {
    throw new Error('said by itself');
  };
  const wrong: [string, unknown][] = [
    ['a port as text', { tag: 'ipv4', val: { ...val, port: '53' } }],
    ['a port as bigint', { tag: 'ipv4', val: { ...val, port: 53n } }],
    ['a port as object', { tag: 'ipv4', val: { ...val, port: { valueOf: () => 53, toJSON: throwing } } }],
    ['a port as symbol', { tag: 'ipv4', val: { ...val, port: Symbol('53') } }],
    ['a hole', { tag: 'ipv4', val: { ...val, address: holed([127, 0, 0, 1]) } }],
    ['a byte as text', { tag: 'ipv4', val: { ...val, address: ['127', 0, 0, 1] } }],
    ['a byte as bigint', { tag: 'ipv4', val: { ...val, address: [127n, 0, 0, 1] } }],
    ['typed bytes', { tag: 'ipv4', val: { ...val, address: Uint8Array.of(127, 0, 0, 1) } }],
    ['an array-like', { tag: 'ipv4', val: { ...val, address: { length: 4, 0: 127, 1: 0, 2: 0, 3: 1 } } }],
    [
      'a length of its own account',
      { tag: 'ipv4', val: { ...val, address: new Proxy([127, 0, 0, 1], { get: () => 4n }) } },
    ],
    ['a group as bigint', { tag: 'ipv6', val: { ...v6, address: [0, 0, 0, 0, 0, 0, 0, 1n] } }],
    ['a hole of a group', { tag: 'ipv6', val: { ...v6, address: holed([0, 0, 0, 0, 0, 0, 0, 1]) } }],
    ['flow info as bigint', { tag: 'ipv6', val: { ...v6, flowInfo: 0n } }],
    ['a scope as text', { tag: 'ipv6', val: { ...v6, scopeId: '1' } }],
    ['a scope too large', { tag: 'ipv6', val: { ...v6, scopeId: 2 ** 32 } }],
    ['no tag', { val }],
    ['a tag as object', { tag: { toString: () => 'ipv4' }, val }],
    ['null as val', { tag: 'ipv4', val: null }],
    ['a function as val', { tag: 'ipv4', val: Object.assign(() => {}, val) }],
    ['a number', 53],
    ['a symbol', Symbol('address')],
    [
      'what fails when it is shown',
      {
        tag: 'ipv4',
        toJSON: throwing,
        toString: throwing,
        get other() {
          return throwing();
        },
      },
    ],
  ];

  it.each(wrong)('%s is invalid-argument everywhere, with the rule and what was received', (_, value) => {
    const address = value as IpSocketAddress;
    using udp = openUdp();
    const socket = new UdpSocket('ipv4');
    const writer = udp.outgoing.writer();
    using other = openUdp();
    for (const stream of [other.incoming, other.outgoing]) stream[Symbol.dispose]();
    udp.outgoing.checkSend();
    for (const call of [
      () => udp.outgoing.send([{ data: bytes('no'), remoteAddress: address }]),
      () => writer.commit(0, address),
      () => socket.startBind(address),
      () => openUdp({ local: address }),
      () => openUdp({ remote: address }),
      () => formatSocketAddress(address),
      () => other.socket.stream(address),
    ]) {
      const error = thrownBy(call) as SocketError;
      expect(error.payload).toBe('invalid-argument');
      expect(error.message).toMatch(/ got /);
    }
    expect(writer.pending).toBe(0);
    socket[Symbol.dispose]();
  });

  it.each<[string, unknown]>([
    [
      'frozen',
      Object.freeze({ tag: 'ipv4', val: Object.freeze({ port: 53, address: Object.freeze([127, 0, 0, 1]) }) }),
    ],
    [
      'without prototypes',
      Object.assign(Object.create(null), { tag: 'ipv4', val: Object.assign(Object.create(null), val) }),
    ],
    ['with more properties', { tag: 'ipv4', val: { ...val, scopeId: 'x' }, more: 1 }],
    ['with -0', { tag: 'ipv4', val: { port: 53, address: [127, -0, -0, 1] } }],
    [
      'with getters',
      {
        get tag() {
          return 'ipv4';
        },
        get val() {
          return {
            get port() {
              return 53;
            },
            address: [127, 0, 0, 1],
          };
        },
      },
    ],
    ['of a Proxy', new Proxy({ tag: 'ipv4', val: { port: 53, address: new Proxy([127, 0, 0, 1], {}) } }, {})],
  ])('one %s is an address', (_, value) => {
    expect(formatSocketAddress(value as IpSocketAddress)).toBe('127.0.0.1:53');
    using udp = openUdp({ remote: value as IpSocketAddress });
    expect(udp.socket.remoteAddress()).toEqual(parseSocketAddress('127.0.0.1:53'));
  });

  it.each<[string, unknown]>([
    ['1n', 1n],
    ["'5'", '5'],
    ['-1', -1],
    ['0.5', 0.5],
    ['NaN', Number.NaN],
    ['an object', { valueOf: () => 5 }],
    ['null', null],
    ['a symbol', Symbol('5')],
  ])('a commit of %s is a RangeError', (_, length) => {
    using udp = openUdp();
    const writer = udp.outgoing.writer();
    expect(() => writer.commit(length as number, parseSocketAddress('127.0.0.1:53'))).toThrow(RangeError);
    expect(writer.pending).toBe(0);
  });
});
