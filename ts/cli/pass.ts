import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Input } from './input.js';
import type { Pacer } from './pacer.js';
import type { Receiver } from './receiver.js';
import type { Sender, Tally } from './senders.js';

/** How long sending may go on before signals and the progress bar get their turn, in milliseconds. */
const TURN_MS = 20;

/** How long a target has for its answer that nobody listens there, in milliseconds. */
const ANSWER_MS = 50;

export interface PassOptions {
  /** The most datagrams a send. */
  batch: number;
  signal: AbortSignal;
  /** The receiver of our own, which is not to be overrun; none where the target is another's. */
  receiver?: Receiver | undefined;
  pacer?: Pacer | undefined;
}

export function newTally(): Tally {
  return { accepted: 0, bytes: 0, batches: 0, blocked: 0, sendingMs: 0 };
}

/** Sends the whole input, and counts in `tally` what was done, which is there also where an error or the signal ends it. */
export async function pass(
  sender: Sender,
  input: Input,
  tally: Tally,
  options: PassOptions & { onProgress(tally: Tally): void },
): Promise<void> {
  const { batch, signal, receiver, pacer, onProgress } = options;
  let turnEnds = performance.now() + TURN_MS;
  // A target of another's gets the first datagram alone: where nobody listens, its answer ends the pass at once.
  let most = receiver === undefined ? 1 : batch;
  for (;;) {
    let rest = await input.take(Math.min(most, (await pacer?.due(signal)) ?? most));
    if (rest.length === 0) break;
    pacer?.spend(rest.length);
    while (rest.length > 0) {
      signal.throwIfAborted();
      const count = (await receiver?.admit(rest)) ?? rest.length;
      const started = performance.now();
      try {
        await sender.send(rest.slice(0, count), tally, signal);
      } finally {
        tally.sendingMs += performance.now() - started;
      }
      onProgress(tally);
      rest = rest.slice(count);
    }
    if (performance.now() > turnEnds) {
      await nextTurn();
      turnEnds = performance.now() + TURN_MS;
    }
    if (most < batch) {
      await sleep(ANSWER_MS, undefined, { signal });
      sender.check();
      most = batch;
    }
  }
  if (receiver === undefined) {
    await sleep(ANSWER_MS, undefined, { signal });
    sender.check();
  }
}
