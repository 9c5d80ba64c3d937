import { setImmediate } from 'node:timers';
import { IncomingBatch } from '../batch/incoming-batch.js';
import { Descriptor } from '../native/descriptor.js';
import { LAYOUT, newSlot, SLOT_WORDS, type Slot, slotBytes } from '../native/layout.js';
import { type Family, native, OPTION, READABLE } from '../native/native.js';
import { awaitEvent, inSteps, keepAlive } from '../readiness/readiness.js';
import type { IpSocketAddress } from '../rules/address.js';
import type { DatagramQueue, SendCallback } from '../socket/datagram-queue.js';
import { OutgoingDatagramStream } from '../socket/outgoing-datagram-stream.js';
import { infoOf, slotOf, textOf } from './addresses.js';
import { type SystemError, systemErrorOf, systemErrorOfAnswer, systemErrorOfRefusal } from './errors.js';
import { familyOf, groupOf, interfaceOf, type Membership, setMembership } from './memberships.js';

/** Where a message came from, as node:dgram tells it. */
export interface RemoteInfo {
  address: string;
  family: 'IPv4' | 'IPv6';
  port: number;
  size: number;
}

/** Who hears of an endpoint. */
export interface Hearer {
  message(data: Buffer, remote: RemoteInfo): void;
  /** A receive, or a send that nobody waits for, met an error that the peer has left. */
  error(error: SystemError): void;
}

export interface BindFlags {
  reuseAddr?: boolean | undefined;
  reusePort?: boolean | undefined;
  ipv6Only?: boolean | undefined;
}

/** The outcome of a call: nothing, or the system's error. */
type Outcome = SystemError | undefined;

/** No limits, as node:dgram has none: what waits is the caller's to look at. */
const UNLIMITED = { maxDatagrams: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER };

/** Batches that no endpoint reads from now. */
const spare: IncomingBatch[] = [];
const MOST_SPARE = 4;

function putBack(batch: IncomingBatch): void {
  if (spare.length < MOST_SPARE) spare.push(batch);
}

const { slice } = Uint8Array.prototype;
const ENTRY_WORDS = LAYOUT.entryBytes / 4;

/** What calls on a socket that was never bound answer: libuv has none open yet. */
const NOT_OPEN = 'EBADF';

/**
 * What stands behind a socket of node:dgram, as libuv's handle does: the system's socket, which opens when it is bound, the queue
 * of what is sent, the events of what comes. Errors are answers here.
 */
