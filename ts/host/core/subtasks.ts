import { clearTimeout, setTimeout } from 'node:timers';
import { type Arena, freeArena } from '../../batch/arena.js';
import { IncomingBatch } from '../../batch/incoming-batch.js';
import { asTrap, SocketError, Trap } from '../../errors.js';
import { LAYOUT } from '../../native/layout.js';
import { millisecondsUntil } from '../../readiness/moment.js';
import { Turn } from '../../readiness/turn.js';
import type { Destination } from '../../rules/destination.js';
import { type AsyncUdpSocket, turnedAway } from '../../socket/async-udp-socket.js';
import {
  checkSend,
  flatSend,
  lowerDatagram,
  packSend,
  RECEIVE_RESULT_BYTES,
  refused,
  SEND_BYTES,
} from './datagram-calls.js';
import { SLOW } from './glue.js';
import type { GuestMemory } from './memory.js';
import { EMPTY_RESULT_BYTES, RETURNED, writeError } from './results.js';

/** The states of a subtask, as a guest sees them; but for the last, which none has that it knows of. */
const State = {
  Starting: 0,
  Started: 1,
  Returned: RETURNED,
  CancelledBeforeStarted: 3,
  CancelledBeforeReturned: 4,
  Dropped: 5,
};

/** The event of a subtask. */
export const SUBTASK = 1;

/** The first handle of ours: far above those of jco, which counts its own from 1. */
export const FIRST = 2 ** 27;

/** Subtasks that a guest may have at a time; what comes beyond goes jco's way. */
const MOST = 2 ** 16;

/** Sends that go at once, one by one, of a guest that awaits each; the next one looks whether it still does. */
const AT_ONCE = 64;

/** Calls after which a guest that never waits is asked for the time. */
const CALLS_A_LOOK = 64;

/** Events that a set keeps when the guest has had them, behind which there are others. */
const MOST_SEEN = 4096;

/** A call of the guest that has not ended when it was answered. Its memory is used again once the guest has dropped it. */
class Subtask {
  readonly handle: number;
  state = State.Starting;
  /** Whether the guest has seen how it ended. */
  isDelivered = false;
  set: WaitableSet | undefined;
  socket: AsyncUdpSocket | undefined;
  /** The rules of a send's socket as it was called: others where the peer was changed since. */
  destination: Destination | undefined;
  /** Where the parameters of a send lie, and where the result goes. */
  params = 0;
  result = 0;
  /** Takes it out of what it waits for; a send waits in its outbox instead. */
  stop: (() => void) | undefined;

  constructor(handle: number) {
    this.handle = handle;
  }

  get isResolved(): boolean {
    return this.state >= State.Returned;
  }
}

/** A waitable set of the guest's, as far as subtasks of ours are in it. */
export class WaitableSet {
  readonly number: number;
  /** Subtasks that have ended, in that order, from `at` on. */
  readonly #ended: Subtask[] = [];
  #at = 0;
  /** Subtasks of ours in it. */
  members = 0;
  /** Those who wait for it: several tasks may. */
  readonly #waiters = new Set<() => void>();

  constructor(number: number) {
    this.number = number;
  }

  get hasEvent(): boolean {
    return this.#at < this.#ended.length;
  }

  add(subtask: Subtask): void {
    this.#ended.push(subtask);
    this.wake();
  }

  /** Calls once when the set has an event, or its instance is broken. The function that is returned ends that. */
  await(waiter: () => void): () => void {
    this.#waiters.add(waiter);
    return () => this.#waiters.delete(waiter);
  }

  get isAwaited(): boolean {
    return this.#waiters.size > 0;
  }

