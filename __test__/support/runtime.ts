import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** How often long tests do what leaks or breaks once in many times. */
export const ROUNDS = Number(process.env['WASI_UDP_TEST_ROUNDS'] ?? 200);

const isDeno = 'Deno' in globalThis;

/** Why a worker that never pauses cannot be tested; undefined where it can. Deno 2.9's run on, with no addon loaded too. */
export const noTerminate: string | undefined = isDeno ? '(Deno does not end a worker that never pauses)' : undefined;

/** The command that runs a script in the runtime of these tests. */
export const RUNTIME: string[] = isDeno ? [process.execPath, 'run', '-A'] : [process.execPath];

/** The environment of a process that ends where its heap grows beyond 256 MB; of Node.js, since others have no such limit. */
export const SMALL_HEAP: Record<string, string> =
  isDeno || 'Bun' in globalThis ? {} : { NODE_OPTIONS: '--max-old-space-size=256' };

/** The path of a script in fixtures/. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}

export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end. */
export function run(command: string[], options: { env?: Record<string, string> } = {}): Promise<Finished> {
  const [file, ...args] = command;
  const child = spawn(file!, args, { env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/**
 * A shell line for `runInNamespace` that keeps it on one processor: two that take from a shaped link's queue pass on what they
 * took in no order.
 */
export const ON_ONE_PROCESSOR = `taskset -pc $(taskset -pc $$ | sed 's/.*: //; s/[-,].*//') $$ >/dev/null`;

/** Runs a fixture and reads the JSON that it prints. */
export async function runFixture<T>(name: string, args: string[] = [], env: Record<string, string> = {}): Promise<T> {
  return parse(await run([...RUNTIME, fixture(name), ...args], { env }));
}

function parse<T>(finished: Finished): T {
  if (finished.code !== 0)
    throw new Error(`exit ${finished.code ?? finished.signal}: ${finished.stderr || finished.stdout}`);
  return JSON.parse(finished.stdout) as T;
}

const root = process.getuid?.() === 0;
const unshare = ['unshare', root ? '--net' : '--user', ...(root ? [] : ['--map-root-user', '--net']), 'sh', '-ec'];

/** Why network namespaces of our own cannot be had here; undefined where they can. */
export const noNamespaces: string | undefined = (() => {
  if (process.platform !== 'linux') return 'needs Linux';
  const tried = spawnSync(unshare[0]!, [...unshare.slice(1), 'ip link set lo up && tc qdisc show dev lo']);
  if (tried.status === 0) return undefined;
  return `needs root, unshare, ip and tc (${String(tried.stderr ?? tried.error).trim()})`;
})();

/**
 * A command in a network namespace of its own, after the shell lines of `setup`.
 *
 * A namespace lives on until its links have sent what they hold, and sends refusals of it, which then wait in a slow link
 * too; all namespaces share the buffer of the kernel's ICMP sockets, so that other tests would hear of no refusal meanwhile.
 * Hence nothing is left in a link.
 */
export function unshared(setup: string, command: string[]): string[] {
  const script = `ip link set lo up
    ${setup}
    status=0; "$0" "$@" || status=$?
    tc qdisc del dev lo root 2>/dev/null || true
    exit $status`;
  return [...unshare, script, ...command];
}

/** Runs a fixture in a network namespace of its own, as `unshared` has it, and reads the JSON that it prints. */
export async function runInNamespace<T>(setup: string, name: string, args: string[] = []): Promise<T> {
  return parse(await run(unshared(setup, [...RUNTIME, fixture(name), ...args])));
}

/** The sockets that this process has open. */
export function openSockets(): Set<string> {
  const links = readdirSync('/proc/self/fd').map((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`);
    } catch {
      return ''; // That of readdir itself is closed again, or another one was.
    }
  });
  return new Set(links.filter((link) => link.startsWith('socket:')));
}

/** How many of the open sockets were not among those of before, of which the runtime may meanwhile close some. */
export function openedSince(before: Set<string>): number {
  return [...openSockets()].filter((socket) => !before.has(socket)).length;
}
