import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type DatagramQueue,
  formatSocketAddress,
  type OpenUdp,
  parseSocketAddress,
  type QueueOptions,
  type RefusedDatagram,
} from '../dist/index.js';
import { native } from '../dist/native/native.js';
import { open, opened } from './support/opened.js';
import { noNamespaces, ON_ONE_PROCESSOR, runFixture, runInNamespace } from './support/runtime.js';

const FAMILIES = ['127.0.0.1', '[::1]'];

/** A queue whose stream is connected to a receiver, or which names it each time. */
function open2(host: string, options: QueueOptions = {}, connected = true) {
  const receiver = open({ local: `${host}:0` });
  // Without coalesced messages a batch takes more than the usual.
  receiver.socket.setReceiveBufferSize(4 << 20);
  const sender = open(connected ? { remote: receiver.localAddress } : { local: `${host}:0` });
  return { receiver, sender, queue: sender.outgoing.queue(options), to: formatSocketAddress(receiver.localAddress) };
}

/** All that has arrived, as text. */
async function arrived({ incoming }: OpenUdp, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) {
    await incoming.subscribe().wait();
    texts.push(...incoming.receive().map(({ data }) => Buffer.from(data).toString()));
  }
  return texts;
}

const statistics = ({ socket }: OpenUdp) => native.statistics(socket.descriptor.socket);

describe.each(FAMILIES)('a queue over %s', (host) => {
  it.each([true, false])(
    'what one turn sends leaves at its end, in order, as one batch; connected: %s',
    async (connected) => {
      const { receiver, sender, queue, to } = open2(host, {}, connected);
      const texts = Array.from({ length: 300 }, (_, i) => `datagram ${i}`);
      for (const text of texts) expect(queue.send(text, connected ? undefined : to)).toBe(true);
      expect(queue.pending).toBe(300);
      expect(statistics(sender)[1]).toBe(0);
      await Promise.resolve();
      expect(statistics(sender)[1]).toBe(0);
      await setImmediate();
      expect(queue.pending).toBe(0);
      expect(queue.pendingBytes).toBe(0);
      const [calls, datagrams] = statistics(sender);
      expect(datagrams).toBe(300);
      expect(calls).toBe(1);
      expect(await arrived(receiver, 300)).toEqual(texts);
    },
  );

  it('the caller’s buffer is free again, whatever kind of bytes it is', async () => {
    const { receiver, queue, to } = open2(host, {}, false);
    const buffer = Buffer.from('first');
    queue.send(buffer, to);
    buffer.fill(0);
    queue.send(new Uint8Array([104, 105]), parseSocketAddress(to));
    queue.send('', to);
    queue.send('žluťoučký kůň', to);
    await queue.flush();
    expect(await arrived(receiver, 4)).toEqual(['first', 'hi', '', 'žluťoučký kůň']);
  });

  it('what is refused is told to its callback, or to onError, in order; the others go on', async () => {
    const told: unknown[] = [];
    const onError = (error: Error, datagram?: RefusedDatagram) =>
      told.push([
        (error as { code?: string }).code ?? error.name,
        datagram?.index,
        String(Buffer.from(datagram!.data)),
      ]);
    const { receiver, queue, to } = open2(host, { onError }, false);
    const heard: unknown[] = [];
    const callback = (name: string) => (error?: Error) => heard.push([name, (error as { code?: string })?.code]);
    const nowhere = to.replace(/\d+$/, '0');
    queue.send('a', to, callback('a'));
    queue.send('b', nowhere, callback('b'));
    queue.send('c', nowhere);
    queue.send('d', 'no address');
    queue.send('e', to);
    queue.send(5 as never, to);
    queue.send(new Uint8Array(65_528), to, callback('too large'));
    queue.send('f', to, callback('f'));
    await queue.flush();
    await setImmediate();
    expect(await arrived(receiver, 3)).toEqual(['a', 'e', 'f']);
    expect(heard).toEqual([
      ['a', undefined],
      ['b', 'EDESTADDRREQ'],
      ['too large', 'EMSGSIZE'],
      ['f', undefined],
    ]);
    expect(told).toEqual([
      ['EDESTADDRREQ', 2, 'c'],
      ['EINVAL', 3, 'd'],
      ['TypeError', 5, ''],
    ]);
  });

  it('what a rule refuses behind what the system refused is told without another send', async () => {
    const { queue, to } = open2(host, {}, false);
    const isIpv4 = !to.startsWith('[');
    const heard: string[] = [];
    const refused = new Promise<void>((resolve) => {
      const callback = (name: string) => () => {
        if (heard.push(name) === 2) resolve();
      };
      // A broadcast that nobody allowed; over IPv6, what only the system knows to be too large.
      queue.send(new Uint8Array(isIpv4 ? 1 : 65_527), isIpv4 ? '255.255.255.255:9' : to, callback('first'));
      queue.send('b', to.replace(/\d+$/, '0'), callback('second'));
    });
    await Promise.race([refused, sleep(30_000, undefined, { ref: false })]);
    expect(heard).toEqual(['first', 'second']);
  });

  it('a full queue refuses, counts it, and takes on when there is room', async () => {
    const { receiver, queue } = open2(host, { maxDatagrams: 3 });
    expect(['a', 'b', 'c', 'd', 'e'].map((text) => queue.send(text))).toEqual([true, true, true, false, false]);
    expect(queue.overflows).toBe(2);
    await queue.flush();
    expect(queue.send('f')).toBe(true);
    await queue.flush();
    expect(await arrived(receiver, 4)).toEqual(['a', 'b', 'c', 'f']);
    const bytes = open2(host, { maxBytes: 10 });
    expect(['12345', '67890', '!'].map((text) => bytes.queue.send(text))).toEqual([true, true, false]);
  });

  it('more than a batch leaves batch by batch, before the turn ends', async () => {
    const { sender, queue } = open2(host);
    for (let i = 0; i < 3000; i++) queue.send(`${i}`);
    expect(statistics(sender)[1]).toBeGreaterThanOrEqual(2048);
    await queue.flush();
    expect(statistics(sender)[1]).toBe(3000);
  });

  it('what answers an event of the very socket leaves at its end, callbacks included', async () => {
    const { receiver: server, sender: client } = open2(host);
    const queue = server.outgoing.queue();
    const heard: string[] = [];
    const answered = (async () => {
      for await (const batch of server.incoming) {
        for (const { data, remoteAddress } of batch) queue.send(data, remoteAddress, () => heard.push('sent'));
        await Promise.resolve();
        if (heard.length + batch.length >= 3) return;
      }
    })();
    for (const text of ['a', 'bc', 'def']) {
      client.outgoing.checkSend();
      client.outgoing.send([{ data: Buffer.from(text) }]);
    }
    expect(await arrived(client, 3)).toEqual(['a', 'bc', 'def']);
    await answered;
    while (heard.length < 3) await setImmediate();
  });

  it('leaves the permit of checkSend alone', async () => {
    const { receiver, sender, queue } = open2(host);
    expect(sender.outgoing.checkSend()).toBe(1024n);
    queue.send('queued');
    await queue.flush();
    expect(sender.outgoing.send([{ data: new Uint8Array(1) }])).toBe(1n);
    expect(await arrived(receiver, 2)).toHaveLength(2);
  });
});

