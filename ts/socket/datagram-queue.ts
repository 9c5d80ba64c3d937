import type { Writable } from 'node:stream';
import { clearImmediate, clearTimeout, setImmediate, setTimeout } from 'node:timers';
import { Added, Arena, sizeOf } from '../batch/arena.js';
import { ClosedError, SocketError, Trap } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { WRITABLE } from '../native/native.js';
import { Pollable } from '../readiness/pollable.js';
import { atEndOfEvent, awaitEvent, type Waiter } from '../readiness/readiness.js';
import { type IpSocketAddress, type SocketAddressLike, show } from '../rules/address.js';
import { type Destination, refusalError } from '../rules/destination.js';
import { checkNames } from '../rules/names.js';
import type { Route } from '../rules/route.js';
import { DatagramWritable } from './datagram-writable.js';
import { Suspicion } from './suspicion.js';

/** What a queue needs of its stream. */
export interface QueueSender {
  readonly destination: Destination;
  /** The socket. Traps once the stream is dropped. */
  descriptor(): Descriptor;
  /** Whether the socket may be sent to, as `checkSend` finds out; throws the error that is pending. Leaves the permit alone. */
  isWritable(): boolean;
  /** How many datagrams of the batch the kernel took. Throws where it took none for an error. */
  transmit(arena: Arena): number;
  /** Has the next `isWritable` ask the kernel. */
  doubt(): void;
  /** Whether an error of `transmit` is the first datagram's for certain. */
  isCertain(): boolean;
}

/** A datagram that was refused, as `onError` gets it. */
export interface RefusedDatagram {
  /** Which datagram: the number of those that were given to `send` before it. */
  readonly index: number;
  /** A copy of the payload. */
  readonly data: Uint8Array;
  /** The destination; undefined where none was named, or what is none. */
  readonly remoteAddress: IpSocketAddress | undefined;
}

/** How much a queue holds, and who hears of what it could not send. */
export interface QueueOptions {
  /** Datagrams that wait at most. Default: 8192. */
  maxDatagrams?: number | undefined;
  /** Bytes of payload that wait at most. Default: 8 MiB. */
  maxBytes?: number | undefined;
  /**
   * Hears of each datagram that was refused and has no callback of its own; and, without a datagram, of an error that the peer
   * has left (`connection-refused`), which costs no datagram. Without it, the first such error rejects the next `flush()` or
   * `close()`.
   */
  onError?: ((error: Error, datagram: RefusedDatagram | undefined) => void) | undefined;
}

/** Hears what became of a datagram: nothing where the kernel took it, else why not. */
export type SendCallback = (error?: Error) => void;

const MAX_DATAGRAMS = 8192;
const MAX_BYTES = 8 * 2 ** 20;

/** As in `sendAll`: a queue behind the socket is full, and nothing tells when it has room. */
const PAUSE_MS = 1;

/** Batches of queues that are gone: a batch is large, and sockets come and go. */
const spare: Arena[] = [];
const MOST_SPARE = 16;

/** What is told when so many datagrams are settled: a callback of the last of them, or a flush. */
interface Notice {
  readonly after: number;
  /** Whether it is the callback of a datagram, number `after - 1`, which hears of that one's error. */
  readonly isCallback: boolean;
  readonly tell: SendCallback;
}

/** A datagram that a rule refused: it has a number, and no place in a batch. */
interface Refused extends RefusedDatagram {
  readonly error: Error;
}

/**
 * Datagrams one at a time, at the speed of batches: `send` copies one and returns; what one turn of the event loop sends leaves
 * at its end, in as few system calls as a list would, in order.
 *
 * It leaves earlier where a batch is full (1024 datagrams, or 1.5 MiB), and later where the socket is: as soon as there is room.
 * A queue that holds something keeps the process alive, unless `unref()` says otherwise.
 */
