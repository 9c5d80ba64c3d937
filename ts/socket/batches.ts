import type { Descriptor } from '../native/descriptor.js';
import { READABLE } from '../native/native.js';
import { awaitEvent } from '../readiness/readiness.js';
import { Turn } from '../readiness/turn.js';
import type { IncomingDatagram } from './incoming-datagram-stream.js';

/** What the batches come from. */
interface Source {
  receive(): IncomingDatagram[];
  /** The socket; none once the stream is dropped. */
  readonly descriptor: Descriptor | undefined;
}

type Step = IteratorResult<IncomingDatagram[], void>;

/**
 * The batches of a stream as they come. A wake receives at once, in the event itself, and what it receives resolves the promise that
 * waits: between the event and the datagrams lies no other wait, and a receive that took all that was there is not followed by
 * another one.
 */
export class Batches implements AsyncIterableIterator<IncomingDatagram[], void, undefined> {
  readonly #source: Source;
  readonly #turn = new Turn();
  /** Whether the last receive took all that was there. */
  #isDrained = false;
  #isOver = false;
  /** The steps that wait: each takes its wait away and ends. */
  readonly #waiting = new Set<() => void>();

  constructor(source: Source) {
    this.#source = source;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Step> {
    return new Promise((resolve, reject) => this.#step(resolve, reject));
  }

  /** Ends the iteration; steps that wait end as well. The stream lives on. */
  async return(): Promise<Step> {
    this.#isOver = true;
    for (const end of [...this.#waiting]) end();
    return { done: true, value: undefined };
  }

  #step(resolve: (step: Step) => void, reject: (error: Error) => void): void {
    const { descriptor } = this.#source;
    if (this.#isOver || descriptor === undefined) {
      resolve({ done: true, value: undefined });
      return;
    }
    if (this.#turn.isOver) {
      this.#turn.give().then(() => this.#step(resolve, reject), reject);
      return;
    }
    try {
      if (!this.#isDrained) {
        const value = this.#source.receive();
        this.#isDrained = descriptor.isDrained;
        if (value.length > 0) {
          resolve({ done: false, value });
          return;
        }
      }
      this.#wait(descriptor, resolve, reject);
    } catch (error) {
      reject(error as Error);
    }
  }

  #wait(descriptor: Descriptor, resolve: (step: Step) => void, reject: (error: Error) => void): void {
    this.#isDrained = false;
    const done = () => resolve({ done: true, value: undefined });
    const leave = awaitEvent(
      { descriptor, interest: READABLE },
      {
        wake: () => {
          this.#waiting.delete(end);
          this.#turn.begin();
          this.#step(resolve, reject);
        },
        fail: (error) => {
          this.#waiting.delete(end);
          // A stream that is dropped ends its batches.
          if (this.#source.descriptor === undefined) done();
          else reject(error);
        },
      },
    );
    const end = () => {
      this.#waiting.delete(end);
      leave();
      done();
    };
    this.#waiting.add(end);
  }
}
