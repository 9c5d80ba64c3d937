/**
 * The layout of a batch's table, the same numbers as in `crates/engine/src/table.rs`; compared when the binary is loaded.
 *
 * A table is one ArrayBuffer: first the entries (offset into the payload, length, index of the address, how many datagrams of
 * that length and address lie there, one behind the other; 32 bits each), then the address slots (family 4 or 6, port, 16
 * bytes of address in network order, flow info, scope id), then a record for each slot of what goes beside its datagrams, see
 * `RECORD`. What was received has an entry for each datagram.
 */
export const LAYOUT = {
  version: 3,
  /** Datagrams in one table: the kernel's own limit of messages a call (UIO_MAXIOV), and so the permit. */
  maxDatagrams: 1024,
  entryBytes: 16,
  addressesOffset: 16_384,
  slotBytes: 32,
  recordsOffset: 49_152,
  recordBytes: 32,
  tableBytes: 81_920,
} as const;

/** The address index of a datagram that names no address: its socket is connected. */
export const NO_ADDRESS = 0xffff_ffff;

/** An address as the eight 32-bit words of its slot in a table; words 2 to 5 hold the address in network order. */
export type Slot = Uint32Array<ArrayBuffer>;

/** The words of a slot. */
export const SLOT_WORDS = LAYOUT.slotBytes / 4;

/** The words of a record. */
export const RECORD_WORDS = LAYOUT.recordBytes / 4;

/**
 * A record, the same numbers as in `crates/engine/src/ancillary.rs`: word 0 has the family of the address (0 for none) and these
 * bits, word 1 the index of the interface, words 2 to 5 the address in network order, words 6 and 7 nanoseconds, the low half first.
 */
export const RECORD = {
  familyBits: 0xff,
  classShift: 8,
  hasClass: 1 << 16,
  hasTime: 1 << 17,
  isShared: 1 << 18,
} as const;

/** Beside a number of addresses: each has a record. A slot of family 0 is of datagrams that name no address. */
export const HAS_RECORDS = 1 << 16;

/** A slot of its own, outside any table. */
export function newSlot(): Slot {
  return new Uint32Array(SLOT_WORDS);
}

/** The slot's bytes, which the addon reads and writes. */
export function slotBytes(slot: Slot): Uint8Array {
  return new Uint8Array(slot.buffer, slot.byteOffset, LAYOUT.slotBytes);
}

/**
 * What a call of `send`, `checkSend`, `receive` or `deferError` left with the socket, as bits above its count or its error
 * number: what the kernel does not know, and whoever waits must.
 */
export const LEFT = {
  /** Datagrams that the next receive finds here. */
  datagrams: 1 << 16,
  /** An error that the next check, send or receive tells. */
  error: 1 << 17,
  /** The receive took all that the kernel had. */
  drained: 1 << 18,
  /** Reports that are to be taken. */
  reports: 1 << 19,
} as const;

/** The bits of a count or an error number. */
export const COUNT = 0xffff;