export class DatagramQueue implements Disposable, AsyncDisposable {
  readonly #sender: QueueSender;
  readonly #maxDatagrams: number;
  readonly #maxBytes: number;
  readonly #onError: QueueOptions['onError'];
  /** The batches, the oldest first; the last one takes what comes. */
  readonly #batches = [spare.pop() ?? new Arena()];
  #tail = this.#batches[0]!;
  /** A batch that has left, for the next time that one is full. */
  #spare: Arena | undefined;
  /** Datagrams given to `send`, but for those that a full queue refused. */
  #given = 0;
  /** How many of those, from the first on, were sent or refused. */
  #settled = 0;
  #bytes = 0;
  #overflows = 0;
  #notices: Notice[] = [];
  #refused: Refused[] = [];
  /** The first error that nobody has heard of. */
  #untold: Error | undefined;
  readonly #suspicion = new Suspicion((error) => this.#hear(error, undefined));
  /** Sends in a row of which nothing was accepted. */
  #stalls = 0;
  /** What sends next: the end of the turn, the end of a pause, or room in the socket. */
  #soon: NodeJS.Immediate | undefined;
  #pausing: NodeJS.Timeout | undefined;
  #leaveWait: (() => void) | undefined;
  /** Whether the end of an event sends. */
  #isEnding = false;
  /** How often somebody was told something. */
  #told = 0;
  #isReferenced = true;
  #closing: Promise<void> | undefined;
  /** Whether the stream was dropped. */
  #isForsaken = false;
  /** Who waits for room in the queue. */
  #waitForRoom: (() => void)[] = [];

  /** @internal */
  constructor(sender: QueueSender, options: QueueOptions = {}) {
    checkNames('queue()', options, ['maxDatagrams', 'maxBytes', 'onError']);
    const { maxDatagrams = MAX_DATAGRAMS, maxBytes = MAX_BYTES, onError } = options;
    for (const [name, value] of Object.entries({ maxDatagrams, maxBytes })) {
      if (!(Number.isSafeInteger(value) && value >= 1))
        throw new RangeError(`queue() takes ${name} as a whole number from 1 on, got ${show(value)}: leave it out`);
    }
    if (onError !== undefined && typeof onError !== 'function')
      throw new TypeError(`queue() takes onError as a function, got ${show(onError)}: leave it out`);
    this.#sender = sender;
    this.#maxDatagrams = maxDatagrams;
    this.#maxBytes = maxBytes;
    this.#onError = onError;
  }

  /** Datagrams that wait. */
  get pending(): number {
    return this.#given - this.#settled;
  }

  /** Bytes of payload that wait. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  /** How often `send` answered false, since the queue was full. */
  get overflows(): number {
    return this.#overflows;
  }

  /** Whether `send` would take a datagram. */
  get hasRoom(): boolean {
    return this.pending < this.#maxDatagrams && this.#bytes < this.#maxBytes;
  }

