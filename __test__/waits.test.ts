import { setImmediate, setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type OpenUdp, openUdp, poll, SocketError, sendAll } from '../dist/index.js';
import { native } from '../dist/native/native.js';
import { awaitEvent } from '../dist/readiness/readiness.js';
import { fixture, noNamespaces, RUNTIME, run, runInNamespace } from './support/runtime.js';

const SLOW = 'tc qdisc add dev lo root tbf rate 1mbit burst 3k limit 100k';

/** Sockets of the test, which drops them. */
const opened: Disposable[] = [];
function open(options?: Parameters<typeof openUdp>[0]): OpenUdp {
  const udp = openUdp(options);
  opened.push(udp);
  return udp;
}
afterEach(() => {
  dropAll(opened.splice(0));
});

function dropAll(resources: readonly Disposable[]): void {
  for (const resource of resources) resource[Symbol.dispose]();
}

/** A sender and the receiver that it is connected to. */
function pair(): { sender: OpenUdp; receiver: OpenUdp } {
  const receiver = open({ local: '127.0.0.1:0' });
  return { receiver, sender: open({ remote: receiver.localAddress }) };
}

/** A stream to a port where nobody listens, and which nobody else is given: a socket that is connected to itself holds it. */
function toNobody(): OpenUdp {
  const holder = open({ local: '127.0.0.1:0' });
  dropAll([holder.incoming, holder.outgoing]);
  const streams = holder.socket.stream(holder.localAddress);
  opened.push({ ...holder, [Symbol.dispose]: () => dropAll(streams) });
  return open({ remote: holder.localAddress });
}

/** Datagrams of so many lengths: those of one length may leave as one message, those of several may not. */
const datagrams = (count: number, lengths = 1) =>
  Array.from({ length: count }, (_, i) => ({ data: new Uint8Array(8 + (i % lengths)).fill(i) }));

const send = ({ outgoing }: OpenUdp, list: { data: Uint8Array }[]) => {
  expect(outgoing.checkSend()).toBe(1024n);
  return outgoing.send(list);
};

/** What became of a promise within a time that is far longer than it takes. */
async function settled(promise: Promise<unknown>): Promise<string> {
  const late = new AbortController();
  const outcome = await Promise.race([
    promise.then(
      () => 'resolved',
      (error) => `${error.code ?? error.name}`,
    ),
    setTimeout(30_000, 'pending', { signal: late.signal }),
  ]);
  late.abort();
  return outcome as string;
}

describe('a pending wait hears of what a call leaves with the socket', () => {
  it('of datagrams of one message beyond what another task asked for', async () => {
    const { sender, receiver } = pair();
    const waiting = receiver.incoming.subscribe().wait();
    expect(send(sender, datagrams(64))).toBe(64n);
    expect(receiver.incoming.receive(1)).toHaveLength(1);
    expect(await settled(waiting)).toBe('resolved');
    expect(receiver.incoming.receive()).toHaveLength(63);
  });

  it('of datagrams that were read ahead', async () => {
    const { sender, receiver } = pair();
    send(sender, datagrams(1));
    expect(receiver.incoming.receive(1)).toHaveLength(1);
    const waiting = receiver.incoming.subscribe().wait();
    send(sender, datagrams(9, 3));
    for (let i = 0; i < 3; i++) expect(receiver.incoming.receive(1)).toHaveLength(1);
    expect(await settled(waiting)).toBe('resolved');
    expect(receiver.incoming.receive()).toHaveLength(6);
  });

  it('of an error that another call consumed', async () => {
    const udp = toNobody();
    const waiting = udp.incoming.subscribe().wait();
    expect(send(udp, datagrams(4, 2))).toBe(1n);
    expect(await settled(waiting)).toBe('resolved');
    expect(() => udp.incoming.receive()).toThrow(expect.objectContaining({ payload: 'connection-refused' }));
    expect(udp.incoming.receive()).toEqual([]);
  });

  it('and a wait that begins later resolves at once', async () => {
    const { sender, receiver } = pair();
    send(sender, datagrams(64));
    receiver.incoming.receive(1);
    expect(receiver.incoming.subscribe().ready()).toBe(true);
    expect(await settled(receiver.incoming.subscribe().wait())).toBe('resolved');
    expect(receiver.socket.subscribe().ready()).toBe(true);
    receiver.incoming.receive();
    expect(receiver.incoming.subscribe().ready()).toBe(false);
  });

  it('what was taken meanwhile wakes nobody, and the wait goes on', async () => {
    const { sender, receiver } = pair();
    send(sender, datagrams(64));
    receiver.incoming.receive(1);
    let isAwake = false;
    const waiting = receiver.socket.subscribe().wait();
    const late = receiver.incoming
      .subscribe()
      .wait()
      .then(() => {
        isAwake = true;
      });
    receiver.incoming.receive();
    await waiting;
    for (let turn = 0; turn < 5; turn++) await setImmediate();
    if (!isAwake) send(sender, datagrams(1));
    expect(await settled(late)).toBe('resolved');
  });
});

