import { type FastHost, FastInstance, madeFor } from './fast-instance.js';
import { wasm } from './glue.js';
import { type CoreInstance, type Imports, reasonAgainst, reasonToLeave, SOCKETS, WAITING } from './ways.js';

/**
 * Instantiates a core module: the third argument of the `instantiate` that jco makes. A module that sends and receives by 0.3 gets
 * the fast way before jco's own; every other is instantiated as it is.
 */
export function instantiateCore(host: FastHost, module: object, imports: Imports = {}): CoreInstance {
  for (const group of Object.values(imports)) {
    for (const value of Object.values(group)) madeFor.get(value)?.isCalledByGuest(host);
  }
  // What stands between two components imports it by that name where one gives a resource to the other.
  if (imports['resource']?.['transfer-own'] !== undefined) host.mix();
  const name = Object.keys(imports).find(
    (key) => SOCKETS.test(key) && WAITING.some((call) => imports[key]![call] !== undefined),
  );
  if (name === undefined) return new wasm.Instance(module, imports);
  const reason = reasonAgainst(module, imports);
  if (reason !== undefined) {
    host.note({ imports: name, fast: false, reason });
    return new wasm.Instance(module, imports);
  }
  const left = reasonToLeave(imports[name]!);
  const fast = 'its calls are served in its own memory';
  host.note({
    imports: name,
    fast: true,
    reason: left === undefined ? fast : `${fast}; what waits is left to jco: ${left}`,
  });
  return new FastInstance(host, module, imports, name, left !== undefined);
}
