/**
 * The receiver of `wasi-udp send`, in a worker: counts what arrives at a port of 127.0.0.1.
 *
 * It shares its counts, so that the sender knows what is still in flight, and writes to the sender only when that waits.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { bufferCost, FREED, RECEIVED, WANTED } from './flow.js';

/** What is asked of the system for the receive buffer; it gives what it allows. */
const WANTED_BUFFER_BYTES = 8 * 1024 * 1024;

const counts = workerData as BigInt64Array;
const port = parentPort!;

const socket = dgram.createSocket('udp4');
socket.on('message', (data) => {
  Atomics.add(counts, RECEIVED, 1n);
  const cost = BigInt(bufferCost(data.length));
  const freed = Atomics.add(counts, FREED, cost) + cost;
  const wanted = Atomics.load(counts, WANTED);
  if (wanted === 0n || freed < wanted) return;
  Atomics.store(counts, WANTED, 0n);
  port.postMessage('freed');
});
socket.bind(0, '127.0.0.1');
await once(socket, 'listening');
port.postMessage({ port: socket.address().port, bufferBytes: largestBuffer() });

/** Makes the receive buffer as large as the system allows: some clamp what is asked, some refuse it. */
function largestBuffer(): number {
  for (let bytes = WANTED_BUFFER_BYTES; bytes > 65_536; bytes /= 2) {
    try {
      socket.setRecvBufferSize(bytes);
      break;
    } catch {
      // Refused: half of it may do.
    }
  }
  return socket.getRecvBufferSize();
}