  /**
   * Takes one datagram, whose bytes are copied: the buffer is the caller's again. Never blocks. What a rule or the system refuses
   * is told to the callback, or to `onError`, when all datagrams before it are settled; the others go on.
   *
   * @param data a Uint8Array, or text that leaves as UTF-8.
   * @param remoteAddress where to; a `Route` says by which way it leaves as well. A connected stream needs none. The same address
   *   object as for the datagram before is not read again.
   * @param callback is called once the datagram is sent, or with the error for which it is not. Default: `onError` hears of errors.
   * @returns false, and takes nothing, where the queue is full: it holds `maxDatagrams` datagrams or `maxBytes` bytes.
   * @throws ClosedError where the queue or its stream is closed.
   * @throws Trap where an address that is being read calls it.
   */
  send(data: Uint8Array | string, remoteAddress?: SocketAddressLike | Route, callback?: SendCallback): boolean {
    if (this.#closing !== undefined || this.#isForsaken)
      throw new ClosedError('send(): the queue is closed, or its stream: make another by outgoing.queue()');
    if (this.#given - this.#settled >= this.#maxDatagrams || this.#bytes >= this.#maxBytes) {
      this.#overflows += 1;
      return false;
    }
    let arena = this.#tail;
    if (arena.isPacking)
      throw new Trap('send(): an address of the same queue is being read, and calls it: pass plain data');
    const { destination } = this.#sender;
    let size = arena.add(data, remoteAddress, destination);
    if (size === Added.NoRoom) {
      this.#leave();
      arena = this.#emptyTail();
      size = arena.add(data, remoteAddress, destination);
    }
    if (size >= 0) this.#bytes += size;
    else {
      const error = refusalError(arena.refusal, 'send()', arena.culprit, destination);
      this.#refused.push({ error, index: this.#given, data: copyOf(data), remoteAddress: arena.refusedAddress });
    }
    this.#given += 1;
    if (callback !== undefined) this.#notices.push({ after: this.#given, isCallback: true, tell: callback });
    if (!this.#isDue) this.#leaveSoon();
    return true;
  }

  /**
   * @internal Takes in copies of an arena's datagrams, which are known to keep the rules and whose payload lies in `payload`. Makes
   * room where there is none, as far as the system takes what waits; how many it took in.
   */
  take(arena: Arena, payload: ArrayBuffer): number {
    let taken = 0;
    for (;;) {
      const tail = this.#tail;
      const before = tail.position;
      const copied = tail.copy(arena, payload, taken);
      taken += copied;
      this.#given += copied;
      this.#bytes += tail.position - before;
      if (taken === arena.count && !tail.isFull) break;
      if (!this.leave() || taken === arena.count) break;
    }
    if (!this.#isDue && this.pending > 0) this.#leaveSoon();
    return taken;
  }

  /** @internal Sends what waits, as far as the system takes it now, whatever it waits for; whether all has left. */
  leave(): boolean {
    if (this.#leaveWait !== undefined && this.#isWritable()) {
      this.#leaveWait();
      this.#leaveWait = undefined;
    }
    this.#leave();
    return this.pending === 0;
  }

  /** @internal The first error that nobody has heard of: told once. */
  takeError(): Error | undefined {
    const error = this.#untold;
    this.#untold = undefined;
    return error;
  }

  /** @internal Whether there is an error that nobody has heard of. */
  get hasError(): boolean {
    return this.#untold !== undefined;
  }

  /** @internal Whether the system did not take what waits when it was last tried. */
  get isHeldUp(): boolean {
    return this.pending > 0 && (this.#leaveWait !== undefined || this.#stalls > 1);
  }

  /** @internal What is ready when it is time to try again, where the system did not take what waits. */
  obstacle(): Pollable {
    if (this.#leaveWait !== undefined)
      return new Pollable({
        event: { descriptor: this.#sender.descriptor(), interest: WRITABLE, granted: () => false },
      });
    const retryAt = process.hrtime.bigint() + BigInt(PAUSE_MS) * 1_000_000n;
    return new Pollable({ readyAt: () => retryAt });
  }

  /** @internal Sends what waits, and resolves when all of it is sent or refused. */
  async emptied(): Promise<void> {
    this.leave();
    // Behind the callbacks of what has left just now.
    await new Promise<void>((resolve) => {
      this.#notices.push({ after: this.#given, isCallback: false, tell: () => resolve() });
      this.#tell();
    });
  }

  /**
   * Sends what waits, and resolves when all of it is sent or refused.
   *
   * @throws (rejects with) the first error that neither a callback nor `onError` has heard of.
   */
  async flush(): Promise<void> {
    await this.emptied();
    const error = this.takeError();
    if (error !== undefined) throw error;
  }

  /**
   * Sends what waits, as `flush`, and takes no more. A connected peer's refusal of what was sent last is told as well, where it is
   * there by then. May be called again. The stream stays.
   *
   * @throws (rejects) as `flush`.
   */
  close(): Promise<void> {
    this.#closing ??= this.#finish();
    return this.#closing;
  }

  async #finish(): Promise<void> {
    await this.flush();
    if (this.#isForsaken) return;
    this.#sender.doubt();
    this.#isWritable();
    await this.flush();
  }

  /** As `close`; an error that nobody has heard of becomes a warning of the process. */
  [Symbol.dispose](): void {
    this.close().catch((error) => process.emitWarning(error));
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Has the process stay alive while the queue holds something: the default.
   *
   * @returns the queue.
   */
  ref(): this {
    return this.#reference(true);
  }

  /**
   * Lets the process end though the queue holds something, which is lost then.
   *
   * @returns the queue.
   */
  unref(): this {
    return this.#reference(false);
  }

  /**
   * A stream whose every write is one datagram: for loggers and metrics clients that take a stream. A full queue holds writes back;
   * `end` sends what waits. Errors of datagrams are told as those of the queue, and end no stream.
   *
   * @returns the stream.
   */
  writable(): Writable {
    return new DatagramWritable(this);
  }

  /** @internal Calls once when there is room in the queue. */
  whenRoom(callback: () => void): void {
    this.#waitForRoom.push(callback);
  }

  /** @internal The stream is about to be dropped: sends what the system takes at once; the rest is refused. */
  forsake(): void {
    if (this.#isForsaken) return;
    this.leave();
    this.#isForsaken = true;
    this.#refuseAll(
      new ClosedError(
        'the outgoing-datagram-stream was closed while the queue held the datagram: close the queue before',
      ),
    );
    const isUsed = this.#batches.some(({ isPacking }) => isPacking);
    if (!isUsed && spare.length < MOST_SPARE) spare.push(this.#batches[0]!);
  }

  /** Whether something will send what waits. */
  get #isDue(): boolean {
    return this.#soon !== undefined || this.#leaveWait !== undefined || this.#isEnding || this.#pausing !== undefined;
  }

  /** The batch that takes what comes, where the last one was full. */
  #emptyTail(): Arena {
    if (this.#tail.count > 0) {
      this.#tail = this.#spare ?? new Arena();
      this.#spare = undefined;
      this.#batches.push(this.#tail);
    }
    return this.#tail;
  }

  /**
   * Sends at the end of this turn of the event loop: behind microtasks, and whatever else the turn brings. What answers an event of
   * the very socket leaves at the end of that event: all of it came by that event.
   */
  #leaveSoon(): void {
    if (atEndOfEvent(this.#sender.descriptor(), this.#onEnd)) {
      this.#isEnding = true;
      return;
    }
    // Referenced, whatever the queue is: it ends with the turn, and another would not wake the event loop.
    this.#soon = setImmediate(this.#onTurn);
  }

  readonly #onTurn = () => {
    this.#soon = undefined;
    this.#leave();
  };

  readonly #onEnd = () => {
    this.#isEnding = false;
    const told = this.#told;
    this.#leave();
    // Ticks run behind a callback of the runtime, which this is not.
    if (this.#told > told) setImmediate(() => {});
  };

  readonly #waiter: Waiter & { isQuiet: boolean } = {
    isQuiet: false,
    wake: () => {
      this.#leaveWait = undefined;
      this.#leave();
    },
    fail: (error) => {
      this.#leaveWait = undefined;
      this.#refuseAll(error);
    },
  };

  /** Sends what waits, as far as the system takes it. */
  #leave(): void {
    // What waits for room in the socket is woken by it; a stream that was dropped sends nothing.
    if (this.#isForsaken || this.#leaveWait !== undefined) return;
    this.#settle(0);
    for (let batch = this.#batches[0]!; batch.count > 0; batch = this.#batches[0]!) {
      const isWritable = this.#isWritable();
      if (!isWritable) {
        if (isWritable === undefined) this.#pause();
        else this.#waitForSocket();
        return;
      }
      const taken = this.#transmit(batch);
      if (taken > 0) {
        this.#stalls = 0;
        this.#drop(batch, taken);
        this.#settle(taken);
      } else if (taken === 0 && ++this.#stalls > 1) {
        this.#pause();
        return;
      }
    }
    // Behind one that the system refused may stand some that rules did.
    if (this.#refused.length > 0) this.#settle(0);
  }

  /**
   * Whether the socket may be sent to; undefined where the system cannot be asked. An error that is pending is the peer's, and is
   * told; one that comes again at once is of the question itself.
   */
  #isWritable(): boolean | undefined {
    for (let told: string | undefined; ; ) {
      try {
        return this.#sender.isWritable();
      } catch (error) {
        if (!(error instanceof SocketError)) throw error;
        if (error.code === told) return undefined;
        told = error.code;
        this.#hear(error, undefined);
      }
    }
  }

  /** Hands a batch to the kernel; how many datagrams it took, or -1 where its first one was refused, or has yet to be tried again. */
  #transmit(batch: Arena): number {
    try {
      const taken = this.#sender.transmit(batch);
      if (taken > 0) this.#suspicion.passed();
      return taken;
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      if (this.#sender.isCertain() || this.#suspicion.confirms(error)) this.#refuseFirst(batch, error);
      return -1;
    }
  }

  /** The first datagram of a batch is refused. */
  #refuseFirst(batch: Arena, error: Error): void {
    const datagram = batch.first();
    this.#drop(batch, 1);
    this.#settle(0);
    this.#refuse({ error, index: this.#settled, ...datagram });
  }

  /** Takes datagrams that were sent or refused out of a batch. */
  #drop(batch: Arena, count: number): void {
    this.#bytes -= batch.advance(count);
    if (batch.count > 0 || batch === this.#tail) return;
    this.#batches.shift();
    this.#spare ??= batch;
  }

  /** So many datagrams were sent; those before and between them that a rule refused are told in their place. */
  #settle(count: number): void {
    let left = count;
    for (;;) {
      const refused = this.#refused[0];
      if (refused?.index === this.#settled) {
        this.#refused.shift();
        this.#refuse(refused);
        continue;
      }
      const step = Math.min(left, (refused?.index ?? this.#given) - this.#settled);
      if (step === 0) break;
      this.#settled += step;
      left -= step;
    }
    this.#tell();
    if (this.#waitForRoom.length > 0 && this.hasRoom) for (const room of this.#waitForRoom.splice(0)) this.#call(room);
  }

  /** The next datagram is refused: its callback hears of it, or `onError`. */
  #refuse({ error, ...datagram }: Refused): void {
    this.#tell();
    this.#settled += 1;
    const notice = this.#notices[0];
    if (notice?.isCallback && notice.after === this.#settled) {
      this.#notices.shift();
      this.#call(notice.tell, error);
    } else this.#hear(error, datagram);
  }

  /** Tells those who wait for what is settled. In a tick of their own: what they do or throw is no matter of this loop. */
  #tell(): void {
    let told = 0;
    for (; told < this.#notices.length && this.#notices[told]!.after <= this.#settled; told++)
      this.#call(this.#notices[told]!.tell);
    if (told > 0) this.#notices.splice(0, told);
  }

  #hear(error: Error, datagram: RefusedDatagram | undefined): void {
    if (this.#onError !== undefined) this.#call(this.#onError, error, datagram);
    else this.#untold ??= error;
  }

  #call<T extends unknown[]>(callback: (...values: T) => void, ...values: T): void {
    this.#told += 1;
    process.nextTick(callback, ...values);
  }

  /** Every datagram that waits is refused. */
  #refuseAll(error: Error): void {
    // Each for its own kind: Node.js counts the other one wrongly.
    clearImmediate(this.#soon);
    clearTimeout(this.#pausing);
    this.#soon = undefined;
    this.#pausing = undefined;
    this.#leaveWait?.();
    this.#leaveWait = undefined;
    for (let batch = this.#batches[0]!; batch.count > 0; batch = this.#batches[0]!) this.#refuseFirst(batch, error);
    this.#settle(0);
  }

  #waitForSocket(): void {
    this.#waiter.isQuiet = !this.#isReferenced;
    try {
      this.#leaveWait = awaitEvent({ descriptor: this.#sender.descriptor(), interest: WRITABLE }, this.#waiter);
    } catch (error) {
      // The system watches no socket for now.
      this.#hear(error as Error, undefined);
      this.#pause();
    }
  }

  #pause(): void {
    if (this.#pausing !== undefined) return;
    this.#pausing = setTimeout(() => {
      this.#pausing = undefined;
      this.#leave();
    }, PAUSE_MS);
    if (!this.#isReferenced) this.#pausing.unref();
  }

  #reference(on: boolean): this {
    this.#isReferenced = on;
    if (on) this.#pausing?.ref();
    else this.#pausing?.unref();
    if (this.#leaveWait !== undefined) {
      this.#leaveWait();
      this.#waitForSocket();
    }
    return this;
  }
}

/** A copy of a payload, for whoever hears of its refusal. */
function copyOf(data: unknown): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data);
  return sizeOf(data as Uint8Array) > 0 ? Uint8Array.from(data as Uint8Array) : new Uint8Array(0);
}
