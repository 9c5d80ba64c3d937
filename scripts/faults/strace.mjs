import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';

/** The name of the addon's file, in stacks. */
const ADDON = /wasi-udp\.[^/]*\.node/;

/** strace, attached to one thread of a process that waits. */
export class Tracer {
  #child;
  #text = '';

  constructor(child) {
    this.#child = child;
    child.stderr.setEncoding('latin1').on('data', (chunk) => {
      this.#text += chunk;
    });
  }

  /** Attaches to the thread `id`, with options of strace. */
  static async attach(id, options) {
    const args = ['-p', String(id), '-e', 'signal=none', '-e', 'verbose=none', ...options];
    const child = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const tracer = new Tracer(child);
    while (!/ attached/.test(tracer.#text)) {
      if (child.exitCode !== null) throw new Error(`strace does not attach: ${tracer.#text}`);
      await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
    }
    return tracer;
  }

  /** Lets go of the thread, if it lives; what strace told. */
  async detach() {
    const { exitCode, signalCode } = this.#child;
    if (exitCode === null && signalCode === null) {
      const closed = once(this.#child, 'close');
      this.#child.kill('SIGINT');
      // A thread that never stops again would keep it.
      await Promise.race([closed, setTimeout(2000, undefined, { ref: false }).then(() => this.#child.kill('SIGKILL'))]);
    }
    return this.#text;
  }
}

/** The options that have strace refuse the `k`-th call of a name, and all after it where it is to be `sticky`. */
export function refusal({ call, errno, k, sticky }) {
  return ['-k', '-e', `trace=${call}`, '-e', `inject=${call}:error=${errno}:when=${k}${sticky ? '+' : ''}`];
}

/** The options that have strace interrupt every second call of those names, beginning with the first. */
export function storm(calls) {
  const list = calls.join(',');
  return ['-k', '-e', `trace=${list}`, '-e', `inject=${list}:error=EINTR:when=1+2`];
}

/** The options of a dry run, whose text `ours` reads. */
export function dryRun(calls) {
  return ['-k', '-e', `trace=${calls.join(',')}`];
}

/**
 * Whether a call, its line and its stack, is of the addon's making, so that the addon hears what comes of it. The check by which
 * libuv tries a descriptor (uv__io_check_fd) takes it out again, and ends the process itself where that fails.
 */
function isOurs(line, stack) {
  if (!stack.some((frame) => ADDON.test(frame))) return false;
  return !(line.includes('EPOLL_CTL_DEL') && stack.some((frame) => frame.includes('uv__io_check_fd')));
}

/** Whether a call asks on no descriptor whether such calls are refused: nothing follows from its other errors. */
function isProbe({ name, line }) {
  return line.includes(`${name}(-1, `);
}

/** The calls of a text with stacks, in order: name, number among those of the name, line, whether it is ours. */
function callsIn(text) {
  const seen = {};
  const calls = [];
  for (const line of text.split('\n')) {
    const [, name] = /^(?:\[pid +\d+\] )?(\w+)\(/.exec(line) ?? [];
    if (name !== undefined) {
      seen[name] = (seen[name] ?? 0) + 1;
      calls.push({ name, number: seen[name], line, stack: [] });
    } else if (line.startsWith(' > ')) calls.at(-1)?.stack.push(line);
  }
  return calls.map(({ stack, ...call }) => ({ ...call, isOurs: isOurs(call.line, stack) }));
}

/**
 * The calls that the addon made, by name, in a text with stacks: their numbers, and whether nobody else made such calls behind
 * the first of them.
 */
export function ours(text) {
  const found = {};
  for (const { name, number, isOurs } of callsIn(text).filter((call) => !isProbe(call))) {
    if (isOurs) {
      found[name] ??= { numbers: [], alone: true };
      found[name].numbers.push(number);
    } else if (name in found) found[name].alone = false;
  }
  return found;
}

/** How many calls of the addon were refused, in a text with stacks; undefined where others were too. */
export function refused(text) {
  const hit = callsIn(text).filter(({ line }) => line.includes('(INJECTED)'));
  return hit.every(({ isOurs }) => isOurs) ? hit.length : undefined;
}
