import { AbortError, Trap } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { native } from '../native/native.js';

/** An event of a socket that somebody may wait for. */
export interface SocketEvent {
  readonly descriptor: Descriptor;
  /** READABLE, WRITABLE, or either of both. */
  readonly interest: number;
  /** Whether it has come, whatever the kernel says. Traps once the resource is dropped. */
  granted(): boolean;
}

/** One pending `wait()`. */
interface Waiter {
  /** Keep reference alive: what somebody waits for is not forgotten. */
  readonly descriptor: Descriptor;
  readonly interest: number;
  resolve(): void;
  reject(error: Error): void;
}

/** The pending waits of this thread, by socket. The addon watches a socket exactly while it has one here. */
const waiting = new Map<number, Set<Waiter>>();

native.onReady((socket, events) => {
  for (const waiter of [...(waiting.get(socket) ?? [])]) {
    if ((waiter.interest & events) === 0) continue;
    remove(socket, waiter);
    waiter.resolve();
  }
  watch(socket);
});

/** Resolves when the event loop reports the event. */
export function whenReady({ descriptor, interest }: SocketEvent, signal: AbortSignal | undefined): Promise<void> {
  const { socket } = descriptor;
  return new Promise((resolve, reject) => {
    const abort = () => {
      remove(socket, waiter);
      watch(socket);
      waiter.reject(new AbortError(signal!));
    };
    const settle = <T extends unknown[]>(how: (...result: T) => void) => {
      return (...result: T) => {
        signal?.removeEventListener('abort', abort);
        how(...result);
      };
    };
    const waiter: Waiter = { descriptor, interest, resolve: settle(resolve), reject: settle(reject) };
    const others = waiting.get(socket);
    if (others === undefined) waiting.set(socket, new Set([waiter]));
    else others.add(waiter);
    signal?.addEventListener('abort', abort);
    watch(socket);
  });
}

/** Ends the waits for exactly those events of a socket: the resource that they wait for is about to be dropped. */
export function forsake(socket: number, interest: number): void {
  for (const waiter of [...(waiting.get(socket) ?? [])]) {
    if (waiter.interest !== interest) continue;
    remove(socket, waiter);
    watch(socket);
    waiter.reject(new Trap('wait(): the resource was dropped while this wait was pending'));
  }
}

function remove(socket: number, waiter: Waiter): void {
  const waiters = waiting.get(socket);
  if (waiters?.delete(waiter) && waiters.size === 0) waiting.delete(socket);
}

/** Has the addon watch for what the socket's waits are interested in: one-shot, so again after each event. */
function watch(socket: number): void {
  let interest = 0;
  for (const waiter of waiting.get(socket) ?? []) interest |= waiter.interest;
  native.watch(socket, interest);
}
