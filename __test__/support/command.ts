import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { RUNTIME } from './runtime.js';

/** The script of the command. */
export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** How long a command may take to end, in milliseconds, before it counts as hanging. */
const PATIENCE_MS = 100_000;

export interface CommandOptions {
  /** A descriptor, or what spawn(2) makes of 'pipe' and 'ignore'. */
  stdin?: number | 'pipe' | 'ignore';
  stdout?: number | 'pipe';
  stderr?: number | 'pipe';
  /** Options of the runtime. */
  flags?: string[];
  /** What runs the runtime, such as strace(1). */
  wrapper?: string[];
  env?: Record<string, string>;
  cwd?: string;
}

/** A `wasi-udp` that runs. */
export class Command {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #closed: Promise<unknown>;

  constructor(args: string[], options: CommandOptions = {}) {
    const { stdin = 'ignore', stdout = 'pipe', stderr = 'pipe', flags = [], wrapper = [], env, cwd } = options;
    const [runtime, ...own] = RUNTIME;
    const [file, ...words] = [...wrapper, runtime!, ...own, ...flags, MAIN, ...args];
    this.child = spawn(file!, words, { stdio: [stdin, stdout, stderr], cwd, env: { ...process.env, ...env } });
    this.#closed = once(this.child, 'close');
    this.child.stdout?.on('data', (chunk) => {
      this.stdout += chunk;
    });
    this.child.stderr?.on('data', (chunk) => {
      this.stderr += chunk;
    });
  }

  /** The summary, by label, wherever it was printed. */
  get summary(): Record<string, string> {
    const lines = `${this.stdout}\n${this.stderr}`.split('\n');
    return Object.fromEntries(lines.map((line) => [line.slice(0, 12).trim(), line.slice(12)]));
  }

  /** Waits until an output has a text. */
  async until(output: 'stdout' | 'stderr', text: string): Promise<void> {
    while (!this[output].includes(text)) await once(this.child[output]!, 'data');
  }

  /** Not by kill() of the child: Deno takes a child that got a signal that way for ended by it. */
  signal(name: NodeJS.Signals): void {
    process.kill(this.child.pid!, name);
  }

  /** The most memory that it has had resident so far, in bytes; undefined where it has ended. See proc(5). */
  peak(): number | undefined {
    try {
      return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))![1]);
    } catch {
      return undefined;
    }
  }

  /** Whether it has a file open. See proc(5). */
  hasOpen(file: string): boolean {
    const folder = `/proc/${this.child.pid}/fd`;
    return readdirSync(folder).some((descriptor) => {
      try {
        return readlinkSync(`${folder}/${descriptor}`) === file;
      } catch {
        return false; // It has been closed meanwhile.
      }
    });
  }

  /** Waits for its end; its exit code. Rejects where it hangs, and ends it. */
  async end(): Promise<number | null> {
    const timer = setTimeout(() => this.signal('SIGKILL'), PATIENCE_MS);
    await this.#closed;
    clearTimeout(timer);
    const { exitCode, signalCode } = this.child;
    if (signalCode === 'SIGKILL') throw new Error(`it did not end; standard error: ${this.stderr}`);
    return exitCode;
  }
}
