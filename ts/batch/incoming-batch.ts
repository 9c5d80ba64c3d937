import { LAYOUT } from '../native/layout.js';
import { decodeAddress, type IpSocketAddress } from '../rules/address.js';
import { type ReceiveInfo, readInfo } from './receive-info.js';

/** Bytes that the addon needs for one message: more than any datagram, or run of coalesced ones, has. */
const MESSAGE_BYTES = 65_536;

/** Messages of one native receive. A message is a datagram, or up to 64 that the kernel coalesced. */
const MESSAGES = 64;

const ENTRY_WORDS = LAYOUT.entryBytes / 4;

/** Received datagrams as they lie in memory: `receiveInto` fills the same batch again and again, and makes no objects. */
export class IncomingBatch {
  /** @internal The datagrams' bytes, with gaps; untouched pages take no memory. */
  readonly payload = new ArrayBuffer(MESSAGES * MESSAGE_BYTES);
  /** @internal */
  readonly table = new ArrayBuffer(LAYOUT.tableBytes);
  /** @internal */
  readonly entries = new Uint32Array(this.table, 0, LAYOUT.maxDatagrams * ENTRY_WORDS);
  /** @internal */
  readonly slots = new Uint32Array(this.table, LAYOUT.addressesOffset);
  readonly #records = new Uint32Array(this.table, LAYOUT.recordsOffset);
  /** @internal Whether the socket was asked to tell more than the source. */
  isTold = false;
  /** @internal The same memory. */
  readonly bytes = Buffer.from(this.payload);
  #count = 0;

  /** Datagrams in the batch. */
  get count(): number {
    return this.#count;
  }

  /**
   * The payload of a datagram.
   *
   * @param index which datagram, from 0 on, below `count`.
   * @returns a view, valid until the batch is filled again.
   * @throws RangeError for another index.
   */
  data(index: number): Buffer {
    const word = this.#word(index);
    const offset = this.entries[word]!;
    return this.bytes.subarray(offset, offset + this.entries[word + 1]!);
  }

  /**
   * The source of a datagram.
   *
   * @param index which datagram, from 0 on, below `count`.
   * @returns an address of its own each time.
   * @throws RangeError for another index.
   */
  remoteAddress(index: number): IpSocketAddress {
    return decodeAddress(this.slots, this.addressIndex(index));
  }

  /**
   * What the system tells of a datagram beside its source.
   *
   * @param index which datagram, from 0 on, below `count`.
   * @returns an object of its own each time; undefined where the socket was not asked to tell.
   * @throws RangeError for another index.
   */
  info(index: number): ReceiveInfo | undefined {
    const slot = this.addressIndex(index);
    return this.isTold ? readInfo(this.#records, slot) : undefined;
  }

  /** @internal The bytes of a datagram. */
  byteLength(index: number): number {
    return this.entries[this.#word(index) + 1]!;
  }

  /**
   * @internal A copy of the payloads of datagrams `from` to `to`, of so many bytes, one behind the other. Those of a coalesced message
   * lie so already: one copy does.
   */
  copy(from: number, to: number, total: number): Buffer {
    const { entries } = this;
    const end = to * ENTRY_WORDS;
    // Every byte is written below.
    const bytes = Buffer.allocUnsafe(total);
    let position = 0;
    for (let word = from * ENTRY_WORDS; word < end; ) {
      const start = entries[word]!;
      let stop = start;
      for (; word < end && entries[word] === stop; word += ENTRY_WORDS) stop += entries[word + 1]!;
      bytes.set(this.bytes.subarray(start, stop), position);
      position += stop - start;
    }
    return bytes;
  }

  /** @internal The slot of a datagram's source. */
  addressIndex(index: number): number {
    return this.entries[this.#word(index) + 2]!;
  }

  /** @internal Takes `count` entries as the batch. */
  fill(count: number): void {
    this.#count = count;
  }

  /** @internal Takes those of `count` entries whose address, by its index, passes; how many did not. */
  filter(count: number, passes: (address: number) => boolean): number {
    const { entries } = this;
    let kept = 0;
    // Neighbours mostly come from one source.
    let address = -1;
    let passed = false;
    for (let word = 0; word < count * ENTRY_WORDS; word += ENTRY_WORDS) {
      if (entries[word + 2] !== address) {
        address = entries[word + 2]!;
        passed = passes(address);
      }
      if (!passed) continue;
      if (kept !== word) entries.copyWithin(kept, word, word + ENTRY_WORDS);
      kept += ENTRY_WORDS;
    }
    this.#count = kept / ENTRY_WORDS;
    return count - this.#count;
  }

  #word(index: number): number {
    if (!(Number.isInteger(index) && index >= 0 && index < this.#count)) {
      throw new RangeError(`the batch holds ${this.#count} datagrams, asked for number ${index}: count from 0`);
    }
    return index * ENTRY_WORDS;
  }
}
