import { clearImmediate, setImmediate } from 'node:timers';
import { setImmediate as nextTurn, setTimeout } from 'node:timers/promises';
import type { OutgoingDatagram } from '../batch/arena.js';
import { AbortError, ClosedError, SocketError } from '../errors.js';
import { LAYOUT } from '../native/layout.js';
import { Turn } from '../readiness/turn.js';
import { show } from '../rules/address.js';
import { checkNames } from '../rules/names.js';
import type { OutgoingDatagramStream } from './outgoing-datagram-stream.js';
import { Suspicion } from './suspicion.js';

/** How `sendAll` goes on, and what it tells meanwhile. */
export interface SendAllOptions {
  /** Ends the loop, which rejects with AbortError. */
  signal?: AbortSignal | undefined;
  /** Hears after each batch how many datagrams have been accepted in all. */
  onProgress?: ((accepted: bigint) => void) | undefined;
  /**
   * Hears of each datagram that is refused, and the loop goes on behind it; and, without a datagram, of an error that the peer
   * has left (`connection-refused`), which costs no datagram. Without it the first error ends the loop.
   */
  onError?: ((error: Error, datagram: OutgoingDatagram | undefined) => void) | undefined;
}

/**
 * Sends every datagram of an iterable: fills each permit, waits while the stream is blocked, and lets the event loop turn.
 * Returns how many were accepted: all.
 *
 * Stops at the first error of the stream, unless `onError` is given, or of the iterable, and rejects with it; `accepted` on the
 * error tells how many datagrams were accepted before. An abort rejects with AbortError, a stream that is closed meanwhile with
 * ClosedError. Datagrams of an asynchronous iterable are sent when a batch is full or the source has none ready, so a slow source
 * delays nothing.
 *
 * A peer's refusal comes behind the datagrams that it refuses. Hence a connected stream is asked once more at the end, a turn of
 * the event loop later: a refusal that is there by then rejects with it, ECONNREFUSED, and `accepted` tells of all. Of this machine
 * it is there; another's may come later, and is told by whatever call comes next.
 *
 * @param outgoing the stream: `outgoing` of what `openUdp` returns.
 * @param datagrams an array, a generator, or an asynchronous iterable, of `{ data, remoteAddress? }`.
 * @param options an AbortSignal, and what is to hear of progress and of refusals.
 * @returns how many datagrams were accepted: all of them, or with `onError` those that were not refused.
 * @throws (rejects with) SocketError, AbortError or ClosedError, with `accepted` on it; whatever the iterable throws.
 * @example
 * const lines = text.split('\n').map((line) => ({ data: Buffer.from(line) }));
 * await sendAll(udp.outgoing, lines, { onError: (error) => console.error(error.message) });
 */
export async function sendAll(
  outgoing: OutgoingDatagramStream,
  datagrams: Iterable<OutgoingDatagram> | AsyncIterable<OutgoingDatagram>,
  options: SendAllOptions = {},
): Promise<bigint> {
  if (!isIterable(datagrams)) {
    throw new TypeError(
      `sendAll() takes an iterable of datagrams, got ${show(datagrams)}: pass an array or a generator`,
    );
  }
  checkNames('sendAll()', options, ['signal', 'onProgress', 'onError']);
  const loop = new SendLoop(outgoing, options);
  try {
    if (Symbol.asyncIterator in datagrams) await loop.drain(datagrams[Symbol.asyncIterator]());
    else for (const datagram of datagrams) if (loop.add(datagram)) await loop.flush();
    await loop.flush();
    await loop.askOnceMore();
    return loop.accepted;
  } catch (error) {
    // What an iterable gave before it failed goes out, as if one by one.
    const failure = loop.failed
      ? error
      : await loop.flush().then(
          () => error,
          (later) => later,
        );
    // Not enumerable: JSON has no bigint, and loggers write errors as JSON.
    if (failure instanceof Error && Object.isExtensible(failure))
      Object.defineProperty(failure, 'accepted', { value: loop.accepted, writable: true, configurable: true });
    throw failure;
  }
}

function isIterable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);
}

/**
 * How long to wait where the system accepts nothing though the socket polls writable, in milliseconds: a queue behind the
 * socket is full (ENOBUFS), and nothing tells when it has room.
 */
const PAUSE_MS = 1;

/** The state of one `sendAll`: what it has collected, and how far it is. */
class SendLoop {
  accepted = 0n;
  /** Whether the stream, or an abort, has ended the loop. */
  failed = false;
  readonly #outgoing: OutgoingDatagramStream;
  readonly #options: SendAllOptions;
  #batch: OutgoingDatagram[] = [];
  /** The send to come at the end of this turn, and the one that is going on while the source is waited for. */
  #soon: NodeJS.Immediate | undefined;
  #early: Promise<void> | undefined;
  readonly #turn = new Turn();
  readonly #suspicion = new Suspicion((error) => this.#options.onError?.(error, undefined));
  /** Sends in a row of which nothing was accepted. */
  #refusals = 0;

