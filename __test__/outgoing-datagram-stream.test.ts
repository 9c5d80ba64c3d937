import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type IpSocketAddress,
  type OpenUdp,
  type OutgoingDatagram,
  openUdp,
  parseSocketAddress,
  SocketError,
  Trap,
} from '../dist/index.js';
import { native } from '../dist/native/native.js';
import { closedPort, FAMILIES, Receiver } from './support/receiver.js';
import { noNamespaces, openedSince, openSockets, runInNamespace } from './support/runtime.js';

const bytes = (text: string) => new TextEncoder().encode(text);

/** Takes the bytes of an array away, where it has them still. */
function detach({ buffer, length }: Uint8Array<ArrayBuffer>): void {
  if (length > 0) structuredClone(buffer, { transfer: [buffer] });
}

/** What a call throws, for looking at. */
function thrownBy(call: () => unknown): SocketError {
  try {
    call();
  } catch (error) {
    return error as SocketError;
  }
  throw new Error('nothing was thrown');
}

/** Sends to a closed port until the ICMP message has come, which it does in its own time; the error that `send` throws. */
async function refusal({ outgoing }: OpenUdp): Promise<SocketError> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await new Promise(setImmediate)) {
    outgoing.checkSend();
    try {
      expect(outgoing.send([{ data: bytes('x') }])).toBe(1n);
    } catch (error) {
      return error as SocketError;
    }
  }
  throw new Error('nothing was refused');
}

