/** Measures one case of receiving: a burst is sent, then its receiver is told to read it. Receivers take turns. */
import { openReader, openSender } from './processes.mjs';

/** Nanoseconds a datagram by receiver, and why a receiver has none. */
export async function measureReceive({ sender, size, burst, receivers }, { generations, rounds, milliseconds }) {
  const failures = {};
  const nanoseconds = {};
  const load = { sizes: [size], batch: burst, connected: false, link: 'lo' };
  for (let generation = 0; generation < generations; generation++) {
    const pairs = await Promise.all(
      receivers.map(async (name) => {
        const { reader, to } = await openReader(name);
        return { name, reader, sender: await openSender(sender, load, to) };
      }),
    );
    try {
      for (let round = 0; round < rounds; round++) {
        for (const { name, reader, sender: from } of pairs) {
          if (failures[name]) continue;
          for (const end = performance.now() + milliseconds; performance.now() < end; ) {
            const sent = Number(await from.ask('once'));
            const [count, elapsed] = (await reader.ask(burst)).split(' ').map(Number);
            if (sent !== burst || count !== burst) {
              failures[name] = `failed: of ${burst} datagrams ${sent} were accepted, ${count} received`;
              break;
            }
            nanoseconds[name] = Math.min(nanoseconds[name] ?? Number.POSITIVE_INFINITY, elapsed / count);
          }
        }
      }
    } finally {
      for (const { reader, sender: from } of pairs) for (const child of [reader, from]) child.end();
    }
  }
  return { nanoseconds, failures };
}
