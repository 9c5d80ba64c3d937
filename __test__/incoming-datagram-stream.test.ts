import { expect, test } from 'vitest';
import { openUdp } from '../dist/index.js';
import { formatSocketAddress } from '../dist/rules/address.js';

/** What arrives on loopback is there when the send returns; in case not, the receiver waits. */
test('a datagram behind one of a source that no rule covers is received, however the two came from the kernel', async () => {
  using stranger = openUdp({ local: '127.0.0.1:0' });
  using friend = openUdp({ local: '127.0.0.1:0' });
  const source = formatSocketAddress(friend.localAddress);
  using receiver = openUdp({ local: '127.0.0.1:0', allow: [{ bind: '*:*' }, { receive: source }] });
  const send = ({ outgoing }: typeof friend, byte: number) => {
    outgoing.checkSend();
    outgoing.send([{ data: Uint8Array.of(byte), remoteAddress: receiver.localAddress }]);
  };
  const receive = async () => {
    await receiver.incoming.subscribe().wait();
    return receiver.incoming.receive(1).map(({ data }) => data[0]);
  };
  // Whoever asks for one again and again is read ahead for: the kernel hands over both of the last two at once, then.
  for (const byte of [1, 2, 3]) send(friend, byte);
  expect([await receive(), await receive(), await receive()]).toEqual([[1], [2], [3]]);
  send(stranger, 4);
  send(friend, 5);
  expect(await receive()).toEqual([5]);
  expect(receiver.incoming.refused).toBe(1);
});
