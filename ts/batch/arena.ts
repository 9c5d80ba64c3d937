import { HAS_RECORDS, LAYOUT, NO_ADDRESS, RECORD_WORDS, SLOT_WORDS } from '../native/layout.js';
import {
  decodeAddress,
  Encoded,
  encodeInto,
  familyOf,
  type IpSocketAddress,
  type SocketAddressLike,
} from '../rules/address.js';
import { type Destination, MAX_PAYLOAD, Refusal, remoteRefusal, sameAddress } from '../rules/destination.js';
import { Route } from '../rules/route.js';

/** `outgoing-datagram` of wasi:sockets/udp. */
export interface OutgoingDatagram {
  /**
   * The payload; 0 to 65,507 bytes over IPv4, to 65,527 over IPv6. A Uint8Array of any realm and over any memory, which a Buffer
   * is; its bytes are those of the moment of the call. Other views and Proxies are refused.
   */
  data: Uint8Array;
  /**
   * The destination: required where the stream has no remote address, else left out or equal to it. A `Route` says by which way the
   * datagram leaves as well.
   */
  remoteAddress?: SocketAddressLike | Route | undefined;
}

/** Bytes of a payload buffer: 1024 datagrams that fill an Ethernet frame, or 24 of the largest. */
const PAYLOAD_BYTES = 1_572_864;

const ENTRY_WORDS = LAYOUT.entryBytes / 4;
const MAX_DATAGRAMS = LAYOUT.maxDatagrams;

/** Looked up once: V8 of Node.js 20 looks methods of typed arrays up at each call, for 6 ns a datagram. */
const { set } = Uint8Array.prototype;

/**
 * What any realm's typed arrays are, and how long, whatever they say of it themselves: TypedArray.prototype's own getters look
 * into the array, and no subclass, property, Proxy or tag comes between.
 */
const { length: lengthGetter, [Symbol.toStringTag]: nameGetter } = Object.getOwnPropertyDescriptors(
  Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array,
);
const intrinsicLength = lengthGetter!.get as (this: Uint8Array) => number;
const intrinsicName = nameGetter!.get as (this: unknown) => string | undefined;

/** The address index of a datagram without address, as a small integer of the same bits. */
const CONNECTED = NO_ADDRESS | 0;

/** In place of an address index: the address breaks the rule that `refusal` names. */
export const REFUSED = -2;

/** In place of the last address where there is none yet: equal to no address, nor to undefined. */
const UNSEEN = Object.freeze({}) as SocketAddressLike;

/** In place of what is null or undefined and should be a datagram. */
const NO_DATAGRAM = Object.freeze({ data: undefined, remoteAddress: undefined }) as unknown as OutgoingDatagram;

/** What came of `add`, where it is no size. */
export const Added = { Refused: -1, NoRoom: -2 } as const;

/** A batch on its way to the addon: the payloads, and the table of where each lies and goes (see `layout.ts`). */
export class Arena {
  /** The payloads, one behind the other. */
  readonly bytes = new Uint8Array(new ArrayBuffer(PAYLOAD_BYTES));
  readonly payload = this.bytes.buffer;
  /** The same memory, to write text into. */
  readonly #text = Buffer.from(this.payload);
  readonly table = new ArrayBuffer(LAYOUT.tableBytes);
  /** The entries, each of as many datagrams as are alike and lie one behind the other. */
  readonly entries = new Uint32Array(this.table, 0, LAYOUT.maxDatagrams * ENTRY_WORDS);
  /** The address slots; the one behind the last holds a candidate. */
  readonly slots = new Uint32Array(this.table, LAYOUT.addressesOffset, LAYOUT.maxDatagrams * SLOT_WORDS);
  /** A record for each slot of what goes beside its datagrams; read where the batch has any. */
  readonly records = new Uint32Array(this.table, LAYOUT.recordsOffset);
  /** Whether it has. */
  #hasRecords = false;
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
  /** What was judged then: see `refusalError`. */
  culprit: unknown;
  /** The address object that the last datagram named, and its index. */
  #lastAddress: SocketAddressLike | Route | undefined = UNSEEN;
  #lastIndex = CONNECTED;

