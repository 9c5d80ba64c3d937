/**
 * One JavaScript sender, a process of its own: `sender.mjs KIND key=value ...`. It answers the lines that `crates/peers`
 * answers: `once`, or the milliseconds of a slice. `turns=true`: the event loop turns after each batch. To `idle COUNT` it sends
 * so many datagrams, one at a time, each in a turn in which there is nothing else to do, and prints `sent`: the time of its
 * sending stands in each, as `wasi-udp-peers arrivals` reads it.
 */
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { notBuilt } from './not-built.mjs';

const [kind, ...words] = process.argv.slice(2);
const options = Object.fromEntries(words.map((word) => word.split(/=(.*)/s).slice(0, 2)));
const batch = Number(options.batch);
const sizes = options.sizes.split(',').map(Number);
const connected = options.connected === 'true';
const turns = options.turns === 'true';
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

  /** With a source and an ECN of its own for each datagram: one route for each destination. */
  async 'send-route'() {
    const { outgoing } = await open();
    const { Route } = await import('../dist/index.js');
    const routes = destinations.map(({ to }) => new Route(to, { localAddress: '127.0.0.1', trafficClass: 2 }));
    return sendList(
      outgoing,
      datas.map((data, i) => ({ data, remoteAddress: routes[i % routes.length] })),
    );
  },

  /** As somebody does who has one datagram at a time: a permit and a list of one for each. */
  async 'send-one'() {
    const { outgoing, addresses } = await open();
    return () => {
      let accepted = 0;
      for (let i = 0; i < batch; i++) {
        if (outgoing.checkSend() === 0n) outgoing.subscribe().block();
        accepted += Number(outgoing.send([{ data: datas[i], remoteAddress: addresses[i % addresses.length] }]));
      }
      return accepted;
    };
  },

  /** The queue in front of the stream: what one turn sends leaves together. */
  async queue() {
    const { outgoing, addresses } = await open();
    if (outgoing.queue === undefined) notBuilt('outgoing.queue()');
    const queue = outgoing.queue();
    const sendFrom = (first) => {
      for (let i = first; i < batch; i++) {
        if (!queue.send(datas[i], addresses[i % addresses.length])) return queue.flush().then(() => sendFrom(i));
      }
      return batch;
    };
    return () => sendFrom(0);
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

  async 'dgram-quiet'() {
    return quiet(await import('node:dgram'));
  },

  /** The same of wasi-udp/dgram. */
  async 'own-dgram'() {
    return quiet(await ownDgram());
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

/** Ours in place of node:dgram. */
async function ownDgram() {
  try {
    return await import('../dist/dgram/index.js');
  } catch {
    return notBuilt('wasi-udp/dgram');
  }
}

/** Sends without callbacks; what the kernel has no room for waits in the socket, and so does this. */
async function quiet({ createSocket }) {
  const socket = createSocket(isIpv6 ? 'udp6' : 'udp4');
  await new Promise((resolve) => socket.bind(0, resolve));
  const room = async () => {
    while (socket.getSendQueueCount() > 0) await nextTurn();
    return batch;
  };
  return () => {
    for (let i = 0; i < batch; i++) {
      const { port, host } = destination(i);
      socket.send(datas[i], port, host);
    }
    return socket.getSendQueueCount() > 0 ? room() : batch;
  };
}

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
      if (turns) await nextTurn();
    }
    const elapsed = performance.now() - begin;
    if (elapsed < CHUNK) batches *= 2;
    else if (sent > 0) least = Math.min(least, (elapsed * 1e6) / sent);
  }
  return least;
}

/** Sends so many batches, each after a while in which nothing happened, with the nanoseconds of its sending in it. */
async function idle(sendBatch, count) {
  const [{ buffer }] = datas;
  const stamp = new DataView(buffer);
  for (let i = 0; i < count; i++) {
    await sleep(2);
    stamp.setBigUint64(0, process.hrtime.bigint(), true);
    await sendBatch();
  }
  return 'sent';
}

function answerTo(line, sendBatch) {
  const [word, count] = line.split(' ');
  if (word === 'once') return sendBatch();
  return word === 'idle' ? idle(sendBatch, Number(count)) : slice(sendBatch, Number(line));
}

const sendBatch = await kinds[kind]();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const answer = Promise.resolve().then(() => answerTo(line, sendBatch));
  console.log(await answer.catch((error) => `failed: ${error.message}`));
}
process.exit();
