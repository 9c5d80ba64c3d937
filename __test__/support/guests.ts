import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';
import { type Finished, fixture, ROUNDS, RUNTIME, run } from './runtime.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Why there are no guest components; undefined where there are. */
    noGuests: string | undefined;
  }
}

/** Why there are no guest components; undefined where there are. */
export const noGuests: string | undefined = inject('noGuests');

/** The ways in which a guest gets our sockets. */
const ALL_WAYS = ['shim, js', 'shim, hybrid', 'host, js', 'host, hybrid', 'wasi-udp run'] as const;
export type Way = (typeof ALL_WAYS)[number];

/** Those to test: where there are fewer rounds, each host and each kind of bindings once. */
export const WAYS: readonly Way[] = ROUNDS < 200 ? ['shim, js', 'host, hybrid', 'wasi-udp run'] : ALL_WAYS;

/** The path of a component that scripts/guests.mjs has built. */
export function component(name: string): string {
  return fileURLToPath(new URL(`../../build/guests/${name}.wasm`, import.meta.url));
}

type Rules = { bind?: string; send?: string; receive?: string }[];

/** Runs a guest in that way, by default with every address allowed. */
export function runGuest(
  way: Way,
  name: string,
  args: string[] = [],
  allow: 'all' | Rules = 'all',
  env: Record<string, string> = {},
): Promise<Finished> {
  return run(guestCommand(way, name, args, allow), { env });
}

/** The command that does it. */
export function guestCommand(way: Way, name: string, args: string[] = [], allow: 'all' | Rules = 'all'): string[] {
  if (way === 'wasi-udp run') {
    const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
    const rules = allow === 'all' ? ['--allow-all'] : allow.flatMap(ruleOptions);
    return [...RUNTIME, main, 'run', component(name), ...rules, '--', ...args];
  }
  const [host, bindings] = way.split(', ') as [string, string];
  return [...RUNTIME, fixture('guest.mjs'), host, bindings, JSON.stringify(allow), component(name), ...args];
}

function ruleOptions(rule: Rules[number]): string[] {
  return Object.entries(rule).flatMap(([action, text]) => [`--allow-${action}`, text]);
}
