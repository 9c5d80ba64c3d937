import type { Descriptor } from './descriptor.js';
import { AbortError, Trap } from './errors.js';
import { native } from './native.js';
import { whenReady } from './readiness.js';

/** What a pollable waits for: an event of a socket, unless it is known to be ready without asking. */
export interface Source {
  readonly descriptor: Descriptor;
  /** READABLE or WRITABLE. */
  readonly interest: number;
  /** Whether the resource is ready whatever the kernel says. Traps once the resource is dropped. */
  granted(): boolean;
}

/**
 * How long one blocking call stays in the kernel, in milliseconds, before it looks in on JavaScript: readiness ends it at
 * once; the bound lets a worker be terminated while it blocks.
 */
const LOOK_IN_MS = 100;

/** `pollable` of wasi:io/poll@0.2: the readiness of one direction of one socket. */
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
    const source = this.#live();
    if (pollOnce([source], 0).length > 0) return;
    await whenReady(source.descriptor, source.interest, signal);
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
    return list.map((pollable) => pollable.#live());
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
    if (list.length === 0) throw new Trap('poll() waits for at least one pollable, got an empty list: name one');
    return pollBlocking(Pollable.sources(list));
  },
};

function pollBlocking(sources: readonly Source[]): Uint32Array {
  for (;;) {
    const ready = pollOnce(sources, LOOK_IN_MS);
    if (ready.length > 0) return ready;
  }
}

const ITEM_WORDS = 3;

/** Asks the kernel once, for at most so many milliseconds; the indexes of the ready sources. */
function pollOnce(sources: readonly Source[], timeoutMs: number): Uint32Array {
  const items = new Int32Array(sources.length * ITEM_WORDS);
  const granted = sources.map((source, i) => {
    items[ITEM_WORDS * i] = source.descriptor.socket;
    items[ITEM_WORDS * i + 1] = source.interest;
    return source.granted();
  });
  if (granted.includes(false)) native.pollSync(items, sources.length, granted.includes(true) ? 0 : timeoutMs);
  const ready = (_: Source, i: number) => granted[i] || items[ITEM_WORDS * i + 2] === 1;
  return Uint32Array.from(sources.keys()).filter((i) => ready(sources[i]!, i));
}
