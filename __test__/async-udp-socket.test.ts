import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { caseOf, ERROR_CASES } from '../dist/errors.js';
import { type IpSocketAddress, parseSocketAddress } from '../dist/index.js';
import { systemError } from '../dist/native/native.js';
import { ASYNC_ENTRANCES, type AsyncApi, type AsyncSocket, outcomeOf } from './support/async-api.js';
import { closedPort, FAMILIES, Receiver } from './support/receiver.js';
import { noNamespaces, ON_ONE_PROCESSOR, openedSince, openSockets, runInNamespace } from './support/runtime.js';

// Every rule of udp-socket in the types.wit of wasi:sockets 0.3: docs/conformance.md names the tests here by title.

const CASES = ASYNC_ENTRANCES.flatMap((entrance) => FAMILIES.map((familyCase) => ({ ...familyCase, entrance })));

const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = ({ data }: { data: Uint8Array }) => new TextDecoder().decode(data);

describe.each(CASES)('udp-socket of wasi:sockets/types@0.3 by $entrance.title over $family', (at) => {
  const { entrance, family, loopback, unspecified, largest } = at;
  /** What a core module cannot say, or the component model forbids it. */
  const { byObjects } = entrance;
  let api: AsyncApi;

  beforeEach(() => {
    api = entrance.open();
  });
  afterEach(() => api[Symbol.dispose]());

  const outcome = (call: () => unknown) => outcomeOf(entrance, call);
  /** What ends a wait for what is closed: of TypeScript's an error, of a guest's a trap. */
  const ended = entrance.title === 'the class' ? 'closed' : 'trap';
  const any = parseSocketAddress(`${loopback}:0`);
  const anywhere = parseSocketAddress(`${unspecified}:0`);
  const address = (port: number, host: string = loopback) => parseSocketAddress(`${host}:${port}`);
  const other = parseSocketAddress(at.other);
  const closed = parseSocketAddress(closedPort(at));
  /** Addresses of the documentation's networks (RFC 5737, RFC 3849), which no interface has. */
  const foreign = family === 'ipv4' ? '192.0.2.1' : '[2001:db8::1]';
  /** IPv4 addresses in IPv6 clothes. */
  const clothed = family === 'ipv6' ? ['[::ffff:127.0.0.1]:9', '[::127.0.0.1]:9'].map(parseSocketAddress) : [];
  const portOf = (socket: AsyncSocket) => socket.getLocalAddress().val.port;
  const bound = (local = any) => {
    const socket = api.create(family);
    socket.bind(local);
    return socket;
  };
  const connected = (remote: IpSocketAddress) => {
    const socket = api.create(family);
    socket.connect(remote);
    return socket;
  };
  const pair = () => {
    const server = bound();
    const client = bound();
    return { server, client, serverAddress: server.getLocalAddress(), clientAddress: client.getLocalAddress() };
  };
  const receiveTexts = async (socket: AsyncSocket, count: number) => {
    const texts: string[] = [];
    while (texts.length < count) texts.push(textOf(await socket.receive()));
    return texts;
  };
  /** What a promise comes to within a moment, and the turns of the event loop that read what is there: an outcome, or 'pending'. */
  const soon = (promise: Promise<unknown>): Promise<string> => {
    const moment = async () => {
      await sleep(50);
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
      return 'pending';
    };
    return Promise.race([outcome(() => promise), moment()]);
  };
  const isUnbound = async (socket: AsyncSocket) =>
    (await outcome(() => socket.getLocalAddress())) === 'invalid-state' &&
    (await outcome(() => socket.receive())) === 'invalid-state';

  describe('create', () => {
    it('gives a socket of the family that was asked for, which is not bound', async () => {
      const socket = api.create(family);
      expect(socket.getAddressFamily()).toBe(family);
      expect(await isUnbound(socket)).toBe(true);
    });

    it.runIf(byObjects)('not-supported: a family that is none', async () => {
      expect(await outcome(() => api.create('ipx' as 'ipv4'))).toBe('not-supported');
    });

    it.runIf(family === 'ipv6')('IPv6 sockets are v6-only: IPv4 has the port to itself', async () => {
      const six = bound(anywhere);
      const four = api.create('ipv4');
      four.bind(parseSocketAddress(`0.0.0.0:${portOf(six)}`));
      const sender = api.create('ipv4');
      const waiting = six.receive();
      await sender.send(bytes('four'), parseSocketAddress(`127.0.0.1:${portOf(six)}`));
      expect(textOf(await four.receive())).toBe('four');
      expect(await soon(waiting)).toBe('pending');
      six[Symbol.dispose]();
      expect(await outcome(() => waiting)).toBe(ended);
    });

    it.skipIf(entrance.title === 'the class')('other, with a text: the guest may have no more sockets', async () => {
      using small = entrance.open({ limits: { sockets: 1 } });
      const first = small.create(family);
      expect(await outcome(() => small.create(family))).toBe('other');
      first[Symbol.dispose]();
      expect(await outcome(() => small.create(family))).toBe('ok');
    });
  });

  describe('bind', () => {
    it('takes a free port where port 0 is asked for', () => {
      const ports = [bound(), bound()].map(portOf);
      expect(ports[0]).toBeGreaterThan(0);
      expect(ports[0]).not.toBe(ports[1]);
    });

    it('takes exactly the address that is asked for', () => {
      const before = bound();
      const local = before.getLocalAddress();
      before[Symbol.dispose]();
      expect(bound(local).getLocalAddress()).toEqual(local);
    });

    it('takes every interface where the address is unspecified', async () => {
      const socket = bound(anywhere);
      expect(socket.getLocalAddress()).toEqual(address(portOf(socket), unspecified));
      await bound().send(bytes('hello'), address(portOf(socket)));
      expect(textOf(await socket.receive())).toBe('hello');
    });

    it('invalid-argument: an address of the other family', async () => {
      expect(await outcome(() => api.create(family).bind(other))).toBe('invalid-argument');
    });

    it.runIf(clothed.length > 0)('invalid-argument: an IPv4 address in IPv6 clothes', async () => {
      for (const local of clothed) expect(await outcome(() => api.create(family).bind(local))).toBe('invalid-argument');
    });

    it('invalid-state: the socket is bound, by itself, by connect or by send', async () => {
      expect(await outcome(() => bound().bind(any))).toBe('invalid-state');
      expect(await outcome(() => connected(address(9)).bind(any))).toBe('invalid-state');
      const sender = api.create(family);
      await sender.send(bytes('x'), bound().getLocalAddress());
      expect(await outcome(() => sender.bind(any))).toBe('invalid-state');
    });

    it('address-in-use: the address is taken', async () => {
      const taken = bound().getLocalAddress();
      expect(await outcome(() => api.create(family).bind(taken))).toBe('address-in-use');
    });

    it('address-not-bindable: an address of another machine', async () => {
      expect(await outcome(() => api.create(family).bind(address(0, foreign)))).toBe('address-not-bindable');
    });

    it('a bind that failed leaves the socket unbound, to bind elsewhere', async () => {
      const socket = api.create(family);
      for (const local of [bound().getLocalAddress(), address(0, foreign), other]) {
        expect(await outcome(() => socket.bind(local))).not.toBe('ok');
        expect(await isUnbound(socket)).toBe(true);
      }
      socket.bind(any);
      expect(portOf(socket)).toBeGreaterThan(0);
    });

    it('is done when it returns: what comes from then on is there', async () => {
      const { server, client, serverAddress } = pair();
      await client.send(bytes('early'), serverAddress);
      await client.send(bytes('bird'), serverAddress);
      expect(await receiveTexts(server, 2)).toEqual(['early', 'bird']);
    });
  });

  describe('connect', () => {
    it('binds to a free port where the socket is not bound', async () => {
      const server = bound();
      const socket = connected(server.getLocalAddress());
      expect(portOf(socket)).toBeGreaterThan(0);
      await server.send(bytes('back'), socket.getLocalAddress());
      expect(textOf(await socket.receive())).toBe('back');
    });

    it('invalid-argument: an address of the other family, an unspecified one, port 0, IPv4 in IPv6 clothes', async () => {
      for (const remote of [other, address(9, unspecified), any, ...clothed]) {
        const socket = api.create(family);
        expect(await outcome(() => socket.connect(remote))).toBe('invalid-argument');
        expect(await outcome(() => socket.getRemoteAddress())).toBe('invalid-state');
        expect(await isUnbound(socket)).toBe(true);
      }
    });

    it('an address that is refused changes nothing', async () => {
      const { server, client, serverAddress, clientAddress } = pair();
      client.connect(serverAddress);
      for (const remote of [other, address(9, unspecified), any])
        expect(await outcome(() => client.connect(remote))).toBe('invalid-argument');
      expect(client.getRemoteAddress()).toEqual(serverAddress);
      await client.send(bytes('still'));
      expect((await server.receive()).remoteAddress).toEqual(clientAddress);
    });

    it('may be called again: the port stays, the most recent peer counts', async () => {
      const client = bound(anywhere);
      const port = portOf(client);
      const servers = [bound(), bound(), bound()];
      for (const at of [0, 0, 1, 2, 1]) {
        const server = servers[at]!;
        client.connect(server.getLocalAddress());
        expect(client.getRemoteAddress()).toEqual(server.getLocalAddress());
        expect(portOf(client)).toBe(port);
        await client.send(bytes(`to ${at}`));
        const { data, remoteAddress } = await server.receive();
        expect([textOf({ data }), remoteAddress]).toEqual([`to ${at}`, address(port)]);
        // Those who are no longer the peer are not heard.
        for (const [i, one] of servers.entries()) if (i !== at) await one.send(bytes('no'), address(port));
        await server.send(bytes(`from ${at}`), address(port));
        const answer = await client.receive();
        expect([textOf(answer), answer.remoteAddress]).toEqual([`from ${at}`, server.getLocalAddress()]);
      }
    });

    it('the local address is that of the path to the peer, and unspecified again without one', () => {
      const socket = bound(anywhere);
      const port = portOf(socket);
      socket.connect(address(4321));
      expect(socket.getLocalAddress()).toEqual(address(port));
      socket.disconnect();
      expect(socket.getLocalAddress()).toEqual(address(port, unspecified));
    });

    it('limits send and receive to the peer: who sent before is not heard either', async () => {
      const { server, client, serverAddress, clientAddress } = pair();
      const stranger = bound();
      await stranger.send(bytes('stranger, early'), clientAddress);
      await server.send(bytes('peer, early'), clientAddress);
      client.connect(serverAddress);
      await stranger.send(bytes('stranger, late'), clientAddress);
      await server.send(bytes('peer, late'), clientAddress);
      const received = [await client.receive(), await client.receive()];
      expect(received.map(textOf)).toEqual(['peer, early', 'peer, late']);
      expect(received.map(({ remoteAddress }) => remoteAddress)).toEqual([serverAddress, serverAddress]);
      expect(await outcome(() => client.send(bytes('x'), stranger.getLocalAddress()))).toBe('invalid-argument');
    });

    it('generates no traffic', async () => {
      await using observer = await Receiver.open(at);
      const socket = bound();
      for (let i = 0; i < 3; i++) socket.connect(observer.address);
      await socket.send(bytes('the first'));
      await observer.until(1);
      expect(observer.texts).toEqual(['the first']);
    });

    it('a receive that waits goes on with the new peer', async () => {
      const { server, client, serverAddress, clientAddress } = pair();
      const waiting = client.receive();
      client.connect(serverAddress);
      await bound().send(bytes('stranger'), clientAddress);
      expect(await soon(waiting)).toBe('pending');
      await server.send(bytes('peer'), clientAddress);
      expect(textOf(await waiting)).toBe('peer');
    });

    it("a refusal by the former peer is nobody's", async () => {
      const { client, serverAddress } = pair();
      client.connect(closed);
      await client.send(bytes('refused'));
      await sleep(20);
      client.connect(serverAddress);
      expect(await outcome(() => client.send(bytes('x')))).toBe('ok');
    });
  });

  describe('disconnect', () => {
    it('invalid-state: the socket is not connected', async () => {
      const socket = api.create(family);
      expect(await outcome(() => socket.disconnect())).toBe('invalid-state');
      socket.bind(any);
      expect(await outcome(() => socket.disconnect())).toBe('invalid-state');
      socket.connect(address(9));
      expect(await outcome(() => socket.disconnect())).toBe('ok');
      expect(await outcome(() => socket.disconnect())).toBe('invalid-state');
      expect(await outcome(() => socket.getRemoteAddress())).toBe('invalid-state');
    });

    it('frees send and receive: anybody again', async () => {
      const { server, client, serverAddress, clientAddress } = pair();
      client.connect(serverAddress);
      client.disconnect();
      expect(client.getLocalAddress()).toEqual(clientAddress);
      const stranger = bound();
      await stranger.send(bytes('anybody'), clientAddress);
      expect(textOf(await client.receive())).toBe('anybody');
      await client.send(bytes('to anybody'), stranger.getLocalAddress());
      expect(textOf(await stranger.receive())).toBe('to anybody');
      expect(await outcome(() => client.send(bytes('x')))).toBe('invalid-argument');
      await client.send(bytes('to the server'), serverAddress);
      expect(textOf(await server.receive())).toBe('to the server');
    });
  });

  describe('send', () => {
    it('binds to a free port where the socket is not bound', async () => {
      const server = bound();
      const client = api.create(family);
      await client.send(bytes('hello'), server.getLocalAddress());
      expect(client.getLocalAddress()).toEqual(address(portOf(client), unspecified));
      const { remoteAddress } = await server.receive();
      expect(remoteAddress).toEqual(address(portOf(client)));
      await server.send(bytes('back'), remoteAddress);
      expect(textOf(await client.receive())).toBe('back');
    });

    it('invalid-argument: an address of the other family, an unspecified one, port 0, IPv4 in IPv6 clothes', async () => {
      for (const remote of [other, address(9, unspecified), any, ...clothed]) {
        const socket = api.create(family);
        expect(await outcome(() => socket.send(bytes('x'), remote))).toBe('invalid-argument');
        expect(await isUnbound(socket)).toBe(true);
        expect(await outcome(() => connected(address(9)).send(bytes('x'), remote))).toBe('invalid-argument');
      }
    });

    it('invalid-argument: no address where the socket is not connected', async () => {
      const socket = api.create(family);
      expect(await outcome(() => socket.send(bytes('x')))).toBe('invalid-argument');
      expect(await isUnbound(socket)).toBe(true);
      expect(await outcome(() => bound().send(bytes('x')))).toBe('invalid-argument');
    });

    it('the address of the peer may be given where the socket is connected, and no other', async () => {
      const { server, client, serverAddress } = pair();
      client.connect(serverAddress);
      await client.send(bytes('none'));
      await client.send(bytes('its own'), serverAddress);
      expect(await receiveTexts(server, 2)).toEqual(['none', 'its own']);
      const elsewhere = bound();
      expect(await outcome(() => client.send(bytes('x'), elsewhere.getLocalAddress()))).toBe('invalid-argument');
      expect(await soon(elsewhere.receive())).toBe('pending');
    });

    it('datagram-too-large: one byte more', async () => {
      const { server, client, serverAddress } = pair();
      const socket = api.create(family);
      const outcomes = [client, socket].map((one) =>
        outcome(() => one.send(new Uint8Array(largest + 1), serverAddress)),
      );
      expect(await Promise.all(outcomes)).toEqual(['datagram-too-large', 'datagram-too-large']);
      expect(await isUnbound(socket)).toBe(true);
      expect(await soon(server.receive())).toBe('pending');
    });

    it('datagrams of no bytes and of the most bytes arrive whole', async () => {
      const { server, client, serverAddress } = pair();
      const data = new Uint8Array(largest).map((_, i) => i * 7);
      for (const payload of [data, new Uint8Array(0), data]) {
        await client.send(payload, serverAddress);
        const received = await server.receive();
        expect(Buffer.from(received.data).equals(payload)).toBe(true);
      }
    });

    it("leaves the caller's bytes alone, which may change right after the call", async () => {
      const { server, client, serverAddress } = pair();
      const data = bytes('as it was');
      const sending = client.send(data, serverAddress);
      expect(new TextDecoder().decode(data)).toBe('as it was');
      data.fill(0);
      await sending;
      expect(textOf(await server.receive())).toBe('as it was');
      expect(data.length).toBe(9);
    });

    it.runIf(byObjects)('an address that sends as it is read leaves the datagram as it is', async () => {
      const { server, client, serverAddress } = pair();
      const inner: Promise<void>[] = [];
      const remote = {
        tag: family,
        get val() {
          if (inner.length === 0) inner.push(client.send(bytes('inner'), serverAddress));
          return serverAddress.val;
        },
      } as IpSocketAddress;
      await client.send(bytes('the outer one'), remote);
      await inner[0];
      expect((await receiveTexts(server, 2)).sort()).toEqual(['inner', 'the outer one']);
    });

    it('sends leave in the order of their calls', async () => {
      const { server, client, serverAddress } = pair();
      const texts = Array.from({ length: 100 }, (_, i) => `${i}`);
      await Promise.all(texts.map((text) => client.send(bytes(text), serverAddress)));
      expect(await receiveTexts(server, 100)).toEqual(texts);
    });

    it('the refusal of a datagram before is told by the next send, once, which is not sent', async () => {
      const client = await refused((socket) => outcome(() => socket.send(bytes('not sent'))));
      // Had it been sent, its own refusal would be there.
      expect(await soon(client.receive())).toBe('pending');
    });
  });

  describe('receive', () => {
    it('invalid-state: the socket is not bound', async () => {
      expect(await outcome(() => api.create(family).receive())).toBe('invalid-state');
    });

    it('gives a datagram that is there, with its source', async () => {
      const { server, client, serverAddress, clientAddress } = pair();
      await client.send(bytes('one'), serverAddress);
      await client.send(bytes('two'), serverAddress);
      for (const text of ['one', 'two']) {
        const { data, remoteAddress } = await server.receive();
        expect([textOf({ data }), remoteAddress]).toEqual([text, clientAddress]);
      }
      expect(await soon(server.receive())).toBe('pending');
    });

    it('waits for one that is not there yet', async () => {
      const { server, client, serverAddress } = pair();
      for (let round = 0; round < 3; round++) {
        const waiting = server.receive();
        expect(await soon(waiting)).toBe('pending');
        await client.send(bytes(`round ${round}`), serverAddress);
        expect(textOf(await waiting)).toBe(`round ${round}`);
      }
    });

    it('receives that wait are so many receives, in the order of their calls', async () => {
      const { server, client, serverAddress } = pair();
      const waiting = [server.receive(), server.receive(), server.receive()];
      await client.send(bytes('one'), serverAddress);
      await client.send(bytes('two'), serverAddress);
      expect(await Promise.all([waiting[0], waiting[1]].map(async (one) => textOf((await one)!)))).toEqual([
        'one',
        'two',
      ]);
      expect(await soon(waiting[2]!)).toBe('pending');
      // A receive that comes later does not overtake one that waits.
      await client.send(bytes('three'), serverAddress);
      const last = server.receive();
      await client.send(bytes('four'), serverAddress);
      expect([textOf(await waiting[2]!), textOf(await last)]).toEqual(['three', 'four']);
    });

    it('datagrams of equal size that arrive coalesced are received one by one', async () => {
      const { server, client, serverAddress } = pair();
      const texts = Array.from({ length: 50 }, (_, i) => `message ${String(i).padStart(2, '0')}`);
      client.connect(serverAddress);
      await Promise.all(texts.map((text) => client.send(bytes(text))));
      const received = await Promise.all(texts.map(() => server.receive()));
      expect(received.map(textOf)).toEqual(texts);
    });

    it('connection-refused ends a receive that waits, once; then datagrams again', async () => {
      const server = bound();
      const serverAddress = server.getLocalAddress();
      server[Symbol.dispose]();
      const client = connected(serverAddress);
      const waiting = client.receive();
      const ended = outcome(() => waiting);
      let end = 'pending';
      // The system limits how many ICMP messages it sends, of all processes together: some datagrams have no answer.
      for (let tries = 0; end === 'pending' && tries < 500; tries++) {
        await client.send(bytes('x'));
        end = await Promise.race([ended, sleep(20, 'pending')]);
      }
      expect(end).toBe('connection-refused');
      const next = client.receive();
      expect(await soon(next)).toBe('pending');
      await bound(serverAddress).send(bytes('here now'), client.getLocalAddress());
      expect(textOf(await next)).toBe('here now');
    });

    it('the refusal of a datagram before is told by the next receive, once', async () => {
      const client = await refused((socket) => soon(socket.receive()));
      expect(await soon(client.receive())).toBe('pending');
    });

    it('a socket without a peer hears of no refusal', async () => {
      const client = bound();
      for (let i = 0; i < 3; i++) await client.send(bytes('x'), closed);
      expect(await soon(client.receive())).toBe('pending');
    });
  });

  describe('get-local-address and get-remote-address', () => {
    it('invalid-state: the socket is not bound, or not connected', async () => {
      const socket = api.create(family);
      expect(await outcome(() => socket.getLocalAddress())).toBe('invalid-state');
      expect(await outcome(() => socket.getRemoteAddress())).toBe('invalid-state');
      socket.bind(any);
      expect(await outcome(() => socket.getLocalAddress())).toBe('ok');
      expect(await outcome(() => socket.getRemoteAddress())).toBe('invalid-state');
    });

    it('the remote address is the one that was passed to connect', () => {
      expect(connected(address(9)).getRemoteAddress()).toEqual(address(9));
    });
  });

  describe('options', () => {
    const STATES = {
      unbound: () => api.create(family),
      bound: () => bound(),
      connected: () => connected(address(9)),
    };

    describe.each(Object.keys(STATES) as (keyof typeof STATES)[])('of an %s socket', (state) => {
      let socket: AsyncSocket;
      beforeEach(() => {
        socket = STATES[state]();
      });

      it('have defaults', () => {
        expect(socket.getUnicastHopLimit()).toBeGreaterThan(0);
        expect(socket.getReceiveBufferSize()).toBeGreaterThan(0n);
        expect(socket.getSendBufferSize()).toBeGreaterThan(0n);
        expect(socket.getAddressFamily()).toBe(family);
      });

      it('what is set is what is read', () => {
        for (const limit of [1, 42, 255]) {
          socket.setUnicastHopLimit(limit);
          expect(socket.getUnicastHopLimit()).toBe(limit);
        }
        for (const size of [0x10000n, 16_000n, 99_999n]) {
          socket.setReceiveBufferSize(size);
          expect(socket.getReceiveBufferSize()).toBe(size);
          socket.setSendBufferSize(size);
          expect(socket.getSendBufferSize()).toBe(size);
        }
      });

      it('invalid-argument: 0', async () => {
        expect(await outcome(() => socket.setUnicastHopLimit(0))).toBe('invalid-argument');
        expect(await outcome(() => socket.setReceiveBufferSize(0n))).toBe('invalid-argument');
        expect(await outcome(() => socket.setSendBufferSize(0n))).toBe('invalid-argument');
      });

      it('sizes that the system does not have are clamped, not refused', () => {
        for (const size of [1n, 2n ** 31n, 2n ** 64n - 1n]) {
          socket.setReceiveBufferSize(size);
          socket.setSendBufferSize(size);
        }
        const most = [socket.getReceiveBufferSize(), socket.getSendBufferSize()];
        socket.setReceiveBufferSize(1n);
        socket.setSendBufferSize(1n);
        expect(socket.getReceiveBufferSize()).toBeLessThan(most[0]!);
        expect(socket.getSendBufferSize()).toBeLessThan(most[1]!);
      });
    });

    it('the receive buffer has the size that is set', async () => {
      const { server, client, serverAddress } = pair();
      server.setReceiveBufferSize(8192n);
      for (let i = 0; i < 100; i++) await client.send(bytes(String(i).repeat(500)), serverAddress);
      let count = 0;
      for (; count < 100; count++) if ((await soon(server.receive())) === 'pending') break;
      expect(count).toBeGreaterThan(0);
      expect(count).toBeLessThan(50);
    });
  });

  describe('drop', () => {
    it('closes the descriptor', () => {
      const before = openSockets();
      const sockets = [api.create(family), bound(), connected(address(9))];
      expect(openedSince(before)).toBe(3);
      for (const socket of sockets) socket[Symbol.dispose]();
      expect(openedSince(before)).toBe(0);
    });

    it('ends receives that wait', async () => {
      const before = openSockets();
      const socket = bound();
      const waiting = [socket.receive(), socket.receive()].map((one) => outcome(() => one));
      socket[Symbol.dispose]();
      expect(await Promise.all(waiting)).toEqual([ended, ended]);
      expect(openedSince(before)).toBe(0);
    });

    it.runIf(byObjects)('may be done again', () => {
      const socket = bound();
      socket[Symbol.dispose]();
      socket[Symbol.dispose]();
    });

    it('what was dropped traps', async () => {
      const socket = connected(address(9));
      socket[Symbol.dispose]();
      const calls = [
        () => socket.bind(any),
        () => socket.connect(address(9)),
        () => socket.disconnect(),
        () => socket.send(bytes('x')),
        () => socket.receive(),
        () => socket.getLocalAddress(),
        () => socket.getRemoteAddress(),
        () => socket.getAddressFamily(),
        () => socket.getUnicastHopLimit(),
        () => socket.setUnicastHopLimit(1),
        () => socket.getReceiveBufferSize(),
        () => socket.setReceiveBufferSize(1n),
        () => socket.getSendBufferSize(),
        () => socket.setSendBufferSize(1n),
      ];
      for (const call of calls) expect(await outcome(call)).toBe('trap');
    });
  });

  describe('with a policy', () => {
    const host = loopback;
    const open = (...allow: Exclude<Parameters<typeof entrance.open>[0], undefined>['allow'] & object) => {
      api[Symbol.dispose]();
      api = entrance.open({ allow });
    };

    it('bind: access-denied where no bind rule covers the address', async () => {
      open({ bind: `${host}:0` });
      const socket = api.create(family);
      for (const local of [anywhere, closed]) expect(await outcome(() => socket.bind(local))).toBe('access-denied');
      expect(await isUnbound(socket)).toBe(true);
      expect(await outcome(() => socket.bind(any))).toBe('ok');
    });

    it('connect: access-denied where no send rule covers the address', async () => {
      open({ bind: '*:0' }, { send: `${host}:9` });
      const socket = api.create(family);
      expect(await outcome(() => socket.connect(address(10)))).toBe('access-denied');
      expect(await isUnbound(socket)).toBe(true);
      expect(await outcome(() => socket.connect(address(9)))).toBe('ok');
      expect(await outcome(() => socket.connect(address(10)))).toBe('access-denied');
      expect(socket.getRemoteAddress()).toEqual(address(9));
    });

    it('send: access-denied where no send rule covers the address, and nothing is sent', async () => {
      await using allowed = await Receiver.open(at);
      await using denied = await Receiver.open(at);
      open({ bind: '*:0' }, { send: allowed.text });
      const socket = api.create(family);
      expect(await outcome(() => socket.send(bytes('no'), denied.address))).toBe('access-denied');
      expect(await isUnbound(socket)).toBe(true);
      await socket.send(bytes('yes'), allowed.address);
      await allowed.until(1);
      expect([allowed.texts, denied.texts]).toEqual([['yes'], []]);
    });

    it.each(['connect', 'send'] as const)(
      'an implicit bind by %s is asked for as a bind to port 0 of the unspecified address',
      async (method) => {
        await using receiver = await Receiver.open(at);
        const first = (socket: AsyncSocket) =>
          method === 'connect' ? socket.connect(receiver.address) : socket.send(bytes('first'), receiver.address);
        for (const rules of [[], [{ bind: `${host}:*` }], [{ bind: `${unspecified}:1-65535` }]]) {
          open({ send: receiver.text }, ...rules);
          const socket = api.create(family);
          expect(await outcome(() => first(socket))).toBe('access-denied');
          expect(await outcome(() => socket.getRemoteAddress())).toBe('invalid-state');
          expect(await isUnbound(socket)).toBe(true);
        }
        expect(receiver.texts).toEqual([]);
        open({ send: receiver.text }, { bind: `${host}:0` });
        const explicit = api.create(family);
        explicit.bind(any);
        expect(await outcome(() => first(explicit))).toBe('ok');
        open({ send: receiver.text }, { bind: `${unspecified}:0` });
        expect(await outcome(() => first(api.create(family)))).toBe('ok');
      },
    );

    describe('receive', () => {
      let outside: AsyncApi;
      let [peer, stranger]: AsyncSocket[] = [];

      beforeEach(() => {
        outside = entrance.open();
        [peer, stranger] = [outside.create(family), outside.create(family)];
        for (const socket of [peer, stranger]) socket.bind(any);
      });
      afterEach(() => outside[Symbol.dispose]());

      it('who may not be heard is dropped, and counted', async () => {
        open({ bind: `${host}:0` }, { receive: `${host}:${portOf(peer!)}` });
        const socket = bound();
        const waiting = socket.receive();
        for (let i = 0; i < 20; i++) await stranger!.send(bytes('no'), socket.getLocalAddress());
        expect(await soon(waiting)).toBe('pending');
        await peer!.send(bytes('yes'), socket.getLocalAddress());
        expect(textOf(await waiting)).toBe('yes');
        expect(api.refused).toBe(20);
      });

      it('without a receive rule, those that a send rule covers', async () => {
        open({ bind: `${host}:0` }, { send: `${host}:${portOf(peer!)}` });
        const socket = bound();
        await stranger!.send(bytes('no'), socket.getLocalAddress());
        await peer!.send(bytes('yes'), socket.getLocalAddress());
        expect(textOf(await socket.receive())).toBe('yes');
        expect(api.refused).toBe(1);
      });
    });
  });

  /** A socket whose peer has refused a datagram, as the call that comes next was told. */
  async function refused(call: (socket: AsyncSocket) => Promise<unknown>): Promise<AsyncSocket> {
    // The system limits how many ICMP messages it sends, of all processes together: some datagrams have no answer.
    for (let tries = 0; tries < 100; tries++) {
      const socket = connected(closed);
      await socket.send(bytes('x'));
      await sleep(5);
      if ((await call(socket)) === 'connection-refused') return socket;
      socket[Symbol.dispose]();
    }
    throw new Error('nobody was told of a refusal');
  }
});

