import { LAYOUT, NO_ADDRESS, SLOT_WORDS } from '../native/layout.js';
import { bytesWord, decodeAddress, groupsWord, type IpSocketAddress } from '../rules/address.js';
import { type Destination, MAX_PAYLOAD, Refusal, remoteRefusal, sameAddress } from '../rules/destination.js';

/** `outgoing-datagram` of wasi:sockets/udp. */
export interface OutgoingDatagram {
  /** The payload; 0 to 65,507 bytes over IPv4, to 65,527 over IPv6. */
  data: Uint8Array;
  /** The destination: required where the stream has no remote address, else left out or equal to it. */
  remoteAddress?: IpSocketAddress | undefined;
}

/** Bytes of a payload buffer: 1024 datagrams that fill an Ethernet frame, or 24 of the largest. */
const PAYLOAD_BYTES = 1_572_864;

const ENTRY_WORDS = LAYOUT.entryBytes / 4;
const MAX_DATAGRAMS = LAYOUT.maxDatagrams;

/** Looked up once: V8 of Node.js 20 looks methods of typed arrays up at each call, for 6 ns a datagram. */
const { set } = Uint8Array.prototype;

/** The address index of a datagram without address, as a small integer of the same bits. */
const CONNECTED = NO_ADDRESS | 0;

/** In place of an address index: the address breaks the rule that `refusal` names. */
export const REFUSED = -2;

/** In place of the last address where there is none yet: equal to no address, nor to undefined. */
const UNSEEN = Object.freeze({}) as IpSocketAddress;

/** In place of what is null or undefined and should be a datagram. */
const NO_DATAGRAM = Object.freeze({ data: [], remoteAddress: undefined }) as unknown as OutgoingDatagram;

/** A batch on its way to the addon: the payloads, and the table of where each lies and goes (see `layout.ts`). */
export class Arena {
  /** The payloads, one behind the other. */
  readonly bytes = new Uint8Array(new ArrayBuffer(PAYLOAD_BYTES));
  readonly payload = this.bytes.buffer;
  readonly table = new ArrayBuffer(LAYOUT.tableBytes);
  /** The entries, each of as many datagrams as are alike and lie one behind the other. */
  readonly entries = new Uint32Array(this.table, 0, LAYOUT.maxDatagrams * ENTRY_WORDS);
  /** The address slots; the one behind the last holds a candidate. */
  readonly slots = new Uint32Array(this.table, LAYOUT.addressesOffset);
  /** Bytes of payload taken. */
  position = 0;
  /** Datagrams in the batch. */
  count = 0;
  /** Entries in the table. */
  used = 0;
  /** Address slots in the table. */
  addresses = 0;
  /** Whether it is being packed, which may run code of the user's: getters, a policy. */
  isPacking = false;
  /** Why packing stopped before the list's end, where a rule stopped it. */
  refusal: Refusal = Refusal.None;
  /** The address object that the last datagram named, and its index. */
  #lastAddress: IpSocketAddress | undefined = UNSEEN;
  #lastIndex = CONNECTED;

  /** Empties the batch. */
  clear(): void {
    this.position = 0;
    this.count = 0;
    this.used = 0;
    this.addresses = 0;
    this.refusal = Refusal.None;
    this.#lastAddress = UNSEEN;
  }

  /** Bytes of payload that are left. */
  get room(): number {
    return PAYLOAD_BYTES - this.position;
  }

  /** Whether the batch has as many datagrams as a permit. */
  get isFull(): boolean {
    return this.count === MAX_DATAGRAMS;
  }

