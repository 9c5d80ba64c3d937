import dgram from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OutgoingDatagram } from '../batch/arena.js';
import { SocketError } from '../errors.js';
import { native, systemError } from '../native/native.js';
import type { OpenUdp } from '../socket/opened-udp.js';
import { Suspicion } from '../socket/suspicion.js';
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

/** The sender that this package is: check-send, send, and subscribe where it is blocked. Owns the socket. */
export class WasiUdpSender implements Sender {
  readonly #udp: OpenUdp;
  readonly #goesOn: (error: SocketError) => boolean;
  readonly #suspicion = new Suspicion((error) => this.#hear(error));
  /** What the answers of the target have left on the socket, and another call than a send was told. */
  #left: SocketError | undefined;

  /** `goesOn` hears of what is refused, and says whether sending goes on behind it; by default it ends. */
  constructor(udp: OpenUdp, goesOn: (error: SocketError) => boolean = () => false) {
    this.#udp = udp;
    this.#goesOn = goesOn;
  }

  async send(batch: OutgoingDatagram[], tally: Tally, signal: AbortSignal): Promise<void> {
    const { outgoing } = this.#udp;
    let rest = batch;
    let isStuck = false;
    while (rest.length > 0) {
      const permit = this.#permit();
      let sent = 0;
      try {
        if (permit > 0) sent = Number(outgoing.send(rest.length > permit ? rest.slice(0, permit) : rest));
      } catch (error) {
        if (!(error instanceof SocketError)) throw error;
        // The error may be the answer to an earlier datagram: the first one is tried again before it is given up.
        if (this.#suspicion.confirms(error)) {
          this.#hear(error);
          rest = rest.slice(1);
        }
        continue;
      }
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
      this.#suspicion.passed();
    }
  }

  check(): void {
    const { descriptor } = this.#udp.socket;
    this.#takeLeft();
    const result = descriptor.took(native.checkSend(descriptor.socket));
    if (result < 0) this.#hear(systemError('send', 'send', -result));
  }

  /** Has the next send or check take an error that a receive was told. */
  leave(error: SocketError): void {
    this.#left = error;
  }

  close(): void {
    this.#udp[Symbol.dispose]();
  }

  /** What may be sent now. */
  #permit(): number {
    this.#takeLeft();
    for (let told: string | undefined; ; ) {
      try {
        return Number(this.#udp.outgoing.checkSend());
      } catch (error) {
        // One that comes again at once is no answer of the target's.
        if (!(error instanceof SocketError) || error.payload === told) throw error;
        told = error.payload;
        this.#hear(error);
      }
    }
  }

  #takeLeft(): void {
    const error = this.#left;
    this.#left = undefined;
    if (error !== undefined) this.#hear(error);
  }

  #hear(error: SocketError): void {
    if (!this.#goesOn(error)) throw error;
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