describe('every answer of the system is heard', () => {
  it('a watch that the system refuses rejects the wait', async () => {
    const { receiver } = pair();
    const { watch } = native;
    try {
      native.watch = () => -28;
      await expect(receiver.incoming.subscribe().wait()).rejects.toMatchObject({ code: 'ENOSPC', syscall: 'poll' });
      await expect(poll.wait([receiver.incoming.subscribe()])).rejects.toBeInstanceOf(SocketError);
    } finally {
      native.watch = watch;
    }
    const waiting = receiver.incoming.subscribe().wait();
    receiver.incoming[Symbol.dispose]();
    expect(await settled(waiting)).toBe('ERR_SOCKET_CLOSED');
  });

  it('a watch that the system refuses rejects every wait of the socket, whatever each is for', async ({ skip }) => {
    const { sender, receiver } = pair();
    send(sender, datagrams(64));
    receiver.incoming.receive(1);
    // These are told in a microtask, of what is there by then no longer; it is the first to ask the system.
    const { descriptor } = receiver.socket;
    skip(descriptor.events === 0, 'this backend reads nothing ahead');
    const told: string[] = [];
    for (const interest of [1, 2, 3]) {
      const fail = (error: Error) => told.push((error as SocketError).code);
      awaitEvent({ descriptor, interest }, { wake: () => told.push('woken'), fail });
    }
    receiver.incoming.receive();
    const { watch } = native;
    try {
      native.watch = () => -28;
      await setImmediate();
    } finally {
      native.watch = watch;
    }
    expect(told).toEqual(['ENOSPC', 'ENOSPC', 'ENOSPC']);
  });

  it.skipIf(process.platform === 'win32')('more pollables of a socket than the process may open files', async () => {
    const script = `ulimit -n 100; exec "$0" "$@"`;
    const { stdout, stderr } = await run(['sh', '-c', script, ...RUNTIME, fixture('many-pollables.mjs')]);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({ polled: 1000, waited: 1000 });
  });

  it('a list with holes is refused', async () => {
    // biome-ignore lint/suspicious/noSparseArray: that is what is tested.
    const sparse = [,] as never;
    expect(() => poll.poll(sparse)).toThrow(/waits for pollables of this package, got undefined/);
    await expect(poll.wait(sparse)).rejects.toThrow(/got undefined/);
  });
});