  /** Packs the list from an index on: up to `end`, to the first entry that breaks a rule, or to a full arena. */
  pack(list: readonly OutgoingDatagram[], from: number, end: number, destination: Destination): void {
    this.clear();
    const { bytes, entries } = this;
    const largest = MAX_PAYLOAD[destination.family];
    // Small integers to V8, which would else unpack them for each datagram.
    const stop = end | 0;
    let i = from | 0;
    let position = 0;
    // The entry at hand: where it stands, its first datagram, and what all of them are like.
    let word = -ENTRY_WORDS;
    let first = i;
    let alike = -1;
    let address: IpSocketAddress | undefined = UNSEEN;
    let index = CONNECTED;
    batch: for (;;) {
      let data: Uint8Array;
      let remoteAddress: IpSocketAddress | undefined;
      // Datagrams that are like the one before have a loop of their own: V8 then keeps what it needs in registers.
      for (; ; i++) {
        if (i >= stop) break batch;
        const datagram = list[i] ?? NO_DATAGRAM;
        data = datagram.data ?? NO_DATAGRAM.data;
        remoteAddress = datagram.remoteAddress;
        // Last, since a getter of the others could shrink the data.
        const size = data.length;
        if (size !== alike || remoteAddress !== address || !isBytes(data, size) || position + alike > PAYLOAD_BYTES)
          break;
        set.call(bytes, data, position);
        position += alike;
      }
      // One that is not.
      const size = data.length;
      if (!isBytes(data, size)) {
        this.refusal = Refusal.NotADatagram;
        break;
      }
      if (size > largest) {
        this.refusal = Refusal.TooLarge;
        break;
      }
      // For V8, lengths may exceed 32 bits, so it would compute in doubles.
      const length = size | 0;
      if (position + length > PAYLOAD_BYTES) break;
      let itsIndex = index;
      if (remoteAddress !== address) {
        itsIndex = this.indexOf(remoteAddress, destination) | 0;
        if (itsIndex === REFUSED) break;
        // A policy, or a getter of the address, has shrunk the data.
        if (data.length !== size) {
          this.refusal = Refusal.NotADatagram;
          break;
        }
        address = remoteAddress;
      }
      if (length !== alike || itsIndex !== index) {
        if (i > first) entries[word + 3] = i - first;
        word += ENTRY_WORDS;
        entries[word] = position;
        entries[word + 1] = length;
        entries[word + 2] = itsIndex;
        first = i;
        alike = length;
        index = itsIndex;
      }
      set.call(bytes, data, position);
      position += length;
      i++;
    }
    if (i > first) entries[word + 3] = i - first;
    this.position = position;
    this.count = i - from;
    this.used = word / ENTRY_WORDS + 1;
  }

  /** Makes a datagram of the `length` bytes at `position`; false where its address breaks a rule. The caller sees to the room. */
  append(length: number, address: IpSocketAddress | undefined, destination: Destination): boolean {
    if (address !== this.#lastAddress && this.indexOf(address, destination) === REFUSED) return false;
    const { entries, position, used } = this;
    const index = this.#lastIndex;
    let word = (used - 1) * ENTRY_WORDS;
    if (used > 0 && entries[word + 1] === length && (entries[word + 2]! | 0) === index) {
      entries[word + 3]! += 1;
    } else {
      word += ENTRY_WORDS;
      entries[word] = position;
      entries[word + 1] = length;
      entries[word + 2] = index;
      entries[word + 3] = 1;
      this.used = used + 1;
    }
    this.position = position + length;
    this.count += 1;
    return true;
  }

  /** Drops the first `sent` datagrams and moves the others, and their addresses, to the front. */
  drop(sent: number): void {
    if (sent === this.count) {
      this.clear();
      return;
    }
    const { entries, bytes, slots } = this;
    const end = this.used * ENTRY_WORDS;
    // Entries of which all are sent, then one of which some are.
    let first = 0;
    let left = sent;
    for (; entries[first + 3]! <= left; first += ENTRY_WORDS) left -= entries[first + 3]!;
    entries[first]! += left * entries[first + 1]!;
    entries[first + 3]! -= left;
    entries.copyWithin(0, first, end);
    this.used -= first / ENTRY_WORDS;
    this.count -= sent;
    const firstByte = entries[0]!;
    bytes.copyWithin(0, firstByte, this.position);
    this.position -= firstByte;
    // A connected stream's datagrams have no slots; the others' indexes only grow.
    const firstSlot = this.addresses === 0 ? 0 : entries[2]!;
    slots.copyWithin(0, firstSlot * SLOT_WORDS, this.addresses * SLOT_WORDS);
    this.addresses -= firstSlot;
    this.#lastIndex -= firstSlot;
    for (let word = 0; word < end - first; word += ENTRY_WORDS) {
      entries[word]! -= firstByte;
      entries[word + 2]! -= firstSlot;
    }
  }

  /** The address index for an object. The same object as before, unread again, has the same index. */
  indexOf(address: IpSocketAddress | undefined, destination: Destination): number {
    const { slots, addresses } = this;
    const { remote } = destination;
    if (address !== this.#lastAddress) {
      if (address === undefined || address === null) {
        if (remote === undefined) return this.#refuse(Refusal.NoAddress);
      } else {
        // It may equal the remote address, or the one before.
        const at = addresses * SLOT_WORDS;
        const encoded = encode(address, slots, at, remote ?? slots, remote === undefined ? at - SLOT_WORDS : 0);
        if (encoded === Encoded.Malformed) return this.#refuse(Refusal.MalformedAddress);
        if (encoded === Encoded.Candidate && this.#accept(destination) === REFUSED) return REFUSED;
      }
      this.#lastAddress = address;
    }
    this.#lastIndex = remote !== undefined ? CONNECTED : this.addresses - 1;
    return this.#lastIndex;
  }

  /** The index for the candidate, the slot behind the last, which may equal the remote address, or the one before. */
  indexOfCandidate(destination: Destination): number {
    const { slots, addresses } = this;
    const { remote } = destination;
    const at = addresses * SLOT_WORDS;
    if (remote !== undefined && sameAddress(slots, at, remote, 0)) return CONNECTED;
    if (remote === undefined && addresses > 0 && sameAddress(slots, at, slots, at - SLOT_WORDS)) return addresses - 1;
    return this.#accept(destination);
  }

  /** Checks the candidate, which equals neither; its index. */
  #accept({ family, remote, permits }: Destination): number {
    const { slots, addresses } = this;
    if (remote !== undefined) return this.#refuse(Refusal.NotTheRemote);
    const refusal = remoteRefusal(slots, addresses * SLOT_WORDS, family);
    if (refusal !== Refusal.None) return this.#refuse(refusal);
    if (permits !== undefined && !permits(decodeAddress(slots, addresses))) return this.#refuse(Refusal.Denied);
    this.addresses = addresses + 1;
    return addresses;
  }

  #refuse(refusal: Refusal): number {
    this.refusal = refusal;
    return REFUSED;
  }
}

