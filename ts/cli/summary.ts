import type { Tally } from './senders.js';

/** What came of a pass. */
export interface Outcome extends Tally {
  /** What the receiver counted; unknown where it is another's. */
  received: number | undefined;
  elapsedMs: number;
}

/** The summary of the pass through this package: one fact a line, a label before each. */
export function passLines(ours: Outcome): string[] {
  const { accepted, received, bytes, batches, blocked, sendingMs, elapsedMs } = ours;
  const counted =
    received === undefined ? 'not known here: the target counts' : `${count(received)}, counted by the receiver`;
  const batchSize = batches === 0 ? '' : `, ${(accepted / batches).toFixed(1)} datagrams each`;
  return [
    line('accepted', `${count(accepted)} datagrams, ${count(bytes)} bytes`),
    line('received', counted),
    line('lost', received === undefined ? 'not known here' : count(accepted - received)),
    line('batches', `${count(batches)}${batchSize}`),
    line('blocked', `${count(blocked)} times`),
    line('took', `${seconds(elapsedMs)}, ${seconds(sendingMs)} of it sending, the rest waiting`),
    line('wasi-udp', nanoseconds(ours)),
  ];
}

/** The summary of the same input through node:dgram, and the ratio of the two. */
export function comparisonLines(ours: Outcome, dgram: Outcome, isSameTarget: boolean): string[] {
  const ratio = perDatagram(dgram) / perDatagram(ours);
  const where = isSameTarget ? 'the same input' : 'the same input, to a receiver of our own';
  const received = `received ${count(dgram.received ?? 0)} of ${count(dgram.accepted)}`;
  return [
    line('node:dgram', `${nanoseconds(dgram)}, ${where}, ${received}`),
    line('ratio', Number.isFinite(ratio) ? `${ratio.toFixed(1)} times as fast as node:dgram` : 'nothing was sent'),
  ];
}

export function line(label: string, text: string): string {
  return `${label.padEnd(12)}${text}`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

function nanoseconds(tally: Tally): string {
  return tally.accepted === 0 ? 'nothing was sent' : `${count(Math.round(perDatagram(tally)))} ns a datagram`;
}

/** Nanoseconds of sending a datagram. */
function perDatagram(tally: Tally): number {
  return (tally.sendingMs * 1e6) / tally.accepted;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
