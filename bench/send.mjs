/** Measures one case of sending: its senders take turns, slice by slice, and the quickest slice of each counts. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openArrivals, openReceiver, openSender } from './processes.mjs';
import { Rows } from './rows.mjs';

/**
 * Nanoseconds a datagram by sender, in one row, and why a sender has none. Senders whose runtime is not here are left out. Each
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
          failures[name] = error.message;
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
      await Promise.all(senders.map(([name, child]) => failures[name] ?? answerOf(child, warmUp)));
      for (let round = 0; round < rounds; round++) {
        for (const [name, child] of senders) {
          if (failures[name]) continue;
          const answer = await answerOf(child, milliseconds);
          if (answer.startsWith('failed')) failures[name] = answer;
          else nanoseconds[name] = Math.min(nanoseconds[name] ?? Number.POSITIVE_INFINITY, Number(answer));
        }
      }
    } finally {
      for (const [, child] of opened) child?.end();
      receiver.end();
    }
  }
  return { rows: { [case_.name]: nanoseconds }, failures };
}

/**
 * The nanoseconds that datagrams take from the call to their arrival where nothing else is to do: half of them and 99 of a
 * hundred at most, in a row each, by sender: the medians of all windows.
 */
export async function measureIdle({ name, senders, load }, { warmUp, windows, window }) {
  const rows = new Rows();
  const failures = {};
  const pairs = await Promise.all(
    senders.map(async (sender) => {
      const { arrivals, to } = await openArrivals();
      const child = await openSender(sender, load, to).catch(({ message }) => {
        failures[sender] = message;
      });
      return { sender, arrivals, child };
    }),
  );
  const measure = async ({ sender, arrivals, child }, milliseconds) => {
    if (failures[sender]) return;
    // Each takes two milliseconds and more.
    const count = Math.ceil(milliseconds / 3);
    const arrived = arrivals.ask(count);
    await child.ask(`idle ${count}`);
    const [came, ...times] = (await arrived).split(' ').map(Number);
    if (came === count) return times;
    failures[sender] = `failed: of ${count} datagrams ${came} arrived`;
  };
  try {
    for (const pair of pairs) await measure(pair, warmUp);
    for (let turn = 0; turn < windows; turn++) {
      for (const pair of pairs) {
        const times = await measure(pair, window);
        times?.forEach((time, at) => {
          rows.add(`${name}, ${['p50', 'p99'][at]}`, pair.sender, time);
        });
      }
    }
  } finally {
    for (const { child, arrivals } of pairs) for (const one of [child, arrivals]) one?.end();
  }
  return { rows: rows.medians(), failures };
}

/** The answer of a sender; one that ended has failed. */
function answerOf(sender, line) {
  return sender.ask(line).catch(({ message }) => `failed: ${message}`);
}

/** Sends one batch: what the kernel accepted must arrive, byte for byte. Returns why a sender is not worth measuring. */
async function checkReceipt(sender, receiver, { sizes }) {
  const [, , droppedBefore] = (await receiver.ask('count')).split(' ');
  const answer = await answerOf(sender, 'once');
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
