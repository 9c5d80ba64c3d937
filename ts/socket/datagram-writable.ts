import { Writable } from 'node:stream';

/** What the stream needs of its queue. */
interface Queue {
  readonly hasRoom: boolean;
  send(data: Uint8Array): boolean;
  whenRoom(callback: () => void): void;
  flush(): Promise<void>;
}

type Callback = (error?: Error | null) => void;

/** A stream whose every write is one datagram of a queue. */
export class DatagramWritable extends Writable {
  readonly #queue: Queue;

  constructor(queue: Queue) {
    super();
    this.#queue = queue;
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: Callback): void {
    this.#take([chunk], 0, callback);
  }

  override _writev(writes: { chunk: Uint8Array }[], callback: Callback): void {
    this.#take(
      writes.map(({ chunk }) => chunk),
      0,
      callback,
    );
  }

  override _final(callback: Callback): void {
    this.#queue.flush().then(() => callback(), callback);
  }

  /** Gives the queue chunks from one on; those that it has no room for once there is room. */
  #take(chunks: readonly Uint8Array[], from: number, callback: Callback): void {
    try {
      for (let i = from; i < chunks.length; i++) {
        if (!this.#queue.hasRoom) {
          this.#queue.whenRoom(() => this.#take(chunks, i, callback));
          return;
        }
        this.#queue.send(chunks[i]!);
      }
    } catch (error) {
      callback(error as Error);
      return;
    }
    callback();
  }
}
