/**
 * Small WebAssembly modules that stand between a guest and its host where no JavaScript may: a stack is suspended (JSPI) only where
 * all frames up to the promise are WebAssembly's. Each is assembled here, since its type is that of the function that it stands
 * before.
 */

/**
 * A function that WebAssembly exports, or that it is given as an import: flat parameters, 64-bit ones as bigint; results of more than
 * one value are written at the last pointer.
 */
export type CoreFunction = (...values: never[]) => unknown;

/** The namespace of WebAssembly, which the types of Node.js leave to the DOM's. */
export const wasm = (
  globalThis as unknown as {
    WebAssembly: {
      Module: {
        new (bytes: Uint8Array): object;
        exports(module: object): { name: string; kind: string }[];
      };
      Instance: new (module: object, imports: object) => { exports: Record<string, unknown> };
      Global: new (type: { value: 'i32'; mutable: true }, value: number) => { value: number };
      LinkError: new () => Error;
      /** Only where the runtime has JSPI. */
      Suspending?: new (
        call: (...values: never[]) => Promise<unknown>,
      ) => CoreFunction;
      promising?: (call: CoreFunction) => (...values: never[]) => Promise<unknown>;
    };
  }
).WebAssembly;

/** Value types, as they are encoded. */
export const I32 = 0x7f;
export const I64 = 0x7e;
const F32 = 0x7d;
const F64 = 0x7c;

type Type = readonly [params: readonly number[], results: readonly number[]];

const number = (value: number): number[] => {
  const bytes: number[] = [];
  let left = value;
  do {
    bytes.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    left >>>= 7;
  } while (left > 0);
  return bytes;
};
const vector = (items: readonly (readonly number[])[]) => [...number(items.length), ...items.flat()];
const text = (name: string) => vector([...Buffer.from(name)].map((byte) => [byte]));
const section = (id: number, items: readonly (readonly number[])[]) => {
  const body = vector(items);
  return [id, ...number(body.length), ...body];
};
const functionType = ([params, results]: Type) => [
  0x60,
  ...vector(params.map((type) => [type])),
  ...vector(results.map((type) => [type])),
];
const call = (index: number) => [0x10, ...number(index)];
const get = (local: number) => [0x20, ...number(local)];
const set = (local: number) => [0x21, ...number(local)];
const global = (index: number) => [0x23, ...number(index)];
const constant = (value: number) => [0x41, value & 0x7f];
const EQUALS = 0x46;
const LOOP = [0x03, 0x40];
const IF = [0x04, 0x40];
const IF_I32 = [0x04, I32];
const ELSE = 0x05;
const END = 0x0b;
const branch = (depth: number) => [0x0c, ...number(depth)];
const RETURN = 0x0f;

interface Source {
  readonly types: readonly Type[];
  /** Functions by name, with the number of their type. */
  readonly functions: Record<string, number>;
  /** Globals, each a 32-bit integer that changes. */
  readonly globals?: readonly string[];
  /** The module's own functions: the number of the type, how many more locals of 32 bits, the instructions. */
  readonly bodies: readonly { type: number; locals: number; code: readonly number[] }[];
  /** Names of those that are exported, with their place in `bodies`. */
  readonly exports: Record<string, number>;
}

function assemble({ types, functions, globals = [], bodies, exports }: Source): object {
  const imports = [
    ...Object.entries(functions).map(([name, type]) => [...text(''), ...text(name), 0, ...number(type)]),
    ...globals.map((name) => [...text(''), ...text(name), 3, I32, 1]),
  ];
  const first = Object.keys(functions).length;
  const code = bodies.map(({ locals, code }) => {
    const body = [...(locals === 0 ? [0] : [1, ...number(locals), I32]), ...code, END];
    return [...number(body.length), ...body];
  });
  return new wasm.Module(
    Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, types.map(functionType)),
      ...section(2, imports),
      ...section(
        3,
        bodies.map(({ type }) => number(type)),
      ),
      ...section(
        7,
        Object.entries(exports).map(([name, index]) => [...text(name), 0, ...number(first + index)]),
      ),
      ...section(10, code),
    ]),
  );
}

function instance(source: Source, imports: Record<string, unknown>): Record<string, CoreFunction> {
  return new wasm.Instance(assemble(source), { '': imports }).exports as Record<string, CoreFunction>;
}

/** In place of what a fast function answers: the slow one is to be called. */
export const SLOW = -1;

/**
 * A function of those parameters that returns what `fast` does, and where that is SLOW, what `slow` does. With no result, SLOW is
 * the one thing that `fast` may tell.
 */
