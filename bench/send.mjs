/** Measures one case of sending: its senders take turns, slice by slice, and the quickest slice of each counts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openReceiver, openSender } from './processes.mjs';

/**
 * Nanoseconds a datagram by sender, and why a sender has none. Senders whose runtime is not here are left out. Each
 * generation is a set of new processes: the same code can be quick in one and slow in the next, by where it lies in memory.
 */
export async function measureSend(case_, { generations, warmUp, rounds, milliseconds }) {
  const failures = {};
  const nanoseconds = {};
  for (let generation = 0; generation < generations; generation++) {
    const { receiver, to } = await openReceiver(case_);
    const opened = await Promise.all(
      case_.senders.map(async (name) => {
        const child = await openSender(name, case_, to).catch((error) => {
          failures[name] = `failed: ${error.message}`;
        });
        return [name, child];
      }),
    );
    const senders = opened.filter(([name, child]) => child !== undefined && !failures[name]);
    try {
      for (const [name, child] of senders) {
        if (name === 'guest-alone') continue;
        const failure = await checkReceipt(child, receiver, case_);
        if (failure) failures[name] = failure;
      }
      await receiver.ask('unread');
      await Promise.all(senders.map(([name, child]) => failures[name] ?? child.ask(warmUp)));
      for (let round = 0; round < rounds; round++) {
        for (const [name, child] of senders) {
          if (failures[name]) continue;
          const answer = await child.ask(milliseconds);
          if (answer.startsWith('failed')) failures[name] = answer;
          else nanoseconds[name] = Math.min(nanoseconds[name] ?? Number.POSITIVE_INFINITY, Number(answer));
        }
      }
    } finally {
      for (const [, child] of opened) child?.end();
      receiver.end();
    }
  }
  return { nanoseconds, failures };
}

/** Sends one batch: what the kernel accepted must arrive, byte for byte. Returns why a sender is not worth measuring. */
async function checkReceipt(sender, receiver, { sizes }) {
  const [, , droppedBefore] = (await receiver.ask('count')).split(' ');
  const answer = await sender.ask('once');
  if (answer.startsWith('failed')) return answer;
  const accepted = Number(answer);
  const expected = [
    accepted,
    Array.from({ length: accepted }, (_, i) => sizes[i % sizes.length]).reduce((a, b) => a + b, 0),
  ];
  const arrived = [0, 0];
  // Without the right to a large buffer, not every batch has room in it.
  let lost = false;
  for (let tries = 0; tries < 100 && !lost && arrived[0] < expected[0]; tries++) {
    const [datagrams, bytes, dropped] = (await receiver.ask('count')).split(' ');
    arrived[0] += Number(datagrams);
    arrived[1] += Number(bytes);
    lost = dropped !== droppedBefore;
    if (arrived[0] < expected[0] && !lost) await sleep(10);
  }
  const isRight = lost ? arrived[0] > 0 : String(arrived) === String(expected);
  if (accepted > 0 && isRight) return undefined;
  return `failed: of ${expected.join(' datagrams, ')} bytes arrived ${arrived.join(' datagrams, ')} bytes`;
}
