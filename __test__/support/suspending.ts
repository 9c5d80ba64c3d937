import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { noGuests } from './guests.js';
import { RUNTIME } from './runtime.js';

/** Node 24, where scripts/runtimes.mjs has fetched it already. */
const fetched = fileURLToPath(new URL('../../build/runtimes/node24/package/bin/node', import.meta.url));

const isNode = !('Bun' in globalThis) && !('Deno' in globalThis);
const suspends = isNode && 'Suspending' in WebAssembly;

/** The command that runs a script where a guest's stack can be suspended (JSPI): what components of WASI 0.3 need. */
export const SUSPENDING: string[] = suspends ? RUNTIME : [fetched];

/** Why guests of WASI 0.3 cannot be run; undefined where they can. The suites of Bun and Deno would run Node.js once more. */
export const noAsyncGuests: string | undefined = noGuests ?? (isNode ? lacking() : '(Node.js runs it)');

function lacking(): string | undefined {
  if (suspends || existsSync(fetched)) return undefined;
  return '(needs Node.js 24: `node scripts/test.mjs vitest-node24` fetches it)';
}