/** Whether `data`, with that length, is a Uint8Array of this or another realm whose buffer is still there. */
function isBytes(data: unknown, length: number): data is Uint8Array {
  if (!(data instanceof Uint8Array) && Object.prototype.toString.call(data) !== '[object Uint8Array]') return false;
  return length !== 0 || isAttached(data as Uint8Array);
}

/** A detached array has no length left, and copies to nowhere. */
function isAttached(empty: Uint8Array): boolean {
  try {
    new Uint8Array(0).set(empty);
    return true;
  } catch {
    return false;
  }
}

/** What came of an address. */
const Encoded = { Malformed: 0, Candidate: 1, Known: 2 } as const;
type Encoded = (typeof Encoded)[keyof typeof Encoded];

/**
 * Writes an address into the slot at word `at`, unless the slot of `known` at word `last` holds it; there is none below 0.
 * Malformed is what has a value of another type or out of range.
 */
function encode(address: IpSocketAddress, slots: Uint32Array, at: number, known: Uint32Array, last: number): Encoded {
  if (typeof address.val !== 'object' || address.val === null) return Encoded.Malformed;
  if (address.tag === 'ipv4') {
    const { port, address: bytes } = address.val;
    if (!Array.isArray(bytes) || bytes.length !== 4 || !isShort(port)) return Encoded.Malformed;
    const a = bytes[0];
    const b = bytes[1];
    const c = bytes[2];
    const d = bytes[3];
    if (!isByte(a) || !isByte(b) || !isByte(c) || !isByte(d)) return Encoded.Malformed;
    const word = bytesWord(a, b, c, d);
    if (last >= 0 && known[last] === 4 && known[last + 1] === port && known[last + 2] === word) return Encoded.Known;
    slots[at] = 4;
    slots[at + 1] = port;
    slots[at + 2] = word;
    slots[at + 3] = 0;
    slots[at + 4] = 0;
    slots[at + 5] = 0;
    slots[at + 6] = 0;
    slots[at + 7] = 0;
    return Encoded.Candidate;
  }
  if (address.tag !== 'ipv6') return Encoded.Malformed;
  const { port, flowInfo, address: groups, scopeId } = address.val;
  if (!Array.isArray(groups) || groups.length !== 8 || !isShort(port)) return Encoded.Malformed;
  if (flowInfo >>> 0 !== flowInfo || scopeId >>> 0 !== scopeId) return Encoded.Malformed;
  for (let i = 0; i < 8; i++) if (!isShort(groups[i]!)) return Encoded.Malformed;
  const w0 = groupsWord(groups[0], groups[1]);
  const w1 = groupsWord(groups[2], groups[3]);
  const w2 = groupsWord(groups[4], groups[5]);
  const w3 = groupsWord(groups[6], groups[7]);
  if (
    last >= 0 &&
    known[last] === 6 &&
    known[last + 1] === port &&
    known[last + 2] === w0 &&
    known[last + 3] === w1 &&
    known[last + 4] === w2 &&
    known[last + 5] === w3 &&
    known[last + 6] === flowInfo &&
    known[last + 7] === scopeId
  ) {
    return Encoded.Known;
  }
  slots[at] = 6;
  slots[at + 1] = port;
  slots[at + 2] = w0;
  slots[at + 3] = w1;
  slots[at + 4] = w2;
  slots[at + 5] = w3;
  slots[at + 6] = flowInfo;
  slots[at + 7] = scopeId;
  return Encoded.Candidate;
}

function isByte(value: number): boolean {
  return (value & 0xff) === value;
}

function isShort(value: number): boolean {
  return (value & 0xffff) === value;
}
