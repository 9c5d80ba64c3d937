/**
 * One JavaScript echo server, a process of its own: `server.mjs KIND`. It prints its port, then answers each datagram by itself
 * until its standard input ends.
 */
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
    const { createSocket } = await import('node:dgram');
    const socket = createSocket('udp4');
    socket.on('message', (data, { port, address }) => socket.send(data, port, address));
    await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
    return socket.address().port;
  },

  async bun() {
    const data = (socket, bytes, port, address) => socket.send(bytes, port, address);
    return (await globalThis.Bun.udpSocket({ hostname: '127.0.0.1', socket: { data } })).port;
  },
};

async function open() {
  const { openUdp } = await import('../dist/index.js');
  const { incoming, outgoing, localAddress } = openUdp({ local: '127.0.0.1:0' });
  return { incoming, outgoing, port: localAddress.val.port };
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

console.log(await kinds[process.argv[2]]());
process.stdin.resume().on('end', () => process.exit());
