import { endpointOf } from '../native/endpoint.js';
import { newSlot, RECORD, RECORD_WORDS } from '../native/layout.js';

/** What the system tells of a datagram beside its source, of what the socket was asked to tell. Datagrams in a row share it. */
export interface ReceiveInfo {
  /** The IP address that it was sent to: one of this machine, a group or a broadcast address. With `packetInfo`. */
  readonly localAddress?: string;
  /** Whether that is a group or a broadcast address (of broadcast addresses, macOS and Windows tell 255.255.255.255 alone). */
  readonly isShared: boolean;
  /** The index of the interface that it came by. With `packetInfo`. */
  readonly interface?: number;
  /** The traffic class, 0 to 255: six bits of DSCP and, in the lowest two, ECN (RFC 2474, RFC 3168). With `receiveTrafficClass`. */
  readonly trafficClass?: number;
  /**
   * When the kernel had it, in nanoseconds since 1970 of the system's clock. Linux begins to take times a moment after the first
   * socket of the system asks for them: what came before has that of its receipt. What the kernel coalesced has the time of its first.
   * macOS counts microseconds. With `timestamps`.
   */
  readonly timestamp?: bigint;
}

/** What a record of a table says. */
export function readInfo(records: Uint32Array, index: number): ReceiveInfo {
  const at = index * RECORD_WORDS;
  const flags = records[at]!;
  const family = flags & RECORD.familyBits;
  const told: { -readonly [K in keyof ReceiveInfo]: ReceiveInfo[K] } = { isShared: (flags & RECORD.isShared) !== 0 };
  if (family !== 0) {
    const slot = newSlot();
    slot.set(records.subarray(at, at + 6));
    slot[0] = family;
    told.localAddress = endpointOf(slot).address;
  }
  if (records[at + 1] !== 0) told.interface = records[at + 1]!;
  if (flags & RECORD.hasClass) told.trafficClass = (flags >>> RECORD.classShift) & 0xff;
  if (flags & RECORD.hasTime) told.timestamp = (BigInt(records[at + 7]!) << 32n) | BigInt(records[at + 6]!);
  return told;
}
