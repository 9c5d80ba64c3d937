import { callExtension, inputStreamCreate } from '@bytecodealliance/preview2-shim/io-worker';
import { native } from '../native/native.js';
import { Pollable, type Source } from '../readiness/pollable.js';

/**
 * What the shim's worker must know of a pollable beyond the kernel: two 64-bit words of shared memory.
 * FLAG: whether it is KNOWN to be ready. MOMENT: the moment before which it is not.
 */
export type Cell = BigInt64Array<SharedArrayBuffer>;
export const FLAG = 0;
export const MOMENT = 1;
export const KNOWN = 1n;

const WORKER = new URL('./shim-worker.js', import.meta.url);

/** The shim's pollable class, as far as it is used here. */
interface ShimPollable extends Disposable {
  ready(): boolean;
  block(): void;
}

/** Ends twins that a guest left behind, which trapped; the shim itself drops its part of them. */
const forgotten = new FinalizationRegistry<() => void>((end) => end());

/**
 * A pollable of the shim that is ready exactly when ours is, for the shim's own `poll.poll` and its clocks, stdin and TCP.
 *
 * The shim waits in a worker. There the same socket is polled; what the kernel does not know (datagrams that the engine has
 * kept, a permit that needs no poll, a rate) is told through shared memory, after each use of the socket. Asked alone, the
 * pollable asks ours, and no worker is involved.
 *
 * Calls `dropped` once it is disposed, or collected.
 */
export function shimPollable(pollable: Pollable, dropped = () => {}): ShimPollable {
  const [source] = Pollable.sources([pollable]) as [Source];
  const { event } = source;
  const cell: Cell = new BigInt64Array(new SharedArrayBuffer(16));
  const end = tellAlways(pollable, source, cell, dropped);
  const number = event === undefined ? 0 : native.descriptor(event.descriptor.socket);
  const id = callExtension(WORKER, 'subscribe', [number, event?.interest ?? 0, cell]) as number;
  const stream = inputStreamCreate(id);
  const twin = stream.subscribe() as unknown as ShimPollable;
  forgotten.register(twin, end, twin);
  const drop = twin[Symbol.dispose];
  return Object.assign(twin, {
    ready: () => pollable.ready(),
    block: () => pollable.block(),
    [Symbol.dispose]() {
      forgotten.unregister(twin);
      end();
      drop.call(twin);
      (stream as unknown as Disposable)[Symbol.dispose]();
    },
  });
}

/** Keeps the cell up to date until the function that is returned is called. Knows no twin, which may be collected meanwhile. */
function tellAlways(pollable: Pollable, source: Source, cell: Cell, ended: () => void): () => void {
  const tell = () => {
    let isReady = true;
    try {
      isReady = pollable.ready();
      Atomics.store(cell, MOMENT, source.readyAt?.() ?? 0n);
    } catch {
      // The stream was dropped: whoever waits is to wake up, and traps when it asks.
    }
    Atomics.store(cell, FLAG, isReady ? KNOWN : 0n);
  };
  const unobserve = source.event?.descriptor.observe(tell);
  tell();
  return () => {
    unobserve?.();
    ended();
  };
}