  /** Calls all who wait: each looks for itself whether there is something for it. */
  wake(): void {
    if (this.#waiters.size === 0) return;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter();
  }

  remove(subtask: Subtask): void {
    const place = this.#ended.indexOf(subtask, this.#at);
    if (place >= 0) this.#ended.splice(place, 1);
  }

  /** The next event. */
  shift(): Subtask {
    const subtask = this.#ended[this.#at]!;
    this.#at += 1;
    if (this.#at === this.#ended.length) {
      this.#ended.length = 0;
      this.#at = 0;
    } else if (this.#at === MOST_SEEN) {
      // A guest may never come to the end of what has ended.
      this.#ended.splice(0, this.#at);
      this.#at = 0;
    }
    subtask.isDelivered = true;
    return subtask;
  }
}

/** Sends of one socket that have not left yet, in order. */
interface Outbox {
  readonly socket: AsyncUdpSocket;
  readonly sends: Subtask[];
  /** Where it waits for room: takes that wait away. */
  leave: (() => void) | undefined;
}

/** What the subtasks of one core instance stand on. */
export interface SubtaskOptions {
  readonly memory: GuestMemory;
  /** The socket of a guest's handle, where it is one of this host's. Traps where the guest made it up. */
  socketOf(handle: number): AsyncUdpSocket | undefined;
}

/**
 * The calls of one core instance that wait: what one slice of the guest sends leaves as one batch when the slice ends, with an exact
 * result for each; receives are served as datagrams come. The payload stays in the guest's memory, where the canonical ABI keeps it
 * until a subtask has started.
 */
export class Subtasks {
  readonly #memory: GuestMemory;
  readonly #socketOf: SubtaskOptions['socketOf'];
  readonly #subtasks: Subtask[] = [];
  readonly #free: Subtask[] = [];
  readonly #sets = new Map<number, WaitableSet>();
  readonly #outboxes = new Map<AsyncUdpSocket, Outbox>();
  /** Outboxes with sends that nobody has tried to send. */
  readonly #due = new Set<Outbox>();
  /** What a datagram is received into, once there was a receive. */
  #batch: IncomingBatch | undefined;
  #isLowering = false;
  /** Whether a slice of the guest runs that waits afterwards: whose sends may wait for each other. */
  isInSlice = false;
  /** How many of the next sends go at once. */
  #atOnce = 0;
  #calls = 0;
  readonly #turn = new Turn();
  /** What broke the guest's instance while nothing of it ran. */
  #broken: Error | undefined;

  constructor({ memory, socketOf }: SubtaskOptions) {
    this.#memory = memory;
    this.#socketOf = socketOf;
  }

