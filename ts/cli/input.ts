import fs from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import type { OutgoingDatagram } from '../batch/arena.js';
import { SocketError } from '../errors.js';
import { UsageError } from './report.js';

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;

/** How much of an endless input is kept for a second pass, in bytes. */
const KEEP_BYTES = 64 * 1024 * 1024;

export interface InputOptions {
  /** How often the whole input is sent. */
  repeat: number;
  /** How many datagrams are sent at most. */
  limit: number;
  /** The most bytes that a datagram holds. */
  largest: number;
  signal: AbortSignal;
}

/**
 * Datagrams from a text, one a line. The line's end, a newline with or without a carriage return before it, is no part of
 * the datagram; an empty line is an empty datagram; a newline at the very end begins no line.
 */
export class Input {
  readonly name: string;
  /** How many datagrams there will be, where that is known from the start. */
  readonly total?: number;
  readonly #stream: Readable | undefined;
  readonly #chunks: AsyncIterator<Buffer> | undefined;
  readonly #options: InputOptions;
  /** Datagrams that were read and not taken, from `#position` on. */
  #ready: OutgoingDatagram[] = [];
  #position = 0;
  #taken = 0;
  #round = 1;
  #ended = false;
  /** The start of a line whose end has not been read. */
  #rest: Buffer = Buffer.alloc(0);
  #lines = 0;
  /** What a second pass, or the next round, sends: all, or the first KEEP_BYTES of it where there is no next round. */
  #kept: OutgoingDatagram[] = [];
  #keptBytes = 0;

  private constructor(name: string, source: Readable | Buffer, options: InputOptions) {
    this.name = name;
    this.#options = options;
    if (Buffer.isBuffer(source)) {
      this.#split(source);
      this.#end();
      this.total = Math.min(this.#lines * options.repeat, options.limit);
    } else {
      this.#stream = addAbortSignal(options.signal, source);
      this.#chunks = source[Symbol.asyncIterator]();
    }
  }

  /** Opens a file, or standard input for '-'. Standard input is sent as its lines arrive. Throws UsageError where it cannot be read. */
  static async open(file: string, options: InputOptions): Promise<Input> {
    if (file === '-') return new Input('standard input', process.stdin, options);
    try {
      return new Input(file, await fs.readFile(file), options);
    } catch (error) {
      if (!(error instanceof Error && 'syscall' in error)) throw error;
      throw new UsageError(
        `cannot read ${file} (${(error as NodeJS.ErrnoException).code}): name a file, or - for standard input`,
      );
    }
  }

  /** Waits for the next datagrams: at least one and at most so many; none at the end. */
  async take(most: number): Promise<OutgoingDatagram[]> {
    const wanted = Math.min(most, this.#options.limit - this.#taken);
    const taken: OutgoingDatagram[] = [];
    while (taken.length < wanted) {
      if (this.#position === this.#ready.length) {
        // What is there goes, before more is waited for.
        if (!this.#ended && taken.length > 0) break;
        if (!this.#ended) await this.#read();
        else if (!this.#nextRound()) break;
      }
      const part = this.#ready.slice(this.#position, this.#position + wanted - taken.length);
      this.#position += part.length;
      taken.push(...part);
    }
    this.#taken += taken.length;
    return taken;
  }

  /** The datagrams taken so far, from the first on, for a second pass; only their start where the input was endless. */
  again(): Input {
    const { repeat, limit } = this.#options;
    const copy = new Input(this.name, Buffer.alloc(0), {
      ...this.#options,
      limit: Math.min(limit, this.#taken),
      repeat,
    });
    copy.#kept = copy.#ready = this.#kept;
    return copy;
  }

  /** Stops reading. */
  close(): void {
    this.#stream?.destroy();
  }

  #nextRound(): boolean {
    if (this.#round >= this.#options.repeat || this.#kept.length === 0) return false;
    this.#round += 1;
    this.#ready = this.#kept;
    this.#position = 0;
    return true;
  }

  async #read(): Promise<void> {
    this.#ready = [];
    this.#position = 0;
    const chunk = await this.#chunks?.next();
    if (chunk === undefined || chunk.done) this.#end();
    else this.#split(chunk.value);
  }

  #split(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#add(bytes.subarray(start, end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end));
      start = end + 1;
    }
    this.#rest = bytes.subarray(start);
    // A line may not grow without end: its carriage return is allowed for.
    if (this.#rest.length > this.#options.largest + 1) this.#add(this.#rest);
  }

  #end(): void {
    if (this.#rest.length > 0) this.#add(this.#rest);
    this.#ended = true;
  }

  #add(data: Buffer): void {
    const { largest, repeat } = this.#options;
    this.#lines += 1;
    if (data.length > largest) {
      throw new SocketError(
        'datagram-too-large',
        `a datagram holds at most ${largest} bytes, line ${this.#lines} of ${this.name} is longer: split it`,
      );
    }
    const datagram = { data };
    this.#ready.push(datagram);
    if (repeat === 1 && this.#keptBytes > KEEP_BYTES) return;
    this.#kept.push(datagram);
    this.#keptBytes += data.length;
  }
}