export function dispatcher(params: readonly number[], hasResult: boolean, fast: CoreFunction, slow: CoreFunction) {
  const values = params.flatMap((_, index) => get(index));
  const answer = params.length;
  const isSlow = [...values, ...call(0), ...set(answer), ...get(answer), ...constant(SLOW), EQUALS];
  const code = hasResult
    ? [...isSlow, ...IF_I32, ...values, ...call(1), ELSE, ...get(answer), END]
    : [...isSlow, ...IF, ...values, ...call(1), END];
  const types: Type[] = [
    [params, [I32]],
    [params, hasResult ? [I32] : []],
  ];
  const source = {
    types,
    functions: { fast: 0, slow: 1 },
    bodies: [{ type: 1, locals: 1, code }],
    exports: { run: 0 },
  };
  return instance(source, { fast, slow })['run']!;
}

/** The most types that are tried to find an export's own. */
const MOST_TRIES = 1024;

/**
 * The parameters of a function that WebAssembly exports and that returns a 32-bit integer, found by linking it: undefined where it
 * is of no type that was tried.
 */
export function parametersOf(exported: CoreFunction): number[] | undefined {
  const kinds = [I32, I64, F32, F64];
  const count = exported.length;
  const tries = Math.min(kinds.length ** count, MOST_TRIES);
  for (let attempt = 0; attempt < tries; attempt++) {
    const params = Array.from(
      { length: count },
      (_, i) => kinds[Math.floor(attempt / kinds.length ** i) % kinds.length]!,
    );
    const source = { types: [[params, [I32]] as Type], functions: { exported: 0 }, bodies: [], exports: {} };
    try {
      instance(source, { exported });
      return params;
    } catch (error) {
      if (!(error instanceof wasm.LinkError)) throw error;
    }
  }
  return undefined;
}

/** What the start and the callback of an async-lifted export answer, in the low four bits of the status. */
export const Code = { Exit: 0, Yield: 1, Wait: 2 } as const;

/** What a step answers. */
export const Step = {
  /** It is jco's to go on: with the guest's status, or with the event that it brings. */
  Pass: 0,
  /** An event for the guest is in the globals. */
  Event: 1,
  /** The stack is suspended until there may be one, and the step is asked again. */
  Suspend: 2,
  /** A bell of jco's is made, with the arguments in the globals, which wakes the guest where its stack must not be suspended. */
  Bell: 3,
  /** The event was none of the guest's: the status that it waits with is in `event`. */
  Wait: 4,
} as const;

/** The event, or the arguments of `bell`, for the next step. */
export interface EventGlobals {
  readonly event: { value: number };
  readonly first: { value: number };
  readonly second: { value: number };
}

/** Sets the globals, but for those that have the value: most events differ in one, and setting takes longer than looking. */
export class EventSetter {
  readonly globals: EventGlobals;
  #event = 0;
  #first = 0;
  #second = 0;

  constructor() {
    const global = () => new wasm.Global({ value: 'i32', mutable: true }, 0);
    this.globals = { event: global(), first: global(), second: global() };
  }

  set(event: number, first: number, second: number): void {
    const { globals } = this;
    if (event !== this.#event) {
      globals.event.value = event;
      this.#event = event;
    }
    if (first !== this.#first) {
      globals.first.value = first;
      this.#first = first;
    }
    if (second !== this.#second) {
      globals.second.value = second;
      this.#second = second;
    }
  }
}

/**
 * The steps that wait, within a loop that they begin again: Suspend with local 0; Bell with the arguments in the globals, unless `rung`
 * says that jco waits with it. `is` asks whether the step at hand is that one.
 */
function waits(is: (step: number) => number[], suspend: number, bell: number, rung: number): number[] {
  return [
    ...[...is(Step.Suspend), ...IF, ...get(0), ...call(suspend), ...branch(1), END],
    ...[...is(Step.Bell), ...IF, ...global(0), ...global(1), ...call(bell)],
    ...[...call(rung), ...IF, ...branch(2), END, END],
  ];
}

export interface SliceSteps extends EventGlobals {
  /** A task begins. */
  begin(): void;
  /** A slice of the guest begins with an event of jco's. */
  enter(): void;
  /** A slice has ended with that status: Pass, Event, with which another slice begins, Suspend or Bell. */
  next(status: number): number;
  /** Suspends until there may be an event. */
  suspend: CoreFunction;
  /** jco's way of an async function of two arguments, which it answers with a subtask of its own. */
  bell: CoreFunction;
  /** What `bell` answered: 1 where the step is to be asked again. */
  rung(packed: number): number;
  /** An event that jco brings: Pass, or Wait. */
  translate(event: number, waitable: number, state: number): number;
}

