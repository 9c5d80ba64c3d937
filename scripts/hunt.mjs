/**
 * Looks for lost wake-ups, and for datagrams that are lost, doubled or disordered: a few sockets on loopback send to each other,
 * wait, receive one or many, abort, reconnect and are dropped, in an order that follows from a seed. Whoever waits for what is
 * there must hear of it while nothing else happens, and the process must end by itself when nobody waits.
 *
 *     node scripts/hunt.mjs [--seed N] [--steps N] [--driver libuv|thread] [--send-buffer BYTES]
 *
 * With a small send buffer and a slow link (in a network namespace, say) they wait for room as well. A failure prints the seed of its round and what was done last, and ends with exit code 1.
 */
import process from 'node:process';
import { setImmediate } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    steps: { type: 'string' },
    driver: { type: 'string' },
    'send-buffer': { type: 'string' },
  },
});
const { driver = 'libuv' } = values;
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
const steps = Number(values.steps ?? 1_000_000);
const sendBuffer = values['send-buffer'] === undefined ? undefined : Number(values['send-buffer']);
if (!['libuv', 'thread'].includes(driver) || ![seed, steps, sendBuffer ?? 1].every((n) => n >= 0 && n % 1 === 0)) {
  console.error('usage: node scripts/hunt.mjs [--seed N] [--steps N] [--driver libuv|thread] [--send-buffer BYTES]');
  process.exit(2);
}
// Before the addon is loaded, which reads it once.
if (driver === 'thread') process.env.WASI_UDP_POLLER = 'thread';
const { openUdp, poll } = await import('../dist/index.js');
const { Round } = await import('./hunt/round.mjs');

/** Steps of one round: then all is dropped, and the next begins with the next seed. */
const ROUND = 2000;

/** How long a round may take, in milliseconds: what never ends is told. */
const LONGEST_MS = 20_000;

/** Passes a promise on, unless it takes longer. */
function within(milliseconds, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the round goes on after ${milliseconds} ms`)), milliseconds);
    promise.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}

const began = performance.now();
let done = 0;
for (let number = seed; done < steps; number++) {
  const count = Math.min(ROUND, steps - done);
  const round = new Round(number, sendBuffer);
  try {
    await within(LONGEST_MS, round.run(count));
  } catch (error) {
    for (const [station, what, detail] of round.trace) console.error(`station ${station}: ${what} ${detail}`);
    console.error(error.stack);
    const buffer = sendBuffer === undefined ? '' : ` --send-buffer ${sendBuffer}`;
    console.error(
      `\nFAILED. Again: node scripts/hunt.mjs --seed ${number} --steps ${count} --driver ${driver}${buffer}`,
    );
    process.exit(1);
  }
  done += count;
}

// A socket that lives on, with nobody waiting for it any more: it keeps no process alive.
const udp = openUdp({ local: '127.0.0.1:0' });
const arrived = Promise.all([udp.incoming.subscribe().wait(), poll.wait([udp.incoming.subscribe()])]);
udp.outgoing.queue().send('to itself', udp.localAddress);
await arrived;
udp.incoming.receive();
const controller = new AbortController();
const { signal } = controller;
const waits = [udp.incoming.subscribe().wait({ signal }), udp.incoming.subscribe().wait({ signal })];
await setImmediate();
controller.abort();
await Promise.allSettled(waits);

const seconds = (performance.now() - began) / 1000;
console.log(JSON.stringify({ driver, seed, steps: done, seconds: Math.round(seconds * 10) / 10 }));
setTimeout(() => {
  console.error('FAILED: nobody waits, and the process lives on');
  process.exit(1);
}, 5000).unref();
