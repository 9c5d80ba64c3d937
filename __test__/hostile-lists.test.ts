import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type OpenUdp, type OutgoingDatagram, openUdp, parseSocketAddress } from '../dist/index.js';
import { bytes, textsAt, thrownBy } from './support/outcomes.js';
import { FAMILIES, Receiver } from './support/receiver.js';

// Lists and data that say other than they are.

describe('lists that lie', () => {
  /** An array with a length of its own account. */
  const listOf = (length: () => unknown, items: OutgoingDatagram[] = [{ data: bytes('x') }]) =>
    new Proxy(items, { get: (target, key) => (key === 'length' ? length() : Reflect.get(target, key)) });
  const lengths: [string, unknown][] = [
    ['1.5', 1.5],
    ['NaN', Number.NaN],
    ['-1', -1],
    ['2 ** 32', 2 ** 32],
    ['2 ** 53', 2 ** 53],
    ['Infinity', Infinity],
    ["'1'", '1'],
    ['1n', 1n],
    ['undefined', undefined],
    ['an object with valueOf', { valueOf: () => 1 }],
  ];

  it.each(lengths)('a length of %s is refused, and the permit stays', async (_, length) => {
    const receiver = await Receiver.open(FAMILIES[0]);
    using udp = openUdp({ remote: receiver.text });
    udp.outgoing.checkSend();
    const list = listOf(() => length);
    expect(() => udp.outgoing.send(list)).toThrow(TypeError);
    expect(() => udp.outgoing.send(list)).toThrow(/^send\(\) takes an array of datagrams, got one of length .*: pass /);
    expect(udp.outgoing.send([{ data: bytes('y') }])).toBe(1n);
    expect(await textsAt(receiver)).toEqual(['y']);
    await receiver[Symbol.asyncDispose]();
  });

  it('a length is read once', async () => {
    const receiver = await Receiver.open(FAMILIES[0]);
    using udp = openUdp({ remote: receiver.text });
    let reads = 0;
    const items = Array.from({ length: 5 }, (_, i) => ({ data: bytes(`${i}`) }));
    udp.outgoing.checkSend();
    expect(udp.outgoing.send(listOf(() => (reads++ === 0 ? 2 : 5), items))).toBe(2n);
    expect(reads).toBe(1);
    expect(await textsAt(receiver)).toEqual(['0', '1']);
    await receiver[Symbol.asyncDispose]();
  });

  it('a revoked Proxy, of a list or in one, is a TypeError', () => {
    using udp = openUdp({ remote: '127.0.0.1:9' });
    const revoked = <T extends object>(target: T): T => {
      const { proxy, revoke } = Proxy.revocable(target, {});
      revoke();
      return proxy;
    };
    for (const list of [
      revoked([{ data: bytes('x') }]),
      [revoked({ data: bytes('x') })],
      [{ data: revoked(bytes('x')) }],
      [{ data: bytes('x'), remoteAddress: revoked(parseSocketAddress('127.0.0.1:9')) }],
    ]) {
      udp.outgoing.checkSend();
      expect(thrownBy(() => udp.outgoing.send(list))).toBeInstanceOf(TypeError);
    }
  });
});

