import { setImmediate } from 'node:timers';
import { Trap } from '../../errors.js';
import { READABLE, WRITABLE } from '../../native/native.js';
import { Pollable } from '../../readiness/pollable.js';
import { AsyncUdpSocket } from '../../socket/async-udp-socket.js';
import { preceded } from '../preceded.js';
import { Code, type CoreFunction, SLOW } from './glue.js';
import type { Handles } from './handles.js';
import type { GuestMemory } from './memory.js';
import { SUBTASK, Subtasks, type WaitableSet } from './subtasks.js';

type Callback = (event: number, waitable: number, state: number) => number;

/** A core module of 0.3 with no component around it: its calls that wait, its waitable sets, and the tasks that its exports begin. */
export class CoreTasks {
  readonly #subtasks: Subtasks;
  readonly #memory: GuestMemory;
  readonly #handles: Handles;
  readonly #drop: (handle: number) => void;
  readonly #beforeWait: () => void;
  #nextSet = 1;
  readonly #sets = new Set<number>();
  /** What `context-set` has left, of the task at hand. */
  #context = new Int32Array(2);

  /** `drop`: drops a resource of the guest's. `beforeWait`: what is done before the guest waits. */
  constructor(memory: GuestMemory, handles: Handles, drop: (handle: number) => void, beforeWait: () => void) {
    this.#memory = memory;
    this.#handles = handles;
    this.#drop = drop;
    this.#beforeWait = beforeWait;
    this.#subtasks = new Subtasks({ memory, socketOf: (handle) => handles.get(handle, AsyncUdpSocket) });
  }

  /** The functions of wasi:sockets/types that wait, and the drop of its resource. */
  get sockets(): Record<string, CoreFunction> {
    const subtasks = this.#subtasks;
    return {
      '[async-lower][method]udp-socket.send': (params: number, result: number) =>
        this.#begun(subtasks.send(params, result)),
      '[async-lower][method]udp-socket.receive': (self: number, result: number) =>
        this.#begun(subtasks.receive(self, result)),
      '[method]udp-socket.send': (...values: number[]) =>
        this.#blocking(values[0]!, WRITABLE, () => subtasks.sendSync(values)),
      '[method]udp-socket.receive': (self: number, result: number) =>
        this.#blocking(self, READABLE, () => subtasks.receiveSync(self, result)),
      '[resource-drop]udp-socket': (handle: number) => {
        subtasks.dropSocket(this.#handles.get(handle, AsyncUdpSocket));
        this.#drop(handle);
      },
    };
  }

  /** The functions as they are to be called: whatever looks at a socket, or changes it, finds sent what was sent before. */
  afterSends(group: Record<string, CoreFunction>): Record<string, CoreFunction> {
    const flush = () => this.#subtasks.flush();
    return Object.fromEntries(Object.entries(group).map(([name, call]) => [name, preceded(flush, call)]));
  }

  get clock(): Record<string, CoreFunction> {
    const wait = (when: bigint) => this.#begun(this.#subtasks.waitUntil(when));
    return {
      '[async-lower]wait-until': (when: bigint) => wait(BigInt.asUintN(64, when)),
      '[async-lower]wait-for': (howLong: bigint) => wait(process.hrtime.bigint() + BigInt.asUintN(64, howLong)),
    };
  }

  /** The canonical built-ins that a guest of 0.3 imports from `$root`. */
  get builtins(): Record<string, CoreFunction> {
    const subtasks = this.#subtasks;
    const set = (number: number) => this.#set(number);
    const poll = (number: number, pointer: number) => {
      const area = this.#memory.look().area(pointer, 8, 4);
      subtasks.flush();
      return subtasks.writeEvent(set(number), area) ? SUBTASK : 0;
    };
    return {
      '[waitable-set-new]': () => {
        this.#sets.add(this.#nextSet);
        return this.#nextSet++;
      },
      '[waitable-set-drop]': (number: number) => {
        if (subtasks.set(set(number)).isAwaited)
          throw new Trap(`a task of the guest waits on waitable set ${number}: drop the set when it waits no more`);
        subtasks.dropSet(number);
        this.#sets.delete(number);
      },
      '[waitable-join]': (waitable: number, number: number) => subtasks.join(waitable, number === 0 ? 0 : set(number)),
      '[waitable-set-poll]': poll,
      '[waitable-set-wait]': (number: number, pointer: number) => {
        const event = poll(number, pointer);
        if (event === 0)
          throw new Trap('waitable-set-wait would block this thread: return from the callback with WAIT, and the set');
        return event;
      },
      '[subtask-drop]': (waitable: number) => subtasks.drop(waitable),
      '[subtask-cancel]': (waitable: number) => subtasks.cancel(waitable),
      '[context-get-0]': () => this.#context[0],
      '[context-get-1]': () => this.#context[1],
      '[context-set-0]': (value: number) => {
        this.#context[0] = value;
      },
      '[context-set-1]': (value: number) => {
        this.#context[1] = value;
      },
    };
  }

  #begun(status: number): number {
    if (status !== SLOW) return status;
    throw new Trap('a call that waits was made where nobody can wait: begin the export by callAsync()');
  }

