import { performance } from 'node:perf_hooks';
import { SocketError } from '../errors.js';
import type { Datagrams } from './input.js';
import { newTally, type PassOptions, pass } from './pass.js';
import { progressBar } from './progress.js';
import { Failure } from './report.js';
import type { Sender } from './senders.js';
import type { Outcome } from './summary.js';

export interface MeasureOptions extends PassOptions {
  /** What the progress bar is called; none is drawn without. */
  title?: string | undefined;
}

/** Makes one pass, with a progress bar; ends early, without an error, where the signal ends it. The sender stays open. */
export async function measure(sender: Sender, input: Datagrams, options: MeasureOptions): Promise<Outcome> {
  const { receiver, signal, title } = options;
  const progress = progressBar(title, input.total);
  const tally = newTally();
  const before = receiver?.received ?? 0;
  const started = performance.now();
  let elapsedMs = 0;
  const onProgress = () => {
    elapsedMs = performance.now() - started;
    progress.update(tally);
  };
  try {
    await pass(sender, input, tally, { ...options, onProgress });
  } catch (error) {
    if (error instanceof SocketError || error instanceof Failure) error.accepted = BigInt(tally.accepted);
    if (!signal.aborted) throw error;
  } finally {
    progress.stop();
  }
  await receiver?.settle();
  const received = receiver === undefined ? undefined : receiver.received - before;
  if (receiver !== undefined) elapsedMs = performance.now() - started;
  return { ...tally, received, elapsedMs };
}
