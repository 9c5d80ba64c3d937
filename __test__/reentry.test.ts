import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type IpSocketAddress, type OpenUdp, openUdp, Trap } from '../dist/index.js';
import { bytes, outcome, textsAt, thrownBy } from './support/outcomes.js';
import { FAMILIES, Receiver } from './support/receiver.js';

describe('calls in the midst of calls', () => {
  let receiver: Receiver;
  let other: Receiver;
  let udp: OpenUdp;

  beforeEach(async () => {
    receiver = await Receiver.open(FAMILIES[0]);
    other = await Receiver.open(FAMILIES[0]);
    udp = openUdp({ local: '127.0.0.1:0', allow: [{ bind: '127.0.0.1:0' }, { send: receiver.text }] });
  });
  afterEach(async () => {
    udp[Symbol.dispose]();
    await receiver[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  /** The address, which calls back when it is read at all, or when its last byte is. */
  const calling = (address: IpSocketAddress, call: () => void): IpSocketAddress[] => {
    const early = {
      ...address,
      get tag() {
        call();
        return address.tag;
      },
    };
    const parts = [...address.val.address];
    const [last] = parts.slice(-1);
    Object.defineProperty(parts, parts.length - 1, {
      get() {
        call();
        return last;
      },
    });
    return [early, { tag: address.tag, val: { ...address.val, address: parts } }] as IpSocketAddress[];
  };
  const write = (text: string, address: IpSocketAddress) => {
    const writer = udp.outgoing.writer();
    writer.bytes.set(bytes(text), writer.position);
    writer.commit(text.length, address);
    return writer;
  };

  it.each([0, 1])('a commit in a commit is refused: the accepted address stays (getter %i)', async (which) => {
    const writer = write('first', receiver.address);
    let inner: unknown;
    const commit = () => {
      inner = thrownBy(() => writer.commit(3, receiver.address));
    };
    // The address of the outer one is denied: the inner one must not go there.
    const outer = outcome(() => writer.commit(3, calling(other.address, commit)[which]));
    expect(inner).toBeInstanceOf(Trap);
    expect(String(inner)).toMatch(/^Trap: commit\(\): a commit\(\) of the same writer is reading its address/);
    expect(outer).toBe('access-denied');
    expect(writer.pending).toBe(1);
    udp.outgoing.checkSend();
    expect(writer.flush()).toBe(1n);
    expect(await textsAt(other)).toEqual([]);
    expect(await textsAt(receiver)).toEqual(['first']);
  });

  it.each(['flush', 'clear'] as const)(
    '%s in a commit is refused: nothing pending is lost, nor the permit',
    async (name) => {
      const writer = write('first', receiver.address);
      udp.outgoing.checkSend();
      writer.bytes.set(bytes('second'), writer.position);
      for (const address of calling(receiver.address, () => writer[name]())) {
        expect(thrownBy(() => writer.commit(6, address))).toBeInstanceOf(Trap);
        expect([writer.pending, writer.position]).toEqual([1, 5]);
      }
      const caught = () => {
        expect(() => writer[name]()).toThrow(new RegExp(`^${name}\\(\\): a commit\\(\\) of the same writer`));
      };
      writer.commit(6, calling(receiver.address, caught)[0]);
      expect(writer.flush()).toBe(2n);
      expect(await textsAt(receiver)).toEqual(['first', 'second']);
    },
  );

  it('a getter that throws leaves the writer, and the stream, as they were', async () => {
    const writer = write('first', receiver.address);
    const failing = calling(receiver.address, () => {
      throw new Error('from the getter');
    });
    for (const address of failing) {
      expect(() => writer.commit(3, address)).toThrow('from the getter');
      udp.outgoing.checkSend();
      const list = [
        { data: bytes('no'), remoteAddress: receiver.address },
        { data: bytes('no'), remoteAddress: address },
      ];
      expect(() => udp.outgoing.send(list)).toThrow('from the getter');
    }
    writer.bytes.set(bytes('second'), writer.position);
    writer.commit(6, receiver.address);
    udp.outgoing.checkSend();
    expect(writer.flush()).toBe(2n);
    expect(await textsAt(receiver)).toEqual(['first', 'second']);
  });

  it('a getter that throws behind a full arena does not hide what was accepted', async () => {
    const large = { data: new Uint8Array(65_000), remoteAddress: receiver.address };
    const failing = {
      remoteAddress: receiver.address,
      get data(): Uint8Array {
        throw new Error('from the getter');
      },
    };
    // 24 fill a pass.
    const list = [...Array(25).fill(large), failing];
    udp.outgoing.checkSend();
    expect(udp.outgoing.send(list)).toBe(24n);
    udp.outgoing.checkSend();
    expect(() => udp.outgoing.send(list.slice(25))).toThrow('from the getter');
  });

  it('send in a commit, commit in a send, and writes to the buffer meanwhile are harmless', async () => {
    const writer = udp.outgoing.writer();
    const inner = () => {
      udp.outgoing.checkSend();
      expect(udp.outgoing.send([{ data: bytes('by send'), remoteAddress: receiver.address }])).toBe(1n);
      writer.bytes.set(bytes('written'), writer.position);
    };
    writer.commit(7, calling(receiver.address, inner)[1]);
    const list = calling(receiver.address, () => {
      writer.bytes.set(bytes('in a send'), writer.position);
      writer.commit(9, receiver.address);
    }).map((remoteAddress, i) => ({ data: bytes(`outer ${i}`), remoteAddress }));
    udp.outgoing.checkSend();
    expect(udp.outgoing.send(list)).toBe(2n);
    udp.outgoing.checkSend();
    expect(writer.flush()).toBe(3n);
    expect(await textsAt(receiver)).toEqual(['by send', 'outer 0', 'outer 1', 'written', 'in a send', 'in a send']);
  });

  describe('a getter of a list that drops the stream, and streams to another peer', () => {
    const turnTo = (peer: Receiver, open: OpenUdp) => () => {
      open.incoming[Symbol.dispose]();
      open.outgoing[Symbol.dispose]();
      open.socket.stream(peer.address);
      return bytes('for the first peer');
    };

    it('ends the send with a trap, and nothing is sent', async () => {
      const connected = openUdp({ remote: receiver.text });
      const list = [
        { data: bytes('for the first peer') },
        {
          get data() {
            return turnTo(other, connected)();
          },
        },
      ];
      connected.outgoing.checkSend();
      expect(() => connected.outgoing.send(list)).toThrow(Trap);
      expect(await textsAt(other)).toEqual([]);
      expect(await textsAt(receiver)).toEqual([]);
      connected[Symbol.dispose]();
    });

    it('behind a full arena ends the send with the count of what was accepted', async () => {
      const connected = openUdp({ remote: receiver.text });
      const large = { data: new Uint8Array(65_000) };
      let reads = 0;
      const turning = {
        get data() {
          reads += 1;
          // Read at the end of the first pass, and again at the start of the second.
          return reads === 1 ? large.data : turnTo(other, connected)();
        },
      };
      connected.outgoing.checkSend();
      expect(connected.outgoing.send([...Array(24).fill(large), turning])).toBe(24n);
      expect(reads).toBe(2);
      expect(await textsAt(other)).toEqual([]);
      connected[Symbol.dispose]();
    });
  });
});
