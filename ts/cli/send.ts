import fs from 'node:fs';
import { Command } from 'commander';
import { SocketError } from '../errors.js';
import { LAYOUT } from '../native/layout.js';
import { familyOf, formatSocketAddress, type IpSocketAddress } from '../rules/address.js';
import { MAX_PAYLOAD } from '../rules/destination.js';
import { openUdpAsync } from '../socket/open-udp.js';
import type { OpenUdp } from '../socket/opened-udp.js';
import { Generated } from './generated.js';
import { type Datagrams, Input } from './input.js';
import { endWithCommand, Interrupt } from './interrupt.js';
import { measure } from './measure.js';
import { flushed, outputClosed, tell, write } from './output.js';
import { Pacer } from './pacer.js';
import { printer } from './printer.js';
import { Refusals } from './refusals.js';
import { Replies } from './replies.js';
import { asUsage, FAILURE_EXIT_CODE, Failure, UsageError } from './report.js';
import { WasiUdpSender } from './senders.js';
import { line, sendLines, sendObject } from './summary.js';
import { hostAndPort, rate, seconds, wholeNumber } from './target.js';

interface SendOptions {
  to?: string;
  ipv4?: boolean;
  ipv6?: boolean;
  from?: string;
  interface?: string;
  broadcast?: boolean;
  ttl?: number;
  batch: number;
  rate?: number;
  repeat?: number;
  size?: number;
  duration?: number;
  replies?: number | true;
  json: boolean;
}

/** How long datagrams of --size are sent where nothing says how long, in milliseconds. */
const DEFAULT_DURATION_MS = 10_000;

/** How long nothing may come back for --replies, in milliseconds. */
const DEFAULT_SILENCE_MS = 1000;

export const command = new Command('send')
  .description('Send the lines of a text, each as one datagram, and tell how it went.')
  .usage('[FILE|-] --to HOST:PORT [OPTIONS]')
  .argument(
    '[FILE]',
    'the text; - is standard input, whose lines are sent as they arrive (default: standard input, where it is a pipe or a file)',
  )
  .option('--to <HOST:PORT>', 'where to send, such as 127.0.0.1:514, [::1]:514 or localhost:514', hostAndPort(1))
  .option('-4, --ipv4', 'of the addresses of a name, take those of IPv4')
  .option('-6, --ipv6', 'of the addresses of a name, take those of IPv6')
  .option(
    '--from <HOST:PORT>',
    "the address to send from; port 0 is a free port (default: the system's choice)",
    hostAndPort(0),
  )
  .option('--interface <NAME>', 'the network interface to send by, such as eth0; of multicasts too')
  .option('--broadcast', 'allow broadcast addresses')
  .option(
    '--ttl <N>',
    'how many routers a datagram may pass (default: 1 to a multicast group, else mostly 64)',
    wholeNumber(1, 255),
  )
  .option(
    '--rate <N/s>',
    'the most datagrams a second, such as 5000, 5k or 1.5M (default: as fast as the system takes them)',
    rate,
  )
  .option('--repeat <N>', 'how often to send the whole text', wholeNumber(1, Number.MAX_SAFE_INTEGER))
  .option('--size <N>', 'send datagrams of N bytes in place of a text', wholeNumber(0, MAX_PAYLOAD[6]))
  .option('--duration <SECONDS>', 'end after so long (default: 10 with --size, where there is no --repeat)', seconds)
  .option(
    '--replies [SECONDS]',
    'print what comes back, until nothing has come for so long after the last datagram (default: 1)',
    seconds,
  )
  .option(
    '--batch <N>',
    `the most datagrams a send, from 1 to ${LAYOUT.maxDatagrams}`,
    wholeNumber(1, LAYOUT.maxDatagrams),
    256,
  )
  .option('--json', 'print the summary, and replies, as JSON objects, a line each', false)
  .addHelpText(
    'after',
    `
A line ends with a newline, or a carriage return and a newline; neither is sent. An empty line is an empty datagram. Without FILE,
standard input is read where it is a pipe or a file; where it is a terminal or /dev/null, that is wrong usage.

A file is read through before anything is sent, so that a line that is too long is told first; lines of anything else are
sent as they arrive. Where nobody listens, a file ends with connection-refused. What comes as it likes cannot be sent again: there
sending goes on after connection-refused and remote-unreachable, tells the first of each, counts the others, and ends with exit
code 1. With --repeat, up to 256 MiB of standard input are kept.

Of a rate, k, M and G are thousands, millions and thousands of millions. The time of sending that the summary tells is without
waits for the text, the rate or room in the send buffer.

Replies are printed as wasi-udp listen prints datagrams, without their source; the summary goes to standard error then. With
--json a reply is { from, bytes (how many), base64 }. The summary is { to, accepted, bytes, refused: { CODE: times }, replies,
batches, blocked, seconds, sendingSeconds }.

Examples:
  wasi-udp send access.log --to localhost:514        each line of a file to a syslog server
  echo 'requests:1|c' | wasi-udp send --to localhost:8125
  tail -f access.log | wasi-udp send --to 192.0.2.1:514
  wasi-udp send --to 192.0.2.1:9 --size 1200 --duration 5 --rate 100k
  echo status | wasi-udp send --to 192.0.2.1:7 --replies
  wasi-udp send metrics.txt --to [::1]:8125 --rate 5000 --repeat 10 --json

wasi-udp compare measures the same against node:dgram, and needs no target.

Exit codes: 0 all was accepted; 1 an error, whose code is shown; 2 wrong usage; 130 interrupted, with the summary so far, 143
by SIGTERM.`,
  )
  .action(send);

