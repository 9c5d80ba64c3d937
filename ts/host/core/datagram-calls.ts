import { type Arena, REFUSED } from '../../batch/arena.js';
import type { IncomingBatch } from '../../batch/incoming-batch.js';
import { Trap } from '../../errors.js';
import { SLOT_WORDS } from '../../native/layout.js';
import { encodeAddress } from '../../rules/address.js';
import { type Destination, MAX_PAYLOAD, Refusal, refusalError } from '../../rules/destination.js';
import { ADDRESS_BYTES, liftFlatAddress, readAddress, writeAddress } from './address-layout.js';
import type { GuestMemory } from './memory.js';

/**
 * The parameters of an async-lowered `send` in a guest's memory: 48 bytes, aligned to 4: the socket, data (pointer and length),
 * whether there is an address (byte 12), the address (at 16).
 */
export const SEND_BYTES = 16 + ADDRESS_BYTES;

/** `result<tuple<list<u8>, ip-socket-address>, error-code>`: 44 bytes, aligned to 4: data at 4, the address at 12. */
export const RECEIVE_RESULT_BYTES = 12 + ADDRESS_BYTES;

/** Traps where the parameters at that word are none of a `send`: data outside the memory of so many bytes, or a case that is none. */
export function checkSend(words: Uint32Array, word: number, size: number): void {
  const data = words[word + 1]!;
  const length = words[word + 2]!;
  if (data + length > size)
    throw new Trap(`the guest's memory has ${size} bytes, its datagram names ${length} at ${data}`);
  const option = words[word + 3]! & 0xff;
  if (option > 1) throw new Trap(`an option is case 0 or 1, the guest gave ${option}`);
}

/**
 * Adds the datagram of the parameters at that word to the arena's table; its data stay in the guest's memory. False where a rule
 * refuses it: see `refused`. The arena has room.
 */
export function packSend(arena: Arena, words: Uint32Array, word: number, destination: Destination): boolean {
  const data = words[word + 1]!;
  const length = words[word + 2]!;
  if (length > MAX_PAYLOAD[destination.family]) {
    arena.refuse(Refusal.TooLarge, length);
    return false;
  }
  let index: number;
  if ((words[word + 3]! & 0xff) === 0) index = arena.indexOf(undefined, destination);
  else {
    readAddress(words, word + 4, arena.slots, arena.addresses * SLOT_WORDS);
    index = arena.indexOfCandidate(destination);
  }
  if (index === REFUSED) return false;
  arena.refer(data, length, index);
  return true;
}

/** The error for what `packSend` refused. */
export function refused(arena: Arena, destination: Destination): Error {
  return refusalError(arena.refusal, 'send', arena.culprit, destination);
}

/** The parameters of a `send` that come as core values, as `packSend` takes them at word 0. Traps where a case is none. */
export function flatSend(values: readonly number[]): Uint32Array {
  const words = new Uint32Array(SEND_BYTES / 4);
  words.set(values.slice(0, 4));
  if (values[3]! >>> 0 > 1) throw new Trap(`an option is case 0 or 1, the guest gave ${values[3]}`);
  if (values[3] === 0) return words;
  const slot = encodeAddress(liftFlatAddress(values, 4));
  writeAddress(slot, 0, { words }, 16);
  return words;
}

/** Writes the batch's datagram as the ok case of a `receive` at a pointer of the guest's, which has room there. */
export function lowerDatagram(batch: IncomingBatch, memory: GuestMemory, pointer: number): void {
  const data = batch.data(0);
  const block = memory.allocate(data.length, 1);
  const { bytes, words } = memory;
  bytes.set(data, block);
  words[(pointer + 4) >>> 2] = block;
  words[(pointer + 8) >>> 2] = data.length;
  writeAddress(batch.slots, batch.addressIndex(0) * SLOT_WORDS, memory, pointer + 12);
  bytes[pointer] = 0;
}
