import { describe, expect, it } from 'vitest';
import { Arena, type OutgoingDatagram, REFUSED } from '../dist/batch/arena.js';
import {
  decodeAddress,
  encodeAddress,
  type IpSocketAddress,
  type Ipv6Address,
  parseSocketAddress,
} from '../dist/rules/address.js';
import { type Destination, Refusal } from '../dist/rules/destination.js';

const v4: Destination = { family: 4, remote: undefined, permits: undefined };
const v6: Destination = { family: 6, remote: undefined, permits: undefined };
const CONNECTED = -1;

const list = (addresses: (IpSocketAddress | undefined)[]): OutgoingDatagram[] =>
  addresses.map((remoteAddress) => ({ data: Uint8Array.of(1, 2, 3), remoteAddress }));

/** The addresses of a batch, in order, by the index of each entry. */
const told = (arena: Arena) =>
  Array.from({ length: arena.used }, (_, entry) => decodeAddress(arena.slots, arena.entries[4 * entry + 2]!));

const ADDRESS: IpSocketAddress = {
  tag: 'ipv6',
  val: { port: 53, flowInfo: 7, address: [0x2001, 0xdb8, 3, 4, 5, 6, 7, 8], scopeId: 9 },
};

/** Addresses of which each differs from `ADDRESS` in one part. */
const CHANGED = [
  ...Array.from({ length: 8 }, (_, group) => {
    const changed = structuredClone(ADDRESS);
    (changed.val.address as Ipv6Address)[group]! ^= 1;
    return changed;
  }),
  ...(['port', 'flowInfo', 'scopeId'] as const).map((part) => {
    const changed = structuredClone(ADDRESS) as IpSocketAddress & { tag: 'ipv6' };
    changed.val[part] ^= 1;
    return changed;
  }),
];

describe('an arena', () => {
  it('has a slot for each IPv6 address that differs in any part, and one for those that are equal', () => {
    const arena = new Arena();
    for (const changed of CHANGED) {
      const addresses = [ADDRESS, structuredClone(ADDRESS), changed, ADDRESS];
      arena.pack(list(addresses), 0, 4, v6);
      expect([arena.count, arena.used, arena.addresses]).toEqual([4, 3, 3]);
      expect(told(arena)).toEqual([ADDRESS, changed, ADDRESS]);
    }
  });

  it('takes the remote address of a connected stream for none, and no other', () => {
    const arena = new Arena();
    const connected: Destination = { ...v6, remote: encodeAddress(ADDRESS) };
    arena.pack(list([undefined, ADDRESS, structuredClone(ADDRESS)]), 0, 3, connected);
    expect([arena.count, arena.used, arena.addresses]).toEqual([3, 1, 0]);
    for (const changed of CHANGED) {
      arena.pack(list([ADDRESS, changed]), 0, 2, connected);
      expect([arena.count, arena.refusal]).toEqual([1, Refusal.NotTheRemote]);
    }
  });

  it('judges a candidate as it judges an object', () => {
    const arena = new Arena();
    const write = (address: IpSocketAddress) => arena.slots.set(encodeAddress(address), 8 * arena.addresses);
    const connected: Destination = { ...v6, remote: encodeAddress(ADDRESS) };
    write(ADDRESS);
    expect(arena.indexOfCandidate(connected)).toBe(CONNECTED);
    for (const changed of CHANGED) {
      write(changed);
      expect(arena.indexOfCandidate(connected)).toBe(REFUSED);
      expect(arena.refusal).toBe(Refusal.NotTheRemote);
    }
    arena.clear();
    for (const [index, address] of [ADDRESS, ...CHANGED].entries()) {
      for (let i = 0; i < 2; i++) {
        write(address);
        expect(arena.indexOfCandidate(v6)).toBe(index);
      }
    }
    write(parseSocketAddress('[::]:53'));
    expect([arena.indexOfCandidate(v6), arena.refusal]).toEqual([REFUSED, Refusal.UnspecifiedAddress]);
  });

  it('leaves nothing of another address in a slot of IPv4', () => {
    const arena = new Arena();
    const address = parseSocketAddress('127.0.0.1:53');
    arena.pack(list([ADDRESS]), 0, 1, v4);
    expect(arena.refusal).toBe(Refusal.WrongFamily);
    arena.pack(list([address]), 0, 1, v4);
    expect(arena.slots.slice(0, 8)).toEqual(encodeAddress(address));
  });

  it.each([
    ['of one size', () => 65_507],
    ['of two sizes in turn', (i: number) => 65_507 - (i % 2)],
  ])('takes as many of the largest datagrams as it has room for, %s', (_, size) => {
    const arena = new Arena();
    const remoteAddress = parseSocketAddress('127.0.0.1:53');
    const bytes = new Uint8Array(65_507);
    const datagrams = Array.from({ length: 30 }, (_, i) => ({ data: bytes.subarray(0, size(i)), remoteAddress }));
    for (const [from, count] of [
      [0, 24],
      [24, 6],
    ] as const) {
      arena.pack(datagrams, from, 30, v4);
      expect([arena.count, arena.refusal]).toEqual([count, Refusal.None]);
    }
  });

  it('has less room by what a writer appends, and one entry for what is alike', () => {
    const arena = new Arena();
    const [one, other] = ['127.0.0.1:53', '127.0.0.1:54'].map(parseSocketAddress);
    const before = arena.room;
    const lengths = [10, 10, 10, 11, 11, 10];
    for (const length of lengths) expect(arena.append(length, one, v4)).toBe(true);
    expect([arena.count, arena.used, before - arena.room]).toEqual([6, 3, 62]);
    expect(arena.append(10, other, v4)).toBe(true);
    expect([arena.used, arena.addresses]).toEqual([4, 2]);
  });
});
