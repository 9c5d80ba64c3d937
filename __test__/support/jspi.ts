import { existsSync } from 'node:fs';
import { noGuests } from './guests.js';
import { RUNTIME } from './runtime.js';

const { programOf } = await import('../../scripts/runtimes.mjs' as string);
const fetched: string = programOf('node24');

const isNode = !('Bun' in globalThis || 'Deno' in globalThis);

/** The command that runs a script in a Node.js that suspends stacks (JSPI), as guests of WASI 0.3 need: this one, or a fetched one. */
export const SUSPENDING_RUNTIME: string[] = isNode && 'Suspending' in WebAssembly ? RUNTIME : [fetched];

/** Why guests of WASI 0.3 cannot be run; undefined where they can. */
export const noAsyncGuests: string | undefined =
  noGuests ??
  (existsSync(SUSPENDING_RUNTIME[0]!)
    ? undefined
    : "(needs Node.js 24: run with it, or fetch it with `node -e \"import('./scripts/runtimes.mjs').then((m) => m.runtime('node24'))\"`)");
