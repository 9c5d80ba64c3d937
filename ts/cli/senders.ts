import dgram from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OutgoingDatagram } from '../batch/arena.js';
import { native, systemError } from '../native/native.js';
import type { IpSocketAddress } from '../rules/address.js';
import { openUdp } from '../socket/open-udp.js';
import type { OpenUdp } from '../socket/opened-udp.js';
import { Failure } from './report.js';

/** What a pass has done so far. */
export interface Tally {
  accepted: number;
  bytes: number;
  /** Calls of `send`. */
  batches: number;
  /** How often the system took nothing. */
  blocked: number;
  /** Time spent sending, in milliseconds: without waits for the input, the rate or the receiver. */
  sendingMs: number;
}

/** How long a socket that was ready and took nothing is left alone, in milliseconds. */
const STUCK_MS = 1;

/** One way to send datagrams to one address. */
export interface Sender {
  /** Sends them all, and resolves when the system has accepted the last. Counts what it accepted. */
  send(batch: OutgoingDatagram[], tally: Tally, signal: AbortSignal): Promise<void>;
  /** Throws the error that the target's answers have left on the socket. */
  check(): void;
  close(): void;
}

/** The sender that this package is: check-send, send, and subscribe where it is blocked. */
export class WasiUdpSender implements Sender {
  readonly #udp: OpenUdp;

  constructor(remote: IpSocketAddress) {
    this.#udp = openUdp({ remote });
  }

  async send(batch: OutgoingDatagram[], tally: Tally, signal: AbortSignal): Promise<void> {
    const { outgoing } = this.#udp;
    let rest = batch;
    let isStuck = false;
    while (rest.length > 0) {
      const permit = Number(outgoing.checkSend());
      const sent = permit === 0 ? 0 : Number(outgoing.send(rest.length > permit ? rest.slice(0, permit) : rest));
      if (permit > 0) tally.batches += 1;
      if (sent === 0) {
        tally.blocked += 1;
        // The full queue of a device is no full send buffer: the socket is ready at once, and takes nothing yet.
        if (isStuck) await sleep(STUCK_MS, undefined, { signal });
        isStuck = true;
        await outgoing.subscribe().wait({ signal });
        continue;
      }
      isStuck = false;
      tally.accepted += sent;
      for (let i = 0; i < sent; i++) tally.bytes += rest[i]!.data.length;
      rest = rest.slice(sent);
    }
  }

  check(): void {
    const { descriptor } = this.#udp.socket;
    const result = descriptor.took(native.checkSend(descriptor.socket));
    if (result < 0) throw systemError('send', -result);
  }

  close(): void {
    this.#udp[Symbol.dispose]();
  }
}

/** The sender to compare with: node:dgram, connected to a port of 127.0.0.1, a whole batch under way at once. */
export class DgramSender implements Sender {
  readonly #socket: dgram.Socket;

  private constructor(socket: dgram.Socket) {
    this.#socket = socket;
  }

  /** Rejects with Failure, as does `send`. */
  static async connect(port: number): Promise<DgramSender> {
    const socket = dgram.createSocket('udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => reject(dgramFailure(error)));
      socket.connect(port, '127.0.0.1', resolve);
    });
    return new DgramSender(socket);
  }

  send(batch: OutgoingDatagram[], tally: Tally): Promise<void> {
    tally.batches += 1;
    return new Promise((resolve, reject) => {
      let left = batch.length;
      const done = (error: Error | null, bytes: number) => {
        if (error !== null) return reject(dgramFailure(error));
        tally.accepted += 1;
        tally.bytes += bytes;
        left -= 1;
        if (left === 0) resolve();
      };
      for (const { data } of batch) this.#socket.send(data, done);
    });
  }

  check(): void {}

  close(): void {
    this.#socket.close();
  }
}

/** Such as of a datagram that is as large as IPv6 has them, while the comparison is over IPv4. */
function dgramFailure({ code, message }: NodeJS.ErrnoException): Failure {
  return new Failure(`it cannot send the same (${code ?? message})`);
}
