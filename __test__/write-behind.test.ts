import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost as createShimHost, udpSockets } from '../dist/host/jco.js';
import { createHost, MeteredOutgoing, type OpenUdp, openUdp, parseSocketAddress, UdpSocket } from '../dist/index.js';
import { native } from '../dist/native/native.js';
import {
  Guest,
  type GuestApi,
  type Incoming,
  type Outgoing,
  outcomeOf,
  type Socket,
  textOf,
  WRITING_BEHIND,
} from './support/guest-api.js';
import { FAMILIES } from './support/receiver.js';
import { noNamespaces, ON_ONE_PROCESSOR, runFixture, runInNamespace } from './support/runtime.js';

const CASES = WRITING_BEHIND.flatMap((entrance) => FAMILIES.map((familyCase) => ({ ...familyCase, entrance })));

type Waiting = { ready(): boolean; block(): void };

/** Does it until it holds: what waits leaves once a millisecond has passed, which a busy machine may take for anything. */
function eventually(holds: () => boolean): boolean {
  for (let tries = 0; tries < 200; tries++) if (holds()) return true;
  return false;
}

/**
 * The clock by which what waits grows old; it stands still where `stopped`, since a busy machine takes a millisecond for anything.
 * It goes on before a test waits: Deno's other clocks stand on this one.
 */
let stopped: number | undefined;
const { now } = performance;
Object.defineProperty(performance, 'now', { configurable: true, value: () => stopped ?? now.call(performance) });

/** Lets that much time pass, in which the guest calls nothing. */
function compute(milliseconds: number): void {
  stopped! += milliseconds;
}

