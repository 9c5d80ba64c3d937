import { spawn } from 'node:child_process';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** How long a step may take before it counts as hung: at first, and when it is tried once more, since machines are busy. */
export const PATIENCE_MS = 4000;
export const LONG_PATIENCE_MS = 20_000;

/** A link that is slow and keeps what it has no room for; on one processor, since two that take from its queue reorder. */
const SLOW_LINK = `ip link set lo up
  tc qdisc add dev lo root tbf rate 20mbit burst 5k limit 200k
  taskset -pc $(taskset -pc $$ | sed 's/.*: //; s/[-,].*//') $$ >/dev/null
  exec "$0" "$@"`;

/** A process that talks to us in lines on its descriptor 3, and ends when we let go of that. */
export class Child {
  #lines = [];
  #rest = '';
  #wake = () => {};
  /** How long it may be silent, in milliseconds. */
  patience = LONG_PATIENCE_MS;
  stdout = '';
  stderr = '';

  /** Starts Node.js with those arguments; on a slow link, in a network namespace of its own, where `slow`. */
  constructor(args, { env = {}, slow = false } = {}) {
    const command = [process.execPath, ...args];
    const [file, ...rest] = slow ? ['unshare', '--net', 'sh', '-ec', SLOW_LINK, ...command] : command;
    this.process = spawn(file, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.channel = this.process.stdio[3];
    this.channel.on('error', () => {});
    this.channel.setEncoding('utf8').on('data', (chunk) => {
      const lines = (this.#rest + chunk).split('\n');
      this.#rest = lines.pop();
      this.#lines.push(...lines);
      this.#wake();
    });
    for (const name of ['stdout', 'stderr']) {
      this.process[name].setEncoding('utf8').on('data', (chunk) => {
        this[name] += chunk;
        this.#wake();
      });
    }
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code, signal) => {
        this.fate = signal ?? `exit code ${code}`;
        this.code = code;
        this.#wake();
        resolve();
      });
    });
  }

  static scenarios({ driver, slow }) {
    const env = driver === 'thread' ? { WASI_UDP_POLLER: 'thread' } : { WASI_UDP_POLLER: '' };
    return new Child([fileURLToPath(new URL('child.mjs', import.meta.url))], { env, slow });
  }

  say(line) {
    this.channel.write(`${line}\n`);
  }

  /** What it tells next; throws where it ends, or stays silent. */
  async hear() {
    await this.until(() => this.#lines.length > 0);
    return JSON.parse(this.#lines.shift());
  }

  /** Waits for a condition; throws Fate where the child ends before, or the deadline is over. */
  async until(condition) {
    const deadline = setTimeout(this.patience, 'late', { ref: false });
    while (!condition()) {
      if (this.fate !== undefined) throw new Fate(`crash (${this.fate}): ${this.#lastWords()}`);
      const woken = new Promise((resolve) => {
        this.#wake = resolve;
      });
      if ((await Promise.race([woken, deadline])) === 'late') throw new Fate(HANG);
    }
  }

  /** Waits for its end; throws Fate where it does not come, or a signal brings it. */
  async untilEnd() {
    await this.until(() => this.fate !== undefined);
    if (this.code === null) throw new Fate(`crash (${this.fate}): ${this.#lastWords()}`);
  }

  #lastWords() {
    const lines = this.stderr.trim().split('\n');
    return lines.find((line) => /panicked|Error|assert/i.test(line)) ?? lines.at(-1);
  }

  async end() {
    if (this.fate === undefined) this.process.kill('SIGKILL');
    await this.ended;
  }
}

/** The fate of a child that is silent for too long. */
export const HANG = 'hang';

/** How a child came to grief. */
export class Fate extends Error {}
