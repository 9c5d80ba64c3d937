import os from 'node:os';
import process from 'node:process';
import { Command } from 'commander';
import { BinaryError, system } from '../native/binary.js';
import { COUNT, LAYOUT } from '../native/layout.js';
import type { Native } from '../native/native.js';
import { VERSION } from '../version.js';
import { FAILURE_EXIT_CODE } from './report.js';
import { line } from './summary.js';

/** How long to wait for a datagram over loopback. */
const PATIENCE_MS = 1000;

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

export const command = new Command('doctor')
  .description('Tell which binary is loaded, what of the system it uses, and why not where not.')
  .action(async () => {
    process.stdout.write(`${line('wasi-udp', VERSION)}\n${line('platform', `${system()}, ${os.release()}`)}\n`);
    try {
      const { binaryPath, native } = await import('../native/native.js');
      const { openUdp } = await import('../socket/open-udp.js');
      const lines = [line('binary', `${binaryPath}, ${native.version()}`), ...features(native)];
      for (const host of ['127.0.0.1', '[::1]']) lines.push(line('loopback', loopback(native, openUdp, host)));
      process.stdout.write(`${lines.join('\n')}\n`);
    } catch (error) {
      if (!(error instanceof BinaryError)) throw error;
      process.stdout.write(`${line('binary', 'none')}\n\n${error.message}\n`);
      process.exitCode = FAILURE_EXIT_CODE;
    }
  });

/** What of the system is in use, a line each, and why not where not. */
function features(native: Native): string[] {
  const { backend, segmentation, receiveCoalescing, poller, notes } = native.features();
  const names = BACKENDS[backend]!;
  const withOrWithout = (used: boolean, name: string) => `${used ? 'with' : 'without'} ${name}`;
  return [
    line('sends', `${backend}, ${withOrWithout(segmentation, names.segmentation)}`),
    line('receives', `${names.receive}, ${withOrWithout(receiveCoalescing, names.coalescing)}`),
    line('readiness', poller === 'libuv' ? "libuv's poll handles, in the event loop" : 'a polling thread'),
    ...notes.map((note) => line('note', note)),
  ];
}

/** Sends a few datagrams to itself, and tells what became of them. */
function loopback(native: Native, openUdp: typeof import('../socket/open-udp.js').openUdp, host: string): string {
  const total = 4;
  try {
    const udp = openUdp({ local: `${host}:0` });
    try {
      const { outgoing, socket, localAddress } = udp;
      outgoing.checkSend();
      const datagram = { data: new Uint8Array(100), remoteAddress: localAddress };
      const sent = outgoing.send(Array.from({ length: total }, () => datagram));
      return `${host}: ${sent} of ${total} datagrams sent, ${receive(native, socket.descriptor.socket, total)} received`;
    } finally {
      udp[Symbol.dispose]();
    }
  } catch (error) {
    return `${host}: ${(error as Error).message}`;
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
