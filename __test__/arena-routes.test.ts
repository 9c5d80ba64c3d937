import { expect, it } from 'vitest';
import { Arena, type OutgoingDatagram } from '../dist/batch/arena.js';
import { HAS_RECORDS, NO_ADDRESS, RECORD_WORDS, SLOT_WORDS } from '../dist/native/layout.js';
import { decodeAddress, encodeAddress } from '../dist/rules/address.js';
import type { Destination } from '../dist/rules/destination.js';
import { Route } from '../dist/rules/route.js';

type Way = OutgoingDatagram['remoteAddress'];

/** The payload, the destination and the record of each datagram of the table. */
function contents(arena: Arena): string[] {
  const all: string[] = [];
  const hasRecords = (arena.addressCount & HAS_RECORDS) !== 0;
  for (let entry = 0; entry < arena.used; entry++) {
    const [offset, length, index, count] = [...arena.entries.subarray(4 * entry, 4 * entry + 4)] as [
      number,
      number,
      number,
      number,
    ];
    const isNone = index === NO_ADDRESS;
    if (!isNone) expect(index).toBeLessThan(arena.addresses);
    const to = isNone || arena.slots[index * SLOT_WORDS] === 0 ? 'the peer' : `${decodeAddress(arena.slots, index)}`;
    const record =
      isNone || !hasRecords ? [] : [...arena.records.subarray(index * RECORD_WORDS, (index + 1) * RECORD_WORDS)];
    for (let i = 0; i < count; i++) {
      const data = Buffer.from(arena.payload, offset + i * length, length);
      all.push(`${data} to ${to} by ${record.some((word) => word !== 0) ? record : 'any way'}`);
    }
  }
  return all;
}

it.each([
  ['an open stream', undefined],
  ['a connected one', encodeAddress('127.0.0.1:7')],
])('routes and addresses of %s, in any order, packed, added, copied, appended, sent in part', (_, remote) => {
  let state = 1;
  const below = (bound: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % bound;
  };
  const destination: Destination = { family: 4, remote, permits: undefined };
  const hosts = remote === undefined ? ['127.0.0.1:7', '127.0.0.2:7', '127.0.0.3:9'] : ['127.0.0.1:7', undefined];
  const options = [{ trafficClass: 1 }, { trafficClass: 2 }, { localAddress: '127.0.0.9' }, {}];
  const ways: Way[] = [...hosts, ...hosts.flatMap((host) => options.map((option) => new Route(host, option)))];
  const shown = ({ data, remoteAddress: way }: OutgoingDatagram) => {
    const [to, record] = way instanceof Route ? [way.remoteAddress, [...Route.recordOf(way)]] : [way, []];
    const by = record.some((word) => word !== 0) ? record : 'any way';
    return `${data} to ${remote === undefined ? to : 'the peer'} by ${by}`;
  };
  const [listed, queued, written] = [new Arena(), new Arena(), new Arena()];
  let [inQueue, inWriter]: [string[], string[]] = [[], []];
  for (let round = 0; round < 2000; round++) {
    const list = Array.from({ length: below(20) }, (): OutgoingDatagram => {
      const data = Buffer.from(`${round}`.padStart(4 + below(2)));
      return { data, remoteAddress: ways[below(3) === 0 ? below(ways.length) : below(2)] };
    });
    const expected = list.map(shown);
    listed.pack(list, 0, list.length, destination);
    expect(contents(listed)).toEqual(expected);
    const from = below(list.length + 1);
    if (below(2) === 0) {
      const copied = queued.copy(listed, listed.payload, from);
      inQueue.push(...expected.slice(from, from + copied));
    } else {
      for (const [i, { data, remoteAddress }] of list.entries())
        if (queued.add(data, remoteAddress, destination) >= 0) inQueue.push(expected[i]!);
        else break;
    }
    for (const [i, { data, remoteAddress }] of list.entries()) {
      if (written.isFull) break;
      written.bytes.set(data, written.position);
      expect(written.append(data.length, remoteAddress, destination)).toBe(true);
      inWriter.push(expected[i]!);
    }
    const sent = below(30) === 0 ? inQueue.length : Math.min(inQueue.length, below(16));
    queued.advance(sent);
    inQueue = inQueue.slice(sent);
    const flushed = below(40) === 0 ? inWriter.length : Math.min(inWriter.length, below(18));
    written.drop(flushed);
    inWriter = inWriter.slice(flushed);
    if (round % 20 > 0) continue;
    expect(contents(queued)).toEqual(inQueue);
    expect(contents(written)).toEqual(inWriter);
  }
});
