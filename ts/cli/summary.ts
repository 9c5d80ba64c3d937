import type { ErrorCode } from '../errors.js';
import type { Tally } from './senders.js';

/** What came of a pass. */
export interface Outcome extends Tally {
  /** What the receiver counted; unknown where it is another's. */
  received: number | undefined;
  /** From the start until the last datagram was accepted, or received where a receiver of ours counts. */
  elapsedMs: number;
}

/** What came of `send`, beside the pass itself. */
export interface SendSummary {
  outcome: Outcome;
  /** Refusals behind which sending went on, and how often each was told. */
  refusals: ReadonlyMap<ErrorCode, number>;
  /** How many datagrams came back; undefined where nobody wanted to know. */
  replies: number | undefined;
  /** Whether to tell the rate: of datagrams that were sent for its sake. */
  hasRate: boolean;
}

/** The summary of `send`: one fact a line, a label before each. */
export function sendLines({ outcome, refusals, replies, hasRate }: SendSummary): string[] {
  return [
    acceptedLine(outcome),
    ...Array.from(refusals, ([code, times]) => line('refused', `${counted(times, 'time')}, ${code}`)),
    ...(replies === undefined ? [] : [line('replies', counted(replies, 'datagram'))]),
    ...sendingLines(outcome),
    ...(hasRate ? [line('rate', rateText(outcome))] : []),
  ];
}

/** The same as an object for JSON. */
export function sendObject(to: string, { outcome, refusals, replies }: SendSummary): object {
  const { accepted, bytes, batches, blocked, elapsedMs, sendingMs } = outcome;
  return {
    to,
    accepted,
    bytes,
    refused: Object.fromEntries(refusals),
    replies,
    batches,
    blocked,
    seconds: inSeconds(elapsedMs),
    sendingSeconds: inSeconds(sendingMs),
  };
}

/** The summary of the pass through this package to a receiver of our own. */
export function passLines(ours: Outcome): string[] {
  const { accepted, received = 0 } = ours;
  return [
    acceptedLine(ours),
    line('received', `${count(received)}, counted by the receiver`),
    line('lost', count(accepted - received)),
    ...sendingLines(ours),
    line('wasi-udp', nanoseconds(ours)),
  ];
}

/** The summary of the same input through node:dgram, and the ratio of the two. */
export function comparisonLines(ours: Outcome, dgram: Outcome): string[] {
  const ratio = perDatagram(dgram) / perDatagram(ours);
  const received = `received ${count(dgram.received ?? 0)} of ${count(dgram.accepted)}`;
  return [
    line('node:dgram', `${nanoseconds(dgram)}, the same input, ${received}`),
    line('ratio', Number.isFinite(ratio) ? `${ratio.toFixed(1)} times as fast as node:dgram` : 'nothing was sent'),
  ];
}

export function line(label: string, text: string): string {
  return `${label.padEnd(12)}${text}`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** A count of something, such as `1 datagram` or `2,000 datagrams`. */
export function counted(value: number, what: string): string {
  return `${count(value)} ${what}${value === 1 ? '' : 's'}`;
}

function acceptedLine({ accepted, bytes }: Outcome): string {
  return line('accepted', `${counted(accepted, 'datagram')}, ${counted(bytes, 'byte')}`);
}

function sendingLines({ accepted, batches, blocked, sendingMs, elapsedMs }: Outcome): string[] {
  const batchSize = batches === 0 ? '' : `, ${(accepted / batches).toFixed(1)} datagrams each`;
  return [
    line('batches', `${count(batches)}${batchSize}`),
    line('blocked', counted(blocked, 'time')),
    line('took', `${secondsText(elapsedMs)}, ${secondsText(sendingMs)} of it sending, the rest waiting`),
  ];
}

function rateText({ accepted, bytes, elapsedMs }: Outcome): string {
  if (elapsedMs === 0) return 'nothing was sent';
  const megabits = (8 * bytes) / 1e6 / (elapsedMs / 1000);
  return `${count(Math.round((1000 * accepted) / elapsedMs))} datagrams a second, ${megabits.toFixed(1)} Mbit/s of payload`;
}

function nanoseconds(tally: Tally): string {
  return tally.accepted === 0 ? 'nothing was sent' : `${count(Math.round(perDatagram(tally)))} ns a datagram`;
}

/** Nanoseconds of sending a datagram. */
function perDatagram(tally: Tally): number {
  return (tally.sendingMs * 1e6) / tally.accepted;
}

function secondsText(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** Seconds, to the microsecond. */
function inSeconds(ms: number): number {
  return Number((ms / 1000).toFixed(6));
}