describe.each(FAMILIES)('outgoing-datagram-stream over $family', (familyCase) => {
  const { loopback, unspecified, largest, other, family } = familyCase;
  let receiver: Receiver;
  let udp: OpenUdp;
  let connected: OpenUdp;

  beforeEach(async () => {
    receiver = await Receiver.open(familyCase);
    udp = openUdp({ local: `${loopback}:0` });
    connected = openUdp({ remote: receiver.text });
  });
  afterEach(async () => {
    udp[Symbol.dispose]();
    connected[Symbol.dispose]();
    await receiver[Symbol.asyncDispose]();
  });

  const to = (text: string, remoteAddress: IpSocketAddress | undefined = receiver.address): OutgoingDatagram => ({
    data: bytes(text),
    remoteAddress,
  });
  /** Sends a last datagram and expects exactly these texts before it. */
  async function expectArrived(...texts: string[]) {
    udp.outgoing.checkSend();
    expect(udp.outgoing.send([to('last')])).toBe(1n);
    await receiver.until(texts.length + 1);
    expect(receiver.texts).toEqual([...texts, 'last']);
  }

  describe('check-send', () => {
    it('grants 1024', () => {
      expect(udp.outgoing.checkSend()).toBe(1024n);
    });

    it('grants 1024 again after a send that the kernel took whole, without asking it', async () => {
      const asked = vi.spyOn(native, 'checkSend');
      udp.outgoing.checkSend();
      udp.outgoing.send([to('a'), to('b')]);
      expect(udp.outgoing.checkSend()).toBe(1024n);
      expect(asked).not.toHaveBeenCalled();
      asked.mockRestore();
      await receiver.until(2);
    });

    it('does not add up', () => {
      udp.outgoing.checkSend();
      udp.outgoing.checkSend();
      const tooMany = Array.from({ length: 1025 }, () => to('x'));
      expect(() => udp.outgoing.send(tooMany)).toThrow(Trap);
    });

    it('asks once after a refusal, then grants', async () => {
      const refused = openUdp({ remote: closedPort(familyCase) });
      expect((await refusal(refused)).payload).toBe('connection-refused');
      const asked = vi.spyOn(native, 'checkSend');
      expect(refused.outgoing.checkSend()).toBe(1024n);
      expect(asked).toHaveBeenCalledTimes(1);
      expect(refused.outgoing.checkSend()).toBe(1024n);
      expect(asked).toHaveBeenCalledTimes(1);
      asked.mockRestore();
      refused[Symbol.dispose]();
    });
  });

  describe('the permit', () => {
    it('takes 1024 datagrams at once, in order', async () => {
      udp.outgoing.checkSend();
      const list = Array.from({ length: 1024 }, (_, i) => to(`${i}`));
      expect(udp.outgoing.send(list)).toBe(1024n);
      await receiver.until(1024);
      expect(receiver.texts).toEqual(list.map((_, i) => `${i}`));
    });

    it('traps without check-send, and nothing is sent', async () => {
      expect(() => udp.outgoing.send([to('no')])).toThrow(Trap);
      expect(() => udp.outgoing.send([to('no')])).toThrow(/call checkSend\(\) before/);
      await expectArrived();
    });

    it('traps for more than permitted, and nothing is sent', async () => {
      udp.outgoing.checkSend();
      const tooMany = Array.from({ length: 1025 }, () => to('no'));
      expect(() => udp.outgoing.send(tooMany)).toThrow(/got 1025 datagrams, checkSend\(\) permitted 1024/);
      await expectArrived();
    });

    it('is used up by a send of fewer', () => {
      udp.outgoing.checkSend();
      udp.outgoing.send([to('one')]);
      expect(() => udp.outgoing.send([to('two')])).toThrow(Trap);
    });

    it('is used up by a send that fails', () => {
      udp.outgoing.checkSend();
      expect(() => udp.outgoing.send([to('no', parseSocketAddress(`${loopback}:0`))])).toThrow(SocketError);
      expect(() => udp.outgoing.send([to('no')])).toThrow(Trap);
    });

    it('is not touched by an empty list', async () => {
      expect(udp.outgoing.send([])).toBe(0n);
      udp.outgoing.checkSend();
      expect(udp.outgoing.send([])).toBe(0n);
      expect(udp.outgoing.send([to('one')])).toBe(1n);
      await expectArrived('one');
    });
  });

  it('an error result has its own payload and code, a trap has neither', () => {
    udp.outgoing.checkSend();
    const error = thrownBy(() => udp.outgoing.send([to('no', parseSocketAddress(`${loopback}:0`))]));
    expect(error).toBeInstanceOf(SocketError);
    expect(Object.hasOwn(error, 'payload')).toBe(true);
    expect(error.payload).toBe('invalid-argument');
    expect(error.payload).toBe('invalid-argument');
    const trap = thrownBy(() => udp.outgoing.send([to('no')]));
    expect(trap).toBeInstanceOf(WebAssembly.RuntimeError);
    expect(trap.name).toBe('Trap');
    expect('payload' in trap).toBe(false);
  });

  describe('the prefix rule', () => {
    const bad = () => to('bad', parseSocketAddress(`${loopback}:0`));

    it('an invalid entry at 0 is the error, and nothing is sent', async () => {
      udp.outgoing.checkSend();
      expect(thrownBy(() => udp.outgoing.send([bad(), to('a')])).payload).toBe('invalid-argument');
      await expectArrived();
    });

    it('an invalid entry in the middle cuts the batch there', async () => {
      udp.outgoing.checkSend();
      expect(udp.outgoing.send([to('a'), to('b'), bad(), to('c')])).toBe(2n);
      await expectArrived('a', 'b');
    });

    it('what is no datagram at 0 is a TypeError, in the middle it cuts the batch', async () => {
      for (const wrong of [undefined, null, 7, {}, { data: 'text' }, { data: [1] }, { data: new Uint16Array(1) }]) {
        udp.outgoing.checkSend();
        const entry = wrong as unknown as OutgoingDatagram;
        expect(() => udp.outgoing.send([entry])).toThrow(TypeError);
        udp.outgoing.checkSend();
        expect(udp.outgoing.send([to('a'), entry])).toBe(1n);
      }
      await expectArrived(...Array(7).fill('a'));
    });

    it('a detached array is no datagram', () => {
      const data = bytes('gone');
      detach(data);
      udp.outgoing.checkSend();
      expect(() => udp.outgoing.send([{ data, remoteAddress: receiver.address }])).toThrow(TypeError);
    });

    it('a list that is larger than the arena goes out whole, in order', async () => {
      const count = 60;
      const list = Array.from({ length: count }, (_, i) => ({
        data: new Uint8Array(60_000).fill(i),
        remoteAddress: receiver.address,
      }));
      let sent = 0;
      while (sent < count) {
        if (udp.outgoing.checkSend() === 0n) udp.outgoing.subscribe().block();
        else sent += Number(udp.outgoing.send(list.slice(sent, sent + 30)));
        await receiver.until(sent);
      }
      expect(receiver.received.map((data) => [data.length, data[0], data.at(-1)])).toEqual(
        list.map((_, i) => [60_000, i, i]),
      );
    });

    it('an invalid entry behind a full arena cuts the batch there', async () => {
      const list = [
        ...Array.from({ length: 26 }, () => ({ data: new Uint8Array(65_000), remoteAddress: receiver.address })),
      ];
      udp.outgoing.checkSend();
      expect(udp.outgoing.send([...list, bad(), to('never')])).toBe(26n);
      await receiver.until(26);
      expect(receiver.received).toHaveLength(26);
    });
  });

  it('each datagram goes where its address says, be the objects shared or equal', async () => {
    const others = await Promise.all([Receiver.open(familyCase), Receiver.open(familyCase)]);
    const receivers = [receiver, ...others];
    const shared = receivers.map(({ address }) => address);
    const list = Array.from({ length: 500 }, (_, i) => {
      const which = ((i * i) >> 3) % 3;
      return { which, text: `${i}`, address: i % 4 < 2 ? shared[which]! : receivers[which]!.address };
    });
    udp.outgoing.checkSend();
    expect(udp.outgoing.send(list.map(({ text, address }) => to(text, address)))).toBe(500n);
    const writer = udp.outgoing.writer();
    for (const { text, address } of list) {
      writer.bytes.set(bytes(text), writer.position);
      writer.commit(text.length, address);
    }
    udp.outgoing.checkSend();
    expect(writer.flush()).toBe(500n);
    for (const [which, one] of receivers.entries()) {
      const expected = list.filter((datagram) => datagram.which === which).map(({ text }) => text);
      await one.until(2 * expected.length);
      expect(one.texts).toEqual([...expected, ...expected]);
    }
    for (const other of others) await other[Symbol.asyncDispose]();
  });

  it('a getter of a list may send in turn', async () => {
    const inner = ['b', 'c'].map((text) => to(text));
    const list = [
      to('a'),
      {
        get data() {
          connected.outgoing.checkSend();
          expect(connected.outgoing.send(inner)).toBe(2n);
          return bytes('d');
        },
        remoteAddress: receiver.address,
      },
      to('e'),
    ];
    udp.outgoing.checkSend();
    expect(udp.outgoing.send(list)).toBe(3n);
    await expectArrived('b', 'c', 'a', 'd', 'e');
  });

  it('a getter of a list may shorten it, which ends the list', () => {
    const data = new Uint8Array(65_507);
    const shortening = {
      get data() {
        list.length = 10;
        return data;
      },
      remoteAddress: receiver.address,
    };
    // More bytes than one pass takes: the getter is read at the end of the first.
    const list = Array.from({ length: 30 }, (_, i) =>
      i === 24 ? shortening : { data, remoteAddress: receiver.address },
    );
    udp.outgoing.checkSend();
    expect(udp.outgoing.send(list)).toBe(24n);
  });

  it('data that a getter shrinks is sent as it is then, or not at all', async () => {
    const before = bytes('before');
    const during = bytes('during');
    const { val } = receiver.address;
    const address = {
      ...receiver.address,
      get val() {
        detach(during);
        return val;
      },
    } as IpSocketAddress;
    const list = [
      to('first'),
      {
        data: before,
        get remoteAddress() {
          detach(before);
          return receiver.address;
        },
      },
    ];
    udp.outgoing.checkSend();
    expect(udp.outgoing.send(list)).toBe(1n);
    udp.outgoing.checkSend();
    expect(udp.outgoing.send([to('second'), { data: during, remoteAddress: address }])).toBe(1n);
    await expectArrived('first', 'second');
  });

  describe('invalid-argument', () => {
    const refuses = (stream: OpenUdp, remoteAddress: IpSocketAddress | undefined, rule: RegExp) => {
      stream.outgoing.checkSend();
      const error = thrownBy(() => stream.outgoing.send([{ data: bytes('no'), remoteAddress }]));
      expect(error.payload).toBe('invalid-argument');
      expect(error.message).toMatch(rule);
    };

    it('the wrong family', () => refuses(udp, parseSocketAddress(other), /addresses, got/));
    it('an unspecified address', () => refuses(udp, parseSocketAddress(`${unspecified}:9`), /names a host/));
    it('port 0', () => refuses(udp, parseSocketAddress(`${loopback}:0`), /a remote port is 1 to 65535/));
    it('no address where the stream is not connected', () => refuses(udp, undefined, /needs the remote address/));
    it("an address other than the stream's own where it is connected", () => {
      refuses(connected, parseSocketAddress(`${loopback}:9`), /the socket is connected to/);
    });
    it.runIf(family === 'ipv6')('an IPv4-mapped or IPv4-compatible address', () => {
      refuses(udp, parseSocketAddress('[::ffff:127.0.0.1]:9'), /IPv6 socket reaches IPv6 alone/);
      refuses(udp, parseSocketAddress('[::127.0.0.1]:9'), /IPv6 socket reaches IPv6 alone/);
    });
    it('what is no address', () => {
      const val = { port: 9, address: [127, 0, 0, 1] };
      for (const wrong of [
        '127.0.0.1',
        5,
        {},
        { address: '127.0.0.1' },
        { address: 'localhost', port: 9 },
        { address: [127, 0, 0, 1], port: 9 },
        { tag: 'ipv4', address: '127.0.0.1', port: 9 },
        { tag: 'ipv5', val },
        { tag: 'ipv4' },
        { tag: 'ipv4', val: { ...val, port: 65_536 } },
        { tag: 'ipv4', val: { ...val, port: 9.5 } },
        { tag: 'ipv4', val: { ...val, address: [127, 0, 0, 256] } },
        { tag: 'ipv4', val: { ...val, address: [127, 0, 0] } },
        { tag: 'ipv6', val: { port: 9, flowInfo: 0, scopeId: 0, address: [0, 0, 0, 0, 0, 0, 0, 65_536] } },
        { tag: 'ipv6', val: { port: 9, flowInfo: -1, scopeId: 0, address: [0, 0, 0, 0, 0, 0, 0, 1] } },
      ]) {
        refuses(udp, wrong as unknown as IpSocketAddress, /got/);
      }
    });
  });

  it("the stream's own address may be named where it is connected", async () => {
    connected.outgoing.checkSend();
    expect(connected.outgoing.send([{ data: bytes('a') }, to('b')])).toBe(2n);
    await expectArrived('a', 'b');
  });

  it('datagrams of no bytes and of the most bytes arrive whole', async () => {
    udp.outgoing.checkSend();
    const data = new Uint8Array(largest).map((_, i) => i);
    const remoteAddress = receiver.address;
    expect(
      udp.outgoing.send([
        { data: new Uint8Array(0), remoteAddress },
        { data, remoteAddress },
      ]),
    ).toBe(2n);
    await receiver.until(2);
    expect(receiver.received[0]).toHaveLength(0);
    expect(receiver.received[1]?.equals(data)).toBe(true);
  });

  it('datagram-too-large by size: one byte more, at 0 and in the middle', async () => {
    const tooLarge = { data: new Uint8Array(largest + 1), remoteAddress: receiver.address };
    udp.outgoing.checkSend();
    const error = thrownBy(() => udp.outgoing.send([tooLarge]));
    expect(error.payload).toBe('datagram-too-large');
    expect(error.message).toContain(`at most ${largest} bytes, got ${largest + 1}`);
    udp.outgoing.checkSend();
    expect(udp.outgoing.send([to('a'), tooLarge, to('b')])).toBe(1n);
    await expectArrived('a');
  });

  it('connection-refused from a closed port, once, on a connected stream', async () => {
    const refused = openUdp({ remote: closedPort(familyCase) });
    const error = await refusal(refused);
    expect(error.payload).toBe('connection-refused');
    expect(error.code).toBe('ECONNREFUSED');
    refused.outgoing.checkSend();
    expect(refused.outgoing.send([{ data: bytes('again') }])).toBe(1n);
    refused[Symbol.dispose]();
  });

  describe.skipIf(noNamespaces)(`errors of the kernel, in a namespace ${noNamespaces ?? ''}`, () => {
    const setup = `
      ip route add unreachable 10.9.0.0/16
      ip route add prohibit 10.8.0.0/16
      ip -6 route add unreachable fd00:9::/64
      ip -6 route add prohibit fd00:8::/64
      ip link set lo mtu 1500`;

    it.each([
      ['remote-unreachable', family === 'ipv4' ? '10.9.0.1:9' : '[fd00:9::1]:9', 'EHOSTUNREACH'],
      ['access-denied', family === 'ipv4' ? '10.8.0.1:9' : '[fd00:8::1]:9', 'EACCES'],
      ['datagram-too-large', `${loopback}:9`, 'EMSGSIZE'],
    ])('%s: the error at 0, a count in the middle', async (payload, destination, code) => {
      const seen = await runInNamespace(setup, 'kernel-errors.mjs', [loopback, destination, payload]);
      const address = destination.slice(0, -2).replace(/[[\]]/g, '');
      const first = { payload, code, syscall: 'send', address, port: 9 };
      expect(seen).toEqual({ first, middle: '2', arrived: ['a', 'b', 'last'] });
    });
  });

  describe('drop', () => {
    it('closes the descriptor with the last owner', async () => {
      const before = openSockets();
      const { socket, incoming, outgoing } = openUdp({ remote: receiver.text });
      expect(openedSince(before)).toBe(1);
      socket[Symbol.dispose]();
      incoming[Symbol.dispose]();
      outgoing.checkSend();
      expect(outgoing.send([{ data: bytes('still') }])).toBe(1n);
      expect(openedSince(before)).toBe(1);
      outgoing[Symbol.dispose]();
      expect(openedSince(before)).toBe(0);
      await expectArrived('still');
    });

    it('may be done again', () => {
      const before = openSockets();
      const again = openUdp();
      expect(openedSince(before)).toBe(1);
      again[Symbol.dispose]();
      expect(openedSince(before)).toBe(0);
      // Has the number of the descriptor that was closed.
      using _next = openUdp();
      for (let i = 0; i < 3; i++) {
        again.outgoing[Symbol.dispose]();
        again.socket[Symbol.dispose]();
        again[Symbol.dispose]();
      }
      expect(openedSince(before)).toBe(1);
    });

    it('makes every use trap, those of its pollables too', () => {
      const { outgoing } = connected;
      const pollable = outgoing.subscribe();
      outgoing.checkSend();
      outgoing[Symbol.dispose]();
      for (const use of [
        () => outgoing.checkSend(),
        () => outgoing.send([]),
        () => outgoing.send([{ data: bytes('no') }]),
        () => outgoing.subscribe(),
        () => outgoing.writer(),
        () => pollable.ready(),
        () => pollable.block(),
      ]) {
        expect(use).toThrow(Trap);
        expect(use).toThrow(/dropped/);
      }
    });
  });
});
