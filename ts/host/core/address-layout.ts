import { Trap } from '../../errors.js';
import { SLOT_WORDS } from '../../native/layout.js';
import type { IpAddressFamily, IpSocketAddress, Ipv6Address } from '../../rules/address.js';
import type { GuestMemory } from './memory.js';

/**
 * ip-socket-address in a guest's memory: 32 bytes, aligned to 4. Byte 0 is the case; from byte 4 on lies
 * ipv4: port (u16 at 4), four bytes (at 6); ipv6: port (u16 at 4), flow info (u32 at 8), eight u16 (at 12), scope id (u32 at 28).
 */
export const ADDRESS_BYTES = 32;

/** Swaps the bytes of both halves: two u16 of a guest's memory, and the same in network order. */
function swapped(word: number): number {
  return (((word & 0x00ff_00ff) << 8) | ((word >>> 8) & 0x00ff_00ff)) >>> 0;
}

/** Copies the address at word `from` of a guest's memory into the slot at word `at`. Traps where its case is none. */
export function readAddress(words: Uint32Array, from: number, slots: Uint32Array, at: number): void {
  const discriminant = words[from]! & 0xff;
  const second = words[from + 1]!;
  slots[at + 1] = second & 0xffff;
  if (discriminant === 0) {
    slots[at] = 4;
    slots[at + 2] = (second >>> 16) | (words[from + 2]! << 16);
    for (let word = at + 3; word < at + SLOT_WORDS; word++) slots[word] = 0;
  } else if (discriminant === 1) {
    slots[at] = 6;
    for (let i = 0; i < 4; i++) slots[at + 2 + i] = swapped(words[from + 3 + i]!);
    slots[at + 6] = words[from + 2]!;
    slots[at + 7] = words[from + 7]!;
  } else {
    throw new Trap(`an ip-socket-address is case 0 or 1, the guest gave ${discriminant}`);
  }
}

/** Whether the addresses at two words of a guest's memory are the same; their padding does not count. */
export function sameInMemory(words: Uint32Array, one: number, other: number): boolean {
  const discriminant = words[one]! & 0xff;
  if (discriminant !== (words[other]! & 0xff)) return false;
  if (discriminant === 0) {
    return words[one + 1] === words[other + 1] && (words[one + 2]! & 0xffff) === (words[other + 2]! & 0xffff);
  }
  if ((words[one + 1]! & 0xffff) !== (words[other + 1]! & 0xffff)) return false;
  for (let i = 2; i < 8; i++) if (words[one + i] !== words[other + i]) return false;
  return true;
}

/** Writes the slot at word `at` as an ip-socket-address at a pointer of a guest's memory, seen as words. */
export function writeAddress(
  slots: Uint32Array,
  at: number,
  { words }: Pick<GuestMemory, 'words'>,
  pointer: number,
): void {
  const to = pointer >>> 2;
  if (slots[at] === 4) {
    words[to] = 0;
    words[to + 1] = slots[at + 1]! | (slots[at + 2]! << 16);
    words[to + 2] = slots[at + 2]! >>> 16;
    return;
  }
  words[to] = 1;
  words[to + 1] = slots[at + 1]!;
  words[to + 2] = slots[at + 6]!;
  for (let i = 0; i < 4; i++) words[to + 3 + i] = swapped(slots[at + 2 + i]!);
  words[to + 7] = slots[at + 7]!;
}

/** An ip-address-family of the guest's. Traps where its case is none. */
export function liftFamily(value: number): IpAddressFamily {
  if (value === 0) return 'ipv4';
  if (value === 1) return 'ipv6';
  throw new Trap(`an ip-address-family is 0 or 1, the guest gave ${value}`);
}

/** An ip-address-family as a core value. */
export const lowerFamily = (family: IpAddressFamily): number => (family === 'ipv4' ? 0 : 1);

/** Core values that a flattened ip-socket-address takes: its case, then the cases' fields joined. */
export const FLAT_ADDRESS = 12;

/** A flattened ip-socket-address, beginning at `values[at]`. Traps where its case is none. */
export function liftFlatAddress(values: readonly number[], at: number): IpSocketAddress {
  const field = (index: number, bits: number) => (values[at + index]! >>> 0) % 2 ** bits;
  const port = field(1, 16);
  if (values[at] === 0) {
    return { tag: 'ipv4', val: { port, address: [field(2, 8), field(3, 8), field(4, 8), field(5, 8)] } };
  }
  if (values[at] !== 1) throw new Trap(`an ip-socket-address is case 0 or 1, the guest gave ${values[at]}`);
  const address = Array.from({ length: 8 }, (_, i) => field(3 + i, 16)) as Ipv6Address;
  return { tag: 'ipv6', val: { port, flowInfo: field(2, 32), address, scopeId: field(11, 32) } };
}
