import path from 'node:path';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { createHost, type Preview3, type Way } from '../host/jco.js';
import type { Allow } from '../rules/policy.js';
import { loadComponent } from './component.js';
import { GuestOutputs, writeAtOnce } from './guest-output.js';
import { tell } from './output.js';
import { FAILURE_EXIT_CODE, Failure, report, UsageError } from './report.js';
import { needsShim, sandbox } from './sandbox.js';
import type { World } from './world.js';

export interface Run {
  /** The component's file. */
  file: string;
  args: string[];
  env: Record<string, string>;
  allow: Allow;
  /** Whether small sends leave together: see `createHost`. */
  writeBehind: boolean;
  /** Whether to tell how core modules with the sockets of 0.3 are called. */
  verbose: boolean;
}

/** What is used of it; the types of Node.js leave it to the DOM's. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: { RuntimeError: ErrorConstructor; Suspending?: unknown };
};

/** How a component ends itself by wasi:cli/exit, or is ended when nobody reads what it prints: thrown through it. */
class Exit extends Error {
  constructor(readonly code: number) {
    super(`exit code ${code}`);
  }
}

/** How a component came to its end. */
export interface Ending {
  code: number;
  /** Whether it may have left behind what would keep the process alive, such as a timer or a read of standard input. */
  hasLeftovers: boolean;
}

/** Runs a component's wasi:cli/run to its end. Rejects with UsageError where it cannot be run; a trap is told, and has its code. */
export async function runComponent({ file, args, env, allow, writeBehind, verbose }: Run): Promise<Ending> {
  const instantiate = await loadComponent(file, { bindings: 'hybrid', async: false }).catch((error: Error) => {
    const reason = error.message.replace(/\s+/g, ' ');
    throw new UsageError(`${file} cannot be loaded as a component (${reason}): name a file that is one`);
  });
  const { world } = instantiate;
  const shim3 = await asyncShim(file, world);
  const end = new End();
  const outputs = new GuestOutputs(end.fail);
  const preview3 = world.isAsync ? { preview3: sandbox(shim3, outputs) } : {};
  const limits = { preopens: {}, env, args: [path.basename(file), ...args], enableNetwork: false };
  using host = createHost({ allow, writeBehind, shim: new WASIShim({ sandbox: limits }), ...preview3 });
  const exit = {
    exit: ({ tag }: { tag: 'ok' | 'err' }) => end.leave(tag === 'ok' ? 0 : 1),
    exitWithCode: end.leave,
  };
  const run = async () => {
    const imports = host.imports(preferredVersion(world));
    const exports = await instantiate({ ...imports, 'wasi:cli/exit': exit }, host.instantiateCore);
    if (verbose) for (const [index, way] of host.ways.entries()) tell(lineOf(way, index));
    const main = (exports['run'] ?? {}) as { run?: () => unknown };
    if (main.run === undefined)
      throw new UsageError(`${file} exports no wasi:cli/run: name a component that is a command`);
    await main.run();
  };
  // A reader that has heard enough, such as head(1), ends the guest, and is no error.
  writeAtOnce(() => end.leave(0));
  const error = await Promise.race([run(), end.failure]).catch((error: unknown) => error);
  await outputs.written();
  await host.flush();
  if (error instanceof UsageError) throw error;
  return { code: exitCode(file, error), hasLeftovers: world.isAsync };
}

/** The exit code of a component that ended with an error, or with none; tells what is to be told of it. */
function exitCode(file: string, error: unknown): number {
  if (error === undefined) return 0;
  if (error instanceof Exit) return error.code;
  if (isErrorResult(error)) return FAILURE_EXIT_CODE;
  return report(isTrap(error) ? new Failure(`${file} trapped: ${error.message}${guestFrames(error)}`) : error);
}

/** What ends a component from within, which may be suspended, and have jco's frames below it, when it is ended. */
class End {
  /** Rejects when it is ended. */
  readonly failure: Promise<never>;
  /** Ends it. */
  fail!: (error: unknown) => void;

  constructor() {
    this.failure = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failure.catch(() => {});
  }

  /** Ends it with an exit code; throws, so that it does not go on. */
  readonly leave = (code: number): never => {
    const exit = new Exit(code);
    this.fail(exit);
    throw exit;
  };
}

/** The shim of WASI 0.3, where a component needs it. Throws UsageError where this runtime cannot run it, or there is no shim. */
async function asyncShim(file: string, { isAsync, asyncImports }: World): Promise<Preview3 | undefined> {
  if (!isAsync) return undefined;
  const { Suspending } = WebAssembly;
  if (Suspending === undefined) {
    throw new UsageError(
      `${file} is a component of WASI 0.3, which needs Node.js 24.21 or later (it suspends stacks: JSPI), and this is ${process.version}: run it there`,
    );
  }
  if (!needsShim(asyncImports)) return undefined;
  try {
    return await import('@bytecodealliance/preview3-shim');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new UsageError(
      `${file} imports interfaces of WASI 0.3 that @bytecodealliance/preview3-shim has: install it beside wasi-udp (${(error as Error).message})`,
    );
  }
}

/** Whose functions a component means where 0.2 and 0.3 have different ones by one name. */
function preferredVersion({ asyncImports }: World): '0.2' | '0.3' {
  const differing = ['wasi:filesystem/types', 'wasi:sockets/ip-name-lookup'];
  return asyncImports.some((name) => differing.includes(name)) ? '0.3' : '0.2';
}

/** Whether `run` gave the error case of its result, which says no more. */
function isErrorResult(error: unknown): boolean {
  return error instanceof Error && error.constructor.name === 'ComponentError';
}

function lineOf({ imports, fast, reason }: Way, index: number): string {
  return `wasi-udp: core module ${index + 1}, ${imports}: ${fast ? 'the fast way' : "jco's way"}, ${reason}`;
}

/** Whether the guest broke a rule, of WebAssembly's or of the host's. */
function isTrap(error: unknown): error is Error {
  return error instanceof WebAssembly.RuntimeError;
}

/** The lines of a stack that are the guest's own. */
function guestFrames({ stack = '' }: Error): string {
  return stack
    .split('\n')
    .filter((frame) => frame.includes('wasm://'))
    .map((frame) => `\n${frame}`)
    .join('');
}