describe.each(CASES)('small sends stay behind, by $entrance.title over $family', (at) => {
  const { entrance, loopback, unspecified, family } = at;
  let api: GuestApi;
  let guest: Guest;
  let receiver: OpenUdp;
  let socket: Socket;
  let incoming: Incoming;
  let outgoing: Outgoing;

  beforeEach(() => {
    stopped = performance.now();
    receiver = openUdp({ local: `${loopback}:0` });
    receiver.socket.setReceiveBufferSize(4 << 20);
    api = entrance.open();
    guest = new Guest(api);
    socket = guest.bound(parseSocketAddress(`${loopback}:0`));
    [incoming, outgoing] = socket.stream();
  });
  afterEach(() => {
    stopped = undefined;
    api[Symbol.dispose]();
    receiver[Symbol.dispose]();
  });

  const send = (...texts: string[]) => guest.send(outgoing, texts, receiver.localAddress);
  /** What is at the receiver by now: over loopback, what was sent has arrived. */
  const arrived = () => {
    const texts: string[] = [];
    for (let some = receiver.incoming.receive(); some.length > 0; some = receiver.incoming.receive())
      texts.push(...some.map(textOf));
    return texts;
  };
  const flush = () => socket.localAddress();

  it('nothing leaves meanwhile; then all does, in order', () => {
    const texts = Array.from({ length: 20 }, (_, i) => `datagram ${i}`);
    const waited = eventually(() => {
      for (const text of texts) send(text);
      const early = arrived();
      flush();
      const late = arrived();
      expect([...early, ...late]).toEqual(texts);
      return early.length === 0;
    });
    expect(waited).toBe(true);
  });

  it.each<[string, () => void]>([
    ['receive', () => incoming.receive(1n)],
    ['subscribe of the incoming stream', () => incoming.subscribe()],
    ['subscribe of the outgoing stream', () => outgoing.subscribe()],
    ['subscribe of the socket', () => socket.subscribe()],
    ['local-address', () => socket.localAddress()],
    ['remote-address', () => outcomeOf(() => socket.remoteAddress())],
    ['an option', () => socket.unicastHopLimit()],
    ['setting an option', () => socket.setUnicastHopLimit(64)],
    ['create-udp-socket', () => guest.create(family)],
    ['instance-network', () => api.instanceNetwork.instanceNetwork()],
    ['drop of the outgoing stream', () => outgoing[Symbol.dispose]()],
    ['the end of the host', () => api[Symbol.dispose]()],
  ])('leave before %s', (_, call) => {
    send('one');
    send('two');
    call();
    expect(arrived()).toEqual(['one', 'two']);
  });

  it.each<[string, (pollables: Waiting[]) => void]>([
    ['ready of another pollable', ([, clock]) => clock!.ready()],
    ['block on a clock', ([, clock]) => clock!.block()],
    ['poll of the incoming stream and a clock', (pollables) => api.poll.poll(pollables)],
    ['poll of the incoming and the outgoing stream', ([own, , out]) => api.poll.poll([own!, out!])],
  ])('leave before %s', (_, wait) => {
    const clock = api.monotonicClock.subscribeDuration(1_000_000n) as Waiting;
    const pollables = [incoming.subscribe() as Waiting, clock, outgoing.subscribe() as Waiting];
    send('one');
    send('two');
    stopped = undefined;
    wait(pollables);
    expect(arrived()).toEqual(['one', 'two']);
  });

  it.each<[string, (pollable: Waiting) => void]>([
    ['ready of the outgoing stream', (pollable) => pollable.ready()],
    ['block on it', (pollable) => pollable.block()],
    [
      'poll of it beside a clock, as a socket with a timeout does before each datagram',
      (pollable) => {
        const clock = api.monotonicClock.subscribeDuration(1_000_000_000n) as object as Disposable;
        expect([...(api.poll.poll([pollable, clock]) as Uint32Array)]).toEqual([0]);
        clock[Symbol.dispose]();
      },
    ],
    ['a clock', () => api.monotonicClock.now()],
    ['check-send', () => outgoing.checkSend()],
  ])('wait on during %s', (_, call) => {
    const pollable = outgoing.subscribe() as Waiting;
    const waited = eventually(() => {
      send('one');
      call(pollable);
      const early = arrived();
      flush();
      const late = arrived();
      expect([...early, ...late]).toEqual(['one']);
      return early.length === 0;
    });
    expect(waited).toBe(true);
  });

  it.each<[string, () => void]>([
    ['the next send', () => send('next')],
    ['a look at a clock', () => api.monotonicClock.now()],
  ])('leave with %s once the oldest has waited a millisecond', (_, call) => {
    send('old');
    compute(1.5);
    call();
    expect(arrived()[0]).toBe('old');
  });

  it('leave when a batch is full, though the guest never calls anything else', () => {
    const lists = Array.from({ length: 32 }, (_, i) => Array.from({ length: 32 }, (_, j) => `datagram ${i} ${j}`));
    for (const texts of lists) send(...texts);
    expect(arrived()).toEqual(lists.flat());
  });

  it('leave when the guest returns, at the end of the turn', async () => {
    send('one');
    stopped = undefined;
    await setImmediate();
    expect(arrived()).toEqual(['one']);
  });

  it('a longer list leaves at once, behind what waits', () => {
    const texts = Array.from({ length: 100 }, (_, i) => `datagram ${i}`);
    send('first');
    send(...texts);
    expect(arrived()).toEqual(['first', ...texts]);
    send('last');
    flush();
    expect(arrived()).toEqual(['last']);
  });

  it('the bytes are those of the call, and so is the address', () => {
    const other = openUdp({ local: `${loopback}:0` });
    const data = new TextEncoder().encode('before');
    const remoteAddress = structuredClone(receiver.localAddress);
    outgoing.checkSend();
    outgoing.send([{ data, remoteAddress }]);
    data.fill(0);
    remoteAddress.val.port = other.localAddress.val.port;
    outgoing.checkSend();
    outgoing.send([{ data, remoteAddress }]);
    flush();
    expect(arrived()).toEqual(['before']);
    expect(other.incoming.receive().map((one) => [...one.data])).toEqual([[0, 0, 0, 0, 0, 0]]);
    other[Symbol.dispose]();
  });

  it('datagrams of many sizes and addresses, none and the largest, arrive whole', () => {
    const others = [receiver, openUdp({ local: `${loopback}:0` })];
    others[1]!.socket.setReceiveBufferSize(4 << 20);
    const sent = [0, 1, at.largest, 3, 3, 3, 1200, at.largest, 0, 7].map((size, i) => ({
      data: new Uint8Array(size).map((_, byte) => byte * 7 + i),
      to: others[i % 2]!,
    }));
    for (const { data, to } of sent) {
      outgoing.checkSend();
      expect(outgoing.send([{ data, remoteAddress: to.localAddress }])).toBe(1n);
    }
    flush();
    for (const other of others) {
      const got: Buffer[] = [];
      for (let some = other.incoming.receive(); some.length > 0; some = other.incoming.receive())
        got.push(...some.map(({ data }) => Buffer.from(data)));
      const expected = sent.filter(({ to }) => to === other).map(({ data }) => Buffer.from(data));
      expect(got.map((one, i) => one.equals(expected[i]!))).toEqual(expected.map(() => true));
    }
    others[1]![Symbol.dispose]();
  });

  it('what breaks a rule is refused by its own send, and what was before it waits on', () => {
    const list = (remote: string) => [{ data: new Uint8Array(1), remoteAddress: parseSocketAddress(remote) }];
    send('one');
    outgoing.checkSend();
    expect(outcomeOf(() => outgoing.send(list(`${unspecified}:9`)))).toBe('invalid-argument');
    outgoing.checkSend();
    expect(outcomeOf(() => outgoing.send(list(`${loopback}:0`)))).toBe('invalid-argument');
    expect(outcomeOf(() => outgoing.send(list(`${loopback}:9`)))).toBe('trap');
    send('two');
    expect(outcomeOf(() => outgoing.checkSend())).toBe('ok');
    flush();
    expect(arrived()).toEqual(['one', 'two']);
  });

  // What the system refuses of an IPv4 socket that may not broadcast; over IPv6 there is no such address without a route.
  it.runIf(family === 'ipv4').each([0, 1, 2])('what the system refuses is told by the next check-send: %i', (place) => {
    const pollable = outgoing.subscribe() as Waiting;
    const broadcast = parseSocketAddress('255.255.255.255:9');
    for (let i = 0; i < 3; i++) {
      if (i === place) guest.send(outgoing, ['refused'], broadcast);
      else send(`datagram ${i}`);
    }
    flush();
    expect(arrived()).toEqual([0, 1, 2].filter((i) => i !== place).map((i) => `datagram ${i}`));
    expect(pollable.ready()).toBe(true);
    expect(['checkSend', 'checkSend'].map(() => outcomeOf(() => outgoing.checkSend()))).toEqual([
      'access-denied',
      'ok',
    ]);
    send('afterwards');
    flush();
    expect(arrived()).toEqual(['afterwards']);
  });

  it('after a change of the peer, what was sent before has gone to the former one', () => {
    const other = openUdp({ local: `${loopback}:0` });
    incoming[Symbol.dispose]();
    outgoing[Symbol.dispose]();
    [incoming, outgoing] = socket.stream(receiver.localAddress);
    guest.send(outgoing, ['to the first']);
    incoming[Symbol.dispose]();
    outgoing[Symbol.dispose]();
    [incoming, outgoing] = socket.stream(other.localAddress);
    guest.send(outgoing, ['to the second']);
    flush();
    expect(arrived()).toEqual(['to the first']);
    expect(other.incoming.receive().map(textOf)).toEqual(['to the second']);
    other[Symbol.dispose]();
  });

  it('several streams of one guest leave together', () => {
    const second = guest.bound(parseSocketAddress(`${loopback}:0`)).stream(receiver.localAddress)[1];
    send('one');
    guest.send(second, ['two']);
    compute(1.5);
    send('three');
    expect(arrived()).toEqual(expect.arrayContaining(['one', 'two']));
  });

  it.skipIf(noNamespaces)(`over a slow link, every datagram once, in order ${noNamespaces ?? ''}`, async () => {
    if (family === 'ipv6') return;
    const setup = `${ON_ONE_PROCESSOR}
      tc qdisc add dev lo root tbf rate 20mbit burst 8kb limit 4mb`;
    for (const end of ['flush', 'block', 'return']) {
      const seen = await runInNamespace(setup, 'write-behind-slow.mjs', [entrance.title, end]);
      expect(seen, end).toEqual({ sent: 2000, arrived: 2000, inOrder: true, waited: true, early: false });
    }
  });
});

