/**
 * One JavaScript server, a process of its own: `server.mjs KIND`. It prints its port, then answers each datagram by itself
 * until its standard input ends. A sink answers none, and each line of standard input with how many it has received.
 */
import { createInterface } from 'node:readline';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { notBuilt } from './not-built.mjs';

/** Each kind serves, and gives its port. */
const kinds = {
  /** By the interface: a list of one for each answer. */
  async list() {
    const { incoming, outgoing, port } = await open();
    const waitAndSend = async (datagram) => {
      await outgoing.subscribe().wait();
      return send(datagram);
    };
    const send = (datagram) => {
      if (outgoing.checkSend() === 0n) return waitAndSend(datagram);
      outgoing.send([datagram]);
    };
    answerAll(incoming, send);
    return port;
  },

  /** By the queue: the answers of a turn leave together. */
  async queue() {
    const { incoming, outgoing, port } = await open();
    if (outgoing.queue === undefined) notBuilt('outgoing.queue()');
    const queue = outgoing.queue();
    const send = ({ data, remoteAddress }) => {
      if (!queue.send(data, remoteAddress)) return queue.flush().then(() => send({ data, remoteAddress }));
    };
    answerAll(incoming, send);
    return port;
  },

  async dgram() {
    return answerBy(await import('node:dgram'));
  },

  /** The same program on wasi-udp/dgram. */
  async 'own-dgram'() {
    return answerBy(await import('../dist/dgram/index.js').catch(() => notBuilt('wasi-udp/dgram')));
  },

  async bun() {
    const data = (socket, bytes, port, address) => socket.send(bytes, port, address);
    return (await globalThis.Bun.udpSocket({ hostname: '127.0.0.1', socket: { data } })).port;
  },
};

/** So many workers, each with a socket of one port; how many datagrams they have received, all together. */
async function workers(kind, count) {
  const received = new BigInt64Array(new SharedArrayBuffer(8));
  let local = '127.0.0.1:0';
  for (let i = 0; i < count; i++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { kind, local, received } });
    local = await new Promise((resolve) => worker.once('message', resolve));
  }
  return { port: local.split(':')[1], received };
}

/** What a worker does: answers, by a queue, or counts. */
async function work({ kind, local, received }) {
  const { incoming, outgoing, localAddress } = await open({ local, reusePort: true });
  parentPort.postMessage(String(localAddress));
  const queue = outgoing.queue();
  for await (const batch of incoming) {
    if (kind === 'sink') Atomics.add(received, 0, BigInt(batch.length));
    else for (const { data, remoteAddress } of batch) queue.send(data, remoteAddress);
  }
}

async function answerBy({ createSocket }) {
  const socket = createSocket('udp4');
  socket.on('message', (data, { port, address }) => socket.send(data, port, address));
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket.address().port;
}

async function open(options = { local: '127.0.0.1:0' }) {
  const { openUdp } = await import('../dist/index.js');
  const { incoming, outgoing, localAddress } = openUdp(options);
  return { incoming, outgoing, localAddress, port: localAddress.val.port };
}

/** Answers what comes. `answer` returns a promise only where it has to wait. */
async function answerAll(incoming, answer) {
  for await (const batch of incoming) {
    for (const datagram of batch) {
      const waits = answer(datagram);
      if (waits !== undefined) await waits;
    }
  }
}

if (isMainThread) {
  const [, kind = process.argv[2], count] = /^(echo|sink)-(\d+)$/.exec(process.argv[2]) ?? [];
  if (count === undefined) {
    console.log(await kinds[kind]());
    process.stdin.resume().on('end', () => process.exit());
  } else {
    const { port, received } = await workers(kind, Number(count));
    console.log(port);
    const lines = createInterface({ input: process.stdin });
    lines.on('line', () => console.log(String(Atomics.load(received, 0)))).on('close', () => process.exit());
  }
} else await work(workerData);
