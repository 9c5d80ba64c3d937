import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseSocketAddress } from '../dist/index.js';
import { native } from '../dist/native/native.js';
import { ENTRANCES, Guest, type GuestApi, type Incoming, outcomeOf, type Socket, textOf } from './support/guest-api.js';
import { kernelQueue, noKernelQueue } from './support/kernel-queue.js';
import { FAMILIES } from './support/receiver.js';
import { openedSince, openSockets, runFixture } from './support/runtime.js';

// What a socket has received ahead of who asks for one datagram at a time is in nobody's way: every rule holds as without.

/** How a burst arrives: by one message that the kernel coalesced, or by one message each. */
const BURSTS = ['coalesced', 'plain'] as const;

const CASES = ENTRANCES.flatMap((entrance) =>
  FAMILIES.flatMap((familyCase) => BURSTS.map((burst) => ({ ...familyCase, entrance, burst }))),
);

describe.each(CASES)('read ahead by $entrance.title over $family, $burst', ({ entrance, family, loopback, burst }) => {
  let guest: Guest;
  let api: GuestApi;

  beforeEach(() => {
    api = entrance.open();
    guest = new Guest(api);
  });
  afterEach(() => api[Symbol.dispose]());

  const any = parseSocketAddress(`${loopback}:0`);
  const portOf = (socket: Socket) => socket.localAddress().val.port;
  const isReady = (incoming: Incoming) => (incoming.subscribe() as { ready(): boolean }).ready();
  const drop = (...resources: Disposable[]) => {
    for (const resource of resources) resource[Symbol.dispose]();
  };

  /** Texts of a burst: all of one length, or each longer than the one before, which no run has. */
  const texts = (count: number, name = 'n') =>
    Array.from(
      { length: count },
      (_, i) => `${name} ${`${i}`.padStart(3, '0')}${burst === 'plain' ? '.'.repeat(i) : ''}`,
    );

  /** A socket, and one that streams to it. */
  function pair() {
    const receiver = guest.bound(any);
    const [incoming, answering] = receiver.stream();
    const sender = guest.bound(any);
    const [, outgoing] = sender.stream(receiver.localAddress());
    return { receiver, incoming, answering, sender, outgoing };
  }

  const one = (incoming: Incoming): string => {
    const list = incoming.receive(1n);
    expect(list).toHaveLength(1);
    return textOf(list[0]!);
  };

  /** Receives one datagram after the other until the rest has left the kernel: the socket keeps it. What was received, of `all`. */
  function untilKept(receiver: Socket, incoming: Incoming, all: number): string[] {
    const received: string[] = [];
    const isInKernel = () =>
      noKernelQueue ? received.length < all / 2 : kernelQueue(family, portOf(receiver)).bytes > 0;
    do received.push(one(incoming));
    while (isInKernel());
    expect(all - received.length).toBeGreaterThanOrEqual(8);
    return received;
  }

  it('one after the other: in order, with its source, ready until the last', () => {
    const both = pair();
    const { incoming, outgoing, sender } = both;
    for (const count of [1, 2, 3, 10, 64, 200]) {
      const all = texts(count);
      guest.send(outgoing, all);
      for (const text of all) {
        expect(isReady(incoming)).toBe(true);
        const [datagram, ...more] = incoming.receive(1n);
        expect(more).toEqual([]);
        expect(textOf(datagram!)).toBe(text);
        expect(datagram!.remoteAddress).toEqual(sender.localAddress());
      }
      expect(isReady(incoming)).toBe(false);
      expect(incoming.receive(1n)).toEqual([]);
    }
  });

  it('max-results of every size, and more bursts behind what is kept', () => {
    const { incoming, outgoing } = pair();
    const expected: string[] = [];
    const received: string[] = [];
    for (let max = 0; max <= 70; max++) {
      const all = texts(40, `${max}`);
      guest.send(outgoing, all);
      expected.push(...all);
      const some = incoming.receive(BigInt(max));
      expect(some.length).toBeLessThanOrEqual(max);
      expect(some.length > 0).toBe(max > 0);
      received.push(...some.map(textOf));
      if (expected.length - received.length > 80) received.push(...guest.receive(incoming).map(textOf));
    }
    while (isReady(incoming)) received.push(...incoming.receive(7n).map(textOf));
    expect(received).toEqual(expected);
  });

  it('block, poll and the pollable of the socket see what is kept, and do not block', () => {
    const { receiver, incoming, outgoing } = pair();
    const all = texts(40);
    guest.send(outgoing, all);
    const received = untilKept(receiver, incoming, all.length);
    const quiet = pair().incoming.subscribe();
    const never = api.monotonicClock.subscribeDuration(2n ** 64n - 1n);
    const pollable = incoming.subscribe() as { block(): void };
    while (received.length < all.length) {
      pollable.block();
      expect([...(api.poll.poll([never, quiet, incoming.subscribe()]) as Uint32Array)]).toEqual([2]);
      expect((receiver.subscribe() as { ready(): boolean }).ready()).toBe(true);
      received.push(one(incoming));
    }
    expect(received).toEqual(all);
    expect(guest.readyWithin(incoming.subscribe(), 5)).toBe(false);
  });

  it.each(['first', 'second', 'nobody'] as const)(
    'after a reconnect, of what is kept only what the peer sent: %s',
    (next) => {
      const { receiver, incoming, answering, sender, outgoing } = pair();
      const other = guest.bound(any);
      const [, fromOther] = other.stream(receiver.localAddress());
      const all: string[] = [];
      for (let i = 0; i < 10; i++) {
        for (const [name, stream] of [['first', outgoing] as const, ['second', fromOther] as const]) {
          guest.send(stream, texts(4, name));
          all.push(...texts(4, name));
        }
      }
      const rest = all.slice(untilKept(receiver, incoming, all.length).length);
      drop(incoming, answering);
      const peer = { first: sender, second: other, nobody: undefined }[next]?.localAddress();
      const [again] = receiver.stream(peer);
      guest.send(next === 'second' ? fromOther : outgoing, ['last']);
      const expected = [...rest.filter((text) => next === 'nobody' || text.startsWith(next)), 'last'];
      // Whoever gets nothing of what was kept asks the kernel.
      for (const text of expected) expect(one(again)).toBe(text);
      expect(again.receive(1n)).toEqual([]);
      expect(isReady(again)).toBe(false);
    },
  );

  it('an error that comes while datagrams are kept is told once, and costs none of them', () => {
    const [server, client] = [guest.bound(any), guest.bound(any)];
    const [serverIncoming, toClient] = server.stream(client.localAddress());
    const [incoming, toServer] = client.stream(server.localAddress());
    const all = texts(40);
    guest.send(toClient, all);
    const received = untilKept(client, incoming, all.length);
    drop(serverIncoming, toClient, server);
    // The system limits how many refusals it sends: they come, or they do not, and what is kept must come all the same.
    guest.send(toServer, ['to nobody']);
    let refusals = 0;
    while (isReady(incoming)) {
      const outcome = outcomeOf(() => received.push(...incoming.receive(1n).map(textOf)));
      if (outcome !== 'ok') refusals += 1;
    }
    expect(received).toEqual(all);
    expect(refusals).toBe(1);
    expect(outcomeOf(() => incoming.receive(1n))).toBe('ok');
  });

  it('the policy: of what is kept only what a rule lets in', () => {
    const senders = [guest.bound(any), guest.bound(any)];
    const receive = `${loopback}:${portOf(senders[0]!)}`;
    using confined = entrance.open({ allow: [{ bind: `${loopback}:0` }, { receive }] });
    const inside = new Guest(confined);
    const receiver = inside.bound(any);
    const [incoming] = receiver.stream();
    const streams = senders.map((sender) => sender.stream(receiver.localAddress())[1]);
    for (let i = 0; i < 10; i++) for (const [j, stream] of streams.entries()) guest.send(stream, texts(4, `${j}`));
    const expected = Array.from({ length: 10 }, () => texts(4, '0')).flat();
    for (const text of expected) {
      expect(isReady(incoming)).toBe(true);
      expect(one(incoming)).toBe(text);
    }
    expect(incoming.receive(1n)).toEqual([]);
    expect(isReady(incoming)).toBe(false);
  });

  it('two sockets keep each its own', () => {
    const pairs = [pair(), pair()];
    for (const [i, { outgoing }] of pairs.entries()) guest.send(outgoing, texts(40, `${i}`));
    for (let n = 0; n < 40; n++)
      for (const [i, { incoming }] of pairs.entries()) expect(one(incoming)).toBe(texts(40, `${i}`)[n]);
    for (const { incoming } of pairs) expect(incoming.receive(1n)).toEqual([]);
  });

  it('is gone with the socket, and the next one of the port begins with nothing', () => {
    const before = openSockets();
    const { receiver, incoming, answering, sender, outgoing } = pair();
    const local = receiver.localAddress();
    guest.send(outgoing, texts(40));
    untilKept(receiver, incoming, 40);
    drop(incoming, answering, receiver, outgoing, sender);
    const [again] = guest.bound(local).stream();
    expect(isReady(again)).toBe(false);
    expect(again.receive(1n)).toEqual([]);
    api[Symbol.dispose]();
    api = entrance.open();
    if (entrance.title === 'objects') expect(openedSince(before)).toBeLessThanOrEqual(2);
  });

  it.skipIf(noKernelQueue)(`the kernel counts the drops of a full queue, and no others ${noKernelQueue ?? ''}`, () => {
    const { receiver, incoming, outgoing } = pair();
    receiver.setReceiveBufferSize(16_384n);
    let received = 0;
    let sent = 0;
    for (let i = 0; i < 100; i++) {
      const all = texts(64);
      guest.send(outgoing, all);
      sent += all.length;
      if (i % 25 === 24) for (let n = 0; n < 100; n++) received += incoming.receive(1n).length;
    }
    for (let count = 1; count > 0; received += count) count = incoming.receive(1n).length;
    const { drops, bytes } = kernelQueue(family, portOf(receiver));
    expect(bytes).toBe(0);
    // It counts a coalesced message once, where there are any.
    const { segmentation } = native.features();
    expect(received + drops * (burst === 'coalesced' && segmentation ? 64 : 1)).toBe(sent);
    expect(drops).toBeGreaterThan(0);
  });
});

describe('what sockets keep', () => {
  it('is bounded: a thousand sockets that each keep what they read ahead, and nothing of it once they are dropped', async () => {
    const { kept, bytesEach, leftEach } = await runFixture<Record<string, number>>('read-ahead-memory.mjs', ['1000']);
    expect(kept).toBeGreaterThan(1000 * 16);
    expect(bytesEach).toBeLessThan(256 * 1024);
    expect(leftEach).toBeLessThan(64 * 1024);
  });

  it('is seen by the pollables of the shim, beside its own', async () => {
    expect(await runFixture('read-ahead-shim.mjs')).toEqual({ received: 40, ready: 40, polled: 40, left: [1] });
  });
});
