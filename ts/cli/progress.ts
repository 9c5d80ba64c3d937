import { SingleBar } from 'cli-progress';
import type { Tally } from './senders.js';

export interface Progress {
  update(tally: Tally): void;
  stop(): void;
}

/** A progress bar on standard error where a person looks on; nothing without a title, or where either output is a pipe or a file. */
export function progressBar(title: string | undefined, total: number | undefined): Progress {
  if (title === undefined || !process.stdout.isTTY || !process.stderr.isTTY) return { update() {}, stop() {} };
  const format =
    total === undefined
      ? `${title}  {value} datagrams, {duration_formatted}`
      : `${title}  {bar} {percentage}%  {value} of {total} datagrams, {eta_formatted} left`;
  const bar = new SingleBar({ format, hideCursor: true, clearOnComplete: true, barsize: 30, gracefulExit: false });
  bar.start(total ?? 0, 0);
  return { update: (tally) => bar.update(tally.accepted), stop: () => bar.stop() };
}
