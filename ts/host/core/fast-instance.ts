import { clearTimeout, setImmediate, setTimeout } from 'node:timers';
import { Trap } from '../../errors.js';
import { AsyncUdpSocket } from '../../socket/async-udp-socket.js';
import { preceded } from '../preceded.js';
import { Bell } from './bell.js';
import { RECEIVE_RESULT_BYTES, SEND_BYTES } from './datagram-calls.js';
import {
  Code,
  type CoreFunction,
  dispatcher,
  EventSetter,
  I32,
  I64,
  parametersOf,
  SLOW,
  Step,
  slices,
  waiting,
  wasm,
} from './glue.js';
import type { Handles } from './handles.js';
import { GuestMemory, type LinearMemory, type Realloc } from './memory.js';
import { EMPTY_RESULT_BYTES, RETURNED } from './results.js';
import { FIRST, SUBTASK, Subtasks, type WaitableSet } from './subtasks.js';
import { TaskContext } from './task-context.js';
import {
  CLOCK,
  type CoreInstance,
  CREATE,
  DROP,
  ENDS,
  type Group,
  type Imports,
  RECEIVE,
  RECEIVE_SYNC,
  RUN,
  SEND,
  SEND_SYNC,
  WAITING,
  type Way,
} from './ways.js';

/** What `instantiateCore` needs of the host. */
export interface FastHost {
  /** The handles of the guest whose memory that is, where jco has told them: by hybrid bindings. */
  handlesOf(memory: LinearMemory): Handles | undefined;
  /** The socket that jco's way of `create` has made last, once. */
  created(): AsyncUdpSocket | undefined;
  /** Whether the guests have no socket that came in another way than `create`. */
  isPlain(): boolean;
  /** From now on they may have: components pass sockets to each other. */
  mix(): void;
  /** Has the ordinary `send` and `receive` of a socket return the promise in place of their own. */
  ring(socket: AsyncUdpSocket, promise: Promise<never>): void;
  /** The next socket that is created is none of the guest's: no limit is about it. */
  hideNext(): void;
  /** What is done before a guest waits. */
  beforeWait(): void;
  /** Takes note of how a module is served. */
  note(way: Way): void;
}

/** What jco notes at an export. */
type Marked = CoreFunction & { _jcoMaySuspend?: boolean };

/** How long a stack is suspended at a time where others may want to enter the instance, in milliseconds. */
const SUSPENDED_MS = 200;

/** How often in a row a guest that yields goes on at once, before jco comes back to it, which takes milliseconds. */
const YIELDS = 16;

/** Whose exports the functions are that were made for async-lifted ones. */
export const madeFor = new WeakMap<object, FastInstance>();

/** One core instance with the fast way before jco's. */
export class FastInstance implements CoreInstance {
  readonly exports: Record<string, unknown>;
  readonly #host: FastHost;
  readonly #memory: GuestMemory;
  readonly #subtasks: Subtasks;
  #handles: Handles | undefined;
  /** Where jco does not tell its handles: what `create` has given. */
  readonly #created = new Map<number, AsyncUdpSocket>();
  readonly #event = new EventSetter();
  readonly #context: TaskContext;
  /** jco's own functions. */
  readonly #original: Group;
  readonly #root: Group;
  /** Tasks of the guest that have begun and not ended. */
  #tasks = 0;
  /** Whether a task has ended in this turn of the event loop, of which jco may have something to do yet. */
  #hasEnded = false;
  /** Whether the host may call anything while a task waits, other than it. */
  #hasOthers = false;
  /** jco's waitables that are in sets: each with the number of its set. */
  readonly #foreign = new Map<number, number>();
  readonly #bells = new Map<number, Bell>();
  /** The bell that is being made. */
  #bell: Bell | undefined;
  #hidden: { socket: AsyncUdpSocket; handle: number; params: number; result: number } | undefined;
  #yields = 0;
  readonly #name: string;
  /** Whether calls that wait are left to jco. */
  #leavesWaits: boolean;

