import { AbortError, ClosedError } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { AGAIN, native, QUIET, systemError, WRITABLE } from '../native/native.js';

/** An event of a socket that somebody may wait for. */
export interface SocketEvent {
  readonly descriptor: Descriptor;
  /** READABLE, WRITABLE, or either of both. */
  readonly interest: number;
  /** Whether it has come, whatever the kernel says. Traps once the resource is dropped. */
  granted(): boolean;
}

/** One pending wait: either function is called once, `wake` from the event loop or a microtask. */
export interface Waiter {
  /** Whether the process may end though this one waits. */
  readonly isQuiet?: boolean;
  /** The event is there, as far as is known: whoever asks next may have taken it. */
  wake(): void;
  /** The wait has ended without it. */
  fail(error: Error): void;
}

/** The pending waits of this thread, by socket: what somebody waits for is not forgotten. */
const waiting = new Map<number, Waits>();

/** The pending waits for one socket, by their interest. */
class Waits {
  readonly #descriptor: Descriptor;
  readonly #socket: number;
  /** The waiters of each interest: 1, 2, or either (3); in the order that they came. */
  readonly #waiters = [new Set<Waiter>(), new Set<Waiter>(), new Set<Waiter>(), new Set<Waiter>()];
  /** How many of them are not quiet. */
  #loud = 0;
  /** What the addon was asked to watch, as far as is known. */
  #watched = 0;
  /** Whether the addon reports an event: then it asks what is wanted when that is over. */
  #isReporting = false;
  /** What the report goes on with, while it answers that there is more. */
  #steps: Steps | undefined;
  /** What is called at the end of the report. */
  readonly #endings: (() => void)[] = [];
  /** The events of which a microtask will tell. */
  #told = 0;

  constructor(descriptor: Descriptor) {
    this.#descriptor = descriptor;
    this.#socket = descriptor.socket;
  }

