import { performance } from 'node:perf_hooks';
import { Command } from 'commander';
import { IncomingBatch } from '../batch/incoming-batch.js';
import { AbortError, type ErrorCode, SocketError } from '../errors.js';
import { Turn } from '../readiness/turn.js';
import { formatSocketAddress } from '../rules/address.js';
import { openUdpAsync } from '../socket/open-udp.js';
import type { OpenUdp } from '../socket/opened-udp.js';
import { droppedBySystem } from './drops.js';
import { Interrupt } from './interrupt.js';
import { flushed, outputClosed, print, tell } from './output.js';
import { printer } from './printer.js';
import { asUsage } from './report.js';
import { counted, line } from './summary.js';
import { addressOrPort, collect, type Listening, wholeNumber } from './target.js';

interface ListenOptions {
  group: string[];
  interface?: string;
  count?: number;
  hex: boolean;
  json: boolean;
  timestamps: boolean;
  quiet: boolean;
}

/** What a system answers that has no IPv6. */
const WITHOUT_IPV6: readonly ErrorCode[] = ['not-supported', 'address-not-bindable'];

/** Bytes of receive buffer to ask for; the system grants what it allows. */
const BUFFER_BYTES = 64 << 20;

export const command = new Command('listen')
  .description('Print the datagrams that arrive, one a line, or count them.')
  .usage('[HOST:]PORT [OPTIONS]')
  .argument(
    '<[HOST:]PORT>',
    'where to listen, such as 127.0.0.1:514, [::1]:514 or 514: every address of this machine, IPv4 and IPv6; port 0 is a free port',
    addressOrPort,
  )
  .option('--group <ADDRESS>', 'hear this multicast group as well; may be given several times', collect, [])
  .option('--interface <NAME>', 'the network interface to listen at, such as eth0; of groups too')
  .option('--count <N>', 'end after so many datagrams', wholeNumber(1, Number.MAX_SAFE_INTEGER))
  .option('--timestamps', 'print when each was received, in UTC (ISO 8601), before all else', false)
  .option('--hex', 'print payloads in hexadecimal, not as text', false)
  .option('--json', 'print a JSON object a datagram: time (with --timestamps), from, bytes (how many), base64', false)
  .option('--quiet', 'print no datagrams, only the summary', false)
  .addHelpText(
    'after',
    `
A line is the source, two spaces and the payload: as text, in which \\n, \\t, \\\\ and \\x.. stand for what is not printable.
Standard error tells the address, and at the end how much was received, and how many messages the system dropped since its
buffer was full: a message is a datagram, or a run of up to 64 that arrived as one. With a group, other programs of this machine
may listen at the same port.

Examples:
  wasi-udp listen 514                           what a syslog client sends, to any address of this machine
  wasi-udp listen 127.0.0.1:8125 --json | jq .bytes
  wasi-udp listen 5353 --group 224.0.0.251 --timestamps
  wasi-udp listen 127.0.0.1:0 --count 100000 --quiet

Exit codes: 0 when the count is reached, when the reader of standard output has gone, or at Control-C where there is no
count; 1 an error, whose code is shown; 2 wrong usage; 130 interrupted before the count was reached, 143 by SIGTERM.`,
  )
  .action(listen);

async function listen(where: Listening, options: ListenOptions): Promise<void> {
  using udp = await open(where, options);
  udp.socket.setReceiveBufferSize(BUFFER_BYTES);
  for (const group of options.group) join(udp, group, options.interface);
  using interrupt = new Interrupt();
  tell(line('listening', formatSocketAddress(udp.localAddress)));
  const tally = await receive(udp, options, interrupt.signal);
  const { datagrams, bytes, elapsedMs } = tally;
  const dropped = droppedBySystem(udp.socket.descriptor);
  tell(line('received', `${counted(datagrams, 'datagram')}, ${counted(bytes, 'byte')}`));
  tell(
    line(
      'dropped',
      dropped === undefined ? 'not known here' : `${counted(dropped, 'message')}, by the system, for want of room`,
    ),
  );
  tell(line('took', `${(elapsedMs / 1000).toFixed(2)} s from the first datagram on`));
  if (!(await flushed(interrupt.signal))) tell('wasi-udp: standard output has not taken all of it: nobody reads it');
  if (options.count !== undefined && datagrams < options.count) process.exitCode = interrupt.exitCode;
}

/** The socket; of IPv4 alone where both are meant and the system has no IPv6. */
async function open({ local, isDual }: Listening, options: ListenOptions): Promise<OpenUdp> {
  const settings = {
    device: process.platform === 'win32' ? undefined : options.interface,
    reuseAddress: options.group.length > 0 || undefined,
  };
  try {
    return await openUdpAsync({ ...settings, local, ...(isDual ? { ipv6Only: false } : {}) });
  } catch (error) {
    if (isDual && error instanceof SocketError && WITHOUT_IPV6.includes(error.payload))
      return await openUdpAsync({ ...settings, local: local.replace('[::]', '0.0.0.0') });
    throw asUsage(error);
  }
}

function join(udp: OpenUdp, group: string, byInterface: string | undefined): void {
  try {
    udp.joinGroup(group, byInterface === undefined ? {} : { interface: byInterface });
  } catch (error) {
    throw asUsage(error);
  }
}

/** Receives and prints until the count is reached, the interrupt comes, or standard output takes no more. */
async function receive({ incoming }: OpenUdp, options: ListenOptions, interrupt: AbortSignal) {
  const { count: most = Number.POSITIVE_INFINITY } = options;
  const text = options.quiet ? undefined : printer(options);
  const end = new AbortController();
  const { signal } = end;
  for (const cause of [interrupt, outputClosed]) cause.addEventListener('abort', () => end.abort());
  const batch = new IncomingBatch();
  const turn = new Turn();
  const readable = incoming.subscribe();
  const tally = { datagrams: 0, bytes: 0, elapsedMs: 0 };
  let started: number | undefined;
  while (tally.datagrams < most && !signal.aborted) {
    const received = incoming.receiveInto(batch, most - tally.datagrams);
    if (received === 0) {
      await readable.wait({ signal }).catch(ignoreAbort);
      continue;
    }
    started ??= performance.now();
    for (let i = 0; i < received; i++) tally.bytes += batch.byteLength(i);
    tally.datagrams += received;
    if (text !== undefined) await print(text(batch), signal);
    await turn.give();
  }
  tally.elapsedMs = started === undefined ? 0 : performance.now() - started;
  return tally;
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof AbortError)) throw error;
}