  constructor(host: FastHost, module: object, imports: Imports, name: string, leavesWaits: boolean) {
    this.#host = host;
    this.#name = name;
    this.#leavesWaits = leavesWaits;
    let exports: Record<string, unknown> = {};
    this.#memory = new GuestMemory(
      () => exports['memory'] as LinearMemory,
      (...values) => (exports['cabi_realloc'] as Realloc)(...values),
    );
    this.#subtasks = new Subtasks({ memory: this.#memory, socketOf: (handle) => this.#socketOf(handle) });
    this.#original = imports[name]!;
    this.#root = imports['$root'] ?? {};
    this.#context = new TaskContext(this.#root);
    const clock = Object.keys(imports).find((key) => CLOCK.test(key));
    const groups = Object.entries(imports).map(([key, group]) => [key, { ...group, ...this.#endings(group) }]);
    const instance = new wasm.Instance(module, {
      ...Object.fromEntries(groups),
      [name]: { ...this.#original, ...this.#calls() },
      ...(imports['$root'] && { $root: { ...this.#root, ...this.#builtins() } }),
      ...(clock && { [clock]: { ...imports[clock], ...this.#clockCalls(imports[clock]!) } }),
    });
    exports = instance.exports;
    this.exports = { ...exports, ...this.#slices(exports) };
  }

  /**
   * Another component calls the instance's exports: while such a call is suspended, so is its caller, who may be what it waits for.
   * From now on what waits goes jco's way.
   */
  isCalledByGuest(host: FastHost): void {
    if (this.#leavesWaits) return;
    this.#leavesWaits = true;
    host.note({ imports: this.#name, fast: false, reason: 'other components call it: what waits is left to jco' });
  }

  /** The socket of a guest's handle, where it is known. Traps where jco's table has none by that number. */
  #socketOf(handle: number): AsyncUdpSocket | undefined {
    this.#handles ??= this.#host.handlesOf(this.#memory.source);
    if (this.#handles !== undefined) return this.#handles.get(handle, AsyncUdpSocket);
    return this.#host.isPlain() ? this.#created.get(handle) : undefined;
  }

  /** The functions of wasi:sockets/types that we do ourselves, where the module imports them. */
  #calls(): Group {
    const original = this.#original;
    const subtasks = this.#subtasks;
    const calls: Group = {};
    const two = [I32, I32];
    const add = (name: string, make: (slow: CoreFunction) => CoreFunction) => {
      if (original[name] !== undefined) calls[name] = make(original[name]);
    };
    add(SEND, (slow) =>
      dispatcher(two, true, (params: number, result: number) => this.#told(subtasks.send(params, result)), slow),
    );
    add(RECEIVE, (slow) =>
      dispatcher(two, true, (self: number, result: number) => this.#told(subtasks.receive(self, result)), slow),
    );
    const told = (isDone: boolean) => this.#told(isDone ? 0 : SLOW);
    add(SEND_SYNC, (slow) =>
      dispatcher(
        Array(17).fill(I32),
        false,
        (...values: number[]) => told(this.#unlessWaiting(() => subtasks.sendSync(values))),
        slow,
      ),
    );
    add(RECEIVE_SYNC, (slow) =>
      dispatcher(
        two,
        false,
        (self: number, result: number) => told(this.#unlessWaiting(() => subtasks.receiveSync(self, result))),
        slow,
      ),
    );
    // Whatever looks at a socket, or changes it, finds sent what was sent before.
    for (const [name, call] of Object.entries(original)) {
      const isOther = !name.startsWith('[method]udp-socket.') || WAITING.includes(name);
      if (isOther || typeof call !== 'function') continue;
      calls[name] = preceded(() => subtasks.flush(), call);
    }
    for (const name of ['connect', 'disconnect']) {
      add(`[async-lower][method]udp-socket.${name}`, (slow) => {
        const flush = () => {
          subtasks.flush();
          return this.#told(SLOW);
        };
        return dispatcher(two, true, flush, slow);
      });
    }
    add(CREATE, (slow) => (family: number, result: number) => {
      const status = slow(family as never, result as never);
      const { bytes, words } = this.#memory.look();
      const socket = this.#host.created();
      if (socket !== undefined && bytes[result] === 0) this.#created.set(words[(result + 4) >>> 2]!, socket);
      return status;
    });
    add(DROP, (slow) => (handle: number) => {
      const socket = this.#socketOf(handle);
      if (socket !== undefined) subtasks.dropSocket(socket);
      this.#created.delete(handle);
      return slow(handle as never);
    });
    return calls;
  }

  /** Behind what waits already; jco's way shows what the guest waits for to nobody, so that it is sent first. */
  #unlessWaiting(act: () => boolean): boolean {
    this.#subtasks.flush();
    return act();
  }

  /** What a fast function answers; jco is to find all as it left it where it is its turn. */
  #told(status: number): number {
    if (status === SLOW) this.#context.leave();
    return status;
  }

  #clockCalls(original: Group): Group {
    const calls: Group = {};
    for (const [name, since] of [
      ['[async-lower]wait-until', () => 0n],
      ['[async-lower]wait-for', () => process.hrtime.bigint()],
    ] as const) {
      const slow = original[name];
      if (slow === undefined) continue;
      const wait = (value: bigint) => this.#told(this.#subtasks.waitUntil(since() + BigInt.asUintN(64, value)));
      calls[name] = dispatcher([I64], true, wait, slow);
    }
    return calls;
  }

  /** What drops the end of a stream or future, which is in no set then. */
  #endings(group: Group): Group {
    const names = Object.keys(group).filter((name) => ENDS.test(name) && typeof group[name] === 'function');
    const ending = (original: CoreFunction) => (waitable: number) => {
      original(waitable as never);
      this.#foreign.delete(waitable);
    };
    return Object.fromEntries(names.map((name) => [name, ending(group[name]!)]));
  }

  /** The canonical built-ins for handles of ours; all others go to jco untouched. */
  #builtins(): Group {
    const root = this.#root;
    const subtasks = this.#subtasks;
    const builtins: Group = this.#context.builtins;
    const add = (name: string, make: (original: CoreFunction) => CoreFunction) => {
      if (root[name] !== undefined) builtins[name] = make(root[name]);
    };
    add('[waitable-join]', (original) => (waitable: number, set: number) => {
      if (waitable >= FIRST) {
        subtasks.join(waitable, set);
        return;
      }
      original(waitable as never, set as never);
      if (set === 0) this.#foreign.delete(waitable);
      else this.#foreign.set(waitable, set);
    });
    add('[subtask-drop]', (original) => (waitable: number) => {
      if (waitable >= FIRST) {
        subtasks.drop(waitable);
        return;
      }
      original(waitable as never);
      this.#foreign.delete(waitable);
    });
    for (const name of ['[subtask-cancel]', '[async-lower][subtask-cancel]']) {
      add(name, (original) =>
        dispatcher([I32], true, (waitable: number) => (waitable >= FIRST ? subtasks.cancel(waitable) : SLOW), original),
      );
    }
    add('[waitable-set-drop]', (original) => (set: number) => {
      subtasks.dropSet(set);
      this.#detach(set);
      original(set as never);
    });
    for (const name of Object.keys(root)) {
      if (!/\[waitable-set-(wait|poll)\]$/.test(name)) continue;
      const isWait = name.endsWith('[waitable-set-wait]');
      add(name, (original) =>
        waiting(original, {
          ...this.#event.globals,
          look: (set, pointer) => {
            const step = this.#look(set, pointer, isWait);
            if (step !== Step.Event) this.#context.leave();
            return step;
          },
          ...this.#waits((set) => set),
          isBell: (event, _set, pointer) => this.#isBell(event, pointer),
        }),
      );
    }
    return builtins;
  }

  /** How a stack waits; `setOf`: the set of what it is suspended with. */
  #waits(setOf: (value: number) => number) {
    const suspend = new wasm.Suspending!((value: number) => this.#suspend(setOf(value)));
    return {
      suspend: suspend as CoreFunction,
      bell: this.#original[RECEIVE] ?? this.#original[SEND] ?? noBell,
      rung: (packed: number) => this.#rung(packed),
    };
  }

  /** The exports that are async-lifted, each with our steps after its slices. */
  #slices(exports: Record<string, unknown>): Record<string, CoreFunction> {
    const made: Record<string, CoreFunction> = {};
    const callable = Object.keys(exports).filter(
      (key) => typeof exports[key] === 'function' && !/^(\[callback\]|cabi_|_|\[post-return\])/.test(key),
    );
    this.#hasOthers = callable.some((key) => !RUN.test(key));
    const waits = this.#waits((status) => status >>> 4);
    for (const key of callable) {
      const inner = exports[key] as CoreFunction;
      const callback = exports[`[callback]${key}`] as CoreFunction | undefined;
      if (!key.startsWith('[async-lift]')) continue;
      const params = callback && parametersOf(inner);
      if (params === undefined) continue;
      const enter = () => {
        this.#context.enter();
        this.#subtasks.isInSlice = !this.#leavesWaits && (functions.start as Marked)._jcoMaySuspend !== false;
      };
      const functions = slices(params, inner, callback!, {
        ...this.#event.globals,
        ...waits,
        begin: () => {
          this.#tasks += 1;
          enter();
        },
        enter,
        next: (status) => {
          const step = this.#next(status);
          if (step === Step.Event) enter();
          else this.#context.leave();
          return step;
        },
        translate: (event, waitable) => this.#translate(event, waitable),
      });
      madeFor.set(functions.start, this);
      made[key] = functions.start;
      made[`[callback]${key}`] = suspendable(functions.callback);
    }
    return made;
  }

  /** A slice has ended: an event for the guest, or how it waits. */
  #next(status: number): number {
    const subtasks = this.#subtasks;
    subtasks.isInSlice = false;
    subtasks.check();
    const code = status & 15;
    if (code === Code.Wait) return this.#wait(status >>> 4);
    subtasks.flush();
    if (code === Code.Yield && this.#yields++ < YIELDS && !subtasks.isTurnOver) return this.#tell(0, 0, 0);
    this.#yields = 0;
    this.#host.beforeWait();
    if (code === Code.Exit) {
      this.#tasks -= 1;
      this.#letOthersIn();
    }
    return Step.Pass;
  }

  /** Has whoever waits next in this turn of the event loop leave it to jco. */
  #letOthersIn(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    setImmediate(() => {
      this.#hasEnded = false;
    });
  }

  #tell(event: number, first: number, second: number): typeof Step.Event {
    this.#event.set(event, first, second);
    return Step.Event;
  }

  /** The guest waits on a set. */
  #wait(number: number): number {
    const subtasks = this.#subtasks;
    const isLong = subtasks.isLong();
    // What has ended already comes first: the sends that the guest makes of it join the batch.
    let set = subtasks.setWithMembers(number);
    if (!isLong && set?.hasEvent) return this.#deliver(set);
    subtasks.flush();
    set = subtasks.setWithMembers(number);
    if (set === undefined) {
      this.#host.beforeWait();
      return Step.Pass;
    }
    if (!isLong && set.hasEvent) return this.#deliver(set);
    this.#host.beforeWait();
    if (this.#isAlone) return Step.Suspend;
    return this.#makeBell(set);
  }

  #deliver(set: WaitableSet): typeof Step.Event {
    const { handle, state } = set.shift();
    return this.#tell(SUBTASK, handle, state);
  }

  /**
   * Whether the stack may be suspended: while it is, jco holds the instance for this task, and forgets which task it is where it has
   * anything else to do for the instance.
   */
  get #isAlone(): boolean {
    return this.#tasks <= 1 && this.#foreign.size === 0 && !this.#hasEnded;
  }

  /** Resolves once a set of the guest's may have an event, or it is time to let others in. */
  async #suspend(number: number): Promise<void> {
    const subtasks = this.#subtasks;
    const set = subtasks.set(number);
    // jco must have nothing to do for the instance meanwhile.
    for (const bell of this.#bells.values()) bell.disarm();
    if (subtasks.isTurnOver || set.hasEvent) await new Promise<void>((resolve) => setImmediate(resolve));
    else {
      let timer: NodeJS.Timeout | undefined;
      let leave: (() => void) | undefined;
      await new Promise<void>((resolve) => {
        leave = set.await(resolve);
        if (this.#hasOthers) timer = setTimeout(resolve, SUSPENDED_MS);
      });
      clearTimeout(timer);
      leave?.();
      if (!set.hasEvent && this.#hasOthers) this.#letOthersIn();
    }
    subtasks.beginTurn();
    subtasks.check();
  }

  /** Has jco wait for the set, with a subtask of its own in it that ends when one of ours does. */
  #makeBell(set: WaitableSet): number {
    for (const [handle, bell] of this.#bells) {
      if (bell.set !== set.number && bell.set !== 0) continue;
      if (bell.set === 0) this.#root['[waitable-join]']!(handle as never, set.number as never);
      bell.set = set.number;
      bell.arm(set);
      this.#handOver(bell);
      return Step.Pass;
    }
    const hidden = this.#hide();
    const bell = new Bell();
    bell.set = set.number;
    this.#bell = bell;
    this.#host.ring(hidden.socket, bell.promise);
    bell.arm(set);
    const isReceive = this.#original[RECEIVE] !== undefined;
    this.#tell(isReceive ? hidden.handle : hidden.params, hidden.result, 0);
    return Step.Bell;
  }

  /** jco waits with a bell: it rings soon where the instance is held for this task alone, or the guest has had its turn. */
  #handOver(bell: Bell): void {
    const set = this.#subtasks.set(bell.set);
    if (set.hasEvent || (this.#tasks <= 1 && this.#foreign.size === 0)) setImmediate(() => bell.isArmed && bell.ring());
  }

  /** A socket that the guest does not know of, for calls that only ring. */
  #hide() {
    if (this.#hidden !== undefined) return this.#hidden;
    const params = this.#memory.allocate(SEND_BYTES + Math.max(RECEIVE_RESULT_BYTES, EMPTY_RESULT_BYTES), 8);
    const result = params + SEND_BYTES;
    this.#host.hideNext();
    this.#original[CREATE]!(0 as never, result as never);
    const created = this.#host.created();
    const { bytes, words } = this.#memory.look();
    const handle = words[(result + 4) >>> 2]!;
    if (created !== undefined) this.#created.set(handle, created);
    const socket = bytes[result] === 0 ? this.#socketOf(handle) : undefined;
    if (socket === undefined)
      throw new Trap('no socket could be opened, by which a guest waits for sockets beside other things');
    bytes.fill(0, params, result);
    words[params >>> 2] = handle;
    this.#hidden = { socket, handle, params, result };
    return this.#hidden;
  }

  #rung(packed: number): number {
    const bell = this.#bell!;
    this.#bell = undefined;
    if ((packed & 15) === RETURNED) return 1;
    const handle = packed >>> 4;
    this.#bells.set(handle, bell);
    this.#root['[waitable-join]']!(handle as never, bell.set as never);
    this.#handOver(bell);
    return 0;
  }

  /** An event that jco brings to a callback. */
  #translate(event: number, waitable: number): number {
    this.#subtasks.beginTurn();
    const bell = event === SUBTASK ? this.#bells.get(waitable) : undefined;
    if (bell === undefined) return Step.Pass;
    this.#dropBell(waitable);
    this.#tell((bell.set << 4) | Code.Wait, 0, 0);
    return Step.Wait;
  }

  #dropBell(handle: number): void {
    this.#bells.get(handle)!.disarm();
    this.#bells.delete(handle);
    this.#root['[subtask-drop]']!(handle as never);
  }

  /** Takes the bell out of a set that the guest drops: the next set that needs one gets it. */
  #detach(set: number): void {
    for (const [handle, bell] of this.#bells) {
      if (bell.set !== set) continue;
      bell.set = 0;
      bell.disarm();
      this.#root['[waitable-join]']!(handle as never, 0 as never);
    }
  }

  /** The guest asks for an event of a set, and waits for it or not. */
  #look(number: number, pointer: number, waits: boolean): number {
    const subtasks = this.#subtasks;
    subtasks.check();
    const area = this.#memory.look().area(pointer, 8, 4);
    subtasks.flush();
    if (!(waits && subtasks.isTurnOver) && subtasks.writeEvent(number, area)) return this.#tell(SUBTASK, 0, 0);
    if (!waits) return Step.Pass;
    this.#host.beforeWait();
    const set = subtasks.setWithMembers(number);
    if (set === undefined) return Step.Pass;
    return this.#isAlone ? Step.Suspend : this.#makeBell(set);
  }

  #isBell(event: number, pointer: number): number {
    this.#subtasks.beginTurn();
    const handle = this.#memory.look().words[pointer >>> 2]!;
    if (event !== SUBTASK || !this.#bells.has(handle)) return 0;
    this.#dropBell(handle);
    return 1;
  }
}

/**
 * A callback that may suspend its stack. jco sees that of some that they call nothing that waits, and calls those on a stack that may
 * not be suspended, by their `apply`; but ours wait behind them.
 */
function suspendable(callback: CoreFunction): CoreFunction {
  const promising = wasm.promising!(callback);
  return Object.defineProperties(callback, {
    _jcoMaySuspend: { get: () => true, set: () => {} },
    apply: { value: (_self: unknown, values: never[]) => promising(...values) },
  });
}

/** Of a module that leaves what waits to jco, and makes none. */
function noBell(): never {
  throw new Trap('no bell can be made for this guest');
}