  /** The events that somebody waits for, and QUIET where the process may end meanwhile. */
  get wanted(): number {
    let events = 0;
    for (let interest = 1; interest <= 3; interest++) if (this.#waiters[interest]!.size > 0) events |= interest;
    return events !== 0 && (this.#loud === 0 || this.#descriptor.isQuiet) ? events | QUIET : events;
  }

  /** Adds a waiter. Throws SocketError where the system refuses to watch the socket; then nobody waits. */
  add(interest: number, waiter: Waiter): void {
    this.#waiters[interest]!.add(waiter);
    if (!waiter.isQuiet) this.#loud += 1;
    waiting.set(this.#socket, this);
    this.hear(this.#descriptor.events);
    // What is there already is told without the system.
    if (this.#told !== 0) return;
    try {
      this.#watch();
    } catch (error) {
      this.remove(interest, waiter);
      throw error;
    }
  }

  /** Takes a waiter away, who hears nothing. */
  remove(interest: number, waiter: Waiter): void {
    if (this.#take(interest, waiter)) this.#settle();
  }

  /** Takes a waiter out, if it is there still. */
  #take(interest: number, waiter: Waiter): boolean {
    if (!this.#waiters[interest]!.delete(waiter)) return false;
    if (!waiter.isQuiet) this.#loud -= 1;
    return true;
  }

  /** Ends the waits for exactly those events with an error. */
  fail(interest: number, error: Error): void {
    const waiters = [...this.#waiters[interest]!];
    for (const waiter of waiters) if (this.#take(interest, waiter)) waiter.fail(error);
    this.#settle();
  }

  /** Whether the waits keep the process alive may have changed. */
  quieten(): void {
    this.#settle();
  }

  #failAll(error: Error): void {
    for (let interest = 1; interest <= 3; interest++) this.fail(interest, error);
  }

  /** The addon reports events, or that the system watches no longer; for which of the events somebody waited. */
  report(events: number): number {
    if (this.#steps !== undefined) {
      this.#goOn(this.#steps);
      return this.#steps === undefined ? 0 : AGAIN;
    }
    if (events < 0) {
      this.#watched = 0;
      this.#failAll(systemError('wait', 'poll', -events));
      return 0;
    }
    const heard = events & this.wanted;
    this.#isReporting = true;
    this.#wake(events);
    return this.#steps === undefined ? heard : heard | AGAIN;
  }

  /** Has the report that is going on go on with steps; false where none is. */
  inSteps(steps: Steps): boolean {
    if (this.#isReporting) this.#steps = steps;
    return this.#isReporting;
  }

  #goOn(steps: Steps): void {
    try {
      steps.next();
      // Else the addon calls `report` again, as an event handler of its own, which costs more than all else of a message does.
      while (areTicksHere && steps.areLeft) {
        runTicks();
        steps.next();
      }
    } finally {
      // What a step throws is an uncaught exception, and does not end the others.
      if (!steps.areLeft) this.#steps = undefined;
    }
  }

  /** Calls back at the end of the report that is going on, behind what it set off; false where none is. */
  atEnd(callback: () => void): boolean {
    if (this.#isReporting) this.#endings.push(callback);
    return this.#isReporting;
  }

  /** What the report set off is over; the events that somebody waits for now, which the addon watches. */
  reported(): number {
    if (this.#steps !== undefined) return AGAIN;
    if (this.#endings.length > 0) for (const ending of this.#endings.splice(0)) ending();
    this.#isReporting = false;
    this.#watched = this.wanted;
    if (this.#watched === 0) waiting.delete(this.#socket);
    return this.#watched;
  }

  /** A call has left these events with the socket, or seen them, of which the kernel tells nothing. Told in a microtask. */
  hear(events: number): void {
    const heard = events & this.wanted;
    const isTold = this.#told !== 0;
    this.#told |= heard;
    if (isTold || heard === 0) return;
    queueMicrotask(() => {
      const told = this.#told;
      this.#told = 0;
      // What others have received meanwhile is there no longer.
      this.#wake(told & (this.#descriptor.events | WRITABLE));
      try {
        this.#watch();
      } catch (error) {
        this.#failAll(error as Error);
      }
      this.#settle();
    });
  }

  #wake(events: number): void {
    for (let interest = 1; interest <= 3; interest++) {
      if ((interest & events) === 0) continue;
      // A waiter that waits again waits for the next event.
      for (const waiter of [...this.#waiters[interest]!]) if (this.#take(interest, waiter)) waiter.wake();
    }
  }

  /** Has the addon watch for what is wanted. */
  #watch(): void {
    const { wanted } = this;
    if (this.#isReporting || ((wanted & ~this.#watched) === 0 && (this.#watched & QUIET) === (wanted & QUIET))) return;
    const result = native.watch(this.#socket, wanted);
    if (result < 0) throw systemError('wait', 'poll', -result);
    this.#watched = (this.#watched & ~QUIET) | wanted;
  }

  /** Some wait no longer. Where those who do are quiet, or there are none, the socket no longer keeps the event loop alive. */
  #settle(): void {
    const { wanted } = this;
    // The rest is watched already, and is quiet or not; what is not watched yet is for those who added it, who may be told no.
    if (wanted !== 0 && (wanted & ~QUIET & ~this.#watched) === 0) this.#watch();
    if (this.#isReporting || wanted !== 0 || !waiting.delete(this.#socket)) return;
    this.#watched = 0;
    if (!this.#descriptor.isClosed) native.watch(this.#socket, 0);
  }
}

/** The waits for a descriptor's socket. */
function waitsOf(descriptor: Descriptor): Waits {
  descriptor.waits ??= new Waits(descriptor);
  return descriptor.waits as Waits;
}

native.onReady(
  (socket, events) => waiting.get(socket)?.report(events) ?? 0,
  (socket) => waiting.get(socket)?.reported() ?? 0,
);

/**
 * Calls the waiter when the event is there. A function that is returned takes it away. Throws SocketError where the system
 * refuses to watch the socket.
 */
export function awaitEvent({ descriptor, interest }: Omit<SocketEvent, 'granted'>, waiter: Waiter): () => void {
  const waits = waitsOf(descriptor);
  waits.add(interest, waiter);
  return () => waits.remove(interest, waiter);
}

/** Resolves when the event is there, and rejects where the system refuses to watch, or the signal aborts. */
export function whenReady(event: SocketEvent, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal === undefined) {
      awaitEvent(event, { wake: resolve, fail: reject });
      return;
    }
    let leave = () => {};
    const abort = () => {
      leave();
      fail(new AbortError(signal));
    };
    // First of all: nobody waits yet where the signal is none.
    signal.addEventListener('abort', abort);
    const settled = <T extends unknown[]>(how: (...result: T) => void) => {
      return (...result: T) => {
        signal.removeEventListener('abort', abort);
        how(...result);
      };
    };
    const fail = settled(reject);
    try {
      leave = awaitEvent(event, { wake: settled(resolve), fail });
    } catch (error) {
      fail(error as Error);
    }
  });
}

/**
 * Calls back when the event that a socket reports now has been dealt with: behind the microtasks that it set off, before anything
 * else of this turn. False, and never, where the socket reports none. The callback is no event handler of the runtime: ticks and
 * promises that it sets off run with the next one.
 */
export function atEndOfEvent(descriptor: Descriptor, callback: () => void): boolean {
  return (descriptor.waits as Waits | undefined)?.atEnd(callback) ?? false;
}

/** What an event sets off, in steps. */
export interface Steps {
  /** Whether `next` is to be called once more. */
  readonly areLeft: boolean;
  next(): void;
}

/**
 * Has what a socket's event set off go on in steps, where one is reported now: each is called as an event handler of the runtime's own,
 * behind the ticks and microtasks of the one before. What it throws is an uncaught exception, and does not end the steps. False, and
 * never, where the socket reports no event, or a thread polls.
 */
export function inSteps(descriptor: Descriptor, steps: Steps): boolean {
  isStepwise ??= native.features().poller === 'libuv';
  return isStepwise && ((descriptor.waits as Waits | undefined)?.inSteps(steps) ?? false);
}

/**
 * What Node.js runs behind an event handler, ticks and microtasks: "used to emulate a tick manually in the JS land"
 * (lib/internal/bootstrap/node.js). With --pending-deprecation there is another in its place, which warns, and elsewhere none.
 */
const { _tickCallback } = process as { _tickCallback?: () => void };
const areTicksHere = _tickCallback?.name === 'runNextTicks';

/** What a tick throws is an uncaught exception, whose handler sees the runtime's own state to rights; the others wait. */
function runTicks(): void {
  try {
    _tickCallback!();
  } catch (error) {
    native.fatalException(error);
  }
}

/** Whether each call of `ready` is an event of its own. Those of the polling thread come within one, of the runtime's. */
let isStepwise: boolean | undefined;

/** Says whether waits for the socket, those of now and those to come, keep the process alive. */
export function keepAlive(descriptor: Descriptor, isKept: boolean): void {
  descriptor.isQuiet = !isKept;
  (descriptor.waits as Waits | undefined)?.quieten();
}

/** What a wait hears of that is pending when its resource is closed. */
export const CLOSED_MEANWHILE = 'wait(): the socket or its stream was closed while this wait was pending';

/** Ends the waits for exactly those events of a socket: the resource that they wait for is about to be closed. */
export function forsake(descriptor: Descriptor, interest: number): void {
  if (descriptor.waits === undefined) return;
  waitsOf(descriptor).fail(interest, new ClosedError(CLOSED_MEANWHILE));
}