export class Endpoint {
  /** Of the socket that is open, or will be. */
  #family: Family;
  readonly #hearer: Hearer;
  #descriptor: Descriptor | undefined;
  #outgoing: OutgoingDatagramStream | undefined;
  #queue: DatagramQueue | undefined;
  /** The facts of the queue's datagrams, which change with the peer. */
  readonly #destination: {
    family: Family;
    dualStack: boolean;
    lenient: true;
    remote: Slot | undefined;
    permits: undefined;
  };
  #leaveWait: (() => void) | undefined;
  #isReceiving = false;
  #isReferenced = true;
  #isClosed = false;

  constructor(family: Family, hearer: Hearer) {
    this.#family = family;
    this.#hearer = hearer;
    this.#destination = { family, dualStack: family === 6, lenient: true, remote: undefined, permits: undefined };
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The system's number of the socket; -1 before it is open. */
  get fd(): number {
    return this.#descriptor === undefined ? -1 : native.descriptor(this.#descriptor.socket);
  }

  /** What packages look for in `_handle` of node:dgram. */
  get handle(): { readonly fd: number; ref(): void; unref(): void; hasRef(): boolean } {
    const endpoint = this;
    return {
      get fd() {
        return endpoint.fd;
      },
      ref: () => endpoint.ref(true),
      unref: () => endpoint.ref(false),
      hasRef: () => endpoint.hasRef,
    };
  }

  get isReceiving(): boolean {
    return this.#isReceiving;
  }

  /** Takes over a descriptor of the process. */
  open(fd: number): Outcome {
    const socket = native.takeOver(fd);
    return socket < 0 ? systemErrorOfAnswer(socket) : this.#adopt(socket);
  }

  /** Shares the socket behind another one's descriptor. */
  share(fd: number): Outcome {
    const socket = native.adopt(fd);
    return socket < 0 ? systemErrorOfAnswer(socket) : this.#adopt(socket);
  }

  #adopt(socket: number): undefined {
    this.#take(new Descriptor(native.family(socket), socket));
  }

  #take(descriptor: Descriptor): void {
    descriptor.dualStack = descriptor.family === 6;
    this.#descriptor = descriptor;
    keepAlive(descriptor, this.#isReferenced);
    this.#outgoing = new OutgoingDatagramStream(descriptor, this.#destination);
    this.#queue = this.#outgoing.queue({
      ...UNLIMITED,
      // A datagram that is refused, and has no callback, is nobody's.
      onError: (error, datagram) => {
        if (datagram === undefined && !this.#isClosed) this.#hearer.error(systemErrorOfRefusal(error));
      },
    });
  }

  /** Opens the socket, and binds it. */
  bind(local: Slot, { reuseAddr, reusePort, ipv6Only }: BindFlags): Outcome {
    // As libuv: it is no flag of IPv4.
    if (ipv6Only && this.#family === 4) return systemErrorOf('EINVAL');
    if (this.#descriptor === undefined) {
      const socket = native.open(this.#family);
      if (socket < 0) return systemErrorOfAnswer(socket);
      // Where the kernel cannot coalesce, datagrams come one by one.
      native.setOption(socket, OPTION.coalescingReceive, 1);
      if (this.#family === 6 && !ipv6Only) native.setOption(socket, OPTION.ipv6Only, 0);
      this.#take(new Descriptor(this.#family, socket));
    }
    const { socket, family } = this.#descriptor!;
    // It was bound by a membership, of the other protocol.
    if (local[0] !== family) return systemErrorOf('EINVAL');
    for (const [isAsked, option] of [
      [reuseAddr, OPTION.reuseAddress],
      [reusePort, OPTION.reusePort],
    ] as const) {
      const answer = isAsked ? native.setOption(socket, option, 1) : 0;
      if (answer < 0) return systemErrorOfAnswer(answer);
    }
    return this.#outcome(native.bind(socket, slotBytes(local)));
  }

  connect(remote: Slot): Outcome {
    // As libuv: a socket is disconnected first.
    if (this.#destination.remote !== undefined) return systemErrorOf('EISCONN');
    return this.#turnTo(remote, (descriptor) => native.connect(descriptor.socket, slotBytes(remote)));
  }

  disconnect(): Outcome {
    return this.#turnTo(undefined, (descriptor) => native.disconnect(descriptor.socket));
  }

  #turnTo(remote: Slot | undefined, call: (descriptor: Descriptor) => number): Outcome {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return systemErrorOf(NOT_OPEN);
    // What was sent before goes to the former peer.
    this.#queue!.leave();
    const outcome = this.#outcome(call(descriptor));
    if (outcome === undefined) this.#destination.remote = remote;
    return outcome;
  }

  /** The bound address, or the peer's. */
  address(which: 'localAddress' | 'remoteAddress'): ReturnType<typeof infoOf> | SystemError {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return systemErrorOf(NOT_OPEN);
    const slot = newSlot();
    const answer = native[which](descriptor.socket, slotBytes(slot));
    return answer < 0 ? systemErrorOfAnswer(answer) : infoOf(slot, this.#family);
  }

  /** Takes a datagram into the queue, to that address, or to the peer. */
  send(data: Uint8Array | string, address: IpSocketAddress | undefined, callback: SendCallback | undefined): void {
    this.#queue!.send(data, address, callback);
  }

  get pending(): number {
    return this.#queue?.pending ?? 0;
  }

  get pendingBytes(): number {
    return this.#queue?.pendingBytes ?? 0;
  }

  setOption(option: number, value: number): Outcome {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return systemErrorOf(NOT_OPEN);
    return this.#outcome(native.setOption(descriptor.socket, option, value));
  }

  /** The value of an option, from 0 on; or an error. */
  option(option: number): number | SystemError {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return systemErrorOf(NOT_OPEN);
    const answer = native.getOption(descriptor.socket, option);
    return answer < 0 ? systemErrorOfAnswer(answer) : answer;
  }

  setMulticastInterface(text: string): Outcome {
    const family = familyOf(text);
    if (family === undefined) return systemErrorOf('EINVAL');
    if (this.#descriptor === undefined) return systemErrorOf(NOT_OPEN);
    if (family > this.#family) return systemErrorOf('ENOPROTOOPT');
    // An address of IPv4 is the source of what leaves, beside the choice of an interface.
    if (family === 4)
      return this.#outcome(native.setMulticastAddress(this.#descriptor.socket, slotBytes(slotOf(text, 0, 4)!)));
    const index = interfaceOf(text, family);
    return typeof index === 'string' ? systemErrorOf(index) : this.setOption(OPTION.multicastInterface, index);
  }

  /** Joins a group or leaves it. A socket that is not bound is bound first, to any port of the group's protocol, as libuv does. */
  setMembership(join: boolean, membership: Membership): Outcome {
    const group = groupOf(membership);
    if (group === undefined) return systemErrorOf('EINVAL');
    if (this.#descriptor === undefined) {
      const anywhere = newSlot();
      anywhere[0] = group.family;
      this.#family = group.family;
      Object.assign(this.#destination, { family: group.family, dualStack: group.family === 6 });
      const outcome = this.bind(anywhere, { reuseAddr: true });
      if (outcome !== undefined) return outcome;
    }
    const answer = setMembership(this.#descriptor!, join, group, membership.by);
    return typeof answer === 'string' ? systemErrorOf(answer) : this.#outcome(answer);
  }

  #outcome(answer: number): Outcome {
    return answer < 0 ? systemErrorOfAnswer(answer) : undefined;
  }

  /** Has the hearer hear of what comes, from now on. */
  startReceiving(): void {
    this.#isReceiving = true;
    this.#await();
  }

  stopReceiving(): void {
    this.#isReceiving = false;
    this.#leaveWait?.();
    this.#leaveWait = undefined;
  }

  ref(isReferenced: boolean): void {
    this.#isReferenced = isReferenced;
    if (this.#descriptor !== undefined) keepAlive(this.#descriptor, isReferenced);
  }

  get hasRef(): boolean {
    return this.#isReferenced && !this.#isClosed;
  }

  /** Sends what waits, as far as the system takes it, and closes. */
  close(): void {
    this.stopReceiving();
    this.#isClosed = true;
    this.#outgoing?.[Symbol.dispose]();
    this.#descriptor?.release();
    this.#descriptor = undefined;
  }

  readonly #waiter = {
    wake: () => {
      this.#leaveWait = undefined;
      this.#receive();
    },
    fail: (error: Error) => {
      this.#leaveWait = undefined;
      if (!this.#isClosed) this.#hearer.error(systemErrorOfRefusal(error));
    },
  };

  #await(): void {
    if (!this.#isReceiving || this.#leaveWait !== undefined) return;
    try {
      this.#leaveWait = awaitEvent({ descriptor: this.#descriptor!, interest: READABLE }, this.#waiter);
    } catch (error) {
      setImmediate(() => this.#waiter.fail(error as Error));
    }
  }

  /**
   * Receives what is there, and tells of it, each message in an event of its own: what its handler sets off, or throws, comes
   * before the next one.
   */
  #receive(): void {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return;
    const batch = spare.pop() ?? new IncomingBatch();
    const answer = native.receive(descriptor.socket, batch.payload, batch.table, LAYOUT.maxDatagrams);
    const count = descriptor.took(answer);
    if (count <= 0) {
      putBack(batch);
      this.#await();
      if (count < 0) this.#hearer.error(systemErrorOfAnswer(count));
      return;
    }
    let next = 0;
    const finish = () => {
      steps.areLeft = false;
      putBack(batch);
      this.#await();
    };
    // No getter: each object with one of its own would have a shape of its own, of which V8 frees none soon.
    const steps = {
      areLeft: true,
      next: () => {
        if (!steps.areLeft) return;
        // A socket that was closed meanwhile has no more messages.
        if (!this.#isReceiving) return finish();
        const data = dataOf(batch, next);
        const remote = this.#remoteOf(batch, next, data.length);
        next += 1;
        if (next === count) finish();
        this.#hearer.message(data, remote);
      },
    };
    if (count === 1) steps.next();
    else if (!inSteps(descriptor, steps)) {
      // Immediates have ticks and microtasks between them as well.
      for (let index = 0; index < count; index++) setImmediate(steps.next);
    }
  }

  #remoteOf({ entries, slots }: IncomingBatch, index: number, size: number): RemoteInfo {
    const slot = entries[index * ENTRY_WORDS + 2]!;
    const family = this.#family === 4 ? 'IPv4' : 'IPv6';
    return { address: textOf(slots, this.#family, slot), family, port: slots[slot * SLOT_WORDS + 1]!, size };
  }
}

/** The payload of a message, as a Buffer of its own; not from the pool: programs that look at `buffer` expect their message alone. */
function dataOf({ entries, bytes }: IncomingBatch, index: number): Buffer {
  const offset = entries[index * ENTRY_WORDS]!;
  // That of TypedArray copies, where Buffer's makes a view; by its species it makes a Buffer of one.
  return slice.call(bytes, offset, offset + entries[index * ENTRY_WORDS + 1]!) as Buffer;
}
