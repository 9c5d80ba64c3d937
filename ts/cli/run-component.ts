import path from 'node:path';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { createHost } from '../host/jco.js';
import type { Allow } from '../rules/policy.js';
import { loadComponent } from './component.js';
import { writeAtOnce } from './guest-output.js';
import { Failure, UsageError } from './report.js';

export interface Run {
  /** The component's file. */
  file: string;
  args: string[];
  env: Record<string, string>;
  allow: Allow;
  /** Whether small sends leave together: see `createHost`. */
  writeBehind: boolean;
}

/** How a component ends itself by wasi:cli/exit, or is ended when nobody reads what it prints: thrown through it. */
class Exit extends Error {
  constructor(readonly code: number) {
    super(`exit code ${code}`);
  }
}

/** Runs a component's wasi:cli/run to its end; its exit code. Rejects where it trapped. */
export async function runComponent({ file, args, env, allow, writeBehind }: Run): Promise<number> {
  const instantiate = await loadComponent(file, { bindings: 'hybrid', async: false }).catch((error: Error) => {
    const reason = error.message.replace(/\s+/g, ' ');
    throw new UsageError(`${file} cannot be loaded as a component (${reason}): name a file that is one`);
  });
  const sandbox = { preopens: {}, env, args: [path.basename(file), ...args], enableNetwork: false };
  using host = createHost({ allow, writeBehind, shim: new WASIShim({ sandbox }) });
  const exit = {
    exit: ({ tag }: { tag: 'ok' | 'err' }) => leave(tag === 'ok' ? 0 : 1),
    exitWithCode: leave,
  };
  // A reader that has heard enough, such as head(1), ends the guest, and is no error.
  writeAtOnce(() => leave(0));
  try {
    const exports = await instantiate({ ...host.imports(), 'wasi:cli/exit': exit });
    const main = (exports['run'] ?? {}) as { run?: () => unknown };
    if (main.run === undefined)
      throw new UsageError(`${file} exports no wasi:cli/run: name a component that is a command`);
    await main.run();
    return 0;
  } catch (error) {
    if (error instanceof Exit) return error.code;
    throw isTrap(error) ? new Failure(`${file} trapped: ${error.message}${guestFrames(error)}`) : error;
  } finally {
    await host.flush();
  }
}

/** Whether the guest broke a rule, of WebAssembly's or of the host's. */
function isTrap(error: unknown): error is Error {
  const { RuntimeError } = (globalThis as unknown as { WebAssembly: { RuntimeError: ErrorConstructor } }).WebAssembly;
  return error instanceof RuntimeError;
}

/** The lines of a stack that are the guest's own. */
function guestFrames({ stack = '' }: Error): string {
  return stack
    .split('\n')
    .filter((frame) => frame.includes('wasm://'))
    .map((frame) => `\n${frame}`)
    .join('');
}

function leave(code: number): never {
  throw new Exit(code);
}
