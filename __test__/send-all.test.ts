import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  AbortError,
  createHost,
  type OpenUdp,
  type OutgoingDatagram,
  openUdp,
  parseSocketAddress,
  SocketError,
  sendAll,
} from '../dist/index.js';
import { FAMILIES, Receiver } from './support/receiver.js';
import { runFixture } from './support/runtime.js';

const data = (text: string) => ({ data: new TextEncoder().encode(text) });

describe('sendAll', () => {
  let receiver: Receiver;
  let udp: OpenUdp;

  beforeEach(async () => {
    receiver = await Receiver.open(FAMILIES[0]);
    udp = openUdp({ remote: receiver.text });
  });
  afterEach(async () => {
    udp[Symbol.dispose]();
    await receiver[Symbol.asyncDispose]();
  });

  it('sends an iterable of several permits, in order, and reports progress', async () => {
    const progress: bigint[] = [];
    const list = Array.from({ length: 2500 }, (_, i) => data(`${i}`));
    expect(await sendAll(udp.outgoing, list, { onProgress: (accepted) => progress.push(accepted) })).toBe(2500n);
    expect(progress.at(-1)).toBe(2500n);
    expect(progress.length).toBeGreaterThanOrEqual(3);
    await receiver.until(2500);
    expect(receiver.texts).toEqual(list.map((_, i) => `${i}`));
  });

  it('goes on behind what is refused where somebody hears of it', async () => {
    const told: unknown[] = [];
    const streams = openUdp({ local: '127.0.0.1:0' });
    const remoteAddress = parseSocketAddress(receiver.text);
    const to = (text: string) => ({ ...data(text), remoteAddress });
    const nowhere = { ...data('rule'), remoteAddress: parseSocketAddress('127.0.0.1:0') };
    const forbidden = { ...data('system'), remoteAddress: parseSocketAddress('255.255.255.255:9') };
    const list: OutgoingDatagram[] = [nowhere, to('a'), forbidden, 5 as never, to('b'), nowhere];
    const onError = (error: Error, datagram?: OutgoingDatagram) =>
      told.push([(error as SocketError).code ?? error.name, list.indexOf(datagram!)]);
    expect(await sendAll(streams.outgoing, list, { onError })).toBe(2n);
    streams[Symbol.dispose]();
    await receiver.until(2);
    expect(receiver.texts).toEqual(['a', 'b']);
    expect(told).toEqual([
      ['EDESTADDRREQ', 0],
      ['EACCES', 2],
      ['TypeError', 3],
      ['EDESTADDRREQ', 0],
    ]);
  });

  it('sends nothing of an empty iterable', async () => {
    expect(await sendAll(udp.outgoing, [])).toBe(0n);
  });

  it('what is no iterable is a TypeError', async () => {
    for (const none of [undefined, null, 5, 'text', {}]) {
      await expect(sendAll(udp.outgoing, none as never)).rejects.toThrow(/an iterable of datagrams, got /);
    }
  });

  it('sends an async iterable, and does not hold back what a slow source gave', async () => {
    async function* source() {
      yield data('a');
      yield data('b');
      await receiver.until(2);
      yield data('c');
    }
    expect(await sendAll(udp.outgoing, source())).toBe(3n);
    await receiver.until(3);
    expect(receiver.texts).toEqual(['a', 'b', 'c']);
  });

  it('stops at the first error, with the count so far, and closes the source', async () => {
    let closed = false;
    const bad: OutgoingDatagram = { ...data('bad'), remoteAddress: parseSocketAddress('127.0.0.1:9') };
    function* source() {
      try {
        for (let i = 0; i < 2000; i++) yield data('good');
        yield bad;
        for (;;) yield data('never');
      } finally {
        closed = true;
      }
    }
    const error: SocketError = await sendAll(udp.outgoing, source()).catch((reason) => reason);
    expect(error).toBeInstanceOf(SocketError);
    expect(error.payload).toBe('invalid-argument');
    expect(error.accepted).toBe(2000n);
    expect(closed).toBe(true);
    await receiver.until(2000);
  });

  it.each([
    ['sendAll()', { onprogress: () => {} }, 'did you mean onProgress?'],
    ['sendAll()', null, 'takes options'],
    ['queue()', { maxDatagram: 5 }, 'did you mean maxDatagrams?'],
    ['queue()', null, 'takes options'],
    ['a host', { limit: { sockets: 1 } }, 'did you mean limits?'],
    ['a host', null, 'takes options'],
  ])('%s: options such as %j are refused', async (call, options, message) => {
    const calls: Record<string, () => unknown> = {
      'sendAll()': () => sendAll(udp.outgoing, [], options as never),
      'queue()': () => udp.outgoing.queue(options as never),
      'a host': () => createHost(options as never),
    };
    const error = await (async () => calls[call]!())().catch((thrown) => thrown);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain(call);
    expect((error as Error).message).toContain(message);
  });

  it.each(['sync', 'async'])('sends what a %s source gave before it failed', async (kind) => {
    const failure = new Error('the source failed');
    function* sync() {
      yield data('a');
      throw failure;
    }
    async function* async() {
      yield* sync();
    }
    const sending = sendAll(udp.outgoing, kind === 'sync' ? sync() : async());
    await expect(sending).rejects.toBe(failure);
    expect(failure).toMatchObject({ accepted: 1n });
    // JSON, as loggers write errors, has no bigint.
    expect(JSON.stringify(failure)).toBe('{}');
    await receiver.until(1);
  });

  it('an abort ends it, with the count so far, even where the source hangs', async () => {
    const controller = new AbortController();
    async function* source() {
      yield data('a');
      await receiver.until(1);
      controller.abort('stop');
      await new Promise(() => {});
      yield data('never');
    }
    const error: AbortError = await sendAll(udp.outgoing, source(), controller).catch((reason) => reason);
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ cause: 'stop', accepted: 1n });
  });

  it('a signal that has aborted ends it before a source that hangs is asked', async () => {
    const hanging = { next: () => new Promise<never>(() => {}), [Symbol.asyncIterator]: () => hanging };
    const error: AbortError = await sendAll(udp.outgoing, hanging, { signal: AbortSignal.abort('before') }).catch(
      (reason) => reason,
    );
    expect(error).toMatchObject({ name: 'AbortError', cause: 'before', accepted: 0n });
  });

  it('an error of what was sent early ends it, while the source hangs, and closes the source without awaiting that', async () => {
    let returned = 0;
    const list = [data('good'), { ...data('bad'), remoteAddress: parseSocketAddress('127.0.0.1:9') }];
    const source = {
      [Symbol.asyncIterator]: () => source,
      next: () => {
        const value = list.shift();
        return value === undefined ? new Promise<never>(() => {}) : Promise.resolve({ done: false, value });
      },
      return: () => {
        returned += 1;
        return new Promise<never>(() => {});
      },
    };
    const error: SocketError = await sendAll(udp.outgoing, source).catch((reason) => reason);
    expect(error).toMatchObject({ payload: 'invalid-argument', accepted: 1n });
    expect(returned).toBe(1);
    await receiver.until(1);
  });

  it('sends what an async source gave before it failed with an AbortError of its own', async () => {
    async function* source() {
      yield data('a');
      throw new AbortError(AbortSignal.abort());
    }
    await expect(sendAll(udp.outgoing, source())).rejects.toMatchObject({ name: 'AbortError', accepted: 1n });
    await receiver.until(1);
  });

  it('loses and reorders nothing where a source pauses now and then', async () => {
    const COUNT = 5000;
    async function* source() {
      for (let i = 0; i < COUNT; i++) {
        if (i % 7 === 0) await null;
        if (i % 97 === 0) await new Promise((resolve) => setImmediate(resolve));
        if (i % 1024 === 1023) await receiver.until(i - 1000);
        yield data(`${i}`);
      }
    }
    expect(await sendAll(udp.outgoing, source())).toBe(BigInt(COUNT));
    await receiver.until(COUNT);
    expect(receiver.texts).toEqual(Array.from({ length: COUNT }, (_, i) => `${i}`));
  });

  it('keeps nothing of what an async source gave: the heap is as large after 200,000 datagrams as after 10,000', async () => {
    const { accepted, kept } = await runFixture<Record<string, number>>('send-all-memory.mjs', ['200000']);
    expect(accepted).toBe(200_000);
    expect(kept).toBeLessThan(4_000_000);
  });

  it('lets the event loop turn on long inputs', async () => {
    let turns = 0;
    let sending = true;
    const tick = () => {
      turns += 1;
      if (sending) setImmediate(tick);
    };
    setImmediate(tick);
    function* source() {
      for (let i = 0; i < 100_000; i++) yield data('x');
    }
    await sendAll(udp.outgoing, source());
    sending = false;
    expect(turns).toBeGreaterThan(3);
  });
});
