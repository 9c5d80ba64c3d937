/**
 * One JavaScript sender, a process of its own: `sender.mjs KIND key=value ...`. It answers the lines that `crates/peers`
 * answers: `once`, or the milliseconds of a slice.
 */
import { createInterface } from 'node:readline';

const [kind, ...words] = process.argv.slice(2);
const options = Object.fromEntries(words.map((word) => word.split(/=(.*)/s).slice(0, 2)));
const batch = Number(options.batch);
const sizes = options.sizes.split(',').map(Number);
const connected = options.connected === 'true';
const isIpv6 = options.to.startsWith('[');
const destinations = options.to.split(',').map((to) => {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(to);
  return { to, host, port: Number(port) };
});
const destination = (i) => destinations[i % destinations.length];
const datas = Array.from({ length: batch }, (_, i) => new Uint8Array(sizes[i % sizes.length]).fill(0x5a));

/** The least milliseconds that are measured as one, so that reading the clock does not count. */
const CHUNK = 0.5;

/** Each kind makes a function that sends one batch and returns how many datagrams were accepted, or promises to. */
const kinds = {
  /** As embedders do: one address object for each destination. */
  async send() {
    const { outgoing, addresses } = await open();
    return sendList(
      outgoing,
      datas.map((data, i) => ({ data, remoteAddress: addresses[i % addresses.length] })),
    );
  },

  /** As jco makes them: an address object for each datagram. */
  async 'send-own'() {
    const { outgoing } = await open();
    const { parseSocketAddress } = await import('../dist/index.js');
    return sendList(
      outgoing,
      datas.map((data, i) => ({ data, remoteAddress: parseSocketAddress(destination(i).to) })),
    );
  },

  /** No objects: the bytes are already where their producer wrote them. Raw loops and quinn-udp do not write them either. */
  async writer() {
    const { outgoing, addresses } = await open();
    const writer = outgoing.writer();
    writer.bytes.fill(0x5a);
    const datagrams = datas.map(({ length }, i) => ({ length, address: addresses[i % addresses.length] }));
    const capacity = writer.bytes.length;
    const flush = () => {
      if (outgoing.checkSend() === 0n) outgoing.subscribe().block();
      const accepted = Number(writer.flush());
      writer.clear();
      return accepted;
    };
    return () => {
      let accepted = 0;
      for (const { length, address } of datagrams) {
        if (writer.position + length > capacity) accepted += flush();
        writer.commit(length, address);
      }
      return accepted + flush();
    };
  },

  async dgram() {
    const { createSocket } = await import('node:dgram');
    const socket = createSocket(isIpv6 ? 'udp6' : 'udp4');
    if (connected) await new Promise((resolve) => socket.connect(destinations[0].port, destinations[0].host, resolve));
    return () =>
      new Promise((resolve, reject) => {
        let left = batch;
        const done = (error) => {
          if (error) reject(error);
          else if (--left === 0) resolve(batch);
        };
        for (let i = 0; i < batch; i++) {
          const { port, host } = destination(i);
          if (connected) socket.send(datas[i], done);
          else socket.send(datas[i], port, host, done);
        }
      });
  },

  async 'bun-sendMany'() {
    const [{ host, port }] = destinations;
    const hostname = isIpv6 ? '::' : '0.0.0.0';
    const connect = connected ? { connect: { hostname: host, port } } : {};
    const socket = await globalThis.Bun.udpSocket({ hostname, ...connect });
    const list = datas.flatMap((data, i) => (connected ? [data] : [data, destination(i).port, destination(i).host]));
    return () => socket.sendMany(list);
  },

  async 'deno-datagram'() {
    const hostname = isIpv6 ? '::' : '0.0.0.0';
    const socket = globalThis.Deno.listenDatagram({ port: 0, transport: 'udp', hostname });
    return async () => {
      for (let i = 0; i < batch; i++) {
        const { port, host } = destination(i);
        await socket.send(datas[i], { transport: 'udp', hostname: host, port });
      }
      return batch;
    };
  },
};

/** Our socket, and the addresses that its datagrams name: none where it is connected. */
async function open() {
  const { openUdp, parseSocketAddress } = await import('../dist/index.js');
  const { outgoing } = openUdp(connected ? { remote: options.to } : { local: isIpv6 ? '[::]:0' : '0.0.0.0:0' });
  return { outgoing, addresses: connected ? [undefined] : destinations.map(({ to }) => parseSocketAddress(to)) };
}

function sendList(outgoing, list) {
  return () => {
    if (outgoing.checkSend() === 0n) outgoing.subscribe().block();
    return Number(outgoing.send(list));
  };
}

let batches = 1;

/** The nanoseconds a datagram of the quickest chunk: others met what else the machine does. */
async function slice(sendBatch, milliseconds) {
  const end = performance.now() + milliseconds;
  let least = Number.POSITIVE_INFINITY;
  while (performance.now() < end || least === Number.POSITIVE_INFINITY) {
    const begin = performance.now();
    let sent = 0;
    for (let i = 0; i < batches; i++) {
      const result = sendBatch();
      sent += typeof result === 'number' ? result : await result;
    }
    const elapsed = performance.now() - begin;
    if (elapsed < CHUNK) batches *= 2;
    else if (sent > 0) least = Math.min(least, (elapsed * 1e6) / sent);
  }
  return least;
}

const sendBatch = await kinds[kind]();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const answer = line === 'once' ? Promise.resolve().then(sendBatch) : slice(sendBatch, Number(line));
  console.log(await answer.catch((error) => `failed: ${error.message}`));
}
process.exit();
