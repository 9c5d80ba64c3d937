import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type IpSocketAddress, parseSocketAddress } from '../dist/index.js';
import {
  ENTRANCES,
  Guest,
  type GuestApi,
  outcomeOf,
  type Socket,
  textOf,
  WRITING_BEHIND,
} from './support/guest-api.js';
import { closedPort, FAMILIES } from './support/receiver.js';
import { fixture, noNamespaces, openedSince, openSockets, RUNTIME, run, runInNamespace } from './support/runtime.js';

// Every rule of udp.wit, udp-create-socket.wit and network.wit for UDP: docs/conformance.md names the tests here by title.

const CASES = [...ENTRANCES, ...WRITING_BEHIND].flatMap((entrance) =>
  FAMILIES.map((familyCase) => ({ ...familyCase, entrance })),
);

describe.each(CASES)('wasi:sockets/udp by $entrance.title over $family', (at) => {
  const { entrance, family, loopback, unspecified, largest } = at;
  /** What a core module cannot say, or the component model forbids it: see hostile-guests.test.ts. */
  const { byObjects } = entrance;
  const writesBehind = WRITING_BEHIND.includes(entrance);
  let guest: Guest;
  let api: GuestApi;

  beforeEach(() => {
    api = entrance.open();
    guest = new Guest(api);
  });
  afterEach(() => api[Symbol.dispose]());

  const any = parseSocketAddress(`${loopback}:0`);
  const address = (port: number, host: string = loopback) => parseSocketAddress(`${host}:${port}`);
  const other = parseSocketAddress(at.other);
  const closed = parseSocketAddress(closedPort(at));
  /** Addresses of the documentation's networks (RFC 5737, RFC 3849), which no interface has. */
  const foreign = family === 'ipv4' ? '192.0.2.1' : '[2001:db8::1]';
  const portOf = (socket: Socket) => socket.localAddress().val.port;
  const startBind = (socket: Socket, local: IpSocketAddress) =>
    socket.startBind(api.instanceNetwork.instanceNetwork(), local);
  /** Two connected sockets, or a server and a client that sends to it. */
  const pair = () => {
    const server = guest.bound(any);
    const client = guest.bound(any);
    return { server, client, serverAddress: server.localAddress(), clientAddress: client.localAddress() };
  };

  describe('create-udp-socket', () => {
    it('gives a socket of the family that was asked for', () => {
      expect(guest.create(family).addressFamily()).toBe(family);
    });

    it.runIf(byObjects)('not-supported: a family that is none', () => {
      expect(outcomeOf(() => guest.create('ipx' as 'ipv4'))).toBe('not-supported');
    });

    it.runIf(family === 'ipv6')('IPv6 sockets are v6-only: IPv4 has the port to itself', () => {
      const six = guest.bound(parseSocketAddress('[::]:0'));
      const [incomingSix] = six.stream();
      const four = guest.bound(parseSocketAddress(`0.0.0.0:${portOf(six)}`));
      const [incomingFour] = four.stream();
      const sender = guest.bound(parseSocketAddress('127.0.0.1:0'));
      guest.send(sender.stream()[1], ['four'], parseSocketAddress(`127.0.0.1:${portOf(six)}`));
      expect(guest.receive(incomingFour).map(textOf)).toEqual(['four']);
      expect(incomingSix.receive(1n)).toEqual([]);
    });
  });

  describe('start-bind and finish-bind', () => {
    it('bind to a free port where port 0 is asked for', () => {
      const ports = [guest.bound(any), guest.bound(any)].map(portOf);
      expect(ports[0]).toBeGreaterThan(0);
      expect(ports[0]).not.toBe(ports[1]);
    });

    it('bind to exactly the address that is asked for', () => {
      const before = guest.bound(any);
      const local = before.localAddress();
      before[Symbol.dispose]();
      expect(guest.bound(local).localAddress()).toEqual(local);
    });

    it('bind to every interface where the address is unspecified', () => {
      const socket = guest.bound(address(0, unspecified));
      expect(socket.localAddress()).toEqual(address(portOf(socket), unspecified));
      const [incoming] = socket.stream();
      guest.send(guest.bound(any).stream()[1], ['hello'], address(portOf(socket)));
      expect(guest.receive(incoming).map(textOf)).toEqual(['hello']);
    });

    it('invalid-argument: an address of the other family', () => {
      expect(outcomeOf(() => startBind(guest.create(family), other))).toBe('invalid-argument');
    });

    it.runIf(family === 'ipv6')('invalid-argument: an IPv4-mapped address', () => {
      const mapped = parseSocketAddress('[::ffff:127.0.0.1]:0');
      expect(outcomeOf(() => startBind(guest.create(family), mapped))).toBe('invalid-argument');
    });

    it('invalid-state: the socket is bound', () => {
      const socket = guest.bound(any);
      expect(outcomeOf(() => startBind(socket, any))).toBe('invalid-state');
      socket.stream();
      expect(outcomeOf(() => startBind(socket, any))).toBe('invalid-state');
    });

    it('concurrency-conflict: a bind is in progress', () => {
      const socket = guest.create(family);
      startBind(socket, any);
      expect(outcomeOf(() => startBind(socket, any))).toBe('concurrency-conflict');
      socket.finishBind();
      expect(portOf(socket)).toBeGreaterThan(0);
    });

    it('not-in-progress: finish-bind without start-bind, and after finish-bind', () => {
      const socket = guest.create(family);
      expect(outcomeOf(() => socket.finishBind())).toBe('not-in-progress');
      guest.bind(socket, any);
      expect(outcomeOf(() => socket.finishBind())).toBe('not-in-progress');
    });

    it('address-in-use: the address is taken', () => {
      const taken = guest.bound(any).localAddress();
      const socket = guest.create(family);
      expect(outcomeOf(() => guest.bind(socket, taken))).toBe('address-in-use');
    });

    it('address-not-bindable: an address of another machine', () => {
      expect(outcomeOf(() => guest.bind(guest.create(family), address(0, foreign)))).toBe('address-not-bindable');
    });

    it('a bind that failed leaves the socket unbound, to bind elsewhere', () => {
      const socket = guest.create(family);
      expect(outcomeOf(() => guest.bind(socket, guest.bound(any).localAddress()))).toBe('address-in-use');
      expect(outcomeOf(() => socket.localAddress())).toBe('invalid-state');
      expect(outcomeOf(() => socket.finishBind())).toBe('not-in-progress');
      guest.bind(socket, any);
      expect(portOf(socket)).toBeGreaterThan(0);
    });

    it('never would-block: a bind is done at once', () => {
      const socket = guest.create(family);
      startBind(socket, any);
      expect(outcomeOf(() => socket.finishBind())).toBe('ok');
    });
  });

  describe('stream', () => {
    it('invalid-state: the socket is not bound, or a bind is in progress', () => {
      const socket = guest.create(family);
      expect(outcomeOf(() => socket.stream())).toBe('invalid-state');
      expect(outcomeOf(() => socket.stream(address(9)))).toBe('invalid-state');
      startBind(socket, any);
      expect(outcomeOf(() => socket.stream())).toBe('invalid-state');
    });

    it('invalid-argument: an address of the other family', () => {
      expect(outcomeOf(() => guest.bound(any).stream(other))).toBe('invalid-argument');
    });

    it('invalid-argument: an unspecified address', () => {
      expect(outcomeOf(() => guest.bound(any).stream(address(9, unspecified)))).toBe('invalid-argument');
    });

    it('invalid-argument: port 0', () => {
      expect(outcomeOf(() => guest.bound(any).stream(any))).toBe('invalid-argument');
    });

    it.runIf(family === 'ipv6').each(['[::ffff:127.0.0.1]:9', '[::127.0.0.1]:9'])(
      'invalid-argument: %s, an IPv4 address in IPv6 clothes',
      (text) => expect(outcomeOf(() => guest.bound(any).stream(parseSocketAddress(text)))).toBe('invalid-argument'),
    );

    it('an address that is refused changes nothing', () => {
      const { client, serverAddress } = pair();
      dropBoth(client.stream(serverAddress));
      expect(outcomeOf(() => client.stream(other))).toBe('invalid-argument');
      expect(client.remoteAddress()).toEqual(serverAddress);
    });

    it.each(['incoming', 'outgoing'])('traps while the %s half of the streams before still lives', (half) => {
      const socket = guest.bound(any);
      const [incoming, outgoing] = socket.stream();
      expect(outcomeOf(() => socket.stream())).toBe('trap');
      (half === 'incoming' ? outgoing : incoming)[Symbol.dispose]();
      expect(outcomeOf(() => socket.stream(address(9)))).toBe('trap');
      expect(outcomeOf(() => socket.remoteAddress())).toBe('invalid-state');
      (half === 'incoming' ? incoming : outgoing)[Symbol.dispose]();
      socket.stream(address(9));
      expect(socket.remoteAddress()).toEqual(address(9));
    });

    it('connects, reconnects and disconnects; the bound port stays', () => {
      const socket = guest.bound(address(0, unspecified));
      const port = portOf(socket);
      for (const remote of [
        undefined,
        address(4321),
        address(4321),
        address(4320),
        undefined,
        undefined,
        address(4321),
      ]) {
        dropBoth(socket.stream(remote));
        if (remote === undefined) expect(outcomeOf(() => socket.remoteAddress())).toBe('invalid-state');
        else expect(socket.remoteAddress()).toEqual(remote);
        expect(portOf(socket)).toBe(port);
      }
    });

    it('the local address is that of the path to the peer, and unspecified again without one', () => {
      const socket = guest.bound(address(0, unspecified));
      const port = portOf(socket);
      dropBoth(socket.stream(address(4321)));
      expect(socket.localAddress()).toEqual(address(port));
      dropBoth(socket.stream());
      expect(socket.localAddress()).toEqual(address(port, unspecified));
    });

    it('after any change of peer, datagrams come to the bound port', () => {
      const { server, client, serverAddress, clientAddress } = pair();
      const [, outgoing] = server.stream();
      for (const remote of [undefined, serverAddress, address(9), serverAddress, undefined, serverAddress]) {
        const [incoming, toServer] = client.stream(remote);
        if (remote !== undefined && remote.val.port === 9) {
          dropBoth([incoming, toServer]);
          continue;
        }
        guest.send(outgoing, [`to ${remote?.val.port}`], clientAddress);
        expect(guest.receive(incoming).map(textOf)).toEqual([`to ${remote?.val.port}`]);
        dropBoth([incoming, toServer]);
      }
    });

    it('generates no traffic', async () => {
      const observer = createSocket(family === 'ipv4' ? 'udp4' : 'udp6');
      observer.bind(0, loopback.replace(/[[\]]/g, ''));
      await once(observer, 'listening');
      const messages: string[] = [];
      observer.on('message', (message) => messages.push(String(message)));
      const socket = guest.bound(any);
      for (let i = 0; i < 3; i++) dropBoth(socket.stream(address(observer.address().port)));
      const [, outgoing] = socket.stream(address(observer.address().port));
      guest.send(outgoing, ['the first']);
      await once(observer, 'message');
      expect(messages).toEqual(['the first']);
      observer.close();
    });

    it.skipIf(noNamespaces)(`remote-unreachable: there is no route ${noNamespaces ?? ''}`, async () => {
      const unrouted = family === 'ipv4' ? '198.51.100.1:9' : '[2001:db8::1]:9';
      expect(await runInNamespace('', 'stream-unreachable.mjs', [`${unspecified}:0`, unrouted])).toEqual({
        outcome: 'remote-unreachable',
        remote: 'invalid-state',
        again: 'ok',
      });
    });

    it('connection-refused is told to the streams, not to stream', () => {
      const { incoming } = refused();
      expect(outcomeOf(() => incoming.receive(1n))).toBe('connection-refused');
    });
  });

  describe('local-address and remote-address', () => {
    it('invalid-state: the socket is not bound, or a bind is in progress', () => {
      const socket = guest.create(family);
      expect(outcomeOf(() => socket.localAddress())).toBe('invalid-state');
      startBind(socket, any);
      expect(outcomeOf(() => socket.localAddress())).toBe('invalid-state');
    });

    it('invalid-state: the socket streams to no one peer', () => {
      const socket = guest.create(family);
      expect(outcomeOf(() => socket.remoteAddress())).toBe('invalid-state');
      guest.bind(socket, any);
      expect(outcomeOf(() => socket.remoteAddress())).toBe('invalid-state');
      socket.stream();
      expect(outcomeOf(() => socket.remoteAddress())).toBe('invalid-state');
    });

    it('the remote address is the one that was passed to stream', () => {
      const socket = guest.bound(any);
      socket.stream(address(9));
      expect(socket.remoteAddress()).toEqual(address(9));
    });
  });

  describe('options', () => {
    const STATES = {
      unbound: () => guest.create(family),
      bound: () => guest.bound(any),
      connected: () => {
        const socket = guest.bound(any);
        socket.stream(address(9));
        return socket;
      },
    };

    describe.each(Object.keys(STATES) as (keyof typeof STATES)[])('of an %s socket', (state) => {
      let socket: Socket;
      beforeEach(() => {
        socket = STATES[state]();
      });

      it('have defaults', () => {
        expect(socket.unicastHopLimit()).toBeGreaterThan(0);
        expect(socket.receiveBufferSize()).toBeGreaterThan(0n);
        expect(socket.sendBufferSize()).toBeGreaterThan(0n);
        expect(socket.addressFamily()).toBe(family);
      });

      it('what is set is what is read', () => {
        for (const limit of [1, 42, 255]) {
          socket.setUnicastHopLimit(limit);
          expect(socket.unicastHopLimit()).toBe(limit);
        }
        for (const size of [0x10000n, 16_000n, 99_999n]) {
          socket.setReceiveBufferSize(size);
          expect(socket.receiveBufferSize()).toBe(size);
          socket.setSendBufferSize(size);
          expect(socket.sendBufferSize()).toBe(size);
        }
      });

      it('invalid-argument: 0', () => {
        expect(outcomeOf(() => socket.setUnicastHopLimit(0))).toBe('invalid-argument');
        expect(outcomeOf(() => socket.setReceiveBufferSize(0n))).toBe('invalid-argument');
        expect(outcomeOf(() => socket.setSendBufferSize(0n))).toBe('invalid-argument');
      });

      it('sizes that the system does not have are clamped, not refused', () => {
        for (const size of [1n, 2n ** 31n, 2n ** 64n - 1n]) {
          socket.setReceiveBufferSize(size);
          socket.setSendBufferSize(size);
          expect(socket.receiveBufferSize()).toBeGreaterThan(0n);
          expect(socket.sendBufferSize()).toBeGreaterThan(0n);
        }
        const least = [socket.receiveBufferSize(), socket.sendBufferSize()];
        socket.setReceiveBufferSize(1n);
        socket.setSendBufferSize(1n);
        expect(socket.receiveBufferSize()).toBeLessThan(least[0]!);
        expect(socket.sendBufferSize()).toBeLessThan(least[1]!);
      });
    });

    it('the receive buffer has the size that is set', () => {
      const { server, client, serverAddress } = pair();
      server.setReceiveBufferSize(8192n);
      const [incoming] = server.stream();
      const [, outgoing] = client.stream(serverAddress);
      // Sent plainly: each takes its own room.
      for (let i = 0; i < 100; i++) guest.send(outgoing, [String(i).repeat(500)]);
      const received = guest.receive(incoming);
      expect(received.length).toBeLessThan(50);
    });
  });

  describe('subscribe of a socket', () => {
    it('is ready in every state: nothing of a socket blocks', () => {
      const socket = guest.create(family);
      const pollable = socket.subscribe() as { ready(): boolean; block(): void };
      expect(pollable.ready()).toBe(true);
      guest.bind(socket, any);
      pollable.block();
      socket.stream(address(9));
      pollable.block();
    });
  });

  describe('receive', () => {
    it('an empty list where nothing has come, or nothing is asked for', () => {
      const { server, client, serverAddress } = pair();
      const [incoming] = server.stream();
      expect(incoming.receive(0n)).toEqual([]);
      expect(incoming.receive(10n)).toEqual([]);
      guest.send(client.stream()[1], ['one'], serverAddress);
      expect(guest.readyWithin(incoming.subscribe(), 10_000)).toBe(true);
      expect(incoming.receive(0n)).toEqual([]);
      expect(incoming.receive(10n).map(textOf)).toEqual(['one']);
      expect(incoming.receive(10n)).toEqual([]);
    });

    it.each([1n, 3n, 100n, 2n ** 64n - 1n])('never more than max-results: %s', (max) => {
      const { server, client, serverAddress } = pair();
      const [incoming] = server.stream();
      const texts = Array.from({ length: 50 }, (_, i) => `message ${String(i).padStart(2, '0')}`);
      // A run of one size: it arrives as one coalesced message, of which some datagrams are left for later.
      guest.send(client.stream(serverAddress)[1], texts);
      const received: string[] = [];
      while (received.length < texts.length) {
        expect(guest.readyWithin(incoming.subscribe(), 10_000)).toBe(true);
        const some = incoming.receive(max);
        expect(some.length).toBeGreaterThan(0);
        expect(BigInt(some.length)).toBeLessThanOrEqual(max);
        received.push(...some.map(textOf));
      }
      expect(received).toEqual(texts);
      expect((incoming.subscribe() as { ready(): boolean }).ready()).toBe(false);
    });

    it('each datagram with its own source', () => {
      const server = guest.bound(any);
      const [incoming] = server.stream();
      const clients = Array.from({ length: 5 }, () => guest.bound(any));
      const streams = clients.map((client) => client.stream(server.localAddress())[1]);
      for (let i = 0; i < 20; i++) guest.send(streams[i % 5]!, [String(i % 5)]);
      for (const { data, remoteAddress } of guest.receive(incoming, 20)) {
        expect(remoteAddress).toEqual(clients[Number(textOf({ data }))]!.localAddress());
      }
    });

    it('datagrams of no bytes and of the most bytes arrive whole', () => {
      const { server, client, serverAddress } = pair();
      const [incoming] = server.stream();
      const [, outgoing] = client.stream(serverAddress);
      const data = new Uint8Array(largest).map((_, i) => i * 7);
      for (const payload of [data, new Uint8Array(0), data]) {
        outgoing.checkSend();
        expect(outgoing.send([{ data: payload }])).toBe(1n);
        expect(Buffer.from(guest.receive(incoming)[0]!.data).equals(payload)).toBe(true);
      }
    });

    it('what came between bind and stream', () => {
      const { server, client, serverAddress } = pair();
      guest.send(client.stream()[1], ['early', 'bird'], serverAddress);
      expect(guest.receive(server.stream()[0], 2).map(textOf)).toEqual(['early', 'bird']);
    });

    it('only what the peer sent, where the stream has one', () => {
      const { server, client, serverAddress, clientAddress } = pair();
      const stranger = guest.bound(any);
      const [, fromStranger] = stranger.stream();
      const [, fromServer] = server.stream();
      // Queued before the socket is connected, when the kernel lets everybody in.
      guest.send(fromStranger, ['stranger, early'], clientAddress);
      guest.send(fromServer, ['peer, early'], clientAddress);
      const [incoming] = client.stream(serverAddress);
      guest.send(fromStranger, ['stranger, late'], clientAddress);
      guest.send(fromServer, ['peer, late'], clientAddress);
      const received = guest.receive(incoming, 2);
      expect(received.map(textOf)).toEqual(['peer, early', 'peer, late']);
      expect(received.map(({ remoteAddress }) => remoteAddress)).toEqual([serverAddress, serverAddress]);
      expect(incoming.receive(10n)).toEqual([]);
    });

    it('everybody again, once the stream has no peer', () => {
      const { client, serverAddress, clientAddress } = pair();
      dropBoth(client.stream(serverAddress));
      const [incoming] = client.stream();
      guest.send(guest.bound(any).stream()[1], ['anybody'], clientAddress);
      expect(guest.receive(incoming).map(textOf)).toEqual(['anybody']);
    });

    it('connection-refused after an ICMP message, once; then datagrams again', () => {
      const server = guest.bound(any);
      const serverAddress = server.localAddress();
      server[Symbol.dispose]();
      const client = guest.bound(any);
      const [incoming, outgoing] = client.stream(serverAddress);
      for (let tries = 0; !guest.readyWithin(incoming.subscribe(), 20) && tries < 500; tries++)
        guest.send(outgoing, ['x']);
      expect(outcomeOf(() => incoming.receive(1n))).toBe('connection-refused');
      expect(incoming.receive(1n)).toEqual([]);
      guest.send(guest.bound(serverAddress).stream()[1], ['here now'], client.localAddress());
      expect(guest.receive(incoming).map(textOf)).toEqual(['here now']);
    });
  });

  describe('subscribe of the incoming stream', () => {
    it('is ready exactly when receive would give something', () => {
      const { server, client, serverAddress } = pair();
      const [incoming] = server.stream();
      const [, outgoing] = client.stream(serverAddress);
      const pollable = incoming.subscribe() as { ready(): boolean; block(): void };
      for (let round = 0; round < 3; round++) {
        expect(pollable.ready()).toBe(false);
        expect(guest.readyWithin(pollable, 5)).toBe(false);
        guest.send(outgoing, ['a', 'b']);
        pollable.block();
        expect(pollable.ready()).toBe(true);
        guest.receive(incoming, 2);
      }
    });

    it('is ready for an error', () => {
      const { incoming, pollable } = refused();
      expect(outcomeOf(() => incoming.receive(1n))).toBe('connection-refused');
      expect((pollable as { ready(): boolean }).ready()).toBe(false);
    });
  });

  describe('an ICMP error that arrives while nobody waits', () => {
    it.each(['receive', ...(writesBehind ? [] : ['send' as const])] as const)(
      'is told by the next %s, once, and not by the other',
      (first) => expect(afterRefusal(first)).toEqual(['connection-refused', 'ok', 'ok']),
    );

    it.runIf(writesBehind)('is told by the next check-send where the send that meets it stays behind', () => {
      // The second answer is the refusal of what was sent meanwhile, where the system tells of it.
      const [sent, , checked] = afterRefusal('send');
      expect([sent, checked]).toEqual(['ok', 'connection-refused']);
    });
  });

  describe('drop', () => {
    it('the descriptor closes with the last of socket and streams', () => {
      const before = openSockets();
      const socket = guest.bound(any);
      const [incoming, outgoing] = socket.stream();
      socket[Symbol.dispose]();
      incoming[Symbol.dispose]();
      expect(openedSince(before)).toBe(1);
      outgoing[Symbol.dispose]();
      expect(openedSince(before)).toBe(0);
    });

    it.runIf(byObjects)('never throws, whatever the state', () => {
      const before = openSockets();
      const unbound = guest.create(family);
      const binding = guest.create(family);
      startBind(binding, any);
      const connected = guest.bound(any);
      const streams = connected.stream(closed);
      guest.send(streams[1], ['refused']);
      const pollables = [connected, ...streams].map((one) => one.subscribe() as unknown as Disposable);
      for (const one of [unbound, binding, connected, ...streams, ...pollables]) {
        one[Symbol.dispose]();
        one[Symbol.dispose]();
      }
      expect(openedSince(before)).toBe(0);
    });

    it('what was dropped traps', () => {
      const socket = guest.bound(any);
      const [incoming, outgoing] = socket.stream();
      const pollable = incoming.subscribe() as { ready(): boolean } & Disposable;
      dropBoth([incoming, outgoing]);
      expect(outcomeOf(() => incoming.receive(1n))).toBe('trap');
      expect(outcomeOf(() => incoming.subscribe())).toBe('trap');
      expect(outcomeOf(() => outgoing.checkSend())).toBe('trap');
      expect(outcomeOf(() => outgoing.send([]))).toBe('trap');
      expect(outcomeOf(() => outgoing.subscribe())).toBe('trap');
      expect(outcomeOf(() => pollable.ready())).toBe('trap');
      expect(outcomeOf(() => api.poll.poll([pollable]))).toBe('trap');
      socket[Symbol.dispose]();
      for (const call of [
        'localAddress',
        'remoteAddress',
        'addressFamily',
        'finishBind',
        'stream',
        'subscribe',
      ] as const) {
        expect(outcomeOf(() => socket[call]())).toBe('trap');
      }
      pollable[Symbol.dispose]();
      expect(outcomeOf(() => pollable.ready())).toBe('trap');
    });

    it('streams outlive the socket', () => {
      const { server, client, serverAddress } = pair();
      const [incoming] = server.stream();
      const [, outgoing] = client.stream(serverAddress);
      server[Symbol.dispose]();
      client[Symbol.dispose]();
      guest.send(outgoing, ['still']);
      expect(guest.receive(incoming).map(textOf)).toEqual(['still']);
    });
  });

  describe('poll', () => {
    it('traps for an empty list', () => {
      expect(outcomeOf(() => api.poll.poll([]))).toBe('trap');
    });

    it('names every pollable that is ready, and none that is not', () => {
      const { server, client, serverAddress } = pair();
      const [quiet] = client.stream(serverAddress);
      const [incoming] = server.stream();
      guest.send(guest.bound(any).stream()[1], ['x'], serverAddress);
      const never = api.monotonicClock.subscribeDuration(2n ** 64n - 1n);
      const past = api.monotonicClock.subscribeInstant(0n);
      const list = [never, quiet.subscribe(), incoming.subscribe(), past, server.subscribe()];
      (list[2] as { block(): void }).block();
      expect([...(api.poll.poll(list) as Uint32Array)]).toEqual([2, 3, 4]);
    });

    it('a moment is not early', () => {
      for (const nanoseconds of [0n, 1n, 1_500_000n, 20_000_000n]) {
        const from = api.monotonicClock.now();
        (api.monotonicClock.subscribeDuration(nanoseconds) as { block(): void }).block();
        expect(api.monotonicClock.now() - from).toBeGreaterThanOrEqual(nanoseconds);
      }
    });
  });

  const dropBoth = (streams: readonly Disposable[]) => {
    for (const stream of streams) stream[Symbol.dispose]();
  };

  /** A stream to a closed port, with its refusal pending. */
  function refused() {
    const [incoming, outgoing] = guest.bound(any).stream(closed);
    const pollable = incoming.subscribe();
    // The system limits how many ICMP messages it sends, of all processes together: some datagrams have no answer.
    for (let tries = 0; tries < 500; tries++) {
      guest.send(outgoing, ['x']);
      if (guest.readyWithin(pollable, 20)) return { incoming, outgoing, pollable };
    }
    throw new Error('no ICMP message came');
  }

  /** What four calls give after a refusal that nobody waited for. */
  function afterRefusal(first: 'receive' | 'send') {
    const { incoming, outgoing } = refused();
    const receive = () => incoming.receive(1n);
    const send = () => {
      outgoing.checkSend();
      outgoing.send([]);
    };
    const sendOne = () => {
      outgoing.checkSend();
      outgoing.send([{ data: new Uint8Array(1) }]);
    };
    return (first === 'receive' ? [receive, receive, send] : [sendOne, receive, send]).map(outcomeOf);
  }
});

