// An echo server on every processor: each worker opens the same port, and the kernel spreads the clients over them.
//
//     node examples/workers.mjs [HOST:PORT [WORKERS]]
//
// SIGHUP replaces every worker, SIGTERM and Control-C end the server; neither loses a datagram that has come (docs/cores.md).
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { openUdp } from 'wasi-udp';

if (isMainThread) await lead(process.argv[2] ?? '127.0.0.1:9007', Number(process.argv[3] ?? availableParallelism()));
else await serve(workerData);

/** A worker: answers what comes until it is told to leave. */
async function serve(local) {
  const udp = openUdp({ local, reusePort: true });
  const answers = udp.outgoing.queue({ onError: (error) => console.error(error.message) });
  parentPort.once('message', async () => {
    // Nothing comes any more, and what has come is answered.
    await udp.retire();
    await answers.close();
    udp.close();
  });
  parentPort.postMessage(String(udp.localAddress));
  for await (const batch of udp.incoming)
    for (const { data, remoteAddress } of batch) answers.send(data, remoteAddress);
}

/** The main thread: starts workers, and lets them go. */
async function lead(local, count) {
  const first = await start(local);
  const { address } = first;
  let workers = [first, ...(await startAll(address, count - 1))];
  console.log(`listening on ${address} with ${count} workers`);
  process.on('SIGHUP', async () => {
    const former = workers;
    workers = await startAll(address, count);
    await letGo(former);
    console.log(`replaced ${count} workers`);
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => letGo(workers).then(() => process.exit()));
}

async function start(local) {
  const worker = new Worker(new URL(import.meta.url), { workerData: local });
  const [address] = await once(worker, 'message');
  return { worker, address };
}

function startAll(address, count) {
  return Promise.all(Array.from({ length: count }, () => start(address)));
}

function letGo(workers) {
  return Promise.all(
    workers.map(({ worker }) => {
      worker.postMessage('leave');
      return once(worker, 'exit');
    }),
  );
}
