import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { RUNTIME } from './runtime.js';

/** Node 24, where scripts/runtimes.mjs has fetched it already. */
const fetched = fileURLToPath(new URL('../../build/runtimes/node24/package/bin/node', import.meta.url));

const suspends = 'Suspending' in WebAssembly && !('Bun' in globalThis) && !('Deno' in globalThis);

/** The command that runs a script where a guest's stack can be suspended (JSPI): what components of WASI 0.3 need. */
export const SUSPENDING: string[] = suspends ? RUNTIME : [fetched];

/** Why there is none; undefined where there is. */
export const noSuspending: string | undefined =
  suspends || existsSync(fetched) ? undefined : 'needs Node.js 24 (node scripts/test.mjs runtimes fetches it)';
