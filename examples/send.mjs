import { openUdp, SocketError, sendAll } from 'wasi-udp';

// Counters for a statsd server: one datagram each.
const names = ['requests', 'errors', 'retries'];
const counters = Array.from({ length: 1000 }, (_, i) => ({ data: Buffer.from(`${names[i % 3]}:${i}|c`) }));

const udp = openUdp({ remote: process.argv[2] ?? '127.0.0.1:8125' });
try {
  const accepted = await sendAll(udp.outgoing, counters);
  console.log(`${accepted} datagrams accepted`);
} catch (error) {
  if (!(error instanceof SocketError)) throw error;
  console.error(`${error.code} after ${error.accepted} datagrams: ${error.message}`);
} finally {
  udp.close();
}
