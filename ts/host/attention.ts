import type { WriteBehind } from '../socket/write-behind.js';
import type { CoreForm } from './core/functions.js';
import { functionOf } from './core/imports.js';
import { preceded } from './preceded.js';

/** Calls that see to it themselves, or that have nothing to do with it: by their names in the WIT. */
const INATTENTIVE = new Set([
  '[method]outgoing-datagram-stream.check-send',
  '[method]outgoing-datagram-stream.send',
  '[method]pollable.ready',
  '[method]pollable.block',
  'poll',
  'resolution',
]);

/** Calls that tell the guest nothing of a socket, and are made between two sends: by clients that measure, log, or have timeouts. */
const CLOCKS = new Set(['now', 'subscribe-instant', 'subscribe-duration']);

/** What a call of that name does before anything else where small sends wait. */
function attentionOf(name: string, behind: WriteBehind): (() => void) | undefined {
  if (INATTENTIVE.has(name)) return undefined;
  return CLOCKS.has(name) ? () => behind.look() : () => behind.leave();
}

/** Has what waits leave before the functions of an interface in jco's conventions that have these forms. */
export function attend(behind: WriteBehind, exports: object, forms: Record<string, CoreForm | undefined>): void {
  for (const name of Object.keys(forms)) {
    const first = attentionOf(name, behind);
    if (first === undefined) continue;
    const { holder, key } = functionOf(exports, name);
    Object.defineProperty(holder, key, { value: preceded(first, holder[key] as () => unknown), writable: true });
  }
}

/** The core forms before which what waits leaves. */
export function attentive<F extends Record<string, CoreForm>>(behind: WriteBehind, forms: F): F {
  const heard = Object.entries(forms).map(([name, form]) => {
    const first = attentionOf(name, behind);
    if (first === undefined) return [name, form];
    const lower: CoreForm['lower'] = (abi) => preceded(first, form.lower(abi) as (...values: unknown[]) => unknown);
    return [name, { ...form, lower }];
  });
  return Object.fromEntries(heard);
}
