import { Trap } from '../errors.js';
import { LAYOUT } from '../native/layout.js';
import { type SocketAddressLike, show } from '../rules/address.js';
import { type Destination, MAX_PAYLOAD, Refusal, refusalError } from '../rules/destination.js';
import type { Route } from '../rules/route.js';
import { Arena } from './arena.js';

/** What a writer needs of its stream. */
interface Sender {
  readonly destination: Destination;
  /** Traps where `count` exceeds the permit; uses it up. */
  usePermit(count: number): void;
  /** How many datagrams of the batch the kernel took. */
  transmit(arena: Arena): number;
}

/**
 * Datagrams written in place: put bytes into `bytes` from `position` on, `commit` their length, `flush` the batch.
 *
 *     writer.bytes.set(encoded, writer.position);
 *     writer.commit(encoded.length, address);
 *     if (outgoing.checkSend() >= 1n) writer.flush();
 */
export class DatagramWriter {
  readonly #arena = new Arena();
  readonly #sender: Sender;
  readonly #destination: Destination;
  readonly #largest: number;

  /** @internal */
  constructor(sender: Sender) {
    this.#sender = sender;
    this.#destination = sender.destination;
    this.#largest = MAX_PAYLOAD[sender.destination.family];
  }

  /** The buffer, the same for the writer's whole life. What lies before `position` belongs to committed datagrams. */
  get bytes(): Uint8Array {
    return this.#arena.bytes;
  }

  /** Where the next datagram begins, in bytes. */
  get position(): number {
    return this.#arena.position;
  }

  /** Datagrams committed and not yet accepted; at most 1024. */
  get pending(): number {
    return this.#arena.count;
  }

  /**
   * Makes a datagram of the bytes from `position` on, and moves `position` behind them.
   *
   * @param length how many bytes.
   * @param address where to; a `Route` says by which way it leaves as well. A connected stream needs none. An address object that
   *   the commit before named is not read again: for another address, pass another object.
   * @throws RangeError where the bytes or a 1025th datagram have no room: flush first.
   * @throws SocketError: `datagram-too-large` or `invalid-argument` as `send` would; nothing is committed then.
   * @throws Trap where a getter of the address of another commit calls it, as `flush` and `clear` do: the bytes at `position` are
   *   that commit's.
   */
  commit(length: number, address?: SocketAddressLike | Route): void {
    const arena = this.#arena;
    const fits = isUint32(length) && length <= this.#largest && length <= arena.room && !arena.isFull;
    if (fits && !arena.isPacking && arena.append(length, address, this.#destination)) return;
    this.#refuse(length);
  }

  /**
   * Sends the committed datagrams under the permit of `checkSend`, as `send` would. What was not accepted stays pending, for the
   * next flush; `position` moves to behind it. An error leaves all pending: `skip()` gives up the first, whose refusal it may be;
   * `clear()` all.
   *
   * @returns how many were accepted.
   * @throws as `send` of the stream.
   */
  flush(): bigint {
    const arena = this.#idle('flush');
    if (arena.count === 0) return 0n;
    this.#sender.usePermit(arena.count);
    const taken = this.#sender.transmit(arena);
    arena.drop(taken);
    return BigInt(taken);
  }

  /** Gives up the first of what is pending: the one whose refusal a flush has thrown. */
  skip(): void {
    const arena = this.#idle('skip');
    if (arena.count > 0) arena.drop(1);
  }

  /** Gives up what is pending. */
  clear(): void {
    this.#idle('clear').clear();
  }

  /** The arena, while no commit reads an address. */
  #idle(method: string): Arena {
    if (!this.#arena.isPacking) return this.#arena;
    throw new Trap(
      `${method}(): a commit() of the same writer is reading its address, whose getter called this: commit plain addresses`,
    );
  }

  /** Throws what is wrong with a commit: the first rule of `commit` that it breaks. */
  #refuse(length: number): never {
    const { room, isFull, refusal, culprit } = this.#idle('commit');
    if (!isUint32(length) || length > room) {
      throw new RangeError(
        `commit() takes 0 to ${room} bytes, the room behind position, got ${show(length)}: flush() makes room`,
      );
    }
    if (isFull) {
      throw new RangeError(
        `a writer holds ${LAYOUT.maxDatagrams} datagrams, all are pending: flush() before the next commit()`,
      );
    }
    if (length > this.#largest) throw refusalError(Refusal.TooLarge, 'commit()', length, this.#destination);
    throw refusalError(refusal, 'commit()', culprit, this.#destination);
  }
}

/** As an unsigned integer it is itself where it is one. */
function isUint32(value: number): boolean {
  return typeof value === 'number' && value >>> 0 === value;
}