describe('limits of the system', () => {
  it('new-socket-limit: no descriptor is left; after a drop there is one again', async () => {
    const limited = ['sh', '-c', 'ulimit -n 64; exec "$0" "$@"', ...RUNTIME, fixture('socket-limit.mjs')];
    const { stdout } = await run(limited);
    expect(JSON.parse(stdout)).toEqual({ outcome: 'new-socket-limit', afterDrop: 'ok' });
  });

  it.skipIf(noNamespaces)(`address-in-use: no ephemeral port is left ${noNamespaces ?? ''}`, async () => {
    const setup = 'echo "40000 40003" > /proc/sys/net/ipv4/ip_local_port_range';
    expect(await runInNamespace(setup, 'port-limit.mjs')).toEqual({ opened: 4, outcome: 'address-in-use' });
  });

  it.skipIf(noNamespaces)(
    `a connected IPv6 socket that leaves ::1 for another address gets the other path's address ${noNamespaces ?? ''}`,
    async () => {
      const setup = `ip link add one type veth peer name two && ip link set one up && ip link set two up
        ip addr add 10.1.0.1/24 dev one
        ip addr add fd00:1::1/64 dev one nodad`;
      const seen = await runInNamespace<Record<string, string[]>>(setup, 'reconnect.mjs');
      for (const [family, steps] of Object.entries(seen)) {
        const [unspecified, loopback, path] =
          family === 'ipv4' ? ['0.0.0.0', '127.0.0.1', '10.1.0.1'] : ['[::]', '[::1]', '[fd00:1::1]'];
        expect(steps).toEqual([unspecified, loopback, path, loopback, path, unspecified, path]);
      }
    },
  );
});