  constructor(outgoing: OutgoingDatagramStream, options: SendAllOptions) {
    this.#outgoing = outgoing;
    this.#options = options;
  }

  /** Collects a datagram; whether the batch is full. */
  add(datagram: OutgoingDatagram): boolean {
    return this.#batch.push(datagram) >= LAYOUT.maxDatagrams;
  }

  /** Sends what is collected, all of it. */
  async flush(): Promise<void> {
    try {
      while (this.#batch.length > 0) {
        this.#throwIfEnded();
        if (!this.#check()) await this.#writable();
        else if (this.#send() > 0n) this.#refusals = 0;
        else if (++this.#refusals > 1) await setTimeout(PAUSE_MS);
        await this.#turn.give();
      }
      this.#throwIfAborted();
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }

  /** Throws the error that the peer has left since the last send, or has `onError` hear of it; `onPeerError` hears of its own. */
  async askOnceMore(): Promise<void> {
    if (this.accepted === 0n || !this.#outgoing.hearsRefusals) return;
    await nextTurn();
    // Closed behind the last of them: nothing is left to ask.
    if (this.#outgoing.closed) return;
    this.#outgoing.doubt();
    this.#check();
  }

  /** Collects and sends until the source ends; sends early where the source has nothing ready in this turn. */
  async drain(source: AsyncIterator<OutgoingDatagram>): Promise<void> {
    const { signal } = this.#options;
    let abort = () => {};
    let finished = false;
    try {
      this.#throwIfAborted();
      await new Promise<void>((resolve, reject) => {
        const fail = (error: unknown) => {
          this.failed = true;
          reject(error);
        };
        abort = () => fail(new AbortError(signal!));
        signal?.addEventListener('abort', abort);
        this.#collect(source, fail).then(resolve, reject);
      });
      finished = true;
    } finally {
      signal?.removeEventListener('abort', abort);
      this.#notSoon();
      // Not awaited: a generator that hangs in its own await would never answer.
      if (!finished) (async () => source.return?.())().catch(() => {});
    }
  }

  /**
   * Collects to the source's end, and sends full batches. It awaits nothing that outlives a datagram: what else may end the
   * loop meanwhile, an abort or an error of an early send, tells `fail`.
   */
  async #collect(source: AsyncIterator<OutgoingDatagram>, fail: (error: unknown) => void): Promise<void> {
    try {
      for (;;) {
        const step = await source.next();
        if (this.#early !== undefined) await this.#early;
        if (this.failed || step.done === true) return;
        if (!this.add(step.value)) {
          this.#soon ??= setImmediate(() => this.#sendEarly(fail));
          continue;
        }
        this.#notSoon();
        await this.flush();
      }
    } finally {
      await this.#early;
    }
  }

  /** Sends what is collected while the source is waited for. */
  #sendEarly(fail: (error: unknown) => void): void {
    this.#soon = undefined;
    this.#early = this.flush()
      .catch(fail)
      .finally(() => {
        this.#early = undefined;
      });
  }

  #notSoon(): void {
    clearImmediate(this.#soon);
    this.#soon = undefined;
  }

  /** Whether the stream may send. */
  #check(): boolean {
    for (let told: string | undefined; ; ) {
      try {
        return this.#outgoing.checkSend() > 0n;
      } catch (error) {
        if (this.#options.onError === undefined || !(error instanceof SocketError)) throw error;
        // One that comes again at once is not the peer's: the system cannot be asked.
        if (error.code === told) throw error;
        told = error.code;
        this.#options.onError(error, undefined);
      }
    }
  }

  /** Sends under a full permit, and keeps what was not accepted; how many were accepted or refused. */
  #send(): bigint {
    let sent: bigint;
    try {
      sent = this.#outgoing.send(this.#batch);
    } catch (error) {
      return this.#refuse(error);
    }
    if (sent > 0n) this.#suspicion.passed();
    this.accepted += sent;
    this.#batch = this.#batch.slice(Number(sent));
    this.#options.onProgress?.(this.accepted);
    return sent;
  }

  /** The error of a send is told, where somebody hears of it: its first datagram is refused, or is tried again. */
  #refuse(error: unknown): bigint {
    const { onError } = this.#options;
    if (onError === undefined || !(error instanceof SocketError || error instanceof TypeError)) throw error;
    const isCertain = error instanceof TypeError || this.#outgoing.isCertain;
    if (isCertain || this.#suspicion.confirms(error)) onError(error, this.#batch.shift());
    return 1n;
  }

  async #writable(): Promise<void> {
    await this.#outgoing.subscribe().wait({ signal: this.#options.signal });
  }

  #throwIfEnded(): void {
    this.#throwIfAborted();
    if (this.#outgoing.closed)
      throw new ClosedError('sendAll(): the stream was closed while datagrams were left to send');
  }

  #throwIfAborted(): void {
    if (this.#options.signal?.aborted) throw new AbortError(this.#options.signal);
  }
}