describe('data that lies', () => {
  const REAL = 5;
  let receiver: Receiver;
  let udp: OpenUdp;

  beforeEach(async () => {
    receiver = await Receiver.open(FAMILIES[0]);
    udp = openUdp({ remote: receiver.text });
    // What lies in the arena: another socket's.
    using another = openUdp({ remote: receiver.text });
    another.outgoing.checkSend();
    another.outgoing.send(Array(4).fill({ data: Buffer.alloc(1000, 'S') }));
    await receiver.until(4);
    receiver.received.length = 0;
  });
  afterEach(async () => {
    udp[Symbol.dispose]();
    await receiver[Symbol.asyncDispose]();
  });

  const real = () => bytes('r'.repeat(REAL));
  const longer = { get: () => 64 };
  class Subclass extends Uint8Array {
    override get length(): 64 {
      return 64;
    }
  }
  const resizable = (TypedArray: Uint8ArrayConstructor = Uint8Array) => {
    const buffer = new ArrayBuffer(64, { maxByteLength: 64 });
    return { buffer, tracking: new TypedArray(buffer), fixed: new TypedArray(buffer, 0, 64) };
  };
  const foreign = runInNewContext('Uint8Array') as Uint8ArrayConstructor;

  /** Each with what is sent of it: all that it holds, whatever length it names. */
  it.each<[string, () => object, string]>([
    ['a length of its own', () => Object.defineProperty(real(), 'length', longer), 'rrrrr'],
    ['a subclass with another length', () => Subclass.from(real()), 'rrrrr'],
    ['a shorter length of its own', () => Object.defineProperty(real(), 'length', { value: 2 }), 'rrrrr'],
    ['another tag', () => Object.defineProperty(real(), Symbol.toStringTag, { value: 'Uint16Array' }), 'rrrrr'],
    ['no prototype', () => Object.setPrototypeOf(real(), null), 'rrrrr'],
    ['a Buffer', () => Buffer.from('rrrrr'), 'rrrrr'],
    ["another realm's", () => foreign.from(real()), 'rrrrr'],
    [
      "another realm's with a length of its own",
      () => Object.defineProperty(foreign.from(real()), 'length', longer),
      'rrrrr',
    ],
    [
      'shared memory',
      () => {
        const shared = new Uint8Array(new SharedArrayBuffer(REAL));
        shared.set(real());
        return shared;
      },
      'rrrrr',
    ],
    [
      'a length-tracking array of a buffer that shrank',
      () => {
        const { buffer, tracking } = resizable();
        tracking.fill(0x72);
        buffer.resize(REAL);
        return tracking;
      },
      'rrrrr',
    ],
    [
      "another realm's, of a buffer that shrank",
      () => {
        const { buffer, tracking } = resizable(foreign);
        tracking.fill(0x72);
        buffer.resize(REAL);
        return tracking;
      },
      'rrrrr',
    ],
    ['no bytes, and a length of its own', () => Object.defineProperty(new Uint8Array(0), 'length', longer), ''],
  ])('%s: what it holds is sent', async (_, make, expected) => {
    const fitting = { data: new Uint8Array(64).fill(0x66) };
    udp.outgoing.checkSend();
    expect(udp.outgoing.send([{ data: make() as Uint8Array }, fitting, { data: make() as Uint8Array }])).toBe(3n);
    expect(await textsAt(receiver)).toEqual([expected, 'f'.repeat(64), expected]);
  });

  const tagged = (value: object) =>
    Object.defineProperties(value, { [Symbol.toStringTag]: { value: 'Uint8Array' }, length: { value: 64 } });

  it.each<[string, () => unknown]>([
    ['a plain object with the tag', () => tagged({})],
    ['an array with the tag', () => Object.defineProperty([1, 2, 3], Symbol.toStringTag, { value: 'Uint8Array' })],
    ['an object of the class, but no array', () => Object.create(Uint8Array.prototype, { length: { value: 64 } })],
    ['a Uint16Array with the tag', () => tagged(new Uint16Array(32))],
    ['a Uint16Array with the class', () => Object.setPrototypeOf(new Uint16Array(64), Uint8Array.prototype)],
    ['a Proxy', () => new Proxy(real(), { get: (target, key) => (key === 'length' ? 64 : Reflect.get(target, key)) })],
    ['a Proxy that lies about nothing', () => new Proxy(real(), {})],
    [
      'a detached array',
      () => {
        const data = real();
        structuredClone(data.buffer, { transfer: [data.buffer] });
        return data;
      },
    ],
    [
      'a detached array with a length of its own',
      () => {
        const data = Object.defineProperty(real(), 'length', longer);
        structuredClone(data.buffer, { transfer: [data.buffer] });
        return data;
      },
    ],
    [
      'an array that its shrunk buffer no longer covers',
      () => {
        const { buffer, fixed } = resizable();
        buffer.resize(REAL);
        return fixed;
      },
    ],
    [
      "another realm's, that its shrunk buffer no longer covers",
      () => {
        const { buffer, fixed } = resizable(foreign);
        buffer.resize(REAL);
        return fixed;
      },
    ],
    ['a DataView', () => new DataView(new ArrayBuffer(64))],
    ['an ArrayBuffer', () => new ArrayBuffer(64)],
    ['a SharedArrayBuffer', () => new SharedArrayBuffer(64)],
    ['a Uint16Array', () => new Uint16Array(32)],
    ['a Uint8ClampedArray', () => new Uint8ClampedArray(64)],
    ['an Int8Array', () => new Int8Array(64)],
    ['text', () => 'r'.repeat(64)],
    [
      'what fails when it is shown',
      () => ({
        toJSON: () => {
          throw new Error('shown');
        },
        get x() {
          throw new Error('shown');
        },
      }),
    ],
  ])('%s is no data: an error at 0, the end of the list behind', async (_, make) => {
    const data = () => make() as Uint8Array;
    udp.outgoing.checkSend();
    const error = thrownBy(() => udp.outgoing.send([{ data: data() }]));
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toMatch(
      /^TypeError: send\(\), datagram 0: a datagram is .* a Uint8Array .*, got .*: make text /s,
    );
    udp.outgoing.checkSend();
    // Of the same length as what it names, so that it is taken for alike.
    const fitting = { data: new Uint8Array(64).fill(0x66) };
    expect(udp.outgoing.send([fitting, { data: data() }, fitting])).toBe(1n);
    expect(await textsAt(receiver)).toEqual(['f'.repeat(64)]);
  });

  it('a length that a getter of another datagram changes is that of the moment of the copy', async () => {
    const { buffer, tracking } = resizable();
    tracking.fill(0x72);
    const list = [
      { data: new Uint8Array(64).fill(0x66) },
      {
        data: tracking,
        get remoteAddress() {
          buffer.resize(REAL);
          return undefined;
        },
      },
    ];
    udp.outgoing.checkSend();
    expect(udp.outgoing.send(list)).toBe(2n);
    expect(await textsAt(receiver)).toEqual(['f'.repeat(64), 'rrrrr']);
  });
});
