/**
 * One JavaScript receiver, a process of its own: `receiver.mjs KIND`. It prints its port, then answers each line `DATAGRAMS` as
 * `wasi-udp-peers recvmmsg` does: it reads as many, and prints how many came and the nanoseconds that they took. Between two
 * lines it does nothing, not even turn its event loop, so that all of them are there when it begins.
 */
import { readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** The receive buffer that is asked for; the system grants what `net.core.rmem_max` allows. */
const BUFFER = 4 << 20;

const TOLD = { packetInfo: true, receiveTrafficClass: true };

/** Each kind binds, and gives its port and a function that reads `wanted` datagrams, and returns or promises how many came. */
const kinds = {
  /** Objects, with data of their own. */
  async receive() {
    const { port, incoming } = await open();
    return { port, read: (wanted) => readAll(wanted, () => incoming.receive().length) };
  },

  /** The same batch, filled again and again. */
  async receiveInto() {
    const { IncomingBatch } = await import('../dist/index.js');
    const { port, incoming } = await open();
    const batch = new IncomingBatch();
    return { port, read: (wanted) => readAll(wanted, () => incoming.receiveInto(batch)) };
  },

  /** With the address, the interface and the traffic class of each. */
  async 'receive-info'() {
    const { port, incoming } = await open(TOLD);
    return { port, read: (wanted) => readAll(wanted, () => incoming.receive().length) };
  },

  async 'receiveInto-info'() {
    const { IncomingBatch } = await import('../dist/index.js');
    const { port, incoming } = await open(TOLD);
    const batch = new IncomingBatch();
    return { port, read: (wanted) => readAll(wanted, () => incoming.receiveInto(batch)) };
  },

  async dgram() {
    return hearBy(await import('node:dgram'));
  },

  /** The same program on wasi-udp/dgram. */
  async 'own-dgram'() {
    return hearBy(await import('../dist/dgram/index.js'));
  },
};

/** A handler of messages that counts them. */
async function hearBy({ createSocket }) {
  const socket = createSocket({ type: 'udp4', recvBufferSize: BUFFER });
  let count = 0;
  let wanted = Number.POSITIVE_INFINITY;
  let done = () => {};
  socket.on('message', () => {
    if (++count === wanted) done();
  });
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    port: socket.address().port,
    async read(number) {
      count = 0;
      wanted = number;
      const given = new Promise((resolve) => {
        done = resolve;
      });
      await Promise.race([given, sleep(1000, undefined, { ref: false })]);
      return count;
    },
  };
}

async function open(options) {
  const { openUdp } = await import('../dist/index.js');
  const { socket, incoming, localAddress } = openUdp({ local: '127.0.0.1:0', ...options });
  socket.setReceiveBufferSize(BigInt(BUFFER));
  return { port: localAddress.val.port, incoming };
}

function readAll(wanted, next) {
  let count = 0;
  while (count < wanted) {
    const more = next();
    if (more === 0) break;
    count += more;
  }
  return count;
}

/** The next line of standard input, waited for without the event loop; undefined at its end. */
function readLine() {
  const bytes = Buffer.alloc(64);
  let length = 0;
  while (!bytes.subarray(0, length).includes(10)) {
    try {
      const more = readSync(0, bytes, { offset: length });
      if (more === 0) return undefined;
      length += more;
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0.1);
    }
  }
  return bytes.toString('latin1', 0, length).trim();
}

const { port, read } = await kinds[process.argv[2]]();
console.log(port);
for (let line = readLine(); line !== undefined; line = readLine()) {
  const begin = process.hrtime.bigint();
  const result = read(Number(line));
  const count = typeof result === 'number' ? result : await result;
  console.log(`${count} ${process.hrtime.bigint() - begin}`);
}
process.exit();