/**
 * The start and the callback of an async-lifted export, with our steps after each slice of the guest:
 *
 *     loop(status):   n = next(status); Suspend: suspend(status), again; Bell: if rung(bell(event, first)), again
 *                     Event: status = callback(event, first, second); again
 *     start(...):     begin(); loop(inner(...))
 *     callback'(...): translate(...): Pass: enter(), loop(callback(...)); Wait: loop(event)
 */
export function slices(params: readonly number[], inner: CoreFunction, callback: CoreFunction, steps: SliceSteps) {
  const [INNER, CALLBACK, NEXT, SUSPEND, BEGIN, ENTER, BELL, RUNG, TRANSLATE, RUN] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const is = (step: number) => [...get(1), ...constant(step), EQUALS];
  const deliver = [...global(0), ...global(1), ...global(2), ...call(CALLBACK)];
  const run = [
    ...LOOP,
    ...[...get(0), ...call(NEXT), ...set(1)],
    ...[...is(Step.Event), ...IF, ...deliver, ...set(0), ...branch(1), END],
    ...waits(is, SUSPEND, BELL, RUNG),
    END,
    ...get(0),
  ];
  const start = [...call(BEGIN), ...params.flatMap((_, index) => get(index)), ...call(INNER), ...call(RUN)];
  const event = [...get(0), ...get(1), ...get(2)];
  const resumed = [
    ...[...event, ...call(TRANSLATE), ...constant(Step.Pass), EQUALS],
    ...[...IF_I32, ...call(ENTER), ...event, ...call(CALLBACK), ELSE, ...global(0), END],
    ...call(RUN),
  ];
  const types: Type[] = [
    [params, [I32]],
    [[I32, I32, I32], [I32]],
    [[I32], [I32]],
    [[], []],
    [[I32, I32], [I32]],
    [[I32], []],
  ];
  const source: Source = {
    types,
    functions: { inner: 0, callback: 1, next: 2, suspend: 5, begin: 3, enter: 3, bell: 4, rung: 2, translate: 1 },
    globals: ['event', 'first', 'second'],
    bodies: [
      { type: 2, locals: 1, code: run },
      { type: 0, locals: 0, code: start },
      { type: 1, locals: 0, code: resumed },
    ],
    exports: { start: 1, callback: 2 },
  };
  const made = instance(source, { inner, callback, ...steps });
  return { start: made['start']!, callback: made['callback']! };
}

export interface WaitSteps extends EventGlobals {
  /** Whether there is an event for the set: a Step; Event says that it is written, and its number in `event`. */
  look(set: number, pointer: number): number;
  suspend: CoreFunction;
  bell: CoreFunction;
  rung(packed: number): number;
  /** jco has written an event: 1 where it is none of the guest's. */
  isBell(event: number, set: number, pointer: number): number;
}

/** A `waitable-set-wait`, or `-poll`, of (set, pointer) with our steps before jco's. */
export function waiting(original: CoreFunction, steps: WaitSteps): CoreFunction {
  const [ORIGINAL, LOOK, SUSPEND, BELL, RUNG, IS_BELL] = [0, 1, 2, 3, 4, 5];
  const is = (step: number) => [...get(2), ...constant(step), EQUALS];
  const both = [...get(0), ...get(1)];
  const code = [
    ...LOOP,
    ...[...both, ...call(LOOK), ...set(2)],
    ...[...is(Step.Event), ...IF, ...global(0), RETURN, END],
    ...waits(is, SUSPEND, BELL, RUNG),
    ...[...both, ...call(ORIGINAL), ...set(2)],
    ...[...get(2), ...both, ...call(IS_BELL), ...IF, ...branch(1), END],
    ...[...get(2), RETURN],
    END,
    0x00,
  ];
  const types: Type[] = [
    [[I32, I32], [I32]],
    [[I32], [I32]],
    [[I32, I32, I32], [I32]],
    [[I32], []],
  ];
  const source: Source = {
    types,
    functions: { original: 0, look: 0, suspend: 3, bell: 0, rung: 1, isBell: 2 },
    globals: ['event', 'first', 'second'],
    bodies: [{ type: 0, locals: 1, code }],
    exports: { wait: 0 },
  };
  return instance(source, { original, ...steps })['wait']!;
}
