import type { WriteBehind } from '../socket/write-behind.js';
import { preceded } from './preceded.js';

/** Interfaces whose functions tell a guest nothing that a datagram could change. */
const INATTENTIVE = /^wasi:(random|clocks|io)\//;

/**
 * The shim's interfaces, with what waits leaving before their functions, such as exit, and before each use of standard input and
 * output. Methods of other resources are the shim's for all its guests, and go unheard.
 */
export function attentiveShims(behind: WriteBehind, shims: Record<string, object | undefined>): Record<string, object> {
  const leave = () => behind.leave();
  const interfaces = Object.entries(shims).map(([name, own]) => {
    if (own === undefined || INATTENTIVE.test(name)) return [name, own];
    const functions = Object.entries(own).map(([key, value]: [string, unknown]) => {
      if (typeof value !== 'function' || isClass(value)) return [key, value];
      const call = preceded(leave, value.bind(own));
      return [key, /^get(Stdin|Stdout|Stderr)$/.test(key) ? () => attentiveStream(leave, call() as object) : call];
    });
    return [name, Object.fromEntries(functions)];
  });
  return Object.fromEntries(interfaces);
}

/** Whether it is a resource type rather than a function, by its WIT name. */
function isClass(value: { name: string }): boolean {
  return /^[A-Z]/.test(value.name);
}

/** A stream before each of whose methods something else is done. It passes for the other wherever objects do. */
function attentiveStream(first: () => void, stream: object): object {
  const own: Record<string, unknown> = Object.create(stream);
  for (let type = stream; type !== Object.prototype; type = Object.getPrototypeOf(type)) {
    for (const key of Object.getOwnPropertyNames(type)) {
      const method = (stream as Record<string, unknown>)[key];
      if (typeof method === 'function' && key !== 'constructor') own[key] = preceded(first, method.bind(stream));
    }
  }
  return own;
}
