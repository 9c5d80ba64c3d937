import { SocketError } from '../errors.js';

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;

/**
 * The lines of a text that comes in chunks. A line's end, a newline with or without a carriage return before it, is no part of
 * it; a newline at the very end begins no line. No more is held than a chunk and the start of a line.
 */
export class Lines {
  readonly #name: string;
  readonly #largest: number;
  #bytes: Buffer = Buffer.alloc(0);
  /** Where what follows the line at hand begins, and where that line begins and ends. */
  #next = 0;
  #from = 0;
  #to = 0;
  #ended = false;
  #count = 0;

  /** `largest` is the most bytes that a line may have; `name` is the text's, for errors. */
  constructor(name: string, largest: number) {
    this.#name = name;
    this.#largest = largest;
  }

  /** How many lines there were so far. */
  get count(): number {
    return this.#count;
  }

  /** The line at hand: a view of the chunk that it came in. */
  get line(): Buffer {
    return this.#bytes.subarray(this.#from, this.#to);
  }

  /** Goes on to the next line; false where its end has not come yet. Throws SocketError `datagram-too-large`. */
  advance(): boolean {
    const bytes = this.#bytes;
    const from = this.#next;
    const end = bytes.indexOf(NEWLINE, from);
    let to = end;
    if (end < 0) {
      // A line may not grow without end: its carriage return is allowed for.
      if (!this.#ended && bytes.length - from <= this.#largest + 1) return false;
      if (from === bytes.length) return false;
      to = bytes.length;
    } else if (end > from && bytes[end - 1] === CARRIAGE_RETURN) {
      to = end - 1;
    }
    this.#count += 1;
    if (to - from > this.#largest) {
      throw new SocketError(
        'datagram-too-large',
        `a datagram holds at most ${this.#largest} bytes, line ${this.#count} of ${this.#name} is longer: split it`,
      );
    }
    this.#from = from;
    this.#to = to;
    this.#next = end < 0 ? to : end + 1;
    return true;
  }

  /** More of the text, once advance() wants it. */
  push(chunk: Buffer): void {
    const rest = this.#bytes.subarray(this.#next);
    this.#bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    this.#next = 0;
  }

  /** The text ends here; whether a line is left, which has no newline. */
  end(): boolean {
    this.#ended = true;
    return this.#next < this.#bytes.length;
  }
}