  /** An async-lowered `send`: its status, or SLOW where it is jco's to do. */
  send(params: number, result: number): number {
    const memory = this.#memory.look();
    const word = memory.area(params, SEND_BYTES, 4) >>> 2;
    const area = memory.area(result, EMPTY_RESULT_BYTES, 4);
    const socket = this.#socketOf(memory.words[word]!);
    if (socket === undefined) return SLOW;
    checkSend(memory.words, word, memory.bytes.length);
    const mayWait = this.isInSlice && this.#subtasks.length - this.#free.length < MOST;
    if (mayWait && !socket.writesBehind && this.#atOnce === 0) return this.#queue(socket, params, area);
    if (this.#atOnce > 0) this.#atOnce -= 1;
    // A guest that is always answered at once would never let the event loop turn.
    if (mayWait && this.isLong()) return this.#queue(socket, params, area);
    if (this.#sendNow(socket, memory.words, word, area)) return State.Returned;
    return mayWait ? this.#queue(socket, params, area) : SLOW;
  }

  /** A `send` whose parameters come as core values, and which waits: false where it is jco's to do. */
  sendSync(values: readonly number[]): boolean {
    const memory = this.#memory.look();
    const area = memory.area(values[16]!, EMPTY_RESULT_BYTES, 4);
    const socket = this.#socketOf(values[0]!);
    if (socket === undefined || this.isLong()) return false;
    const words = flatSend(values);
    checkSend(words, 0, memory.bytes.length);
    return this.#sendNow(socket, words, 0, area);
  }

  /** Sends the datagram of the parameters at that word; false where the socket has no room. */
  #sendNow(socket: AsyncUdpSocket, words: Uint32Array, word: number, area: number): boolean {
    const memory = this.#memory;
    const outbox = this.#outboxes.get(socket);
    if (outbox !== undefined && outbox.sends.length > 0) {
      this.#flush(outbox);
      if (outbox.sends.length > 0) return false;
    }
    try {
      const { destination } = socket;
      const arena = freeArena();
      arena.clear();
      if (!packSend(arena, words, word, destination)) throw refused(arena, destination);
      if (socket.deliver(arena, memory.buffer) === 0) return false;
      memory.bytes[area] = 0;
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      writeError(memory, area, 4, error);
    }
    return true;
  }

  #queue(socket: AsyncUdpSocket, params: number, result: number): number {
    const subtask = this.#new(State.Starting, socket, result);
    subtask.params = params;
    subtask.destination = socket.destination;
    let outbox = this.#outboxes.get(socket);
    if (outbox === undefined) {
      outbox = { socket, sends: [], leave: undefined };
      this.#outboxes.set(socket, outbox);
    }
    outbox.sends.push(subtask);
    if (outbox.leave === undefined) this.#due.add(outbox);
    return subtask.handle << 4;
  }

  /** An async-lowered `receive`: its status, or SLOW. */
  receive(handle: number, result: number): number {
    const area = this.#memory.look().area(result, RECEIVE_RESULT_BYTES, 4);
    const socket = this.#socketOf(handle);
    if (socket === undefined) return SLOW;
    const mayWait = this.isInSlice && this.#subtasks.length - this.#free.length < MOST;
    if (!(mayWait && this.isLong()) && this.#receiveNow(socket, area, false)) return State.Returned;
    if (!mayWait) return SLOW;
    const subtask = this.#new(State.Started, socket, area);
    subtask.stop = socket.awaitDatagram({
      serve: () => {
        if (this.#broken === undefined && this.#guarded(() => this.#receiveNow(socket, area, true)))
          return this.#resolve(subtask, State.Returned);
        // Nothing of a guest that has trapped is called any more.
        return this.#broken !== undefined;
      },
      fail: (error) => this.#fail(error),
    });
    return (subtask.handle << 4) | State.Started;
  }

  /** A `receive` that waits: false where it is jco's to do. */
  receiveSync(handle: number, result: number): boolean {
    const area = this.#memory.look().area(result, RECEIVE_RESULT_BYTES, 4);
    const socket = this.#socketOf(handle);
    return socket !== undefined && !this.isLong() && this.#receiveNow(socket, area, false);
  }

  /** Whether there was a datagram, or an error, which is the result now. */
  #receiveNow(socket: AsyncUdpSocket, area: number, isServed: boolean): boolean {
    // The canonical ABI: a guest's allocator may not leave its instance.
    if (this.#isLowering) throw new Trap('cabi_realloc of the guest may not call imports: only allocate there');
    const memory = this.#memory.look();
    this.#isLowering = true;
    try {
      this.#batch ??= new IncomingBatch();
      if (!socket.receiveInto(this.#batch, isServed)) return false;
      lowerDatagram(this.#batch, memory, area);
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      writeError(memory, area, 4, error);
    } finally {
      this.#isLowering = false;
    }
    return true;
  }

  /** A `wait-until` of 0.3's monotonic clock, to a moment in nanoseconds. */
  waitUntil(when: bigint): number {
    if (millisecondsUntil(when) === 0 && !(this.isInSlice && this.isLong())) return State.Returned;
    if (!this.isInSlice) return SLOW;
    const subtask = this.#new(State.Started, undefined, 0);
    const wait = () => {
      const timer = setTimeout(() => {
        if (millisecondsUntil(when) > 0) wait();
        else this.#resolve(subtask, State.Returned);
      }, millisecondsUntil(when));
      subtask.stop = () => clearTimeout(timer);
    };
    wait();
    return (subtask.handle << 4) | State.Started;
  }

  #new(state: number, socket: AsyncUdpSocket | undefined, result: number): Subtask {
    let subtask = this.#free.pop();
    if (subtask === undefined) {
      subtask = new Subtask(FIRST + this.#subtasks.length);
      this.#subtasks.push(subtask);
    }
    subtask.state = state;
    subtask.isDelivered = false;
    subtask.socket = socket;
    subtask.result = result;
    return subtask;
  }

  /** The subtask of a handle of ours. Traps where there is none. */
  #get(handle: number): Subtask {
    const subtask = this.#subtasks[handle - FIRST];
    if (subtask === undefined || subtask.state === State.Dropped)
      throw new Trap(
        `handle ${handle} of the guest must name a subtask: use the handle that was returned, until it is dropped`,
      );
    return subtask;
  }

  /** The subtask has ended: its set hears of it. True. */
  #resolve(subtask: Subtask, state: number): true {
    subtask.state = state;
    subtask.stop = undefined;
    subtask.set?.add(subtask);
    return true;
  }

  /** Does what runs while nothing of the guest does; what it throws is the guest's end. */
  #guarded(act: () => boolean): boolean {
    try {
      return act();
    } catch (error) {
      this.#fail(error as Error);
      return false;
    }
  }

  #fail(error: Error): void {
    this.#broken ??= asTrap(error) as Error;
    for (const set of this.#sets.values()) set.wake();
  }

  /** Throws what has broken the instance meanwhile. */
  check(): void {
    if (this.#broken !== undefined) throw this.#broken;
  }

  /** Sends what the guest's calls have left, as far as the system takes it. */
  flush(): void {
    if (this.#due.size === 0) return;
    // A guest that awaits each send has started one alone.
    if (this.#due.size === 1) for (const { sends } of this.#due) if (sends.length === 1) this.#atOnce = AT_ONCE;
    const due = [...this.#due];
    this.#due.clear();
    for (const outbox of due) this.#flush(outbox);
  }

  /** Sends an outbox's datagrams in order; what meets an error is told so, and the others go on. */
  #flush(outbox: Outbox): void {
    const { socket, sends } = outbox;
    this.#due.delete(outbox);
    outbox.leave?.();
    outbox.leave = undefined;
    const memory = this.#memory.look();
    let done = 0;
    while (done < sends.length) {
      const arena = freeArena();
      let taken: number;
      try {
        this.#pack(arena, sends, done, socket);
        taken = socket.deliver(arena, memory.buffer);
      } catch (error) {
        if (!(error instanceof SocketError)) throw error;
        writeError(memory, sends[done]!.result, 4, error);
        this.#resolve(sends[done]!, State.Returned);
        done += 1;
        continue;
      }
      for (const end = done + taken; done < end; done++) {
        memory.bytes[sends[done]!.result] = 0;
        this.#resolve(sends[done]!, State.Returned);
      }
      if (taken === 0) break;
    }
    sends.splice(0, done);
    if (sends.length > 0) this.#awaitRoom(outbox);
  }

  /** Packs sends from one on, up to the first that a rule refuses. Throws where that is the very first. */
  #pack(arena: Arena, sends: readonly Subtask[], from: number, socket: AsyncUdpSocket): void {
    const memory = this.#memory;
    const { destination } = socket;
    const end = Math.min(sends.length, from + LAYOUT.maxDatagrams);
    arena.clear();
    for (let i = from; i < end; i++) {
      if (sends[i]!.destination !== destination) {
        if (i === from) throw turnedAway();
        break;
      }
      const word = sends[i]!.params >>> 2;
      // The guest's since the call, if it broke the rules of the canonical ABI.
      checkSend(memory.words, word, memory.bytes.length);
      if (packSend(arena, memory.words, word, destination)) continue;
      if (i === from) throw refused(arena, destination);
      break;
    }
  }

  #awaitRoom(outbox: Outbox): void {
    const again = () => {
      outbox.leave = undefined;
      this.#guarded(() => {
        this.#flush(outbox);
        return true;
      });
    };
    // Where the peer was changed, the wait ends without room: the next try tells.
    try {
      outbox.leave = outbox.socket.awaitRoom({ wake: again, fail: again });
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /** Ends a subtask of ours before its time; its state. */
  cancel(handle: number): number {
    const subtask = this.#get(handle);
    if (subtask.isDelivered) throw new Trap(`subtask ${handle} of the guest has ended: cancel it before`);
    if (!subtask.isResolved) {
      if (subtask.stop !== undefined) {
        subtask.stop();
        subtask.stop = undefined;
        subtask.state = State.CancelledBeforeReturned;
      } else {
        const outbox = this.#outboxes.get(subtask.socket!)!;
        outbox.sends.splice(outbox.sends.indexOf(subtask), 1);
        subtask.state = State.CancelledBeforeStarted;
        // Who cancels what has not started wants an answer at once.
        this.#atOnce = AT_ONCE;
      }
    } else subtask.set?.remove(subtask);
    subtask.isDelivered = true;
    return subtask.state;
  }

  /** Drops a subtask that has ended. */
  drop(handle: number): void {
    const subtask = this.#get(handle);
    if (!subtask.isDelivered) throw new Trap(`subtask ${handle} of the guest has not ended: wait for it, or cancel it`);
    this.#joinSet(subtask, undefined);
    subtask.state = State.Dropped;
    subtask.socket = undefined;
    subtask.destination = undefined;
    this.#free.push(subtask);
  }

  /** Joins a subtask of ours to a set, or to none (0). */
  join(handle: number, set: number): void {
    this.#joinSet(this.#get(handle), set === 0 ? undefined : this.set(set));
  }

  #joinSet(subtask: Subtask, set: WaitableSet | undefined): void {
    const former = subtask.set;
    if (former !== undefined) {
      former.members -= 1;
      if (subtask.isResolved && !subtask.isDelivered) former.remove(subtask);
    }
    subtask.set = set;
    if (set === undefined) return;
    set.members += 1;
    if (subtask.isResolved && !subtask.isDelivered) set.add(subtask);
  }

  /** The set of that number. */
  set(number: number): WaitableSet {
    let set = this.#sets.get(number);
    if (set === undefined) {
      set = new WaitableSet(number);
      this.#sets.set(number, set);
    }
    return set;
  }

  /** The set of that number, where subtasks of ours are in it. */
  setWithMembers(number: number): WaitableSet | undefined {
    const set = this.#sets.get(number);
    return set !== undefined && set.members > 0 ? set : undefined;
  }

  /** Writes a set's next event at a pointer of the guest's, checked; false where it has none. */
  writeEvent(number: number, area: number): boolean {
    const set = this.setWithMembers(number);
    if (!set?.hasEvent) return false;
    const { handle, state } = set.shift();
    const { words } = this.#memory.look();
    words[area >>> 2] = handle;
    words[(area >>> 2) + 1] = state;
    return true;
  }

  /** The guest drops a set. Traps where there are subtasks of ours in it. */
  dropSet(number: number): void {
    if (this.setWithMembers(number) !== undefined)
      throw new Trap(`waitable set ${number} of the guest has subtasks in it: drop them, or join them to 0, before`);
    this.#sets.delete(number);
  }

  /** The guest drops a socket, whose sends leave first. Traps where calls of it still wait. */
  dropSocket(socket: AsyncUdpSocket): void {
    this.flush();
    const waits = this.#subtasks.some((subtask) => subtask.socket === socket && !subtask.isResolved);
    if (waits)
      throw new Trap('the udp-socket is lent to calls that wait: cancel them, or wait for them, before it is dropped');
    this.#outboxes.delete(socket);
  }

  /** Whether the guest has had its turn, so that others are to have theirs; asked for each of its calls and slices. */
  isLong(): boolean {
    this.#calls += 1;
    return this.#calls % CALLS_A_LOOK === 0 && this.isTurnOver;
  }

  get isTurnOver(): boolean {
    return this.#turn.isOver;
  }

  /** The event loop has turned. */
  beginTurn(): void {
    this.#turn.begin();
  }
}