describe('error-code', () => {
  it('has the cases of the WIT, in its order', () => {
    expect(ERROR_CASES.join(' ')).toBe(
      'access-denied not-supported invalid-argument out-of-memory timeout invalid-state address-not-bindable address-in-use ' +
        'remote-unreachable connection-refused connection-broken connection-reset connection-aborted datagram-too-large other',
    );
  });

  it.each([
    ['EACCES', 'access-denied'],
    ['EPERM', 'access-denied'],
    ['EOPNOTSUPP', 'not-supported'],
    ['ENOPROTOOPT', 'not-supported'],
    ['EPROTONOSUPPORT', 'not-supported'],
    ['EINVAL', 'invalid-argument'],
    ['EDESTADDRREQ', 'invalid-argument'],
    ['EAFNOSUPPORT', 'invalid-argument'],
    ['ENOMEM', 'out-of-memory'],
    ['ENOBUFS', 'out-of-memory'],
    ['ETIMEDOUT', 'timeout'],
    ['EADDRNOTAVAIL', 'address-not-bindable'],
    ['EADDRINUSE', 'address-in-use'],
    ['EHOSTUNREACH', 'remote-unreachable'],
    ['ENETDOWN', 'remote-unreachable'],
    ['ENETUNREACH', 'remote-unreachable'],
    ['ENETRESET', 'remote-unreachable'],
    ['ECONNRESET', 'remote-unreachable'],
    ['ECONNREFUSED', 'connection-refused'],
    ['EPIPE', 'connection-broken'],
    ['ECONNABORTED', 'connection-aborted'],
    ['EMSGSIZE', 'datagram-too-large'],
    ['EMFILE', 'other'],
    ['EIO', 'other'],
  ] as const)('%s is %s', (name, expected) => {
    expect(caseOf(systemError('send', 'send', constants.errno[name]))).toBe(expected);
  });
});

