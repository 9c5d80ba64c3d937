import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { LAYOUT } from '../native/layout.js';
import { MAX_PAYLOAD } from '../rules/destination.js';
import { openUdp } from '../socket/open-udp.js';
import { Input } from './input.js';
import { Interrupt } from './interrupt.js';
import { measure } from './measure.js';
import { flushed, tell, write } from './output.js';
import { Receiver } from './receiver.js';
import { Failure } from './report.js';
import { DgramSender, WasiUdpSender } from './senders.js';
import { comparisonLines, line, passLines } from './summary.js';
import { wholeNumber } from './target.js';

/** A text to compare with. */
interface Text {
  file: string;
  /** What to call it. Default: what it is. */
  name?: string;
}

const example = (name: string) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
const DEFAULT_DATAGRAMS = 200_000;

/** Recordings of programs that everybody knows, as they printed them. */
const RECORDINGS: Text[] = [
  {
    file: example('vmstat.txt'),
    name: 'vmstat.txt, lines of equal length: the best case, whole runs of them leave as one message',
  },
  {
    file: example('dpkg.log'),
    name: 'dpkg.log, lines of every length, as a log has them: batches alone',
  },
];

interface CompareOptions {
  batch: number;
  repeat?: number;
}

export const command = new Command('compare')
  .description('Send a text to a receiver of its own, each line as one datagram, by this package and by node:dgram.')
  .usage('[FILE|-] [--batch N] [--repeat N]')
  .argument(
    '[FILE]',
    `the text; - is standard input (default: two recordings, one with lines of equal length and one of a log, repeated up to ${DEFAULT_DATAGRAMS} datagrams each)`,
  )
  .option('--repeat <N>', 'how often to send the whole text', wholeNumber(1, Number.MAX_SAFE_INTEGER))
  .option(
    '--batch <N>',
    `the most datagrams a send, from 1 to ${LAYOUT.maxDatagrams}`,
    wholeNumber(1, LAYOUT.maxDatagrams),
    256,
  )
  .addHelpText(
    'after',
    `
Nothing leaves this machine: a receiver in a worker counts what arrives at a port of 127.0.0.1, and no more is in flight than its
buffer holds. The times a datagram are those of sending alone, without waits for the text or the receiver. Lines are taken as by
wasi-udp send. Of standard input, up to 64 MiB are compared, and with --repeat up to 256 MiB kept.

Examples:
  wasi-udp compare                    two recordings
  wasi-udp compare access.log         what a log of yours gains
  seq 10000 | wasi-udp compare -

Exit codes: 0 all was sent; 1 an error, whose code is shown; 2 wrong usage; 130 interrupted, with the summary so far, 143 by
SIGTERM.`,
  )
  .action(compare);

async function compare(file: string | undefined, { batch, repeat }: CompareOptions): Promise<void> {
  const texts = file === undefined ? RECORDINGS : [{ file }];
  const isBounded = file === undefined && repeat === undefined;
  const amount = isBounded
    ? { repeat: Number.POSITIVE_INFINITY, limit: DEFAULT_DATAGRAMS }
    : { repeat: repeat ?? 1, limit: Number.POSITIVE_INFINITY };
  const receiver = await Receiver.start();
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  try {
    for (const [i, text] of texts.entries()) {
      if (i > 0) write('\n');
      await compareText(text, amount, receiver, batch, signal);
      if (signal.aborted) break;
    }
  } finally {
    await receiver.close();
  }
  if (signal.aborted) process.exitCode = interrupt.exitCode;
}

/** Sends a text both ways, and tells how each went. */
async function compareText(
  text: Text,
  amount: { repeat: number; limit: number },
  receiver: Receiver,
  batch: number,
  signal: AbortSignal,
): Promise<void> {
  const input = await Input.open(text.file, { ...amount, largest: MAX_PAYLOAD[4], signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
    tell('wasi-udp: interrupted before anything was sent');
  });
  if (input === undefined) return;
  try {
    const to = `127.0.0.1:${receiver.port}`;
    print([line('sending', text.name ?? input.name), line('to', `${to}, a receiver of our own`)]);
    const sender = new WasiUdpSender(openUdp({ remote: to }));
    const ours = await measure(sender, input, { title: 'wasi-udp  ', batch, signal, receiver }).finally(() =>
      sender.close(),
    );
    const summary = passLines(ours);
    print(summary);
    if (!signal.aborted) {
      const again = input.again();
      const lines = await byDgram(again, receiver, batch, signal).then(
        (theirs) => comparisonLines(ours, theirs),
        (error: unknown) => {
          if (!(error instanceof Failure)) throw error;
          return [line('node:dgram', error.message)];
        },
      );
      if (!signal.aborted) print(lines);
    }
    // What was sent is told, also where nobody reads standard output and an interrupt ends that.
    if (!(await flushed(signal))) tell(summary.join('\n'));
  } finally {
    input.close();
  }
}

/** Sends the same through node:dgram. Rejects with Failure where it cannot. */
async function byDgram(input: Input, receiver: Receiver, batch: number, signal: AbortSignal) {
  const sender = await DgramSender.connect(receiver.port);
  try {
    return await measure(sender, input, { title: 'node:dgram', batch, signal, receiver });
  } finally {
    sender.close();
  }
}

/** Writes lines to standard output; sending goes on where it is slow. */
function print(lines: string[]): void {
  write(`${lines.join('\n')}\n`);
}
