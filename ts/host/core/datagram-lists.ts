import { type Arena, type OutgoingDatagram, REFUSED } from '../../batch/arena.js';
import type { IncomingBatch } from '../../batch/incoming-batch.js';
import { Trap } from '../../errors.js';
import { LAYOUT, newSlot, SLOT_WORDS } from '../../native/layout.js';
import { decodeAddress } from '../../rules/address.js';
import { type Destination, MAX_PAYLOAD, Refusal } from '../../rules/destination.js';
import type { ListInPlace } from '../../socket/outgoing-datagram-stream.js';
import { ADDRESS_BYTES, readAddress, sameInMemory, writeAddress } from './address-layout.js';
import type { GuestMemory } from './memory.js';

/**
 * outgoing-datagram in a guest's memory: 44 bytes, aligned to 4: data (pointer and length), whether there is an address
 * (byte 8), the address (at 12).
 */
const OUTGOING_BYTES = 44;
const OUTGOING_WORDS = OUTGOING_BYTES / 4;

/** incoming-datagram: 40 bytes, aligned to 4: data (pointer and length), the address (at 8). */
const INCOMING_BYTES = 8 + ADDRESS_BYTES;

const ENTRY_WORDS = LAYOUT.entryBytes / 4;

/** A list of outgoing-datagram where the guest has it. `at` points it to the list of a call. */
export class OutgoingList implements ListInPlace {
  readonly #memory: GuestMemory;
  #word = 0;
  length = 0;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Traps where the list lies outside the memory, or askew. */
  at(pointer: number, length: number): this {
    this.length = length >>> 0;
    this.#word = this.#memory.area(pointer, this.length * OUTGOING_BYTES, 4) >>> 2;
    return this;
  }

  get payload(): ArrayBuffer {
    return this.#memory.buffer;
  }

  /**
   * Every entry is looked at, whether it is sent or not: what the ABI would trap for when it lifts a list (a payload outside
   * the memory, a case that is none) traps before anything is sent.
   */
  pack(arena: Arena, destination: Destination): void {
    const { words, bytes } = this.#memory;
    const { entries } = arena;
    const size = bytes.length;
    const largest = MAX_PAYLOAD[destination.family];
    const end = this.#word + this.length * OUTGOING_WORDS;
    let word = this.#word;
    // The entry at hand: where it stands, where its last datagram ends, the length and the index of each, how many.
    let packed = -ENTRY_WORDS;
    let stop = -1;
    let alike = 0;
    let shared = 0;
    let count = 0;
    // The address that the index was made of: where it lies, its case, and the two words that hold an IPv4 address.
    let known = -1;
    let kind = 0;
    let low = 0;
    let high = 0;
    let index = REFUSED;
    for (; word < end; word += OUTGOING_WORDS) {
      const data = words[word]!;
      const length = words[word + 1]!;
      const option = words[word + 2]! & 0xff;
      if (data + length > size || option > 1 || length > largest) break;
      if (option === 0) {
        index = arena.indexOf(undefined, destination);
        known = -1;
        if (index === REFUSED) break;
      } else if (
        known < 0 ||
        (words[word + 3]! & 0xff) !== kind ||
        words[word + 4] !== low ||
        (words[word + 5]! & 0xffff) !== high ||
        (kind !== 0 && !sameInMemory(words, known, word + 3))
      ) {
        known = word + 3;
        kind = words[known]! & 0xff;
        low = words[known + 1]!;
        high = words[known + 2]! & 0xffff;
        readAddress(words, known, arena.slots, arena.addresses * SLOT_WORDS);
        index = arena.indexOfCandidate(destination);
        if (index === REFUSED) break;
      }
      if (data !== stop || length !== alike || index !== shared) {
        if (count > 0) entries[packed + 3] = count;
        packed += ENTRY_WORDS;
        entries[packed] = data;
        entries[packed + 1] = length;
        entries[packed + 2] = index;
        alike = length;
        shared = index;
        count = 0;
      }
      stop = data + length;
      count += 1;
    }
    if (count > 0) entries[packed + 3] = count;
    arena.count = (word - this.#word) / OUTGOING_WORDS;
    arena.used = packed / ENTRY_WORDS + 1;
    if (word === end) return;
    if (arena.refusal === Refusal.None) arena.refuse(Refusal.TooLarge, words[word + 1]);
    for (; word < end; word += OUTGOING_WORDS) {
      if (this.#hasAddress(word)) readAddress(words, word + 3, newSlot(), 0);
    }
  }

  /** The datagrams as objects, whose data are views: for hosts that take objects. */
  objects(): OutgoingDatagram[] {
    const { words, bytes } = this.#memory;
    return Array.from({ length: this.length }, (_, i) => {
      const word = this.#word + i * OUTGOING_WORDS;
      const hasAddress = this.#hasAddress(word);
      const data = bytes.subarray(words[word], words[word]! + words[word + 1]!);
      if (!hasAddress) return { data };
      const slot = newSlot();
      readAddress(words, word + 3, slot, 0);
      return { data, remoteAddress: decodeAddress(slot) };
    });
  }

  /** Whether the datagram at a word names an address. Traps where its payload lies outside the memory, or its case is none. */
  #hasAddress(word: number): boolean {
    const { words, bytes } = this.#memory;
    const data = words[word]!;
    const length = words[word + 1]!;
    const index = (word - this.#word) / OUTGOING_WORDS;
    if (data + length > bytes.length) {
      throw new Trap(`the guest's memory has ${bytes.length} bytes, datagram ${index} names ${length} at ${data}`);
    }
    const discriminant = words[word + 2]! & 0xff;
    if (discriminant > 1)
      throw new Trap(`an option is case 0 or 1, datagram ${index} of the guest has ${discriminant}`);
    return discriminant === 1;
  }
}

/** Writes a batch as a list of incoming-datagram into blocks of the guest's; its pointer. */
export function lowerBatch(batch: IncomingBatch, memory: GuestMemory): number {
  const list = memory.allocate(batch.count * INCOMING_BYTES, 4);
  for (let i = 0; i < batch.count; i++) {
    const data = batch.data(i);
    const pointer = memory.allocate(data.length, 1);
    memory.bytes.set(data, pointer);
    const at = list + i * INCOMING_BYTES;
    memory.words[at >>> 2] = pointer;
    memory.words[(at >>> 2) + 1] = data.length;
    writeAddress(batch.slots, batch.addressIndex(i) * SLOT_WORDS, memory, at + 8);
  }
  return list;
}
