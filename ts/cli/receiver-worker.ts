/**
 * The receiver of `wasi-udp send`, in a worker: counts what arrives at a port of 127.0.0.1.
 *
 * It sleeps until the sender wants something received, receives that, shares its counts and answers.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { encodeAddress, parseSocketAddress } from '../address.js';
import { Arena } from '../arena.js';
import { Descriptor } from '../descriptor.js';
import { LAYOUT } from '../layout.js';
import { native, OPTION, READABLE } from '../native.js';
import { bufferCost, FREED, RECEIVED, WANTED } from './flow.js';

/** What is asked of the system for the receive buffer; it gives what it allows. */
const WANTED_BUFFER_BYTES = 8 * 1024 * 1024;

/** How long nothing may arrive before what is in flight counts as lost, in milliseconds. */
const LOST_AFTER_MS = 1000;

const ENTRY_WORDS = LAYOUT.entryBytes / 4;

const counts = workerData as BigInt64Array;
const sender = parentPort!;
const descriptor = new Descriptor(4);
const arena = new Arena();

descriptor.bind(encodeAddress(parseSocketAddress('127.0.0.1:0')));
// Where the system has it: runs then arrive as they were sent, in one piece.
native.setOption(descriptor.socket, OPTION.coalescingReceive, 1);
sender.postMessage({ port: descriptor.localAddress().val.port, bufferBytes: largestBuffer() });
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
  const { socket } = descriptor;
  const count = descriptor.check('receive', native.receive(socket, arena.payload, arena.table, LAYOUT.maxDatagrams));
  let cost = 0;
  for (let i = 0; i < count; i++) cost += bufferCost(arena.entries[ENTRY_WORDS * i + 1]!);
  Atomics.add(counts, RECEIVED, BigInt(count));
  Atomics.add(counts, FREED, BigInt(cost));
  return count;
}

/** Waits for a datagram; false where none comes in LOST_AFTER_MS. */
function awaitMore(): boolean {
  return native.pollSync(new Int32Array([descriptor.socket, READABLE, 0]), 1, LOST_AFTER_MS) > 0;
}

/** Makes the receive buffer as large as the system allows: some clamp what is asked, some refuse it. */
function largestBuffer(): number {
  const { socket } = descriptor;
  for (let bytes = WANTED_BUFFER_BYTES; native.setOption(socket, OPTION.receiveBuffer, bytes) < 0; ) bytes /= 2;
  return descriptor.check('receive-buffer-size', native.getOption(socket, OPTION.receiveBuffer));
}