describe('a refused peer', () => {
  it.each([1, 2, 64])('is told to who sends batches: 1,000 datagrams, of %i lengths', (lengths) => {
    const udp = toNobody();
    const list = datagrams(1000, lengths);
    const outcomes: string[] = [];
    let rest = list;
    while (rest.length > 0) {
      try {
        const permit = udp.outgoing.checkSend();
        const sent = udp.outgoing.send(rest.slice(0, Number(permit)));
        expect(sent).toBeGreaterThan(0n);
        rest = rest.slice(Number(sent));
        outcomes.push('sent');
      } catch (error) {
        outcomes.push((error as SocketError).payload);
      }
    }
    // One run may carry all that is alike; else each call tells what the one before has raised, once.
    const told = outcomes.filter((outcome) => outcome === 'connection-refused').length;
    const sends = outcomes.length - told;
    expect(told).toBeGreaterThanOrEqual(sends - 1);
    expect(told).toBeLessThanOrEqual(sends);
    expect(new Set(outcomes)).toEqual(new Set(['sent', 'connection-refused']));
  });

  it.each([1, 2, 1000])('is told by sendAll, of %i datagrams too', async (count) => {
    const udp = toNobody();
    const error = await sendAll(udp.outgoing, datagrams(count, 3)).catch((reason) => reason);
    expect(error).toBeInstanceOf(SocketError);
    expect(error.payload).toBe('connection-refused');
    expect(error.accepted).toBe(1n);
    expect(udp.outgoing.checkSend()).toBe(1024n);
  });

  it('is told once, whoever asks first', () => {
    const tell = [
      (udp: OpenUdp) => udp.outgoing.checkSend(),
      (udp: OpenUdp) => udp.outgoing.send(datagrams(1)),
      (udp: OpenUdp) => udp.incoming.receive(),
    ];
    for (const first of tell) {
      const udp = toNobody();
      expect(send(udp, datagrams(2, 2))).toBe(1n);
      if (first !== tell[1]) expect(() => first(udp)).toThrow(/ECONNREFUSED/);
      else expect(() => send(udp, datagrams(1))).toThrow(/ECONNREFUSED/);
      expect(udp.incoming.receive()).toEqual([]);
      expect(udp.outgoing.checkSend()).toBe(1024n);
    }
  });

  it.each(['kept by a call', 'pending in the system'])(
    'is not told to the streams of the next peer, nor of none: %s',
    (how) => {
      for (const next of ['another peer', 'no peer']) {
        const udp = toNobody();
        const healthy = open({ local: '127.0.0.1:0' });
        if (how === 'kept by a call') expect(send(udp, datagrams(2, 2))).toBe(1n);
        else expect(send(udp, datagrams(1))).toBe(1n);
        dropAll([udp.incoming, udp.outgoing]);
        const [incoming, outgoing] = udp.socket.stream(next === 'no peer' ? undefined : healthy.localAddress);
        opened.unshift({
          ...udp,
          [Symbol.dispose]: () => dropAll([incoming, outgoing]),
        });
        expect(incoming.subscribe().ready()).toBe(false);
        expect(incoming.receive()).toEqual([]);
        outgoing.doubt();
        expect(outgoing.checkSend()).toBe(1024n);
        const remoteAddress = next === 'no peer' ? healthy.localAddress : undefined;
        expect(outgoing.send([{ data: new Uint8Array(1), remoteAddress }])).toBe(1n);
        expect(healthy.incoming.receive()).toHaveLength(1);
      }
    },
  );
});

describe('waits that end early', () => {
  it.each([{}, 5, null, { aborted: false }])(
    'a signal that is none is refused, and nobody waits: %j',
    async (signal) => {
      const { receiver } = pair();
      let calls = 0;
      const { watch } = native;
      native.watch = (...args) => {
        calls += 1;
        return watch(...args);
      };
      const waiting = receiver.incoming.subscribe().wait({ signal: signal as never });
      await expect(waiting).rejects.toThrow(/takes \{ signal: AbortSignal \}, got /);
      native.watch = watch;
      expect(calls).toBe(0);
    },
  );

  it('40,000 waits on one socket are watched by one call, and all resolve', async () => {
    const { sender, receiver } = pair();
    let calls = 0;
    const { watch } = native;
    native.watch = (...args) => {
      calls += 1;
      return watch(...args);
    };
    const waits = Array.from({ length: 40_000 }, () => receiver.incoming.subscribe().wait());
    const controller = new AbortController();
    const aborted = receiver.incoming.subscribe().wait({ signal: controller.signal });
    controller.abort();
    expect(await settled(aborted)).toBe('ABORT_ERR');
    send(sender, datagrams(1));
    expect(await settled(Promise.all(waits))).toBe('resolved');
    native.watch = watch;
    expect(calls).toBe(1);
  });
});

describe.skipIf(noNamespaces)(`under backpressure ${noNamespaces ?? ''}`, () => {
  // Of a hundred processes of Deno under so many signals, one did not come to its end.
  const retry = 'Deno' in globalThis ? 1 : 0;
  it('signals in the middle of a call end nothing', { retry }, async () => {
    const seen = await runInNamespace<{ accepted: string; signals: number }>(SLOW, 'signals.mjs');
    expect(seen.accepted).toBe('400');
    expect(seen.signals).toBeGreaterThan(10);
  });
});