async function send(file: string | undefined, options: SendOptions): Promise<void> {
  const source = sourceOf(file, options);
  const udp = await open(options);
  let input: Datagrams | undefined;
  try {
    const target = udp.socket.remoteAddress();
    const { duration = source === undefined && options.repeat === undefined ? DEFAULT_DURATION_MS : undefined } =
      options;
    using interrupt = new Interrupt();
    const over = new AbortController();
    try {
      input = await inputOf(source, target, options, [interrupt.signal, over.signal]);
    } catch (error) {
      if (!interrupt.signal.aborted) throw error;
      tell('wasi-udp: interrupted before anything was sent');
      process.exitCode = interrupt.exitCode;
      return;
    }
    const timer = duration === undefined ? undefined : setTimeout(() => over.abort(), duration);
    try {
      await sendAndTell(udp, input, target, options, interrupt, over.signal);
      if (over.signal.aborted) endWithCommand();
    } finally {
      clearTimeout(timer);
    }
  } finally {
    input?.close();
    udp[Symbol.dispose]();
  }
}

/** Where the text is; undefined where datagrams are generated. Throws UsageError where there is nothing to send, or nobody to send to. */
function sourceOf(file: string | undefined, { to, size }: SendOptions): string | undefined {
  if (to === undefined) {
    throw new UsageError(
      'send needs --to HOST:PORT, such as --to localhost:514: name the target, or take `wasi-udp compare`, which has a receiver of its own',
    );
  }
  if (size !== undefined) {
    if (file === undefined) return undefined;
    throw new UsageError(`--size sends datagrams in place of a text, got both --size and ${file}: leave one out`);
  }
  if (file !== undefined) return file;
  if (isInputGiven()) return '-';
  throw new UsageError(
    'send takes a FILE, lines piped into it, - for those of a terminal, or --size N, got none of them: see wasi-udp send --help',
  );
}

/** Whether standard input is what somebody has put there: a pipe or a file, and neither a terminal nor /dev/null. */
function isInputGiven(): boolean {
  try {
    return !process.stdin.isTTY && !fs.fstatSync(0).isCharacterDevice();
  } catch {
    return !process.stdin.isTTY; // Windows tells nothing of some kinds.
  }
}

/** The socket, connected to the target. */
async function open(options: SendOptions): Promise<OpenUdp> {
  const { to, from, ttl, broadcast, ipv4 = false, ipv6 = false } = options;
  if (ipv4 && ipv6) throw new UsageError('--ipv4 and --ipv6 take one family, got both: leave one out');
  return await openUdpAsync({
    remote: to,
    local: from,
    family: ipv4 ? 'ipv4' : ipv6 ? 'ipv6' : undefined,
    broadcast,
    hopLimit: ttl,
    multicastHopLimit: ttl,
    device: process.platform === 'win32' ? undefined : options.interface,
    multicastInterface: options.interface,
  }).catch((error: unknown) => {
    throw withOption(error) ?? asUsage(error);
  });
}

