import { performance } from 'node:perf_hooks';
import { Command } from 'commander';
import { IncomingBatch } from '../batch/incoming-batch.js';
import { AbortError } from '../errors.js';
import { Turn } from '../readiness/turn.js';
import { formatSocketAddress } from '../rules/address.js';
import { openUdp } from '../socket/open-udp.js';
import type { OpenUdp } from '../socket/opened-udp.js';
import { droppedBySystem } from './drops.js';
import { Interrupt } from './interrupt.js';
import { flushed, outputClosed, print, tell } from './output.js';
import { count, line } from './summary.js';
import { hostAndPort, resolve, type Target, wholeNumber } from './target.js';

interface ListenOptions {
  count?: number;
  hex: boolean;
  json: boolean;
  quiet: boolean;
}

/** Bytes of receive buffer to ask for; the system grants what it allows. */
const BUFFER_BYTES = 64 << 20;

export const command = new Command('listen')
  .description('Print the datagrams that arrive, one a line, or count them.')
  .usage('HOST:PORT [--count N] [--hex|--json|--quiet]')
  .argument('<HOST:PORT>', 'where to listen, such as 0.0.0.0:514 or [::1]:0; port 0 is a free port', hostAndPort(0))
  .option('--count <N>', 'end after so many datagrams', wholeNumber(1, Number.MAX_SAFE_INTEGER))
  .option('--hex', 'print payloads in hexadecimal, not as text', false)
  .option('--json', 'print a JSON object a datagram: from, bytes (how many), base64', false)
  .option('--quiet', 'print no datagrams, only the summary', false)
  .addHelpText(
    'after',
    `
A line is the source, two spaces and the payload: as text, in which \\n, \\t, \\\\ and \\x.. stand for what is not printable.
Standard error tells the address, and at the end how much was received, and how many messages the system dropped since its
buffer was full: a message is a datagram, or a run of up to 64 that arrived as one.

Examples:
  wasi-udp listen 0.0.0.0:514                   what a syslog client sends
  wasi-udp listen '[::]:8125' --json | jq .bytes
  wasi-udp listen 127.0.0.1:0 --count 100000 --quiet

Exit codes: 0 when the count is reached, when the reader of standard output has gone, or at Control-C where there is no
count; 1 an error, whose code is shown; 2 wrong usage; 130 interrupted before the count was reached, 143 by SIGTERM.`,
  )
  .action(listen);

async function listen(target: Target, options: ListenOptions): Promise<void> {
  using udp = openUdp({ local: await resolve(target) });
  udp.socket.setReceiveBufferSize(BUFFER_BYTES);
  using interrupt = new Interrupt();
  tell(line('listening', formatSocketAddress(udp.localAddress)));
  const tally = await receive(udp, options, interrupt.signal);
  const { datagrams, bytes, elapsedMs } = tally;
  const dropped = droppedBySystem(udp.socket.descriptor);
  tell(line('received', `${count(datagrams)} datagrams, ${count(bytes)} bytes`));
  tell(
    line(
      'dropped',
      dropped === undefined ? 'not known here' : `${count(dropped)} messages, by the system, for want of room`,
    ),
  );
  tell(line('took', `${(elapsedMs / 1000).toFixed(2)} s from the first datagram on`));
  if (!(await flushed(interrupt.signal))) tell('wasi-udp: standard output has not taken all of it: nobody reads it');
  if (options.count !== undefined && datagrams < options.count) process.exitCode = interrupt.exitCode;
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

/** What makes lines of a batch. */
function printer({ hex, json }: ListenOptions): (batch: IncomingBatch) => string {
  const payload = hex ? (data: Buffer) => data.toString('hex') : printable;
  return (batch) => {
    let text = '';
    for (let i = 0; i < batch.count; i++) {
      const view = batch.data(i);
      const data = Buffer.from(view.buffer, view.byteOffset, view.length);
      const from = formatSocketAddress(batch.remoteAddress(i));
      text += json
        ? `${JSON.stringify({ from, bytes: data.length, base64: data.toString('base64') })}\n`
        : `${from}  ${payload(data)}\n`;
    }
    return text;
  };
}

const ESCAPES: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** A payload as text of one line: what is no UTF-8 is taken for ASCII and other bytes. */
function printable(data: Buffer): string {
  const text = data.toString('utf8');
  const isText = !text.includes('\ufffd');
  return (isText ? text : data.toString('latin1')).replace(
    isText ? /[\p{C}\\]/gu : /[^\x20-\x7e]|\\/g,
    (character) => ESCAPES[character] ?? escaped(character.codePointAt(0)!),
  );
}

function escaped(code: number): string {
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof AbortError)) throw error;
}
