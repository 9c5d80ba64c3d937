import { describe, expect, it } from 'vitest';
import { Arena, type OutgoingDatagram } from '../dist/batch/arena.js';
import { newSlot } from '../dist/native/layout.js';
import {
  decodeAddress,
  encodeAddress,
  formatSocketAddress,
  type IpSocketAddress,
  parseSocketAddress,
} from '../dist/rules/address.js';
import type { Destination } from '../dist/rules/destination.js';

const TEXTS = ['127.0.0.1:7', '127.0.0.1:8', '127.0.0.2:7'];
const SHARED = TEXTS.map(parseSocketAddress);
const open: Destination = { family: 4, remote: undefined, permits: undefined };
const connected: Destination = { ...open, remote: encodeAddress(SHARED[0]!) };

/** The datagrams of the table, one by one: where each goes, and its bytes. */
function contents(arena: Arena): string[] {
  const all: string[] = [];
  for (let entry = 0; entry < arena.used; entry++) {
    const [offset, length, index, count] = arena.entries.subarray(4 * entry, 4 * entry + 4) as unknown as number[];
    for (let i = 0; i < count!; i++) {
      const to = index === 0xffff_ffff ? 'connected' : formatSocketAddress(decodeAddress(arena.slots, index));
      all.push(`${to} ${arena.bytes.subarray(offset! + i * length!, offset! + (i + 1) * length!).join()}`);
    }
  }
  return all;
}

describe.each([
  ['an open stream', open],
  ['a connected one', connected],
])('an arena of %s', (_, destination) => {
  const isConnected = destination.remote !== undefined;
  let state = 1;
  const below = (bound: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % bound;
  };
  /** Neighbours are often alike; equal addresses are sometimes the same object. */
  function datagrams(count: number): { list: OutgoingDatagram[]; expected: string[] } {
    let [which, size] = [0, 4];
    const list: OutgoingDatagram[] = [];
    const expected: string[] = [];
    for (let i = 0; i < count; i++) {
      if (below(4) === 0) which = isConnected ? 0 : below(3);
      if (below(4) === 0) size = below(5);
      const data = Uint8Array.from({ length: size }, () => below(256));
      const named = below(2) === 0 ? SHARED[which] : parseSocketAddress(TEXTS[which]!);
      list.push({ data, remoteAddress: isConnected && below(2) === 0 ? undefined : named });
      expected.push(`${isConnected ? 'connected' : TEXTS[which]} ${data.join()}`);
    }
    return { list, expected };
  }

  it('holds the datagrams of a list, in order, in as many entries as there are changes', () => {
    const arena = new Arena();
    for (let round = 0; round < 300; round++) {
      const { list, expected } = datagrams(below(50));
      const from = below(list.length + 1);
      arena.pack(list, from, list.length, destination);
      expect(contents(arena)).toEqual(expected.slice(from));
      expect(arena.count).toBe(list.length - from);
    }
    arena.pack(Array(1024).fill({ data: Uint8Array.of(1), remoteAddress: SHARED[0] }), 0, 1024, destination);
    expect([arena.count, arena.used]).toEqual([1024, 1]);
  });

  it('keeps what a writer has pending, whatever is appended and dropped', () => {
    const arena = new Arena();
    let pending: string[] = [];
    for (let round = 0; round < 1000; round++) {
      const { list, expected } = datagrams(below(12));
      for (const { data, remoteAddress } of list) {
        arena.bytes.set(data, arena.position);
        expect(arena.append(data.length, remoteAddress, destination)).toBe(true);
      }
      pending.push(...expected);
      const sent = below(3) === 0 ? pending.length : below(pending.length + 1);
      arena.drop(sent);
      pending = pending.slice(sent);
      expect(contents(arena)).toEqual(pending);
      expect(arena.count).toBe(pending.length);
    }
  });

  it('copies what another has, from any place on, as far as there is room, whatever has left', () => {
    const [arena, other] = [new Arena(), new Arena()];
    let waiting: string[] = [];
    for (let round = 0; round < 1000; round++) {
      const { list, expected } = datagrams(below(32));
      other.pack(list, 0, list.length, destination);
      const from = below(list.length + 1);
      const copied = arena.copy(other, other.payload, from);
      expect(copied).toBe(Math.min(list.length - from, 1024 - waiting.length));
      waiting.push(...expected.slice(from, from + copied));
      other.bytes.fill(0);
      const sent = below(20) > 0 ? below(12) : waiting.length;
      if (sent > waiting.length) continue;
      arena.advance(sent);
      waiting = waiting.slice(sent);
      expect(arena.count).toBe(waiting.length);
      if (round % 10 === 0) expect(contents(arena)).toEqual(waiting);
    }
    arena.clear();
    other.pack([{ data: new Uint8Array(60_000), remoteAddress: SHARED[0] }], 0, 1, destination);
    for (let i = 0; i < 26; i++) expect(arena.copy(other, other.payload, 0)).toBe(1);
    expect(arena.copy(other, other.payload, 0)).toBe(0);
  });
});

it('a policy is asked once for an address that comes again and again, and for each other one', () => {
  const asked: string[] = [];
  const permits = (address: IpSocketAddress) => {
    asked.push(formatSocketAddress(address));
    return address.val.port !== 8;
  };
  const destination: Destination = { family: 4, remote: undefined, permits, permitted: newSlot() };
  const arena = new Arena();
  const accepted = [0, 0, 1, 1, 0, 2, 2, 1, 0].map((which) => {
    arena.pack([{ data: new Uint8Array(1), remoteAddress: SHARED[which]! }], 0, 1, destination);
    return arena.count;
  });
  expect(accepted).toEqual([1, 1, 0, 0, 1, 1, 1, 0, 1]);
  expect(asked).toEqual([0, 1, 1, 2, 1, 0].map((which) => TEXTS[which]));
});
