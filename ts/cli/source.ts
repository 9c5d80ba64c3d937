import fs from 'node:fs';
import net from 'node:net';
import { addAbortSignal, type Readable } from 'node:stream';
import tty from 'node:tty';
import { Failure, UsageError } from './report.js';

/** How much of a file is read at once, in bytes. */
const CHUNK_BYTES = 1024 * 1024;

/** How much is kept of what cannot be read again, in bytes: for a comparison its start will do, for --repeat nothing may be missing. */
const KEPT_FOR_COMPARISON = 64 * 1024 * 1024;
const KEPT_FOR_REPEAT = 256 * 1024 * 1024;

/** Where the bytes of a text come from. */
export interface Source {
  readonly name: string;
  /** How many bytes there are: of a file, which can be read again and again. Undefined of what comes as it likes. */
  readonly size?: number;
  /** Reads from the start: all, or of what came as it likes, from the second time on, what was kept of it. Fails with Failure. */
  chunks(): AsyncIterable<Buffer>;
  close(): void;
}

export interface SourceOptions {
  /** Whether all of it will be read again. */
  isRepeated: boolean;
  /** Ends a read that waits. */
  signal: AbortSignal;
}

/** Opens a file, or standard input for '-'. Throws UsageError where it cannot be read. */
export function openSource(file: string, options: SourceOptions): Source {
  if (file === '-') {
    if (isFolder(0)) throw unreadable('standard input', 'EISDIR');
    return new StreamSource('standard input', process.stdin, options);
  }
  try {
    // A FIFO is opened at once, whether or not somebody writes to it: fifo(7).
    const descriptor = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
    if (isFolder(descriptor)) throw unreadable(file, 'EISDIR');
    const stats = fs.fstatSync(descriptor);
    // A file of /proc tells no size, and has contents.
    if (stats.isFile() && stats.size > 0) return new FileSource(file, descriptor, stats.size, options.signal);
    return new StreamSource(file, streamOf(file, descriptor, stats), options);
  } catch (error) {
    throw isSystemError(error) ? unreadable(file, error.code) : error;
  }
}

function unreadable(name: string, code: string | undefined): UsageError {
  return new UsageError(`cannot read ${name || "''"} (${code}): name a file, or - for standard input`);
}

/** Whether a descriptor is a folder's; Node.js reads such a standard input as an empty one. */
function isFolder(descriptor: number): boolean {
  try {
    return fs.fstatSync(descriptor).isDirectory();
  } catch {
    return false; // Windows tells nothing of some consoles.
  }
}

/** Bun and Deno read FIFOs by a thread alone, which an interrupt leaves to the end of the process. */
const readsByThread = 'bun' in process.versions || 'deno' in process.versions;

/** What is read when it is ready, without a thread that nobody could end, where the system can tell that. */
function streamOf(file: string, descriptor: number, stats: fs.Stats): Readable {
  // The descriptor stays open: whoever writes to it is to find a reader.
  if (stats.isFIFO() && readsByThread) return fs.createReadStream(file);
  if (stats.isFIFO()) return new net.Socket({ fd: descriptor, readable: true, writable: false });
  if (tty.isatty(descriptor)) return new tty.ReadStream(descriptor);
  return fs.createReadStream('', { fd: descriptor });
}

/** A regular file, as long as it was when it was opened. */
class FileSource implements Source {
  constructor(
    readonly name: string,
    readonly descriptor: number,
    readonly size: number,
    readonly signal: AbortSignal,
  ) {}

  async *chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < this.size; ) {
      this.signal.throwIfAborted();
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, this.size - at));
      const count = await this.#read(chunk, at);
      if (count === 0) {
        throw new Failure(
          `${this.name} became shorter while it was read, ${this.size} bytes when it was opened and now ${at}: send a copy of it`,
        );
      }
      at += count;
      yield chunk.subarray(0, count);
    }
  }

  close(): void {
    fs.closeSync(this.descriptor);
  }

  #read(chunk: Buffer, at: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.descriptor, chunk, 0, chunk.length, at, (error, count) => {
        if (error === null) resolve(count);
        else reject(readFailure(this.name, error));
      });
    });
  }
}

/** A pipe, a terminal, a device: read once, as it comes. */
class StreamSource implements Source {
  readonly #stream: Readable;
  readonly #isRepeated: boolean;
  /** What was read, in blocks of CHUNK_BYTES, the last of which has so many bytes left. */
  readonly #blocks: Buffer[] = [];
  #room = 0;
  #isFull = false;
  #wasRead = false;

  constructor(
    readonly name: string,
    stream: Readable,
    { isRepeated, signal }: SourceOptions,
  ) {
    this.#stream = addAbortSignal(signal, stream);
    this.#isRepeated = isRepeated;
  }

  async *chunks(): AsyncGenerator<Buffer> {
    if (this.#wasRead) {
      yield* this.#kept();
      return;
    }
    this.#wasRead = true;
    try {
      for await (const chunk of this.#stream as AsyncIterable<Buffer>) {
        this.#keep(chunk);
        yield chunk;
      }
    } catch (error) {
      throw isSystemError(error) ? readFailure(this.name, error) : error;
    }
  }

  close(): void {
    this.#stream.destroy();
  }

  #keep(chunk: Buffer): void {
    const most = (this.#isRepeated ? KEPT_FOR_REPEAT : KEPT_FOR_COMPARISON) / CHUNK_BYTES;
    for (let at = 0; at < chunk.length && !this.#isFull; ) {
      if (this.#room === 0) {
        this.#isFull = this.#blocks.length === most;
        if (this.#isFull) break;
        this.#blocks.push(Buffer.allocUnsafeSlow(CHUNK_BYTES));
        this.#room = CHUNK_BYTES;
      }
      const count = chunk.copy(this.#blocks.at(-1)!, CHUNK_BYTES - this.#room, at);
      this.#room -= count;
      at += count;
    }
    if (!this.#isFull || !this.#isRepeated) return;
    throw new Failure(
      `${this.name} is longer than ${KEPT_FOR_REPEAT} bytes, too long to keep for --repeat: name a file`,
    );
  }

  /** The blocks; the last one ends with a whole line where the rest was not kept. */
  *#kept(): Generator<Buffer> {
    for (const [i, block] of this.#blocks.entries()) {
      const isLast = i === this.#blocks.length - 1;
      if (!isLast) yield block;
      else yield block.subarray(0, this.#isFull ? block.lastIndexOf('\n') + 1 : CHUNK_BYTES - this.#room);
    }
  }
}

function readFailure(name: string, { code }: NodeJS.ErrnoException): Failure {
  return new Failure(`reading ${name} failed (${code}): see to the file, or send a copy of it`);
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error;
}
