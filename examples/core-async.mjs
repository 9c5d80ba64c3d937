/**
 * A core module of WASI 0.3 with no component around it and no jco: it sends datagrams to itself, with many sends in flight, and
 * receives them. `node examples/core-async.mjs`; in this repository, once `node scripts/guests.mjs` has built it.
 */
import { readFile } from 'node:fs/promises';
import { createHost } from 'wasi-udp';

const file = new URL('../build/guests/core-async.core.wasm', import.meta.url);
const host = createHost({ allow: [{ bind: '127.0.0.1:*' }, { send: '127.0.0.1:*' }] });
const imports = host.coreImports({
  memory: () => exports.memory,
  realloc: (...values) => exports.cabi_realloc(...values),
});
let received;
const { instance } = await WebAssembly.instantiate(await readFile(file), {
  ...imports,
  // What an export returns, it gives to a function of its world.
  '[export]$root': { '[task-return]echo': (count) => (received = count) },
});
const { exports } = instance;
await host.callAsync(imports, exports, 'echo', 1000);
console.log(`${received} of 1000 datagrams came back`);
host[Symbol.dispose]();
