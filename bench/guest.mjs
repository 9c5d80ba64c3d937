/**
 * A guest of the benchmark, a process of its own: `guest.mjs HOST COMPONENT ARGS...`. HOST: `guest` (this package's, and the
 * bindings that read the guest's memory), `guest-js` (this package's, the bindings that make objects), `guest-shim` (the
 * shim's own), `guest-alone` (as `guest`, without the system call: what it costs to get there), `guest-write-behind` (small
 * sends leave together).
 */
import { readFileSync } from 'node:fs';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { loadComponent } from '../dist/cli/component.js';
import { createHost, udpSockets } from '../dist/host/jco.js';
import { native } from '../dist/native/native.js';
import { notBuilt } from './not-built.mjs';

const [host, component, ...args] = process.argv.slice(2);
if (host === 'guest-alone') {
  let words;
  native.send = (_socket, _payload, table, entries) => {
    words ??= new Uint32Array(table);
    let datagrams = 0;
    for (let entry = 0; entry < entries; entry++) datagrams += words[4 * entry + 3];
    return datagrams;
  };
}
const bindings = host === 'guest-js' || host === 'guest-shim' ? 'js' : 'hybrid';
const instantiate = await loadComponent(component, { bindings, async: false });
const { run } = await instantiate(imports());
run.run();

function imports() {
  const sandbox = { args: ['guest', ...args], env: {} };
  if (host === 'guest-shim') return new WASIShim({ sandbox }).getImportObject();
  if (host !== 'guest-write-behind')
    return new WASIShim({ sandbox, udpSockets: udpSockets({ allow: 'all' }) }).getImportObject();
  // A host ignores options that it does not know.
  if (!readFileSync(new URL('../dist/host/create-host.js', import.meta.url), 'utf8').includes('writeBehind'))
    notBuilt('createHost({ writeBehind: true })');
  return createHost({ shim: new WASIShim({ sandbox }), allow: 'all', writeBehind: true }).imports();
}