/** The error of a connect that an option, or another form of the target, would mend; undefined where none is known. */
function withOption(error: unknown): Failure | undefined {
  if (!(error instanceof SocketError) || error.syscall !== 'connect') return undefined;
  const { payload, message, address = '' } = error;
  const remedy =
    payload === 'access-denied'
      ? 'a broadcast address takes --broadcast'
      : payload === 'invalid-argument' && /^fe[89ab]/i.test(address) && !address.includes('%')
        ? `a link-local address needs its interface: --to [${address}%eth0]:PORT`
        : undefined;
  return remedy === undefined ? undefined : new Failure(`${payload}: ${message}: ${remedy}`);
}

async function inputOf(
  source: string | undefined,
  target: IpSocketAddress,
  { size = 0, repeat }: SendOptions,
  ends: AbortSignal[],
): Promise<Datagrams> {
  const largest = MAX_PAYLOAD[familyOf(target)];
  if (source === undefined) {
    if (size > largest) {
      throw new UsageError(
        `a datagram to ${formatSocketAddress(target)} holds at most ${largest} bytes, got --size ${size}: take less`,
      );
    }
    return new Generated(size, repeat ?? Number.POSITIVE_INFINITY);
  }
  const end = new AbortController();
  for (const signal of ends) signal.addEventListener('abort', () => end.abort());
  return await Input.open(source, {
    repeat: repeat ?? 1,
    limit: Number.POSITIVE_INFINITY,
    largest,
    signal: end.signal,
  });
}

/** Sends all of it, and tells what came of it. */
async function sendAndTell(
  udp: OpenUdp,
  input: Datagrams,
  target: IpSocketAddress,
  options: SendOptions,
  interrupt: Interrupt,
  over: AbortSignal,
): Promise<void> {
  const { batch, json, size } = options;
  const { signal } = interrupt;
  const to = formatSocketAddress(target);
  const silence = options.replies === true ? DEFAULT_SILENCE_MS : options.replies;
  // Replies are what is asked for then, and have standard output for themselves.
  const print = silence === undefined ? (text: string) => void write(`${text}\n`) : tell;
  const refusals = new Refusals();
  const sender = new WasiUdpSender(udp, input.isLive ? refusals.hear : undefined);
  if (!json) print(line('sending', `${input.name} to ${to}`));
  const end = new AbortController();
  for (const cause of [signal, outputClosed]) cause.addEventListener('abort', () => end.abort());
  const replies =
    silence === undefined
      ? undefined
      : new Replies(udp.incoming, printer({ json, source: false }), (error) => sender.leave(error));
  const reading = replies?.read(end.signal);
  try {
    const pacer = options.rate === undefined ? undefined : new Pacer(options.rate);
    const title = silence === undefined ? 'wasi-udp  ' : undefined;
    const outcome = await measure(sender, input, { batch, signal, over, pacer, title });
    if (replies !== undefined && silence !== undefined) await replies.silence(silence, end.signal);
    if (!signal.aborted) sender.check();
    const summary = {
      outcome,
      refusals: refusals.counts,
      replies: replies?.count,
      hasRate: size !== undefined,
    };
    const text = json ? JSON.stringify(sendObject(to, summary)) : sendLines(summary).join('\n');
    print(text);
    if (outcome.accepted === 0 && refusals.counts.size === 0 && !signal.aborted && !over.aborted)
      tell(`wasi-udp: ${input.name} is empty: nothing was sent`);
    // What was sent is told, also where nobody reads standard output and an interrupt ends that.
    if (!(await flushed(signal)) && silence === undefined) tell(text);
    if (refusals.counts.size > 0) process.exitCode = FAILURE_EXIT_CODE;
    if (signal.aborted) process.exitCode = interrupt.exitCode;
  } finally {
    end.abort();
    await reading;
  }
}
