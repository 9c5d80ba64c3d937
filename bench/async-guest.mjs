/**
 * A guest of WASI 0.3 of the benchmark, a process of its own: `async-guest.mjs HOST COMPONENT ARGS...`, in a Node.js with JSPI.
 * HOST: `async` (this package's, and the bindings that read the guest's memory), `async-js` (this package's, the bindings that
 * make objects), `async-write-behind` (as `async`, small sends leave together), `async-shim` (the shim's own).
 */
import { readFile } from 'node:fs/promises';
import { transpile } from '@bytecodealliance/jco';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import * as preview3 from '@bytecodealliance/preview3-shim';
import { createHost } from '../dist/host/jco.js';

const [host, component, ...args] = process.argv.slice(2);
const bindings = host === 'async-js' || host === 'async-shim' ? 'js' : 'hybrid';
const { imports, instantiateCore } = host === 'async-shim' ? shimHost() : ownHost();

const { files } = await transpile(await readFile(component), {
  name: 'component',
  instantiation: 'async',
  importBindings: bindings,
});
const entries = new Map(Object.entries(files));
// Its name stands in traces; otherwise all of the text would.
const text = `${Buffer.from(entries.get('component.js'))}\n//# sourceURL=component.js\n`;
const { instantiate } = await import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}`);
const { run } = await instantiate((name) => WebAssembly.compile(entries.get(name)), imports, instantiateCore);
await run.run();
process.exit();

/** The shim for all that the guest has of 0.2: its arguments and its lines. */
function commandShim() {
  return new WASIShim({ sandbox: { args: ['guest', ...args], env: {} } });
}

function shimHost() {
  const own = {
    'wasi:sockets/types': preview3.sockets.types,
    'wasi:clocks/monotonic-clock': preview3.clocks.monotonicClock,
  };
  return { imports: { ...commandShim().getImportObject(), ...own } };
}

function ownHost() {
  const made = createHost({ shim: commandShim(), allow: 'all', writeBehind: host === 'async-write-behind' });
  return { imports: made.imports(), instantiateCore: made.instantiateCore };
}
