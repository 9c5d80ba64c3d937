import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { SocketError } from '../errors.js';
import { LAYOUT } from '../native/layout.js';
import { familyOf, formatSocketAddress, type IpSocketAddress, parseSocketAddress } from '../rules/address.js';
import { MAX_PAYLOAD } from '../rules/destination.js';
import { Input } from './input.js';
import { Interrupt } from './interrupt.js';
import { flushed, tell, write } from './output.js';
import { Pacer } from './pacer.js';
import { newTally, type PassOptions, pass } from './pass.js';
import { progressBar } from './progress.js';
import { Receiver } from './receiver.js';
import { Failure } from './report.js';
import { DgramSender, type Sender, WasiUdpSender } from './senders.js';
import { comparisonLines, line, type Outcome, passLines } from './summary.js';
import { hostAndPort, resolve, type Target, wholeNumber } from './target.js';

/** A recording of this project's, in lines of equal length, as telemetry has them. */
const DEFAULT_FILE = fileURLToPath(new URL('../../examples/vmstat.txt', import.meta.url));
const DEFAULT_DATAGRAMS = 200_000;

interface SendOptions {
  to?: Target;
  batch: number;
  rate?: number;
  repeat?: number;
  compare: boolean;
}

export const command = new Command('send')
  .description('Send the lines of a text, each as one datagram, and tell how it went.')
  .usage('[FILE|-] [--to HOST:PORT] [--batch N] [--rate N/s] [--repeat N]')
  .argument(
    '[FILE]',
    `the text; - is standard input, whose lines are sent as they arrive (default: a recording of ours, repeated up to ${DEFAULT_DATAGRAMS} datagrams)`,
  )
  .option(
    '--to <HOST:PORT>',
    'where to send, such as 127.0.0.1:514, [::1]:514 or localhost:514 (default: a receiver of our own)',
    hostAndPort(1),
  )
  .option(
    '--batch <N>',
    `the most datagrams a send, from 1 to ${LAYOUT.maxDatagrams}`,
    wholeNumber(1, LAYOUT.maxDatagrams),
    256,
  )
  .option(
    '--rate <N/s>',
    'the most datagrams a second, such as 5000 or 5000/s (default: as fast as the system takes them)',
    parseRate,
  )
  .option(
    '--repeat <N>',
    'how often to send the whole text; of standard input, 256 MiB at most',
    wholeNumber(1, Number.MAX_SAFE_INTEGER),
  )
  .option('--no-compare', 'leave out the second pass, through node:dgram')
  .addHelpText(
    'after',
    `
A line ends with a newline, or a carriage return and a newline; neither is sent. An empty line is an empty datagram.

Without --to, a receiver in a worker counts what arrives, and no more is in flight than its buffer holds. With --to, the
target gets the text once, as fast as --rate says; node:dgram is then measured with a receiver of our own on this machine.
The times are those of sending alone, without waits for the text, the rate or the receiver.

Examples:
  wasi-udp send                                      the comparison, with a recording of ours
  wasi-udp send access.log --to localhost:514        each line of a file to a syslog server
  wasi-udp send metrics.txt --to [::1]:8125 --rate 5000/s --repeat 10
  tail -f access.log | wasi-udp send - --to 192.0.2.1:514

A file is read through before anything is sent, so that a line that is too long is told first; lines of anything else are
sent as they arrive.

Exit codes: 0 all was accepted; 1 an error, whose code is shown; 2 wrong usage; 130 interrupted, with the summary so far, 143
by SIGTERM.`,
  )
  .action(send);

async function send(file: string | undefined, options: SendOptions): Promise<void> {
  const { to, batch, rate } = options;
  const own = to === undefined || options.compare ? await Receiver.start() : undefined;
  let input: Input | undefined;
  try {
    const target = to === undefined ? localhost(own!.port) : await resolve(to);
    using interrupt = new Interrupt();
    const { signal } = interrupt;
    try {
      input = await Input.open(file ?? DEFAULT_FILE, {
        repeat: options.repeat ?? (file === undefined ? Number.POSITIVE_INFINITY : 1),
        limit: file === undefined && options.repeat === undefined ? DEFAULT_DATAGRAMS : Number.POSITIVE_INFINITY,
        largest: MAX_PAYLOAD[familyOf(target)],
        signal,
      });
    } catch (error) {
      if (!signal.aborted) throw error;
      tell('wasi-udp: interrupted before anything was sent');
      process.exitCode = interrupt.exitCode;
      return;
    }
    print([line('sending', `${input.name} to ${formatSocketAddress(target)}`)]);
    const receiver = to === undefined ? own : undefined;
    const pacer = rate === undefined ? undefined : new Pacer(rate);
    const ours = await measure('wasi-udp  ', new WasiUdpSender(target), input, { batch, signal, receiver, pacer });
    const summary = passLines(ours);
    print(summary);
    if (options.compare && !signal.aborted) {
      const lines = await compare(ours, input.again(), own!, { batch, signal }, to === undefined);
      if (!signal.aborted) print(lines);
    }
    // What was sent is told, also where nobody reads standard output and an interrupt ends that.
    if (!(await flushed(signal))) tell(summary.join('\n'));
    if (signal.aborted) process.exitCode = interrupt.exitCode;
  } finally {
    input?.close();
    await own?.close();
  }
}

/** Sends the same through node:dgram, to a receiver of our own; the lines that tell how it went, or why it did not. */
async function compare(
  ours: Outcome,
  input: Input,
  receiver: Receiver,
  options: PassOptions,
  isSameTarget: boolean,
): Promise<string[]> {
  try {
    const peer = await DgramSender.connect(receiver.port);
    const theirs = await measure('node:dgram', peer, input, { ...options, receiver });
    return comparisonLines(ours, theirs, isSameTarget);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [line('node:dgram', error.message)];
  }
}

/** Makes one pass, with a progress bar; ends early, without an error, where the signal ends it. */
async function measure(title: string, sender: Sender, input: Input, options: PassOptions): Promise<Outcome> {
  const { receiver, signal } = options;
  const progress = progressBar(title, input.total);
  const tally = newTally();
  const before = receiver?.received ?? 0;
  const started = performance.now();
  try {
    await pass(sender, input, tally, { ...options, onProgress: progress.update });
  } catch (error) {
    if (error instanceof SocketError || error instanceof Failure) error.accepted = BigInt(tally.accepted);
    if (!signal.aborted) throw error;
  } finally {
    progress.stop();
    sender.close();
  }
  await receiver?.settle();
  const received = receiver === undefined ? undefined : receiver.received - before;
  return { ...tally, received, elapsedMs: performance.now() - started };
}

function localhost(port: number): IpSocketAddress {
  return parseSocketAddress(`127.0.0.1:${port}`);
}

function parseRate(text: string): number {
  const rate = Number(/^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(text)?.[1]);
  if (rate > 0) return rate;
  throw new InvalidArgumentError('It takes datagrams a second, such as 5000 or 5000/s.');
}

/** Writes lines to standard output; sending goes on where it is slow. */
function print(lines: string[]): void {
  write(`${lines.join('\n')}\n`);
}
