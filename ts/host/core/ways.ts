import { type CoreFunction, wasm } from './glue.js';

/** How a core module's calls are served. */
export interface Way {
  /** What the module imports that it is about, by the WIT's name. */
  readonly imports: string;
  /** Whether its lists are read where they lie, and many calls in flight leave as one batch. */
  readonly fast: boolean;
  /** Why, in words. */
  readonly reason: string;
}

/** Functions by name. */
export type Group = Record<string, CoreFunction>;
/** An import object of a core module's. */
export type Imports = Record<string, Group>;

/** A core instance, as WebAssembly.instantiate gives it. */
export interface CoreInstance {
  /** Functions, memories and the like, which the types of Node.js leave to the DOM's. */
  // biome-ignore lint/suspicious/noExplicitAny: that is how jco's own types have what goes in and out of core modules.
  exports: Record<string, any>;
}

export const SOCKETS = /^wasi:sockets\/types@0\.3\./;
export const CLOCK = /^wasi:clocks\/monotonic-clock@0\.3\./;
/** An export that is called once, when nothing else is. */
export const RUN = /^\[async-lift\]wasi:cli\/run@[^#]*#run$/;
export const SEND = '[async-lower][method]udp-socket.send';
export const RECEIVE = '[async-lower][method]udp-socket.receive';
export const SEND_SYNC = '[method]udp-socket.send';
export const RECEIVE_SYNC = '[method]udp-socket.receive';
export const CREATE = '[static]udp-socket.create';
export const DROP = '[resource-drop]udp-socket';
export const WAITING = [SEND, RECEIVE, SEND_SYNC, RECEIVE_SYNC];

/** Built-ins that take waitables or sets, as far as they are known here; of others jco's would not know handles of ours. */
export const BUILTINS =
  /^(\[cancellable\]|\[async-lower\])?\[(waitable-set-(new|drop|wait|poll)|waitable-join|subtask-(drop|cancel))\]$/;

/** What ends a waitable of jco's other than a subtask. */
export const ENDS = /^(\[async-lower\])?\[(stream|future)-drop-(readable|writable)/;

/** Why a module is left to jco; undefined where it is not. */
export function reasonAgainst(module: object, imports: Imports): string | undefined {
  const { Suspending, Module } = wasm;
  if (Suspending === undefined) return 'this runtime has no JSPI (WebAssembly.Suspending)';
  const exported = Module.exports(module);
  if (!exported.some(({ name, kind }) => name === 'memory' && kind === 'memory'))
    return 'it exports no memory by that name';
  if (!exported.some(({ name }) => name === 'cabi_realloc')) return 'it exports no cabi_realloc';
  const unknown = Object.keys(imports['$root'] ?? {}).find(
    (key) => /waitable|subtask/.test(key) && !BUILTINS.test(key),
  );
  return unknown === undefined ? undefined : `it imports ${unknown}, which is not known here`;
}

/** Why calls that wait are left to jco, where a bell could not be made of what the module imports; undefined where one could. */
export function reasonToLeave({ [CREATE]: create, [SEND]: send, [RECEIVE]: receive }: Group): string | undefined {
  if (create === undefined) return 'it imports no udp-socket.create';
  return (send ?? receive) === undefined ? 'it awaits neither a send nor a receive' : undefined;
}