describe('a queue', () => {
  /** A queue to a port where nobody listens. */
  function toNobody(options?: QueueOptions): { queue: DatagramQueue; udp: OpenUdp } {
    const holder = open({ local: '127.0.0.1:0' });
    for (const stream of [holder.incoming, holder.outgoing]) stream[Symbol.dispose]();
    opened.push(...holder.socket.stream(holder.localAddress));
    const udp = open({ remote: holder.localAddress });
    return { udp, queue: udp.outgoing.queue(options) };
  }

  it('tells a peer’s refusal, which costs no datagram: by onError, or else by close()', async () => {
    const told: unknown[] = [];
    const listening = toNobody({
      onError: (error, datagram) => told.push([(error as { code?: string }).code, datagram]),
    });
    for (const text of ['a', 'bc', 'def']) listening.queue.send(text);
    await listening.queue.close();
    await setImmediate();
    expect(told).toEqual(Array(3).fill(['ECONNREFUSED', undefined]));
    expect(statistics(listening.udp)[1]).toBe(3);

    const { queue } = toNobody();
    queue.send('last');
    await queue.flush();
    await expect(queue.close()).rejects.toMatchObject({ payload: 'connection-refused' });
    await expect(queue.close()).rejects.toMatchObject({ payload: 'connection-refused' });
  });

  it.each([0, 1, 2, 3])('a refusal by the system costs one datagram: number %i of four', async (at) => {
    const told: unknown[] = [];
    const onError = (...error: unknown[]) => told.push(error);
    const { receiver, queue, to } = open2('127.0.0.1', { onError }, false);
    // The system forbids broadcasts to who has not asked for them.
    const forbidden = '255.255.255.255:9';
    for (let i = 0; i < 4; i++) queue.send(`${i}`, i === at ? forbidden : to);
    await queue.flush();
    expect(await arrived(receiver, 3)).toEqual(['0', '1', '2', '3'].filter((text) => text !== `${at}`));
    expect(told).toHaveLength(1);
    const [error, datagram] = told[0] as [{ code?: string }, RefusedDatagram];
    expect(error.code).toMatch(/^E/);
    expect(datagram.index).toBe(at);
    expect(Buffer.from(datagram.data).toString()).toBe(`${at}`);
    expect(formatSocketAddress(datagram.remoteAddress!)).toBe(forbidden);
  });

  it('what nobody hears of rejects the next flush, once', async () => {
    const { queue } = open2('127.0.0.1');
    queue.send('x', 'nonsense');
    queue.send('y');
    await expect(queue.flush()).rejects.toMatchObject({ payload: 'invalid-argument' });
    await queue.flush();
  });

  it('refuses to send once it is closed, and has sent what it held', async () => {
    const { receiver, queue } = open2('127.0.0.1');
    queue.send('held');
    const closed = queue.close();
    expect(() => queue.send('late')).toThrow(/the queue is closed/);
    await closed;
    expect(await arrived(receiver, 1)).toEqual(['held']);
  });

  it('`await using` closes it', async () => {
    const { receiver, queue } = open2('127.0.0.1');
    await (async () => {
      await using scoped = queue;
      scoped.send('scoped');
    })();
    expect(await arrived(receiver, 1)).toEqual(['scoped']);
    expect(() => queue.send('late')).toThrow(/the queue is closed/);
  });

  it('a stream that is dropped sends what the system takes, at once', async () => {
    const { receiver, sender, queue } = open2('127.0.0.1');
    queue.send('before the end');
    sender[Symbol.dispose]();
    expect(await arrived(receiver, 1)).toEqual(['before the end']);
    await queue.flush();
    await queue.close();
    expect(() => queue.send('late')).toThrow(/the queue is closed, or its stream/);
  });

  it('an address whose getter sends is refused, and nothing is lost', async () => {
    const { receiver, queue, to } = open2('127.0.0.1', {}, false);
    const address = parseSocketAddress(to);
    let inner: unknown;
    const evil = {
      tag: 'ipv4',
      get val() {
        try {
          queue.send('inner', to);
        } catch (error) {
          inner = error;
        }
        return address.val;
      },
    } as never;
    queue.send('outer', evil);
    expect(String(inner)).toMatch(/an address of the same queue is being read/);
    await queue.flush();
    expect(await arrived(receiver, 1)).toEqual(['outer']);
  });

  it.each(['flush', 'close'] as const)(
    '%s() resolves behind the callbacks and refusals of what it sends',
    async (end) => {
      const heard: string[] = [];
      const { queue } = open2('127.0.0.1', { onError: ({ message }) => heard.push(message) });
      await Promise.resolve();
      queue.send('one', undefined, () => heard.push('one'));
      queue.send(5 as never);
      queue.send('two', undefined, () => heard.push('two'));
      await queue[end]();
      expect(heard).toEqual(['one', expect.stringMatching(/^send\(\)/), 'two']);
    },
  );

  it('a callback may send, flush and close', async () => {
    const { receiver, queue } = open2('127.0.0.1');
    const done = new Promise<void>((resolve, reject) => {
      queue.send('one', undefined, () => {
        queue.send('two', undefined, () => queue.close().then(resolve, reject));
      });
    });
    await done;
    expect(await arrived(receiver, 2)).toEqual(['one', 'two']);
  });

  it.each([
    [{ maxDatagrams: 0 }, RangeError],
    [{ maxBytes: 1.5 }, RangeError],
    [{ maxDatagrams: '5' }, RangeError],
    [{ onError: 5 }, TypeError],
  ])('refuses the options %j', (options, type) => {
    expect(() => open().outgoing.queue(options as never)).toThrow(type);
  });

  it('as a stream: each write is a datagram, and a full queue holds writes back', async () => {
    const { receiver, queue } = open2('127.0.0.1', { maxDatagrams: 4 });
    const stream = queue.writable();
    const texts = Array.from({ length: 50 }, (_, i) => `write ${i}`);
    for (const text of texts) stream.write(text);
    await new Promise<void>((resolve, reject) => stream.on('error', reject).end(resolve));
    expect(await arrived(receiver, 50)).toEqual(texts);
  });

  it('keeps the process alive while it holds something, unless it is unreferenced', async () => {
    expect(await runFixture('queue-alive.mjs')).toEqual({ sent: true });
  });

  it('ten million datagrams leave the memory where it was', async () => {
    const { heap, resident } = await runFixture<{ heap: number; resident: number }>('queue-memory.mjs');
    expect(heap).toBeLessThan(4 * 2 ** 20);
    expect(resident).toBeLessThan(24 * 2 ** 20);
  });
});

const SLOW = `tc qdisc add dev lo root tbf rate 10mbit burst 10k limit 100k
  ${ON_ONE_PROCESSOR}`;

describe.skipIf(noNamespaces)(`a queue over a slow link ${noNamespaces ?? ''}`, () => {
  it('an unreferenced queue lets the process end though it waits for room', async () => {
    expect(
      await runInNamespace('tc qdisc add dev lo root tbf rate 64kbit burst 3k limit 100k', 'queue-unref.mjs'),
    ).toEqual({ waits: true });
  });

  it.each(['whole', 'refused', 'stream', 'dropped', 'unref'])(
    '%s: every datagram that was accepted arrives once, in order',
    async (mode) => {
      const seen = await runInNamespace<Record<string, unknown>>(SLOW, 'queue-slow.mjs', [mode]);
      expect(seen).toMatchObject({ lost: 0, twice: 0, disordered: 0, altered: 0 });
      expect(seen['arrived']).toBe(seen['accepted']);
      expect(seen['waited']).toBe(true);
    },
  );
});
