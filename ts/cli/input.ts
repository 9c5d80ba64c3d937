import type { OutgoingDatagram } from '../batch/arena.js';
import { Lines } from './lines.js';
import { openSource, type Source } from './source.js';

/** What a text has at most, in bytes and in lines, so that its datagrams are made once for all rounds. */
const SMALL_BYTES = 1024 * 1024;
const SMALL_LINES = 8192;

export interface InputOptions {
  /** How often the whole input is sent. */
  repeat: number;
  /** How many datagrams are sent at most. */
  limit: number;
  /** The most bytes that a datagram holds. */
  largest: number;
  signal: AbortSignal;
}

/** Where a pass takes its datagrams from. */
export interface Datagrams {
  readonly name: string;
  /** How many there will be, where that is known from the start. */
  readonly total: number | undefined;
  /** Whether they come as they like, and cannot be had again. */
  readonly isLive: boolean;
  /** Waits for the next ones: at least one and at most so many; none at the end. */
  take(most: number): Promise<OutgoingDatagram[]>;
  close(): void;
}

/** Datagrams from a text, one a line, made as they are taken; an empty line is an empty datagram. */
export class Input implements Datagrams {
  readonly total: number | undefined;
  /** How many lines there are, where that is known. */
  readonly #lineCount: number | undefined;
  readonly #source: Source;
  readonly #options: InputOptions;
  #lines: Lines;
  #chunks: AsyncIterator<Buffer>;
  #taken = 0;
  #round = 1;
  /** The datagrams of a small text; from the second round on, they are taken from here, the next one from `#position`. */
  readonly #kept: OutgoingDatagram[] | undefined;
  #position: number | undefined;

  private constructor(source: Source, options: InputOptions, lineCount: number | undefined) {
    this.#source = source;
    this.#options = options;
    this.#lineCount = lineCount;
    this.total = lineCount === undefined ? undefined : Math.min(lineCount * options.repeat, options.limit);
    this.#lines = new Lines(source.name, options.largest);
    this.#chunks = source.chunks()[Symbol.asyncIterator]();
    if (lineCount !== undefined && lineCount <= SMALL_LINES && source.size! <= SMALL_BYTES) this.#kept = [];
  }

  /**
   * Opens a file, or standard input for '-'. A file is read through once, so that no datagram is sent where a line is too long:
   * then it throws SocketError `datagram-too-large`. All else is sent as its lines arrive. Throws UsageError where it cannot be
   * read.
   */
  static async open(file: string, options: InputOptions): Promise<Input> {
    const source = openSource(file, { isRepeated: options.repeat > 1, signal: options.signal });
    if (source.size === undefined) return new Input(source, options, undefined);
    const lines = new Lines(source.name, options.largest);
    for await (const chunk of source.chunks()) {
      lines.push(chunk);
      while (lines.advance());
    }
    if (lines.end()) lines.advance();
    return new Input(source, options, lines.count);
  }

  get name(): string {
    return this.#source.name;
  }

  get isLive(): boolean {
    return this.#source.size === undefined;
  }

  async take(most: number): Promise<OutgoingDatagram[]> {
    const wanted = Math.min(most, this.#options.limit - this.#taken);
    const taken: OutgoingDatagram[] = [];
    while (taken.length < wanted) {
      const before = taken.length;
      this.#move(taken, wanted);
      if (taken.length > before) continue;
      // What has come goes, before more is waited for; a file need not be waited for.
      if (taken.length > 0 && this.total === undefined) break;
      if (!(await this.#more())) break;
    }
    this.#taken += taken.length;
    return taken;
  }

  /** As many datagrams as were taken so far, from the first on, for a second pass; only their start where not all was kept. */
  again(): Input {
    return new Input(this.#source, { ...this.#options, limit: this.#taken }, this.#lineCount);
  }

  /** Stops reading. */
  close(): void {
    this.#source.close();
  }

  /** Moves datagrams whose lines have been read into a list, until it has so many. */
  #move(list: OutgoingDatagram[], length: number): void {
    if (this.#position !== undefined) {
      const part = this.#kept!.slice(this.#position, this.#position + length - list.length);
      this.#position += part.length;
      list.push(...part);
      return;
    }
    while (list.length < length && this.#lines.advance()) {
      const datagram = { data: this.#lines.line };
      this.#kept?.push(datagram);
      list.push(datagram);
    }
  }

  /** Reads on, or begins the next round; false at the end. */
  async #more(): Promise<boolean> {
    if (this.#position === undefined) {
      const { value, done } = await this.#chunks.next();
      if (!done) {
        this.#lines.push(value);
        return true;
      }
      if (this.#lines.end()) return true;
    }
    if (this.#round >= this.#options.repeat || this.#lines.count === 0) return false;
    this.#round += 1;
    if (this.#kept !== undefined) {
      this.#position = 0;
    } else {
      this.#lines = new Lines(this.name, this.#options.largest);
      this.#chunks = this.#source.chunks()[Symbol.asyncIterator]();
    }
    return true;
  }
}
