import { setMaxListeners } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { AbortError, Trap } from '../errors.js';
import { native } from '../native/native.js';
import { show } from '../rules/address.js';
import { type SocketEvent, whenReady } from './readiness.js';

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
   */
  ready(): boolean {
    return pollOnce([this.#live()], 0).length > 0;
  }

  /**
   * Blocks this thread until the pollable is ready. Event loops want `wait()`.
   *
   * WIT: `block: func()`, "equivalent to calling `poll.poll` on a list containing only this pollable".
   */
  block(): void {
    pollBlocking([this.#live()]);
  }

  /**
   * Resolves when the pollable is ready, by the event loop: no thread, no timer. Keeps the process alive meanwhile.
   * Rejects with AbortError when the signal aborts, and with Trap when the stream is dropped.
   */
  async wait(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = options;
    if (signal?.aborted) throw new AbortError(signal);
    await whenAny([this.#live()], signal);
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
    return list.map((pollable) => {
      if (typeof pollable === 'object' && pollable !== null && #source in pollable) return pollable.#live();
      throw new TypeError(`poll() waits for pollables of this package, got ${show(pollable)}: subscribe() makes one`);
    });
  }
}

/** `wasi:io/poll`. */
export const poll = {
  /**
   * Blocks this thread until at least one of the pollables is ready; the indexes of all that are.
   *
   * WIT: `poll: func(in: list<borrow<pollable>>) -> list<u32>`, "This function traps if either: the list is empty, or: the
   * list contains more elements than can be indexed with a `u32` value".
   */
  poll(list: readonly Pollable[]): Uint32Array {
    return pollBlocking(nonEmpty(list));
  },

  /** As `poll`, by the event loop: resolves with the indexes. */
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

/** Resolves with the indexes of the ready sources once there is one. */
async function whenAny(sources: readonly Source[], signal?: AbortSignal): Promise<Uint32Array> {
  for (;;) {
    const ready = pollOnce(sources, 0);
    if (ready.length > 0) return ready;
    // One that waits for a single event hands its signal on; of several, those that are late are called off.
    const [only] = sources.length === 1 ? sources : [];
    if (only !== undefined && only.readyAt === undefined) await whenReady(only.event!, signal);
    else await race(sources, signal);
  }
}

async function race(sources: readonly Source[], signal: AbortSignal | undefined): Promise<void> {
  const late = new AbortController();
  setMaxListeners(0, late.signal);
  const abort = () => late.abort(signal!.reason);
  signal?.addEventListener('abort', abort);
  try {
    await Promise.race(
      sources.map((source) => {
        const left = millisecondsLeft(source);
        if (left > 0) return setTimeout(left, undefined, { signal: late.signal });
        return source.event === undefined ? undefined : whenReady(source.event, late.signal);
      }),
    );
  } catch (error) {
    throw signal?.aborted ? new AbortError(signal) : error;
  } finally {
    signal?.removeEventListener('abort', abort);
    late.abort();
  }
}

const ITEM_WORDS = 3;

/** Asks the kernel once, for at most so many milliseconds; the indexes of the ready sources. */
function pollOnce(sources: readonly Source[], timeoutMs: number): Uint32Array {
  const items = new Int32Array(sources.length * ITEM_WORDS);
  let count = 0;
  let timeout = timeoutMs;
  // For each source: whether it is ready, or else where its answer will stand.
  const answers = sources.map((source) => {
    const left = millisecondsLeft(source);
    timeout = Math.min(timeout, left === 0 ? timeout : left);
    if (left > 0) return false;
    if (source.event === undefined || source.event.granted()) {
      timeout = 0;
      return true;
    }
    items[ITEM_WORDS * count] = source.event.descriptor.socket;
    items[ITEM_WORDS * count + 1] = source.event.interest;
    return ITEM_WORDS * count++ + 2;
  });
  if (count > 0 || timeout > 0) native.pollSync(items, count, timeout);
  return Uint32Array.from(answers.keys()).filter((i) => {
    const answer = answers[i]!;
    return typeof answer === 'boolean' ? answer : items[answer] === 1;
  });
}

/** The most that a timer of Node.js waits, in milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Whole milliseconds until the source may be ready, rounded up; 0 where it may be now. */
function millisecondsLeft({ readyAt }: Source): number {
  if (readyAt === undefined) return 0;
  const left = readyAt() - process.hrtime.bigint();
  return left <= 0n ? 0 : Math.min(Number((left + 999_999n) / 1_000_000n), LONGEST_TIMER_MS);
}