describe.skipIf(noNamespaces)(`with a network of its own ${noNamespaces ?? ''}`, () => {
  const WAYS = ['the class', "jco's class"];
  const HOSTS = ['127.0.0.1', '[::1]'];
  const EACH = WAYS.flatMap((way) => HOSTS.map((host) => [way, host] as const));

  interface Sent {
    waited: number;
    accepted: number;
    refusals: string[];
    /** Whether what was accepted has arrived, once each, in order, and nothing else. */
    exact: boolean;
    altered: number;
    second: number[];
    received?: string;
  }
  /** A link on which sends must wait for room. */
  const slow = `tc qdisc add dev lo root tbf rate 10mbit burst 10k limit 100k
    ${ON_ONE_PROCESSOR}`;

  const IN_FLIGHT = [
    [1, 'connected'],
    [8, 'addressed'],
    [64, 'connected'],
    [1000, 'addressed'],
  ] as const;

  // These wait for the link more than they work.
  it.concurrent.each(EACH.flatMap((at) => IN_FLIGHT.map((mode) => [...at, ...mode] as const)))(
    'by %s over %s, sends that wait for room, %i in flight: each datagram once, in order',
    async (way, host, count, mode) => {
      const { waited, ...seen } = await runInNamespace<Sent>(slow, 'async-sends.mjs', [way, host, `${count}`, mode]);
      expect(waited).toBeGreaterThan(count === 1 ? 10 : 100);
      expect(seen).toEqual({
        accepted: 1500,
        refusals: [],
        exact: true,
        altered: 0,
        second: [],
        received: way === 'the class' ? 'closed' : 'trap',
      });
    },
  );

  it.concurrent.each(EACH)(
    'by %s over %s, sends that wait while the peer is changed: invalid-state, not sent',
    async (...at) => {
      const seen = await runInNamespace<Sent>(slow, 'async-sends.mjs', [...at, 'turn']);
      expect(seen).toMatchObject({ refusals: ['invalid-state'], exact: true, altered: 0, second: [1000] });
      expect(seen.waited).toBeGreaterThan(100);
      expect(seen.accepted).toBeLessThan(200);
    },
  );

  it.concurrent.each(EACH)('by %s over %s, sends that wait while the socket is dropped: not sent', async (...at) => {
    const seen = await runInNamespace<Sent>(slow, 'async-sends.mjs', [...at, 'drop']);
    expect(seen).toMatchObject({
      refusals: [at[0] === 'the class' ? 'closed' : 'trap'],
      exact: true,
      altered: 0,
      second: [],
    });
    expect(seen.waited).toBeGreaterThan(100);
    expect(seen.accepted).toBeLessThan(200);
  });

  it.each(EACH.flatMap(([way, host]) => ['send', 'receive'].map((next) => [way, host, next] as const)))(
    'by %s over %s, what is refused while others wait for room is told by the next %s, once',
    async (way, host, next) => {
      // Slow enough for the system to answer each with a refusal.
      const slower = slow.replace('10mbit', '1mbit');
      const seen = await runInNamespace<Sent & { told: string[] }>(slower, 'async-sends.mjs', [
        way,
        host,
        `close-${next}`,
      ]);
      expect(seen.waited).toBeGreaterThan(100);
      expect([seen.accepted, seen.refusals]).toEqual([300, []]);
      // One that was met while others waited, and the last one.
      expect(seen.told).toEqual(['connection-refused', 'connection-refused', next === 'send' ? 'ok' : 'pending']);
    },
  );

  const NOWHERE = {
    '127.0.0.1': { route: 'ip route add prohibit 203.0.113.0/24', hosts: ['198.51.100.1:9', '203.0.113.1:9'] },
    '[::1]': { route: 'ip -6 route add prohibit 2001:db8:1::/48', hosts: ['[2001:db8::1]:9', '[2001:db8:1::1]:9'] },
  };

  it.each(EACH)('by %s over %s, remote-unreachable and access-denied: there is no route', async (way, host) => {
    const { route, hosts } = NOWHERE[host as keyof typeof NOWHERE];
    const steps = (error: string) => [error, 'invalid-state', error, 'ok', 'ok', error, 'invalid-state', 'ok', 'ok'];
    expect(await runInNamespace(route, 'async-errors.mjs', [way, host, ...hosts])).toEqual({
      unrouted: steps('remote-unreachable'),
      prohibited: steps('access-denied'),
      more: 'none',
    });
  });

  it.each(WAYS.flatMap((way) => ['connect', 'send'].map((method) => [way, method])))(
    'by %s, address-in-use: an implicit bind by %s where no ephemeral port is left',
    async (...at) => {
      const setup = 'echo "40000 40003" > /proc/sys/net/ipv4/ip_local_port_range';
      expect(await runInNamespace(setup, 'async-ports.mjs', at)).toEqual({
        bound: 4,
        outcome: 'address-in-use',
        bind: 'address-in-use',
        local: 'invalid-state',
        again: 'ok',
      });
    },
  );

  it.each(WAYS)('by %s, connects again by another path: the port stays, the local address follows', async (way) => {
    const setup = `ip link add one type veth peer name two && ip link set one up && ip link set two up
      ip addr add 10.1.0.1/24 dev one
      ip addr add fd00:1::1/64 dev one nodad
      ip addr add fd00:2::2/128 dev lo nodad && ip addr add fd00:2::3/128 dev lo nodad`;
    const seen = await runInNamespace<Record<string, string[]>>(setup, 'async-reconnect.mjs', [way]);
    const [four, six] = ['10.1.0.1', '[fd00:1::1]'];
    expect(seen).toEqual({
      ipv4: [
        '127.0.0.1, heard',
        four,
        '127.0.0.1, heard',
        four,
        '0.0.0.0',
        '127.0.0.1, heard',
        `${four}, heard`,
        '127.0.0.1, heard',
      ],
      ipv6: [
        '[::1], heard',
        six,
        '[fd00:2::2], heard',
        six,
        '[::]',
        '[fd00:2::3], heard',
        `${six}, heard`,
        '[::1], heard',
      ],
    });
  });
});
