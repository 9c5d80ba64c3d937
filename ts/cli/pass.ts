import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { SocketError } from '../errors.js';
import type { Datagrams } from './input.js';
import type { Pacer } from './pacer.js';
import type { Receiver } from './receiver.js';
import { Failure } from './report.js';
import type { Sender, Tally } from './senders.js';

/** How long sending may go on before signals and the progress bar get their turn, in milliseconds. */
const TURN_MS = 20;

/** How long a target has for its answer that nobody listens there, in milliseconds. */
const ANSWER_MS = 50;

export interface PassOptions {
  /** The most datagrams a send. */
  batch: number;
  /** Ends it at once. */
  signal: AbortSignal;
  /** Ends it as the end of the input does: its time is over. What waits for the input is to be ended by the same. */
  over?: AbortSignal | undefined;
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
  input: Datagrams,
  tally: Tally,
  options: PassOptions & { onProgress(tally: Tally): void },
): Promise<void> {
  const { signal, over, receiver } = options;
  const either = new AbortController();
  const end = () => either.abort();
  for (const one of [signal, over]) one?.addEventListener('abort', end);
  if (signal.aborted || over?.aborted) end();
  try {
    await sendInput(sender, input, tally, { ...options, signal: either.signal });
  } catch (error) {
    if (signal.aborted || !over?.aborted || isFailure(error)) throw error;
  } finally {
    for (const one of [signal, over]) one?.removeEventListener('abort', end);
  }
  if (receiver === undefined) {
    await sleep(ANSWER_MS, undefined, { signal });
    sender.check();
  }
}

/** Whether it is another error than that of what was ended. */
function isFailure(error: unknown): boolean {
  return error instanceof SocketError || error instanceof Failure;
}

async function sendInput(
  sender: Sender,
  input: Datagrams,
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
}