describe('a host that writes behind', () => {
  /** A guest's stream to a receiver. */
  function open(host: Pick<GuestApi, 'udp' | 'udpCreateSocket' | 'instanceNetwork'>) {
    const receiver = openUdp({ local: '127.0.0.1:0' });
    const guest = new Guest(host as GuestApi);
    const socket = guest.bound(parseSocketAddress('127.0.0.1:0'));
    const [incoming, outgoing] = socket.stream();
    const send = (text: string) => guest.send(outgoing, [text], receiver.localAddress);
    return { receiver, socket, incoming, outgoing, send, arrived: () => receiver.incoming.receive().map(textOf) };
  }

  it('sends what waits in one system call', () => {
    using host = createHost({ allow: 'all', writeBehind: true });
    const { socket, send } = open(host);
    for (let i = 0; i < 300; i++) send(`datagram ${100 + i}`);
    socket.localAddress();
    const handle = (socket as never)[Symbol.for('cabiRep')] as never;
    const [calls, datagrams] = native.statistics(host.table.get(handle, UdpSocket).descriptor.socket);
    expect(datagrams).toBe(300);
    // More where a millisecond has passed meanwhile.
    expect(calls).toBeLessThan(30);
  });

  it('keeps the rules of a host of ones own around the streams', () => {
    let meter: MeteredOutgoing | undefined;
    using host = createHost({
      allow: 'all',
      writeBehind: true,
      outgoing: (inner, table) => (meter = new MeteredOutgoing(inner, table)),
    });
    const { socket, send, arrived } = open(host);
    const waited = eventually(() => {
      send('one');
      const early = arrived();
      socket.localAddress();
      expect([...early, ...arrived()]).toEqual(['one']);
      return early.length === 0;
    });
    expect(waited).toBe(true);
    const [counts] = [...meter!.meters.values()];
    expect(counts!.datagrams).toBe(counts!.sends);
  });

  it('flush() resolves when all has left', async () => {
    using host = createHost({ allow: 'all', writeBehind: true });
    const { send, arrived } = open(host);
    send('one');
    await host.flush();
    expect(arrived()).toEqual(['one']);
    using exact = createHost({ allow: 'all' });
    await exact.flush();
  });

  it('is exact by default', () => {
    using host = createHost({ allow: 'all' });
    const { send, arrived } = open(host);
    send('one');
    expect(arrived()).toEqual(['one']);
  });

  it('beside the shim: standard output, exit and the like have it leave', () => {
    using host = createShimHost({ allow: 'all', writeBehind: true });
    const imports = host.imports() as Record<string, Record<string, () => { checkWrite(): bigint }>>;
    const { send, arrived } = open(host);
    const output = imports['wasi:cli/stderr']!['getStderr']!();
    const { OutputStream } = imports['wasi:io/streams'] as unknown as { OutputStream: new () => object };
    expect(output).toBeInstanceOf(OutputStream);
    for (const call of [() => output.checkWrite(), () => imports['wasi:cli/environment']!['getArguments']!()]) {
      send('one');
      call();
      expect(arrived()).toEqual(['one']);
    }
  });

  it("in the shim's own host: only while the guest holds no pollable, whose poll is not heard", () => {
    using host = udpSockets({ allow: 'all', writeBehind: true });
    const { socket, send, arrived, incoming } = open(host);
    const waits = () =>
      eventually(() => {
        send('one');
        const early = arrived();
        socket.localAddress();
        expect([...early, ...arrived()]).toEqual(['one']);
        return early.length === 0;
      });
    expect(waits()).toBe(true);
    send('before');
    const pollable = incoming.subscribe() as object as Disposable;
    expect(arrived()).toEqual(['before']);
    send('at once');
    expect(arrived()).toEqual(['at once']);
    const second = incoming.subscribe() as object as Disposable;
    for (let i = 0; i < 2; i++) pollable[Symbol.dispose]();
    send('at once, still');
    expect(arrived()).toEqual(['at once, still']);
    second[Symbol.dispose]();
    expect(waits()).toBe(true);
  });

  it('keeps the process alive until what a guest has sent has left', async () => {
    expect(await runFixture('write-behind-end.mjs')).toEqual({ arrived: ['last words'] });
  });
});
