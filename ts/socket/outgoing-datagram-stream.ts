import { type Arena, freeArena, type OutgoingDatagram } from '../batch/arena.js';
import { DatagramWriter } from '../batch/datagram-writer.js';
import { Trap } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { type Endpoint, endpointOf } from '../native/endpoint.js';
import { LAYOUT, NO_ADDRESS, SLOT_WORDS } from '../native/layout.js';
import { native, systemError, WRITABLE } from '../native/native.js';
import { Pollable } from '../readiness/pollable.js';
import { forsake } from '../readiness/readiness.js';
import { type Destination, Refusal, refusalError } from '../rules/destination.js';
import { lengthOf } from '../rules/list.js';
import { Permit } from '../rules/permit.js';
import { DatagramQueue, type QueueOptions, type QueueSender } from './datagram-queue.js';
import { SMALL_LIST, type WriteBehind } from './write-behind.js';

/** The full permit: what one native call takes. */
const FULL_PERMIT = LAYOUT.maxDatagrams;

/** The counts as the WIT's u64, made once. */
const COUNTS = Array.from({ length: FULL_PERMIT + 1 }, (_, count) => BigInt(count));

/** A list of datagrams whose payload stays where it lies. */
export interface ListInPlace {
  readonly length: number;
  /** The memory that holds the datagrams' bytes. */
  readonly payload: ArrayBuffer;
  /** Writes the table of the datagrams up to the first that breaks a rule. */
  pack(arena: Arena, destination: Destination): void;
}

/**
 * `outgoing-datagram-stream` of wasi:sockets/udp@0.2: the sending half of a bound socket.
 *
 * The loop: `checkSend()` grants a number of datagrams, `send(list)` takes at most so many and says how many the kernel
 * accepted; after a grant of 0, `subscribe()`'s pollable tells when to go on.
 */
export class OutgoingDatagramStream {
  #descriptor: Descriptor | undefined;
  readonly #destination: Destination;
  readonly #permit = new Permit();
  /** Whether the kernel has refused something since it was last seen writable: then the next check asks it. */
  #unsure = false;
  readonly #queues = new Set<DatagramQueue>();
  /** Whose small sends wait for each other, if they do. */
  readonly #writeBehind: WriteBehind | undefined;
  /** Where they wait, once there was one. */
  #behind: DatagramQueue | undefined;

  /** @internal Takes a share of the descriptor. */
  constructor(descriptor: Descriptor, destination: Destination, writeBehind?: WriteBehind) {
    this.#descriptor = descriptor.share();
    this.#destination = destination;
    this.#writeBehind = writeBehind;
  }

  /** Whether the stream was closed, which is to say dropped. */
  get closed(): boolean {
    return this.#descriptor === undefined;
  }

  /**
   * How many datagrams the next `send` may take: 1024, or 0 while the socket's send buffer is full. Never blocks. No system call
   * after a send that the kernel took whole; one poll after one that it refused or cut short.
   *
   * Where small sends stay behind, it tells the first of the errors that they met as well, and grants nothing while the socket has
   * no room for what waits.
   *
   * WIT: "Returns the number of datagrams permitted for the next call to `send`, or an error. ... When this function returns ok(0),
   * the `subscribe` pollable will become ready when this function will report at least ok(1), or an error."
   *
   * @returns the permit: 0n or 1024n.
   * @throws SocketError with the error that is pending on the socket (such as `connection-refused`), once; never `would-block`.
   * @throws Trap after drop.
   */
  checkSend(): bigint {
    const descriptor = this.#live('checkSend');
    this.#permit.revoke();
    const hasRoom = this.#behind === undefined || this.#seesTo(this.#behind);
    const permit = hasRoom && this.#isWritable(descriptor) ? FULL_PERMIT : 0;
    this.#permit.grant(permit);
    return COUNTS[permit]!;
  }

