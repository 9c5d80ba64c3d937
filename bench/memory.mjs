// Sends ten million datagrams, and prints heap and resident memory on the way: flat after the first 100,000.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { openUdp, parseSocketAddress } from '../dist/index.js';

const total = 10_000_000;
const receiver = createSocket('udp4');
receiver.bind(0, '127.0.0.1');
await once(receiver, 'listening');
const remoteAddress = parseSocketAddress(`127.0.0.1:${receiver.address().port}`);
const { outgoing } = openUdp();
const writer = outgoing.writer();
// Absent until they are built.
const own = await import('../dist/dgram/index.js').catch(() => undefined);
const sender = own?.createSocket('udp4');
const hearer = own?.createSocket('udp4', () => {});
if (own !== undefined) {
  hearer.bind(0, '127.0.0.1');
  await once(hearer, 'listening');
}
const queue = outgoing.queue?.();
const ports = [receiver, hearer ?? receiver].map((socket) => socket.address().port);
const list = Array.from({ length: 256 }, () => ({ data: new Uint8Array(64), remoteAddress }));

const samples = [];
let sent = 0;
for (const at of [100_000, 1_000_000, 2_500_000, 5_000_000, 7_500_000, total]) {
  for (let turn = 0; sent < at; turn++) {
    if (outgoing.checkSend() === 0n) outgoing.subscribe().block();
    // One turn in four by wasi-udp/dgram, which hears half of what it sends.
    if (turn % 4 === 3 && own !== undefined) {
      for (const [i, { data }] of list.entries()) {
        sender.send(data, ports[i % 2], '127.0.0.1');
      }
      sent += list.length;
      await new Promise((resolve) => setImmediate(resolve));
      while (sender.getSendQueueCount() > 0) await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    if (turn % 3 === 0) {
      sent += Number(outgoing.send(list));
      continue;
    }
    if (turn % 3 === 1 && queue !== undefined) {
      for (const { data } of list) sent += Number(queue.send(data, remoteAddress));
      await queue.flush();
      continue;
    }
    for (let i = 0; i < 256; i++) writer.commit(64, remoteAddress);
    sent += Number(writer.flush());
  }
  globalThis.gc();
  const { heapUsed, rss, external } = process.memoryUsage();
  samples.push({ datagrams: sent, heapUsed, rss, external });
}
console.log(JSON.stringify(samples));
process.exit();
