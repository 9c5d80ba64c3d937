import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DatagramWriter, type OpenUdp, openUdp, parseSocketAddress, SocketError, Trap } from '../dist/index.js';
import { FAMILIES, Receiver } from './support/receiver.js';

describe.each(FAMILIES)('the writer over $family', (familyCase) => {
  let receiver: Receiver;
  let udp: OpenUdp;
  let writer: DatagramWriter;

  beforeEach(async () => {
    receiver = await Receiver.open(familyCase);
    udp = openUdp({ local: `${familyCase.loopback}:0` });
    writer = udp.outgoing.writer();
  });
  afterEach(async () => {
    udp[Symbol.dispose]();
    await receiver[Symbol.asyncDispose]();
  });

  const write = (text: string, address = receiver.address) => {
    const { written } = new TextEncoder().encodeInto(text, writer.bytes.subarray(writer.position));
    writer.commit(written, address);
  };

  it('sends what was committed, in order, and begins anew', async () => {
    for (let i = 0; i < 300; i++) write(`${i % 7}`.repeat(1 + (i % 5)));
    expect(writer.pending).toBe(300);
    udp.outgoing.checkSend();
    expect(writer.flush()).toBe(300n);
    expect([writer.pending, writer.position]).toEqual([0, 0]);
    await receiver.until(300);
    expect(receiver.texts).toEqual(Array.from({ length: 300 }, (_, i) => `${i % 7}`.repeat(1 + (i % 5))));
  });

  it('obeys the permit: none without check-send, used up by a flush, untouched by an empty one', () => {
    expect(writer.flush()).toBe(0n);
    write('a');
    expect(() => writer.flush()).toThrow(Trap);
    expect(writer.pending).toBe(1);
    udp.outgoing.checkSend();
    expect(writer.flush()).toBe(1n);
    write('b');
    expect(() => writer.flush()).toThrow(Trap);
  });

  it('refuses what send refuses, and commits nothing then', () => {
    expect(() => write('no', parseSocketAddress(`${familyCase.loopback}:0`))).toThrow(SocketError);
    expect(() => writer.commit(1)).toThrow(/needs the remote address/);
    expect(() => writer.commit(familyCase.largest + 1, receiver.address)).toThrow(/datagram|carries at most/);
    for (const length of [-1, 0.5, Number.NaN, writer.bytes.length + 1]) {
      expect(() => writer.commit(length, receiver.address)).toThrow(RangeError);
    }
    expect([writer.pending, writer.position]).toEqual([0, 0]);
  });

  it('holds 1024 datagrams, and says so', () => {
    for (let i = 0; i < 1024; i++) writer.commit(0, receiver.address);
    expect(() => writer.commit(0, receiver.address)).toThrow(/flush\(\) before/);
    writer.clear();
    expect(writer.pending).toBe(0);
  });

  it('two writers and send do not disturb each other', async () => {
    const other = udp.outgoing.writer();
    write('first');
    other.bytes.set(new TextEncoder().encode('second'), other.position);
    other.commit(6, receiver.address);
    udp.outgoing.checkSend();
    udp.outgoing.send([{ data: new TextEncoder().encode('third'), remoteAddress: receiver.address }]);
    udp.outgoing.checkSend();
    writer.flush();
    udp.outgoing.checkSend();
    other.flush();
    await receiver.until(3);
    expect(receiver.texts).toEqual(['third', 'first', 'second']);
  });
});