  /** The number of addresses as the addon takes it. */
  get addressCount(): number {
    return this.#hasRecords ? this.addresses | HAS_RECORDS : this.addresses;
  }

  /** Empties the batch. */
  clear(): void {
    this.position = 0;
    this.count = 0;
    this.used = 0;
    this.addresses = 0;
    this.refusal = Refusal.None;
    this.culprit = undefined;
    this.#lastAddress = UNSEEN;
    this.#hasRecords = false;
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
    let address: SocketAddressLike | Route | undefined = UNSEEN;
    let index = CONNECTED;
    batch: for (;;) {
      let data: Uint8Array;
      let remoteAddress: SocketAddressLike | Route | undefined;
      // Datagrams that are like the one before have a loop of their own: V8 then keeps what it needs in registers.
      for (; ; i++) {
        if (i >= stop) break batch;
        const datagram = list[i] ?? NO_DATAGRAM;
        data = datagram.data;
        remoteAddress = datagram.remoteAddress;
        // The length last, since a getter of the others could shrink the data. What has no element is looked at below, and V8
        // learns from the look what data is, so that it needs no call for the length.
        if (
          remoteAddress !== address ||
          intrinsicName.call(data) !== 'Uint8Array' ||
          data[0] === undefined ||
          intrinsicLength.call(data) !== alike ||
          position + alike > PAYLOAD_BYTES
        )
          break;
        set.call(bytes, data, position);
        position += alike;
      }
      // One that is not. The address first, since reading it could shrink the data; but what is no datagram is told before.
      const itsIndex = remoteAddress === address ? index : this.indexOf(remoteAddress, destination) | 0;
      const size = sizeOf(data);
      if (size === NOT_BYTES) {
        this.refuse(Refusal.NotADatagram, data);
        break;
      }
      if (size > largest) {
        this.refuse(Refusal.TooLarge, size);
        break;
      }
      // For V8, lengths may exceed 32 bits, so it would compute in doubles.
      const length = size | 0;
      if (itsIndex === REFUSED || position + length > PAYLOAD_BYTES) break;
      address = remoteAddress;
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

  /**
   * Makes a datagram of the `length` bytes at `position`; false where its address breaks a rule. The caller sees to the room, and
   * that the arena is left alone while `isPacking`: a getter of the address may call back.
   */
  append(length: number, address: SocketAddressLike | Route | undefined, destination: Destination): boolean {
    if (address !== this.#lastAddress && !this.#names(address, destination)) return false;
    this.#take(length);
    return true;
  }

  /**
   * Makes a datagram of a copy of `data`, text as UTF-8; its size in bytes. `Added.NoRoom` where the arena has none for it, and
   * `Added.Refused`, with the rule noted, where it breaks one. The caller sees to it that the arena is left alone while
   * `isPacking`.
   */
  add(data: Uint8Array | string, address: SocketAddressLike | Route | undefined, destination: Destination): number {
    if (address !== this.#lastAddress) {
      if (this.addresses === MAX_DATAGRAMS) return Added.NoRoom;
      if (!this.#names(address, destination)) return Added.Refused;
    }
    const isText = typeof data === 'string';
    const size = isText ? Buffer.byteLength(data) : sizeOf(data);
    if (size === NOT_BYTES) return this.#refuseAdded(Refusal.NotADatagram, data);
    if (size > MAX_PAYLOAD[destination.family]) return this.#refuseAdded(Refusal.TooLarge, size);
    const { position } = this;
    if (size > PAYLOAD_BYTES - position || this.count === MAX_DATAGRAMS) return Added.NoRoom;
    if (isText) this.#text.write(data, position);
    else set.call(this.bytes, data, position);
    this.#take(size);
    return size;
  }

  /**
   * Makes datagrams of copies of another arena's, from its number `from` on, whose payload lies in `payload`: as many as there is
   * room for; how many.
   */
  copy(other: Arena, payload: ArrayBuffer, from: number): number {
    const { entries } = other;
    const end = other.used * ENTRY_WORDS;
    let skip = from;
    let copied = 0;
    for (let word = 0; word < end; word += ENTRY_WORDS) {
      const length = entries[word + 1]!;
      const run = entries[word + 3]! - skip;
      if (run <= 0) {
        skip = -run;
        continue;
      }
      const fitting = length === 0 ? run : Math.min(run, Math.floor(this.room / length));
      const count = Math.min(fitting, MAX_DATAGRAMS - this.count);
      if (count === 0 || !this.#goTo(other, entries[word + 2]! | 0)) return copied;
      set.call(this.bytes, new Uint8Array(payload, entries[word]! + skip * length, count * length), this.position);
      this.#take(length, count);
      copied += count;
      if (count < run) return copied;
      skip = 0;
    }
    return copied;
  }

  /** Addresses what comes next as another arena's slots do by that index; false where there is no room for the address. */
  #goTo(other: Arena, index: number): boolean {
    const { slots, addresses } = this;
    this.#lastAddress = UNSEEN;
    if (index === CONNECTED) {
      this.#lastIndex = CONNECTED;
      return true;
    }
    const from = index * SLOT_WORDS;
    const at = addresses * SLOT_WORDS;
    const hasRecords = this.#hasRecords || other.#hasRecords;
    if (addresses === 0 || hasRecords || !sameAddress(slots, at - SLOT_WORDS, other.slots, from)) {
      if (addresses === MAX_DATAGRAMS) return false;
      for (let word = 0; word < SLOT_WORDS; word++) slots[at + word] = other.slots[from + word]!;
      if (other.#hasRecords) this.#writeRecord(other.records.subarray(from, from + RECORD_WORDS));
      else this.#appended();
    }
    this.#lastIndex = this.addresses - 1;
    return true;
  }

  /** Takes the candidate slot as one of no record. */
  #appended(): void {
    if (this.#hasRecords) this.#writeRecord(NO_RECORD);
    else this.addresses += 1;
  }

  /** Takes the candidate slot, with that record; slots before have none. */
  #writeRecord(record: Uint32Array): void {
    const { addresses, records } = this;
    if (!this.#hasRecords) {
      records.fill(0, 0, addresses * RECORD_WORDS);
      this.#hasRecords = true;
    }
    records.set(record, addresses * RECORD_WORDS);
    this.addresses = addresses + 1;
  }

  /** A copy of the first datagram's payload, and its destination. */
  first(): { data: Uint8Array; remoteAddress: IpSocketAddress | undefined } {
    const [offset = 0, length = 0, index = CONNECTED] = this.entries;
    return { data: this.bytes.slice(offset, offset + length), remoteAddress: this.#addressAt(index | 0) };
  }

  /** The address of an index; none where the connection names it, as a slot of family 0 has it too. */
  #addressAt(index: number): IpSocketAddress | undefined {
    if (index === CONNECTED || this.slots[index * SLOT_WORDS] === 0) return undefined;
    return decodeAddress(this.slots, index);
  }

  /** Takes the first `sent` datagrams out; the bytes that they had. Their room comes back when the arena is empty. */
  advance(sent: number): number {
    const { entries } = this;
    const end = this.used * ENTRY_WORDS;
    // Entries of which all are sent, then one of which some are.
    let word = 0;
    let left = sent;
    let bytes = 0;
    for (; word < end && entries[word + 3]! <= left; word += ENTRY_WORDS) {
      left -= entries[word + 3]!;
      bytes += entries[word + 1]! * entries[word + 3]!;
    }
    if (sent === this.count) {
      this.clear();
      return bytes;
    }
    bytes += left * entries[word + 1]!;
    entries[word]! += left * entries[word + 1]!;
    entries[word + 3]! -= left;
    entries.copyWithin(0, word, end);
    this.used -= word / ENTRY_WORDS;
    this.count -= sent;
    return bytes;
  }

  /** Drops the first `sent` datagrams and moves the others, and their addresses, to the front. */
  drop(sent: number): void {
    this.advance(sent);
    if (this.count === 0) return;
    const { entries, bytes, slots } = this;
    const firstByte = entries[0]!;
    bytes.copyWithin(0, firstByte, this.position);
    this.position -= firstByte;
    // The indexes of those that have slots only grow.
    const end = this.used * ENTRY_WORDS;
    let word = 0;
    while (word < end && (entries[word + 2]! | 0) === CONNECTED) word += ENTRY_WORDS;
    const firstSlot = word < end ? entries[word + 2]! : this.addresses;
    slots.copyWithin(0, firstSlot * SLOT_WORDS, this.addresses * SLOT_WORDS);
    if (this.#hasRecords) this.records.copyWithin(0, firstSlot * RECORD_WORDS, this.addresses * RECORD_WORDS);
    this.addresses -= firstSlot;
    if (this.#lastIndex !== CONNECTED) {
      this.#lastIndex -= firstSlot;
      // One whose datagrams are all gone.
      if (this.#lastIndex < 0) this.#lastAddress = UNSEEN;
    }
    for (word = 0; word < end; word += ENTRY_WORDS) {
      entries[word]! -= firstByte;
      if ((entries[word + 2]! | 0) !== CONNECTED) entries[word + 2]! -= firstSlot;
    }
  }

  /** Makes a datagram of `length` bytes at `offset` of another payload, to the address of that index. */
  refer(offset: number, length: number, index: number): void {
    const { entries, used } = this;
    let word = (used - 1) * ENTRY_WORDS;
    const isAlike = used > 0 && entries[word + 1] === length && (entries[word + 2]! | 0) === index;
    if (isAlike && entries[word]! + length * entries[word + 3]! === offset) {
      entries[word + 3]! += 1;
    } else {
      word += ENTRY_WORDS;
      entries[word] = offset;
      entries[word + 1] = length;
      entries[word + 2] = index;
      entries[word + 3] = 1;
      this.used = used + 1;
    }
    this.count += 1;
  }

  /** Makes datagrams of `length` bytes each of what lies at `position`, to the address that was named last. */
  #take(length: number, count = 1): void {
    const { entries, position, used } = this;
    const index = this.#lastIndex;
    let word = (used - 1) * ENTRY_WORDS;
    if (used > 0 && entries[word + 1] === length && (entries[word + 2]! | 0) === index) {
      entries[word + 3]! += count;
    } else {
      word += ENTRY_WORDS;
      entries[word] = position;
      entries[word + 1] = length;
      entries[word + 2] = index;
      entries[word + 3] = count;
      this.used = used + 1;
    }
    this.position = position + length * count;
    this.count += count;
  }

  #refuseAdded(refusal: Refusal, culprit: unknown): typeof Added.Refused {
    this.refuse(refusal, culprit);
    return Added.Refused;
  }

  /** The address index for an object. The same object as before, unread again, has the same index. */
  indexOf(address: SocketAddressLike | Route | undefined, destination: Destination): number {
    if (address === this.#lastAddress) return this.#lastIndex;
    const { slots, addresses } = this;
    const { remote } = destination;
    let index = CONNECTED;
    if (address === undefined || address === null) {
      if (remote === undefined) return this.refuse(Refusal.NoAddress);
    } else if (Route.is(address)) {
      index = this.#follow(address, destination);
      if (index === REFUSED) return REFUSED;
    } else {
      // It may equal the remote address, or the one before, unless that one has a record.
      const at = addresses * SLOT_WORDS;
      const last = this.#hasRecords ? -1 : at - SLOT_WORDS;
      const encoded = encodeInto(address, slots, at, remote ?? slots, remote === undefined ? last : 0);
      if (typeof encoded === 'string') return this.refuse(Refusal.MalformedAddress, encoded);
      if (encoded === Encoded.Written && this.#accept(destination) === REFUSED) return REFUSED;
      if (remote === undefined) index = this.addresses - 1;
    }
    this.#lastAddress = address;
    this.#lastIndex = index;
    return index;
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

  /** Addresses the datagram at hand by a route, which may be that of the one before; the index. */
  #follow(route: Route, destination: Destination): number {
    const { slots, records, addresses } = this;
    const slot = Route.slotOf(route);
    const record = Route.recordOf(route);
    const { remote } = destination;
    if (slot === undefined && remote === undefined) return this.refuse(Refusal.NoAddress);
    const at = addresses * SLOT_WORDS;
    // What is connected names its peer by the connection alone.
    const named = slot !== undefined && remote !== undefined && sameAddress(slot, 0, remote, 0) ? undefined : slot;
    slots.set(named ?? NO_SLOT, at);
    const isLast =
      this.#hasRecords &&
      addresses > 0 &&
      sameAddress(slots, at, slots, at - SLOT_WORDS) &&
      sameAddress(records, at - RECORD_WORDS, record, 0);
    if (isLast) return addresses - 1;
    const source = Route.sourceOf(route);
    if (source !== undefined) {
      // Linux does not look at a source of the other family.
      if (familyOf(source) !== (slot ?? remote!)[0]) return this.refuse(Refusal.SourceFamily, source);
      if (destination.permitsSource?.(source) === false) return this.refuse(Refusal.SourceDenied, source);
    }
    const refusal = named === undefined ? Refusal.None : this.#judge(destination);
    if (refusal !== Refusal.None) return this.refuse(refusal, decodeAddress(slots, addresses));
    this.#writeRecord(record);
    return addresses;
  }

  /** Notes the rule that was broken, and what broke it. */
  refuse(refusal: Refusal, culprit?: unknown): typeof REFUSED {
    this.refusal = refusal;
    this.culprit = culprit;
    return REFUSED;
  }

  /** The address that was named for the datagram that `add` has refused; undefined where none was, or what is none. */
  get refusedAddress(): IpSocketAddress | undefined {
    const { refusal, culprit } = this;
    if (refusal === Refusal.NotADatagram || refusal === Refusal.TooLarge) return this.#addressAt(this.#lastIndex);
    // The candidate slot has the destination whose source it is.
    if (refusal === Refusal.SourceFamily || refusal === Refusal.SourceDenied) return this.#addressAt(this.addresses);
    return refusal === Refusal.MalformedAddress ? undefined : (culprit as IpSocketAddress | undefined);
  }

  /** Takes the address for the datagram at hand; false where it breaks a rule. */
  #names(address: SocketAddressLike | Route | undefined, destination: Destination): boolean {
    this.isPacking = true;
    try {
      return this.indexOf(address, destination) !== REFUSED;
    } finally {
      this.isPacking = false;
    }
  }

  /** Checks the candidate, which equals neither; its index. */
  #accept(destination: Destination): number {
    const { slots, addresses } = this;
    const refusal = this.#judge(destination);
    if (refusal !== Refusal.None) return this.refuse(refusal, decodeAddress(slots, addresses));
    this.#appended();
    return addresses;
  }

  /** The rule that the candidate breaks. */
  #judge({ family, dualStack, lenient, remote, permits, permitted }: Destination): Refusal {
    if (lenient === true) return Refusal.None;
    const { slots, addresses } = this;
    const at = addresses * SLOT_WORDS;
    if (remote !== undefined) return Refusal.NotTheRemote;
    if (permitted !== undefined && sameAddress(slots, at, permitted, 0)) return Refusal.None;
    const refusal = remoteRefusal(slots, at, family, dualStack);
    if (refusal !== Refusal.None || permits === undefined) return refusal;
    if (!permits(decodeAddress(slots, addresses))) return Refusal.Denied;
    permitted?.set(slots.subarray(at, at + SLOT_WORDS));
    return Refusal.None;
  }
}

/** A slot of no address, and a record of nothing. */
const NO_SLOT = new Uint32Array(SLOT_WORDS);
const NO_RECORD = new Uint32Array(RECORD_WORDS);

/** In place of a size: no Uint8Array, or one whose buffer is gone. */
const NOT_BYTES = -1;

/** How many bytes `set` copies of a Uint8Array, of this or another realm, over whatever memory; -1 where it is none. */
export function sizeOf(data: Uint8Array): number {
  if (intrinsicName.call(data) !== 'Uint8Array') return NOT_BYTES;
  const first = data[0];
  const size = intrinsicLength.call(data);
  return first !== undefined || isAttached(data) ? size : NOT_BYTES;
}

/** A detached array, or one that its shrunk buffer no longer covers, has no length left, and copies to nowhere. */
function isAttached(empty: Uint8Array): boolean {
  try {
    set.call(new Uint8Array(0), empty);
    return true;
  } catch {
    return false;
  }
}

/** The arena of this thread: a send is synchronous, so one is enough. */
let shared: Arena | undefined;

/** The thread's arena; a new one where what packs it, such as a getter of the list, sends in turn. */
export function freeArena(): Arena {
  if (shared === undefined || shared.isPacking) shared = new Arena();
  return shared;
}
