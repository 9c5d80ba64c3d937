import { AbortError, ClosedError, Trap } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { native, systemError } from '../native/native.js';
import { show } from '../rules/address.js';
import { millisecondsUntil } from './moment.js';
import { awaitEvent, CLOSED_MEANWHILE, type SocketEvent, whenReady } from './readiness.js';

/** What a pollable waits for: a moment, an event of a socket, or first the one and then the other. */
export interface Source {
  /** The moment before which it is not ready, in nanoseconds of `process.hrtime`. Traps once the resource is dropped. */
  readyAt?(): bigint;
  /** The event of a socket that it waits for, if it does. */
  readonly event?: SocketEvent | undefined;
}

/**
 * How long one blocking call stays in the kernel, in milliseconds, before it looks in on JavaScript: readiness ends it at
 * once; the bound lets a worker be terminated while it blocks.
 */
const LOOK_IN_MS = 100;

/** `pollable` of wasi:io/poll@0.2: the readiness of a stream, or a moment. */
export class Pollable {
  #source: Source | undefined;

  /** @internal */
  constructor(source: Source) {
    this.#source = source;
  }

  /**
   * Whether the pollable is ready; never blocks.
   *
   * WIT: `ready: func() -> bool`.
   *
   * @returns whether it is.
   * @throws Trap after drop.
   */
  ready(): boolean {
    return pollOnce([this.#live()], 0).length > 0;
  }

  /**
   * Blocks this thread until the pollable is ready. Event loops want `wait()`.
   *
   * WIT: `block: func()`, "equivalent to calling `poll.poll` on a list containing only this pollable".
   *
   * @throws Trap after drop.
   */
  block(): void {
    pollBlocking([this.#live()]);
  }

  /**
   * Resolves when the pollable is ready, by the event loop: no thread, no timer. Keeps the process alive meanwhile. Of several that
   * wait for the same, all wake, and the first to ask may leave nothing for the others.
   *
   * @param options `signal` ends the wait.
   * @throws (rejects with) AbortError when the signal aborts, ClosedError when the stream is closed meanwhile, SocketError where
   *   the system refuses to watch the socket.
   */
  async wait(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = options;
    if (signal !== undefined && !isSignal(signal))
      throw new TypeError(`wait() takes { signal: AbortSignal }, got ${show(signal)}: an AbortController has one`);
    if (signal?.aborted) throw new AbortError(signal);
    const source = this.#live();
    if (source.readyAt !== undefined) await whenAny([source], signal);
    else if (!source.event!.granted()) await whenReady(source.event!, signal);
  }

  /** Drops the pollable; the stream stays. */
  [Symbol.dispose](): void {
    this.#source = undefined;
  }

  #live(): Source {
    if (this.#source === undefined) throw new Trap('the pollable was dropped: subscribe() makes another');
    return this.#source;
  }

  /** @internal The sources of a list of pollables. */
  static sources(list: readonly Pollable[]): Source[] {
    // An element that is missing is undefined here.
    return Array.from(list, (pollable) => {
      if (typeof pollable === 'object' && pollable !== null && #source in pollable) return pollable.#live();
      throw new TypeError(`poll() waits for pollables of this package, got ${show(pollable)}: subscribe() makes one`);
    });
  }
}

/** `wasi:io/poll`. */
export const poll = {
  /**
   * Blocks this thread until at least one of the pollables is ready.
   *
   * WIT: `poll: func(in: list<borrow<pollable>>) -> list<u32>`, "This function traps if either: the list is empty, or: the list
   * contains more elements than can be indexed with a `u32` value".
   *
   * @param list the pollables.
   * @returns the indexes of all that are ready.
   * @throws Trap for an empty list, and for a pollable that was dropped.
   */
  poll(list: readonly Pollable[]): Uint32Array {
    return pollBlocking(nonEmpty(list));
  },

  /**
   * As `poll`, by the event loop.
   *
   * @param list the pollables.
   * @returns the indexes of all that are ready.
   * @throws (rejects) as `poll`.
   */
  async wait(list: readonly Pollable[]): Promise<Uint32Array> {
    return whenAny(nonEmpty(list));
  },
};

function nonEmpty(list: readonly Pollable[]): Source[] {
  if (!Array.isArray(list))
    throw new TypeError(`poll() takes an array of pollables, got ${show(list)}: pass [pollable]`);
  if (list.length === 0) throw new Trap('poll() waits for at least one pollable, got an empty list: name one');
  return Pollable.sources(list);
}

function pollBlocking(sources: readonly Source[]): Uint32Array {
  for (;;) {
    const ready = pollOnce(sources, LOOK_IN_MS);
    if (ready.length > 0) return ready;
  }
}

/** Whether it can be waited on as a signal; those of other realms and of polyfills can. */
function isSignal(value: unknown): value is AbortSignal {
  const { aborted, addEventListener, removeEventListener } = Object(value) as Partial<AbortSignal>;
  return (
    typeof aborted === 'boolean' && typeof addEventListener === 'function' && typeof removeEventListener === 'function'
  );
}

/** Resolves with the indexes of the ready sources once there is one. */
async function whenAny(sources: readonly Source[], signal?: AbortSignal): Promise<Uint32Array> {
  for (let isAgain = false; ; isAgain = true) {
    const ready = isAgain ? pollAgain(sources) : pollOnce(sources, 0);
    if (ready.length > 0) return ready;
    await anyOf(sources, signal);
  }
}

/** Asks again, behind a wait: what was closed meanwhile was closed under it. */
function pollAgain(sources: readonly Source[]): Uint32Array {
  try {
    return pollOnce(sources, 0);
  } catch (error) {
    throw error instanceof Trap ? new ClosedError(CLOSED_MEANWHILE, { cause: error }) : error;
  }
}

/** Resolves when one of the sources may be ready; the others are not waited for any more. */
async function anyOf(sources: readonly Source[], signal: AbortSignal | undefined): Promise<void> {
  const leaves: (() => void)[] = [];
  try {
    await new Promise<void>((wake, fail) => {
      if (signal !== undefined) {
        const abort = () => fail(new AbortError(signal));
        signal.addEventListener('abort', abort);
        leaves.push(() => signal.removeEventListener('abort', abort));
      }
      let soonest = Number.POSITIVE_INFINITY;
      // One waiter for all that wait for the same.
      const seen = new Map<Descriptor, number>();
      for (const source of sources) {
        const left = millisecondsLeft(source);
        if (left > 0) soonest = Math.min(soonest, left);
        else if (source.event === undefined) soonest = 0;
        else {
          const { descriptor, interest } = source.event;
          const interests = seen.get(descriptor) ?? 0;
          if (interests & (1 << interest)) continue;
          seen.set(descriptor, interests | (1 << interest));
          leaves.push(awaitEvent(source.event, { wake, fail }));
        }
      }
      if (soonest === Number.POSITIVE_INFINITY) return;
      const timer = setTimeout(wake, soonest);
      leaves.push(() => clearTimeout(timer));
    });
  } finally {
    for (const leave of leaves) leave();
  }
}

const ITEM_WORDS = 3;

/**
 * Asks the kernel once, for at most so many milliseconds; the indexes of the ready sources. Each socket is asked for once,
 * however many sources wait for it: poll(2) takes no more items than the process may have descriptors.
 */
function pollOnce(sources: readonly Source[], timeoutMs: number): Uint32Array {
  let timeout = timeoutMs;
  const items: number[] = [];
  const itemOf = new Map<number, number>();
  // For each source: whether it is ready, or else where its answer will stand.
  const answers = sources.map((source) => {
    const left = millisecondsLeft(source);
    timeout = Math.min(timeout, left === 0 ? timeout : left);
    if (left > 0) return false;
    if (source.event === undefined || source.event.granted()) {
      timeout = 0;
      return true;
    }
    const { socket } = source.event.descriptor;
    let item = itemOf.get(socket);
    if (item === undefined) {
      item = items.push(socket, 0, 0) - ITEM_WORDS;
      itemOf.set(socket, item);
    }
    items[item + 1]! |= source.event.interest;
    return item;
  });
  const list = Int32Array.from(items);
  if (list.length > 0 || timeout > 0) {
    const result = native.pollSync(list, list.length / ITEM_WORDS, timeout);
    if (result < 0) throw systemError('poll', 'poll', -result);
  }
  return Uint32Array.from(answers.keys()).filter((i) => {
    const answer = answers[i]!;
    return typeof answer === 'boolean' ? answer : (list[answer + 2]! & sources[i]!.event!.interest) !== 0;
  });
}

/** Whole milliseconds until the source may be ready, rounded up; 0 where it may be now. */
function millisecondsLeft({ readyAt }: Source): number {
  return readyAt === undefined ? 0 : millisecondsUntil(readyAt());
}
