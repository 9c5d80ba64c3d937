import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

let isOver = false;

/** Whether the process ends with the command: nothing is waited for then, neither an output that blocks nor a read. */
export function endsWithCommand(): boolean {
  return isOver;
}

/** Has the process end with the command: a signal has ended it, or its time was over while it read, which Deno goes on with. */
export function endWithCommand(): void {
  isOver = true;
}

/**
 * While it is there, the first SIGINT or SIGTERM aborts `signal`, so that what has been done can be told. The next one ends
 * the process at once, as does the first one before and after.
 */
export class Interrupt implements Disposable {
  readonly #controller = new AbortController();
  readonly #listener = (name: NodeJS.Signals) => {
    this[Symbol.dispose]();
    endWithCommand();
    this.#exitCode = 128 + constants.signals[name];
    this.#controller.abort();
  };
  #exitCode = 0;

  constructor() {
    for (const name of SIGNALS) process.on(name, this.#listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** 128 and the signal's number, as shells have it: 130 or 143. */
  get exitCode(): number {
    return this.#exitCode;
  }

  [Symbol.dispose](): void {
    for (const name of SIGNALS) process.off(name, this.#listener);
  }
}
