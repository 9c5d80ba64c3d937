/** Measures one case of receiving: a burst is sent, then its receiver is told to read it. Receivers take turns. */
import { openReader, openSender } from './processes.mjs';

/** Nanoseconds a datagram by receiver, in one row, and why a receiver has none. One whose runtime is not here is left out. */
export async function measureReceive({ name: row, sender, size, burst, receivers }, slices) {
  const { generations, warmUp, rounds, milliseconds } = slices;
  const failures = {};
  const nanoseconds = {};
  const load = { sizes: [size], batch: burst, connected: false, link: 'lo' };
  for (let generation = 0; generation < generations; generation++) {
    const opened = await Promise.all(
      receivers.map(async (name) => {
        const one = await openReader(name);
        return one && { name, reader: one.reader, sender: await openSender(sender, load, one.to) };
      }),
    );
    const pairs = opened.filter(Boolean);
    const measure = async (pair, span) => {
      const { name } = pair;
      if (failures[name]) return;
      const answer = await bursts(pair, burst, span).catch(({ message }) => {
        failures[name] = `failed: ${message}`;
      });
      if (answer < (nanoseconds[name] ?? Number.POSITIVE_INFINITY)) nanoseconds[name] = answer;
    };
    try {
      await Promise.all(pairs.map((pair) => bursts(pair, burst, warmUp).catch(() => {})));
      for (let round = 0; round < rounds; round++) for (const pair of pairs) await measure(pair, milliseconds);
    } finally {
      for (const { reader, sender: from } of pairs) for (const child of [reader, from]) child.end();
    }
  }
  return { rows: { [row]: nanoseconds }, failures };
}

/** The nanoseconds a datagram of the quickest burst in so many milliseconds. */
async function bursts({ reader, sender }, burst, milliseconds) {
  let least = Number.POSITIVE_INFINITY;
  for (const end = performance.now() + milliseconds; performance.now() < end; ) {
    const sent = Number(await sender.ask('once'));
    const [count, elapsed] = (await reader.ask(burst)).split(' ').map(Number);
    if (sent !== burst || count !== burst)
      throw new Error(`of ${burst} datagrams ${sent} were accepted, ${count} received`);
    least = Math.min(least, elapsed / count);
  }
  return least;
}
