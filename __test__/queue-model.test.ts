import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { formatSocketAddress, openUdp, type RefusedDatagram } from '../dist/index.js';
import { noNamespaces, ON_ONE_PROCESSOR, ROUNDS, runInNamespace } from './support/runtime.js';

const SLOW = `tc qdisc add dev lo root tbf rate 20mbit burst 10k limit 1m
  ${ON_ONE_PROCESSOR}`;

/** Numbers that follow from a seed (mulberry32): each from 0 on, less than the limit. */
function randomOf(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) % limit;
  };
}

/** What may become of a datagram, by where it goes to and what it is. */
const KINDS = ['good', 'good', 'good', 'port 0', 'no address', 'no bytes', 'too large', 'by the system'] as const;

/** What a queue has told, in the order in which it was told: a datagram's number, and whether it was refused. */
type Told = [index: number, outcome: 'sent' | 'refused', by: 'callback' | 'onError'];

describe('a queue against a plain model', () => {
  it(`${ROUNDS} random runs: all that is good arrives in order, all else is told once, in its place`, async () => {
    for (let seed = 1; seed <= ROUNDS; seed++) await oneRun(seed);
  });

  async function oneRun(seed: number): Promise<void> {
    const random = randomOf(seed);
    using receiver = openUdp({ local: '127.0.0.1:0' });
    receiver.socket.setReceiveBufferSize(1 << 20);
    using sender = openUdp({ local: '127.0.0.1:0' });
    const to = formatSocketAddress(receiver.localAddress);
    const told: Told[] = [];
    const onError = (error: Error, datagram: RefusedDatagram | undefined) => {
      expect(error).toBeInstanceOf(Error);
      told.push([datagram!.index, 'refused', 'onError']);
    };
    const queue = sender.outgoing.queue({ onError });
    const expectedToTell: Told[] = [];
    const expectedToCome: string[] = [];
    const came: string[] = [];
    const receive = () => came.push(...receiver.incoming.receive().map(({ data }) => Buffer.from(data).toString()));
    const total = 1 + random(120);
    for (let index = 0; index < total; index++) {
      const kind = KINDS[random(KINDS.length)]!;
      const text = `${index}${'.'.repeat(random(3) * 10)}`;
      const callback = random(2)
        ? (error?: Error) => told.push([index, error === undefined ? 'sent' : 'refused', 'callback'])
        : undefined;
      const address = {
        'port 0': '127.0.0.1:0',
        'no address': 'nowhere',
        // The system forbids broadcasts to who has not asked for them.
        'by the system': '255.255.255.255:9',
      } as Record<string, string>;
      const data = { 'no bytes': 7 as never, 'too large': new Uint8Array(65_508) }[kind as string] ?? text;
      expect(queue.send(data, address[kind] ?? to, callback)).toBe(true);
      if (kind === 'good') expectedToCome.push(text);
      if (callback !== undefined) expectedToTell.push([index, kind === 'good' ? 'sent' : 'refused', 'callback']);
      else if (kind !== 'good') expectedToTell.push([index, 'refused', 'onError']);
      const dice = random(20);
      if (dice === 0) await setImmediate();
      else if (dice === 1) void queue.flush();
      else if (dice === 2) await queue.flush();
      if (dice < 3) receive();
    }
    if (random(2)) await queue.flush();
    // In mid-flush, too: what it holds leaves first.
    else void queue.flush();
    await queue.close();
    await setImmediate();
    receive();
    expect({ seed, came, told }).toEqual({ seed, came: expectedToCome, told: expectedToTell });
    expect(queue.pending + queue.pendingBytes).toBe(0);
  }
});

describe.skipIf(noNamespaces)(`several on one stream over a slow link ${noNamespaces ?? ''}`, () => {
  it('two queues, sendAll, a writer and send: each in its own order, nothing lost', async () => {
    const { result, waited } = await runInNamespace<{ result: object[]; waited: boolean }>(SLOW, 'queue-rivals.mjs');
    expect(result).toEqual(Array(5).fill({ lost: 0, twice: 0, disordered: 0, altered: 0 }));
    expect(waited).toBe(true);
  });
});
