import '../dispose.js';
import type { WorkerExtensionContext } from '@bytecodealliance/preview2-shim/io-worker';
import { Descriptor } from '../native/descriptor.js';
import { native } from '../native/native.js';
import { Pollable } from '../readiness/pollable.js';
import type { SocketEvent } from '../readiness/readiness.js';
import { type Cell, FLAG, KNOWN, MOMENT } from './shim-pollable.js';

/** The state of a pollable as the shim's worker keeps it: it reads `ready`, and sets `listener` while a poll waits. */
class PollState {
  /** The shim notes pollables here and never forgets them; nobody needs the notes. */
  readonly polls = { push: () => 0, *[Symbol.iterator]() {} };
  readonly parentStream = null;
  readonly #cell: Cell;
  readonly #descriptor: number;
  readonly #interest: number;
  /** Ends the wait of the poll that is going on. */
  #waiting: AbortController | undefined;

  constructor(descriptor: number, interest: number, cell: Cell) {
    this.#descriptor = descriptor;
    this.#interest = interest;
    this.#cell = cell;
  }

  get ready(): boolean {
    if (Atomics.load(this.#cell, FLAG) === KNOWN) return true;
    const { pollable, release } = this.#borrow();
    try {
      return pollable.ready();
    } finally {
      release();
    }
  }

  set listener(listener: (() => void) | null) {
    this.#waiting?.abort();
    this.#waiting = undefined;
    if (listener === null) return;
    const waiting = new AbortController();
    this.#waiting = waiting;
    const { pollable, release } = this.#borrow();
    const wake = () => {
      release();
      if (!waiting.signal.aborted) listener();
    };
    pollable.wait({ signal: waiting.signal }).then(wake, wake);
  }

  /**
   * A pollable over a descriptor of our own for the same socket. Only while the worker looks or waits: all the while the
   * socket's thread is blocked in the shim, so it cannot close the socket, and a port never outlives it.
   */
  #borrow(): { pollable: Pollable; release: () => void } {
    const moment = Atomics.load(this.#cell, MOMENT);
    const descriptor = this.#interest === 0 ? undefined : new Descriptor(4, native.adopt(this.#descriptor));
    const event: SocketEvent | undefined = descriptor && { descriptor, interest: this.#interest, granted: () => false };
    return { pollable: new Pollable({ event, readyAt: () => moment }), release: () => descriptor?.release() };
  }
}

/** The extension that the shim's worker loads: it makes streams whose readiness is that of our sockets. */
export default function extension(context: WorkerExtensionContext) {
  // Beyond its declared type, the function takes the stream's poll state: package.json names the versions where it does.
  const create = context.createReadableStream as unknown as (stream: object, state: PollState) => number;
  return (_operation: string, args: unknown[]): number => {
    const [descriptor, interest, cell] = args as [number, number, Cell];
    return create({}, new PollState(descriptor, interest, cell));
  };
}
