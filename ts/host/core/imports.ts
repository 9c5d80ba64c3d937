import { Trap } from '../../errors.js';
import { show } from '../../rules/address.js';
import type { Drop } from '../guest.js';
import type { ResourceTable } from '../resource-table.js';
import { CoreTasks } from './core-tasks.js';
import type { CoreForm, coreForms } from './functions.js';
import type { CoreFunction } from './glue.js';
import { JcoHandles, type JcoTable, PlainHandles } from './handles.js';
import { GuestMemory, type LinearMemory, type Realloc } from './memory.js';

/** By which jco, with `importBindings: 'hybrid'`, asks a function for its core form. */
const cabiLower = Symbol.for('cabiLower');

type Forms = ReturnType<typeof coreForms>;

/** What jco gives to a core form's factory; the resource tables come in its own order. */
interface JcoOptions {
  memory?: LinearMemory;
  realloc?: Realloc;
  resourceTables?: JcoTable[];
}

/** Gives the functions of an interface in jco's conventions their core forms. `seen` is told the handles of each guest. */
export function attachCoreForms(
  table: ResourceTable,
  drop: Drop,
  forms: Record<string, CoreForm>,
  exports: object,
  seen?: WeakMap<LinearMemory, JcoHandles>,
): void {
  for (const [name, form] of Object.entries(forms)) {
    const lower = ({ memory, realloc, resourceTables = [] }: JcoOptions) => {
      const handles = new JcoHandles(table, drop, resourceTables, form.only, memory);
      if (memory !== undefined) seen?.set(memory, handles);
      return form.lower({ memory: new GuestMemory(() => memory ?? noMemory(), realloc), handles });
    };
    const { holder, key } = functionOf(exports, name);
    Object.defineProperty(holder[key]!, cabiLower, { value: lower });
  }
}

/**
 * Where the function of that WIT name stands: `[method]udp-socket.start-bind` is `UdpSocket.prototype.startBind`,
 * `[static]udp-socket.create` is `UdpSocket.create`.
 */
export function functionOf(exports: object, name: string): { holder: Record<string, object>; key: string } {
  const [, kind, type, method] = /^\[(method|static)\](.*)\.(.*)$/.exec(name) ?? [];
  if (type === undefined || method === undefined)
    return { holder: exports as Record<string, object>, key: camel(name) };
  const className = camel(type).replace(/^./, (letter) => letter.toUpperCase());
  const its = (exports as Record<string, { prototype: Record<string, object> }>)[className]!;
  return { holder: kind === 'static' ? (its as never) : its.prototype, key: camel(method) };
}

const camel = (name: string) => name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());

function noMemory(): never {
  throw new Trap('the guest gave no memory for a call that needs it: this needs jco 1.35');
}

export interface CoreImportsOptions {
  /** The guest's memory, or a function that gives it: the module that exports it is instantiated with these imports. */
  memory: LinearMemory | (() => LinearMemory);
  /** The guest's `cabi_realloc`; needed where it receives or polls. */
  realloc?: Realloc;
  /** The version of 0.2 in the module's import names. Default: 0.2.12. */
  version?: string;
  /** The version of 0.3 in the module's import names. Default: 0.3.0. */
  asyncVersion?: string;
}

/** The imports of a core module: what it imports before a component is made of it. */
export type CoreImports = Record<string, Record<string, CoreFunction>>;

/** The tasks of the core modules that these imports are for. */
const tasksOf = new WeakMap<CoreImports, CoreTasks>();

/** What core functions of 0.3 stand on. */
export interface AsyncForms {
  readonly forms: Record<string, CoreForm>;
  readonly drop: Drop;
  readonly beforeWait: () => void;
}

/** The core functions of all interfaces, with the table's own handles. */
export function coreImports(
  table: ResourceTable,
  forms: Forms,
  { forms: asyncForms, drop, beforeWait }: AsyncForms,
  options: CoreImportsOptions,
): CoreImports {
  const { memory, realloc, version = '0.2.12', asyncVersion = '0.3.0' } = options;
  const abi = {
    memory: new GuestMemory(typeof memory === 'function' ? memory : () => memory, realloc),
    handles: new PlainHandles(table),
  };
  const lowered = (group: Record<string, CoreForm>) =>
    Object.fromEntries(Object.entries(group).map(([name, form]) => [name, form.lower(abi)]));
  const { subscribe, pollable, drops, ...interfaces } = forms;
  const tasks = new CoreTasks(abi.memory, abi.handles, drop, beforeWait);
  const { now } = lowered(forms['wasi:clocks/monotonic-clock']);
  const imports: CoreImports = {
    $root: tasks.builtins,
    [`wasi:sockets/types@${asyncVersion}`]: { ...tasks.afterSends(lowered(asyncForms)), ...tasks.sockets },
    [`wasi:clocks/monotonic-clock@${asyncVersion}`]: { now: now!, 'get-resolution': () => 1n, ...tasks.clock },
  };
  for (const [name, group] of [
    ...Object.entries(interfaces),
    ['wasi:sockets/udp', subscribe] as const,
    ['wasi:io/poll', pollable] as const,
    ...Object.entries(drops),
  ]) {
    imports[`${name}@${version}`] = { ...imports[`${name}@${version}`], ...lowered(group) };
  }
  tasksOf.set(imports, tasks);
  return imports;
}

/** Calls an async-lifted export of a core module that was instantiated with these imports; see `UdpHost.callAsync`. */
export async function callAsync(
  imports: CoreImports,
  exports: Record<string, unknown>,
  name: string,
  values: readonly unknown[],
): Promise<void> {
  const tasks = tasksOf.get(imports);
  if (tasks === undefined)
    throw new TypeError(`callAsync() takes what coreImports() gave, got ${show(imports)}: pass the same object`);
  const [start, callback] = ['', '[callback]'].map((prefix) => exports[`${prefix}[async-lift]${name}`]);
  if (typeof start !== 'function' || typeof callback !== 'function')
    throw new TypeError(
      `callAsync() calls an export that is async-lifted with a callback, got ${show(name)}: name one`,
    );
  await tasks.call(start as CoreFunction, callback as never, values);
}