  /** The number of a waitable set of the guest's. Traps where it is none. */
  #set(number: number): number {
    if (!this.#sets.has(number)) throw new Trap(`${number} of the guest names no waitable set: use what was returned`);
    return number;
  }

  /** A call that waits, of a guest that does nothing meanwhile: this thread waits with it. */
  #blocking(handle: number, interest: number, act: () => boolean): void {
    this.#subtasks.flush();
    while (!act()) {
      const socket = this.#handles.get(handle, AsyncUdpSocket);
      const { descriptor } = socket;
      this.#subtasks.beginTurn();
      this.#beforeWait();
      new Pollable({ event: { descriptor, interest, granted: () => (descriptor.events & interest) !== 0 } }).block();
      // The event loop, which else does it, stands still.
      socket.serve();
      this.#subtasks.check();
    }
  }

  /**
   * Calls an async-lifted export to its end: `start`, and then `callback` with each event. What the export returns it gives to its
   * own `task.return`. Rejects where the guest traps.
   */
  async call(start: CoreFunction, callback: Callback, values: readonly unknown[]): Promise<void> {
    const context = new Int32Array(2);
    const subtasks = this.#subtasks;
    const slice = (act: () => number): number => {
      this.#context = context;
      subtasks.isInSlice = true;
      try {
        return act();
      } finally {
        subtasks.isInSlice = false;
      }
    };
    let status = slice(() => (start as (...values: readonly unknown[]) => number)(...values));
    while ((status & 15) !== Code.Exit) {
      subtasks.check();
      const code = status & 15;
      if (code === Code.Yield) {
        subtasks.flush();
        await new Promise<void>((resolve) => setImmediate(resolve));
        subtasks.beginTurn();
        status = slice(() => callback(0, 0, 0));
        continue;
      }
      if (code !== Code.Wait) throw new Trap(`a callback answers EXIT, YIELD or WAIT, the guest gave ${code}`);
      const set = subtasks.set(this.#set(status >>> 4));
      if (!set.hasEvent || subtasks.isTurnOver) {
        subtasks.flush();
        await this.#until(set);
      }
      subtasks.check();
      // Another task may have taken it.
      if (!set.hasEvent) continue;
      const { handle, state } = set.shift();
      status = slice(() => callback(SUBTASK, handle, state));
    }
    subtasks.flush();
    this.#beforeWait();
  }

  /** Resolves once the set may have an event, and others had their turn where the guest has had its own. */
  async #until(set: WaitableSet): Promise<void> {
    if (!set.hasEvent) {
      this.#beforeWait();
      await new Promise<void>((resolve) => {
        set.await(resolve);
      });
    } else if (this.#subtasks.isTurnOver) await new Promise<void>((resolve) => setImmediate(resolve));
    else return;
    this.#subtasks.beginTurn();
  }
}
