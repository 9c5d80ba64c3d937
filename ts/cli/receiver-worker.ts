/**
 * The receiver of `wasi-udp send`, in a worker: counts what arrives at a port of 127.0.0.1.
 *
 * It sleeps until the sender wants something received, receives that, shares its counts and answers.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { IncomingBatch } from '../batch/incoming-batch.js';
import { native, OPTION, READABLE } from '../native/native.js';
import { openUdp } from '../socket/open-udp.js';
import { bufferCost, FREED, RECEIVED, WANTED } from './flow.js';

/** What is asked of the system for the receive buffer; it gives what it allows. */
const WANTED_BUFFER_BYTES = 8 * 1024 * 1024;

/** How long nothing may arrive before what is in flight counts as lost, in milliseconds. */
const LOST_AFTER_MS = 1000;

const counts = workerData as BigInt64Array;
const sender = parentPort!;
const { socket, incoming, localAddress } = openUdp({ local: '127.0.0.1:0' });
const handle = socket.descriptor.socket;
const batch = new IncomingBatch();

sender.postMessage({ port: localAddress.val.port, bufferBytes: largestBuffer() });
for (;;) {
  // The buffer holds what comes meanwhile. A receiver that woke for each datagram would charge the sender for it.
  Atomics.wait(counts, WANTED, 0n);
  const wanted = Atomics.exchange(counts, WANTED, 0n);
  while (Atomics.load(counts, FREED) < wanted) {
    if (receive() === 0 && !awaitMore()) break;
  }
  sender.postMessage('received');
}

/** Receives and counts one batch. */
function receive(): number {
  const count = incoming.receiveInto(batch);
  let cost = 0;
  for (let i = 0; i < count; i++) cost += bufferCost(batch.byteLength(i));
  Atomics.add(counts, RECEIVED, BigInt(count));
  Atomics.add(counts, FREED, BigInt(cost));
  return count;
}

/** Waits for a datagram; false where none comes in LOST_AFTER_MS. */
function awaitMore(): boolean {
  return native.pollSync(new Int32Array([handle, READABLE, 0]), 1, LOST_AFTER_MS) > 0;
}

/** Makes the receive buffer as large as the system allows, which clamps what is asked or refuses it; its size as the system counts. */
function largestBuffer(): number {
  for (let bytes = WANTED_BUFFER_BYTES; native.setOption(handle, OPTION.receiveBuffer, bytes) < 0; ) bytes /= 2;
  return native.getOption(handle, OPTION.receiveBuffer);
}
