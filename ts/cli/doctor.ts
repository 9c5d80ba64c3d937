import os from 'node:os';
import process from 'node:process';
import { Command } from 'commander';
import { BinaryError, system } from '../native/binary.js';
import { COUNT, LAYOUT } from '../native/layout.js';
import type { Native } from '../native/native.js';
import { VERSION } from '../version.js';
import { cachePath } from './component-cache.js';
import { write } from './output.js';
import { FAILURE_EXIT_CODE } from './report.js';
import { line } from './summary.js';

/** How long to wait for a datagram over loopback. */
const PATIENCE_MS = 1000;

/** How many datagrams are sent. */
const DATAGRAMS = 4;

/** `READABLE` of native.ts, which is loaded by the command alone: it throws where there is no binary. */
const READABLE = 1;

/** Per sending system call, the names of what goes with it. */
const BACKENDS: Record<string, { receive: string; segmentation: string; coalescing: string }> = {
  sendmmsg: { receive: 'recvmmsg', segmentation: 'UDP_SEGMENT', coalescing: 'UDP_GRO' },
  sendmsg: { receive: 'recvmsg', segmentation: 'segmentation', coalescing: 'coalescing' },
  WSASendMsg: {
    receive: 'WSARecvMsg',
    segmentation: 'UDP_SEND_MSG_SIZE',
    coalescing: 'UDP_RECV_MAX_COALESCED_SIZE',
  },
};

/** What the doctor found, as `doctor --json` prints it. */
interface Findings {
  version: string;
  /** The system and the runtime, such as `linux-x64 with glibc 2.36, Node.js 20.20.2`; the system's own release. */
  platform: string;
  release: string;
  /** The folder that keeps the translations of `wasi-udp run`; undefined where the user has none. */
  cache?: string;
  /** The binary that is loaded, and its version; without one, `error` says why. */
  binary?: { path: string; version: string };
  error?: string;
  /** The system calls in use, whether runs leave or arrive as one message, and by what names. */
  sends?: { call: string; segmentation: boolean; option: string };
  receives?: { call: string; coalescing: boolean; option: string };
  /** What tells that a socket is ready. */
  readiness?: 'libuv' | 'thread';
  /** What is not in use, and why not. */
  notes?: string[];
  loopback?: Loopback[];
}

/** What became of datagrams to itself at an address. */
interface Loopback {
  host: string;
  sent?: number;
  received?: number;
  error?: string;
}

export const command = new Command('doctor')
  .description('Tell which binary is loaded, what of the system it uses, and why not where not.')
  .usage('[--json]')
  .option('--json', 'print a JSON object', false)
  .addHelpText(
    'after',
    `
Sends a few datagrams to itself over loopback. Tells too where wasi-udp run keeps what it has translated.

With --json: { version, platform, release, cache, binary: { path, version }, sends: { call, segmentation, option },
receives: { call, coalescing, option }, readiness, notes: [text], loopback: [{ host, sent, received } or { host, error }] }; without a
binary, error says why.

Exit codes: 0; 1 where there is no binary for this system; 2 wrong usage.`,
  )
  .action(async ({ json }: { json: boolean }) => {
    const found = await examine();
    write(json ? `${JSON.stringify(found, null, 2)}\n` : `${linesOf(found).join('\n')}\n`);
    if (found.binary === undefined) process.exitCode = FAILURE_EXIT_CODE;
  });

async function examine(): Promise<Findings> {
  const cache = cacheFolder();
  const found = {
    version: VERSION,
    platform: system(),
    release: os.release(),
    ...(cache !== undefined && { cache }),
  };
  try {
    const { binaryPath, native } = await import('../native/native.js');
    const { openUdp } = await import('../socket/open-udp.js');
    return {
      ...found,
      binary: { path: binaryPath, version: native.version() },
      ...features(native),
      loopback: ['127.0.0.1', '[::1]'].map((host) => loopback(native, openUdp, host)),
    };
  } catch (error) {
    if (!(error instanceof BinaryError)) throw error;
    return { ...found, error: error.message };
  }
}

function linesOf(found: Findings): string[] {
  const { version, platform, release, cache, binary, error, sends, receives, readiness } = found;
  const withOrWithout = (used: boolean, name: string) => `${used ? 'with' : 'without'} ${name}`;
  const lines = [line('wasi-udp', version), line('platform', `${platform}, ${release}`)];
  if (cache !== undefined) lines.push(line('cache', cache));
  if (binary === undefined) return [...lines, line('binary', 'none'), '', error!];
  return [
    ...lines,
    line('binary', `${binary.path}, ${binary.version}`),
    line('sends', `${sends!.call}, ${withOrWithout(sends!.segmentation, sends!.option)}`),
    line('receives', `${receives!.call}, ${withOrWithout(receives!.coalescing, receives!.option)}`),
    line('readiness', readiness === 'libuv' ? "libuv's poll handles, in the event loop" : 'a polling thread'),
    ...found.notes!.map((note) => line('note', note)),
    ...found.loopback!.map(({ host, sent, received, error }) =>
      line('loopback', `${host}: ${error ?? `${sent} of ${DATAGRAMS} datagrams sent, ${received} received`}`),
    ),
  ];
}

function cacheFolder(): string | undefined {
  try {
    return cachePath();
  } catch {
    return undefined; // The user has no home folder.
  }
}

/** What of the system is in use. */
function features(native: Native) {
  const { backend, segmentation, receiveCoalescing, poller, notes } = native.features();
  const names = BACKENDS[backend]!;
  return {
    sends: { call: backend, segmentation, option: names.segmentation },
    receives: { call: names.receive, coalescing: receiveCoalescing, option: names.coalescing },
    readiness: poller === 'libuv' ? ('libuv' as const) : ('thread' as const),
    notes,
  };
}

/** Sends a few datagrams to itself, and tells what became of them. */
function loopback(native: Native, openUdp: typeof import('../socket/open-udp.js').openUdp, host: string): Loopback {
  try {
    const udp = openUdp({ local: `${host}:0` });
    try {
      const { outgoing, socket, localAddress } = udp;
      outgoing.checkSend();
      const datagram = { data: new Uint8Array(100), remoteAddress: localAddress };
      const sent = Number(outgoing.send(Array.from({ length: DATAGRAMS }, () => datagram)));
      return { host, sent, received: receive(native, socket.descriptor.socket, DATAGRAMS) };
    } finally {
      udp[Symbol.dispose]();
    }
  } catch (error) {
    return { host, error: (error as Error).message };
  }
}

/** How many of `total` datagrams arrive before the socket falls silent. */
function receive(native: Native, socket: number, total: number): number {
  const payload = new ArrayBuffer(total * 65_536);
  const table = new ArrayBuffer(LAYOUT.tableBytes);
  let received = 0;
  while (received < total && native.pollSync(Int32Array.of(socket, READABLE, 0), 1, PATIENCE_MS) > 0) {
    const count = native.receive(socket, payload, table, total);
    if (count < 0 || (count & COUNT) === 0) break;
    received += count & COUNT;
  }
  return received;
}
