import path from 'node:path';
import { inspect } from 'node:util';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { createHost, type Preview3, type Way } from '../host/jco.js';
import type { Allow } from '../rules/policy.js';
import { loadComponent } from './component.js';
import { Denials } from './denials.js';
import { GuestOutputs, writeAtOnce } from './guest-output.js';
import { tell } from './output.js';
import { requireShimOf03 } from './peers.js';
import { FAILURE_EXIT_CODE, Failure, report, UsageError } from './report.js';
import { needsShim, sandbox, shut } from './sandbox.js';
import type { World } from './world.js';

export interface Run {
  /** The component's file. */
  file: string;
  args: string[];
  env: Record<string, string>;
  allow: Allow;
  /** Whether small sends leave together: see `createHost`. */
  writeBehind: boolean;
  /** Whether to tell how core modules with the sockets of 0.3 are called, and where errors of the host's come from. */
  verbose: boolean;
}

/** What is used of it; the types of Node.js leave it to the DOM's. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: { RuntimeError: ErrorConstructor; CompileError: ErrorConstructor; Suspending?: unknown };
};

/** The first Node.js that takes constant expressions with an addition, which CPython and QuickJS are compiled to. */
const EXTENDED_CONSTANTS = 22;

/** What suspends stacks (JSPI), as a component of WASI 0.3 needs, and one whose exports or imports are asynchronous. */
const SUSPENDING = 'Node.js 24.21 or later (it suspends stacks: JSPI)';

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
    throw (
      tooNew(file, error) ??
      new UsageError(`${file} cannot be loaded as a component (${reason}): name a file that is one`)
    );
  });
  const { world } = instantiate;
  const shim3 = await asyncShim(file, world);
  const end = new End();
  const outputs = new GuestOutputs(end.fail);
  const limits = { preopens: {}, env, args: [path.basename(file), ...args], enableNetwork: false };
  const denials = new Denials(allow !== 'all' && allow.some((rule) => 'receive' in rule));
  const preview3 = world.isAsync ? { preview3: sandbox(shim3, outputs, denials.hearOther) } : {};
  using host = createHost({
    allow,
    onDenied: denials.hear,
    writeBehind,
    shim: new WASIShim({ sandbox: limits }),
    ...preview3,
  });
  const exit = {
    exit: ({ tag }: { tag: 'ok' | 'err' }) => end.leave(tag === 'ok' ? 0 : 1),
    exitWithCode: end.leave,
  };
  const run = async () => {
    const imports = host.imports(preferredVersion(world));
    const given = { ...imports, ...shut(imports, denials.hearOther), 'wasi:cli/exit': exit };
    const exports = await instantiate(given, host.instantiateCore).catch((error: Error) => {
      throw tooNew(file, error) ?? missing(file, world, given) ?? error;
    });
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
  return { code: exitCode(file, error, verbose), hasLeftovers: world.isAsync };
}

/** The exit code of a component that ended with an error, or with none; tells what is to be told of it. */
function exitCode(file: string, error: unknown, verbose: boolean): number {
  if (error === undefined) return 0;
  if (error instanceof Exit) return error.code;
  if (error instanceof Failure) return report(error);
  // One that says no more has been told by the component, or is not to be told: as of false(1).
  if (isErrorResult(error))
    return error.payload === undefined ? FAILURE_EXIT_CODE : report(new Failure(errorText(file, error)));
  const stack = error instanceof Error && verbose ? `\n${error.stack}` : '';
  if (isTrap(error)) return report(new Failure(`${file} trapped: ${error.message}${stack || guestFrames(error)}`));
  // What is neither the guest's result nor its trap comes from jco, its shim or this host.
  return report(
    new Failure(
      `${file} was ended by an error of its host: ${oneLine(error)}${verbose ? stack : ' (--verbose tells where)'}`,
    ),
  );
}

/** The error that a component's run gave. */
function errorText(file: string, { payload }: { payload: unknown }): string {
  const text = typeof payload === 'string' ? payload : inspect(payload, { breakLength: Number.POSITIVE_INFINITY });
  return `${file} ended with an error: ${text.trim()}`;
}

function oneLine(error: unknown): string {
  return (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).replace(/\s+/g, ' ').trim();
}

/** The error of a component that needs a newer runtime, which says which; undefined where it is another error. */
function tooNew(file: string, error: Error): UsageError | undefined {
  const needs = (what: string, version: string) =>
    new UsageError(`${file} ${what}, which needs ${version}, and this is ${process.version}: run it there`);
  const reason = error.message.replace(/\s+/g, ' ');
  if (error instanceof WebAssembly.CompileError) {
    const isExtended = reason.includes('constant expression');
    return isExtended
      ? needs(`has extended constant expressions of WebAssembly`, `Node.js ${EXTENDED_CONSTANTS} or later`)
      : needs(`has WebAssembly that this runtime does not know (${reason})`, 'a newer Node.js');
  }
  if (/WebAssembly\.(Suspending|promising)/.test(reason)) return needs('has asynchronous functions', SUSPENDING);
  return undefined;
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

/** The error of a component that imports what it is not given: somebody else's interface, or a newer one; undefined where it is not that. */
function missing(file: string, { imports }: World, given: object): UsageError | undefined {
  const names = imports.filter((name) => !Object.hasOwn(given, name));
  if (names.length === 0) return undefined;
  return new UsageError(
    `${file} imports ${names.join(', ')}, which wasi-udp run has not: compose it with a component that exports that, or run it by a host of your own (createHost)`,
  );
}

/** The shim of WASI 0.3, where a component needs it. Throws UsageError where this runtime cannot run it, or there is no shim. */
async function asyncShim(file: string, { isAsync, asyncImports }: World): Promise<Preview3 | undefined> {
  if (!isAsync) return undefined;
  const { Suspending } = WebAssembly;
  if (Suspending === undefined) {
    throw new UsageError(
      `${file} is a component of WASI 0.3, which needs ${SUSPENDING}, and this is ${process.version}: run it there`,
    );
  }
  if (!needsShim(asyncImports)) return undefined;
  requireShimOf03(file);
  return await import('@bytecodealliance/preview3-shim');
}

/** Whose functions a component means where 0.2 and 0.3 have different ones by one name. */
function preferredVersion({ asyncImports }: World): '0.2' | '0.3' {
  const differing = ['wasi:filesystem/types', 'wasi:sockets/ip-name-lookup'];
  return asyncImports.some((name) => differing.includes(name)) ? '0.3' : '0.2';
}

/** Whether `run` gave the error case of its result, whose value jco puts there. */
function isErrorResult(error: unknown): error is Error & { payload: unknown } {
  return error instanceof Error && Object.hasOwn(error, 'payload');
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