  /** Tries again what the system did not take before; whether nothing holds it up. Throws the first error that it met. */
  #seesTo(behind: DatagramQueue): boolean {
    const isFree = !behind.isHeldUp || behind.leave();
    const error = behind.takeError();
    if (error !== undefined) throw error;
    return isFree;
  }

  /** Whether the socket has room, as far as is known, or else as the kernel says. Throws the error that is pending. */
  #isWritable(descriptor: Descriptor): boolean {
    // An error that another call has left is told here as well.
    if (!this.#unsure && (descriptor.events & WRITABLE) === 0) return true;
    const writable = descriptor.took(native.checkSend(descriptor.socket));
    this.#unsure = writable <= 0;
    if (writable < 0) throw systemError('check-send', 'send', -writable, this.#peer);
    // There may be less room than the kernel wakes for, once others have used what was seen here.
    if (writable > 0) descriptor.waits?.hear(WRITABLE);
    return writable > 0;
  }

  /**
   * Sends the datagrams in order, as if one by one, and stops at the first error; never blocks. Uses the permit up, except for an
   * empty list.
   *
   * WIT: "semantically behaves the same as iterating the `datagrams` list and sequentially sending each individual datagram until
   * either the end of the list has been reached or the first error occurred. If at least one datagram has been sent successfully,
   * this function never returns an error."
   *
   * @param list the datagrams: at most as many as the permit has.
   * @returns how many were accepted, which may be fewer than given, or 0 where the send buffer is full.
   * @throws SocketError only where the very first datagram failed: `invalid-argument` for its address, `datagram-too-large`,
   *   `remote-unreachable`, `connection-refused`, `access-denied` or another by the system's error number.
   * @throws Trap, with nothing sent, where `checkSend` granted fewer or was not called, and after drop, be it by a getter of the
   *   list.
   * @throws TypeError for what is no list, or no datagram at its start.
   */
  send(list: readonly OutgoingDatagram[]): bigint {
    const descriptor = this.#live('send');
    const total = lengthOf(list, 'send() takes an array of datagrams', 'pass [datagram]');
    if (total === 0) return 0n;
    this.#permit.use('send', total);
    const arena = freeArena();
    let accepted = 0;
    do {
      arena.isPacking = true;
      try {
        arena.pack(list, accepted, total, this.#destination);
        // A getter may have dropped the stream: its socket may stream to another peer by now.
        this.#live('send');
      } catch (error) {
        // Not while there is a count to tell: the next send of the rest tells it.
        if (accepted === 0) throw error;
        break;
      } finally {
        arena.isPacking = false;
      }
      if (arena.count > 0) {
        const taken = this.#deliver(descriptor, arena, arena.payload, accepted > 0);
        accepted += taken;
        if (taken < arena.count) break;
      }
      if (arena.refusal !== Refusal.None && accepted === 0)
        throw refusalError(arena.refusal, 'send(), datagram 0', arena.culprit, this.#destination);
    } while (arena.refusal === Refusal.None && accepted < total);
    return COUNTS[accepted]!;
  }

  /**
   * @internal As `send`, of datagrams that lie in memory of the caller's and are not copied: a guest's. One pass is enough,
   * since a table holds a permit's worth.
   */
  sendInPlace(list: ListInPlace): bigint {
    const descriptor = this.#live('send');
    if (list.length === 0) return 0n;
    this.#permit.use('send', list.length);
    const arena = freeArena();
    arena.clear();
    list.pack(arena, this.#destination);
    if (arena.count === 0) throw refusalError(arena.refusal, 'send(), datagram 0', arena.culprit, this.#destination);
    const taken = this.#deliver(descriptor, arena, list.payload, false);
    return COUNTS[taken]!;
  }

  /**
   * @internal As `send`, of what the arena holds, and with no permit: 0.3 has none. How many datagrams were accepted; 0 where the
   * socket has no room. Throws only where the first met an error, or small sends that stayed behind have met one, which is told once.
   */
  deliver(arena: Arena, payload: ArrayBuffer): number {
    const descriptor = this.#live('send');
    if (this.#behind !== undefined && !this.#seesTo(this.#behind)) return 0;
    return this.#deliver(descriptor, arena, payload, false);
  }

  /**
   * A writer for producers that have no objects to begin with: they serialize straight into its buffer. Its `flush` obeys the same
   * rules as `send`, the permit included.
   *
   * @returns a writer with a buffer of its own.
   * @throws Trap after drop.
   */
  writer(): DatagramWriter {
    this.#live('writer');
    return new DatagramWriter({
      destination: this.#destination,
      usePermit: (count) => this.#permit.use('flush', count),
      transmit: (arena) => this.#deliver(this.#live('flush'), arena, arena.payload, false),
    });
  }

  /**
   * A queue for those who have one datagram at a time: it copies each, and what one turn of the event loop sends leaves as one
   * batch. It needs no permit, and leaves that of `checkSend` alone; datagrams of several queues, and of `send`, leave in no order
   * among each other.
   *
   * @param options how much it holds, and who hears of errors.
   * @returns the queue.
   * @throws TypeError, RangeError for an option that is none.
   * @throws Trap after drop.
   */
  queue(options?: QueueOptions): DatagramQueue {
    this.#live('queue');
    return this.#newQueue(options);
  }

  #newQueue(options?: QueueOptions): DatagramQueue {
    const sender: QueueSender = {
      destination: this.#destination,
      descriptor: () => this.#live('the queue'),
      isWritable: () => this.#isWritable(this.#live('the queue')),
      transmit: (arena) => this.#transmit(this.#live('the queue'), arena, arena.payload, false),
      doubt: () => this.doubt(),
      isCertain: () => this.isCertain,
    };
    const queue = new DatagramQueue(sender, options);
    this.#queues.add(queue);
    return queue;
  }

  /**
   * A pollable that is ready when `checkSend` would grant at least 1 or throw.
   *
   * WIT: "Create a `pollable` which will resolve once the stream is ready to send again."
   *
   * @returns a pollable of its own each time.
   */
  subscribe(): Pollable {
    const descriptor = this.#live('subscribe');
    const granted = () => {
      this.#live('the pollable');
      return !this.#unsure || (descriptor.events & WRITABLE) !== 0 || this.#behind?.hasError === true;
    };
    return new Pollable({ event: { descriptor, interest: WRITABLE, granted } });
  }

  /** @internal Whether the socket has a peer, whose refusals are told. */
  get isConnected(): boolean {
    return this.#destination.remote !== undefined;
  }

  /** @internal Whether refusals that come behind a send are told: of a peer's, or to `onPeerError`. */
  get hearsRefusals(): boolean {
    return this.isConnected || this.#descriptor?.onReports !== undefined;
  }

  /** @internal Whether an error of a send is its first datagram's for certain: what the peer has left is told to `onPeerError`. */
  get isCertain(): boolean {
    return this.#live('send').onReports !== undefined;
  }

  /**
   * @internal Has the next `checkSend` ask the kernel whether what was sent is refused: an ICMP message comes behind the send that
   * it is about.
   */
  doubt(): void {
    if (this.hearsRefusals) this.#unsure = true;
  }

  /**
   * Closes the stream: its pending waits reject with ClosedError, and the socket closes with the last of its owners. Of what its
   * queues hold, and of small sends that wait for others, the system takes what it can at once; the rest is refused. May be called
   * again.
   */
  close(): void {
    this[Symbol.dispose]();
  }

  /** As `close`. */
  [Symbol.dispose](): void {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return;
    for (const queue of this.#queues) queue.forsake();
    this.#descriptor = undefined;
    forsake(descriptor, WRITABLE);
    descriptor.release();
  }

  #live(method: string): Descriptor {
    if (this.#descriptor !== undefined) return this.#descriptor;
    throw new Trap(`${method}: the outgoing-datagram-stream was dropped and cannot be used: open another`);
  }

  get #peer(): Endpoint | undefined {
    const { remote } = this.#destination;
    return remote && endpointOf(remote);
  }

  /** Sends the arena's batch, or has it wait for others; how many datagrams were accepted. Throws as `#transmit`. */
  #deliver(descriptor: Descriptor, arena: Arena, payload: ArrayBuffer, isLaterPass: boolean): number {
    const behind = this.#writeBehind;
    if (behind !== undefined) {
      if (arena.count <= SMALL_LIST && !isLaterPass && behind.unheard === 0) {
        this.#behind ??= this.#newQueue();
        const taken = this.#behind.take(arena, payload);
        behind.took(this.#behind, taken);
        return taken;
      }
      // What came before leaves before.
      if (this.#behind?.leave() === false) return 0;
    }
    return this.#transmit(descriptor, arena, payload, isLaterPass);
  }

  /** Hands the arena's batch to the kernel; how many datagrams it took. Throws where it took none for an error. */
  #transmit(descriptor: Descriptor, arena: Arena, payload: ArrayBuffer, isLaterPass: boolean): number {
    const answer = native.send(descriptor.socket, payload, arena.table, arena.used, arena.addressCount);
    const taken = descriptor.took(answer);
    if (taken !== arena.count) this.#unsure = true;
    if (taken < 0 && isLaterPass) descriptor.took(native.deferError(descriptor.socket, -taken));
    if (taken >= 0 || isLaterPass) return Math.max(taken, 0);
    // The first datagram was refused.
    const index = arena.entries[2]!;
    const at = index * SLOT_WORDS;
    // A route without destination has a slot of no address.
    const isPeers = index === NO_ADDRESS || arena.slots[at] === 0;
    const endpoint = isPeers ? this.#peer : endpointOf(arena.slots, at);
    throw systemError('send', 'send', -taken, endpoint);
  }
}
