import type { SocketError } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { endpointOf } from '../native/endpoint.js';
import { LAYOUT, SLOT_WORDS } from '../native/layout.js';
import { native, OPTION, systemError } from '../native/native.js';
import { decodeAddress, type IpSocketAddress } from '../rules/address.js';
import { optionError } from './udp-options.js';

/** An error that a datagram met, with the datagram: what `onPeerError` of `openUdp` hears. */
export interface PeerError extends SocketError {
  /** Where the datagram was to go; absent where the receive buffer, which the system's queue of errors shares, had no room to tell. */
  remoteAddress?: IpSocketAddress;
  /** The MTU, headers included, that the datagram exceeded: `datagram-too-large`. */
  mtu?: number;
  /** Whether this system refused the datagram at the call that sent it, which has told so; else an ICMP message did, later. */
  isLocal: boolean;
  /** The beginning of its payload, as far as the ICMP message quotes it: at most 512 bytes; nothing of what `isLocal`. */
  data: Buffer;
}

/** Bytes of a report: see `takeReport`. */
const WORDS = 4;
const SLOT_AT = 4 * WORDS;
const DATA_AT = SLOT_AT + LAYOUT.slotBytes;
const REPORT_BYTES = DATA_AT + 512;

/**
 * Has a socket tell of the errors that its datagrams met: ip(7), IP_RECVERR. They fail no call then.
 *
 * Throws SocketError `not-supported` where the system has no queue of errors, or may not be asked.
 */
export function hearPeerErrors(where: string, descriptor: Descriptor, tell: (error: PeerError) => void): void {
  const result = native.setOption(descriptor.socket, OPTION.errorReports, 1);
  if (result < 0) throw optionError(where, 'IP_RECVERR', 'setsockopt', -result);
  const report = new ArrayBuffer(REPORT_BYTES);
  const bytes = new Uint8Array(report);
  descriptor.onReports = () => {
    // In a tick of its own: what it does or throws is no matter of the call that found it.
    while (native.takeReport(descriptor.socket, bytes) === 1) process.nextTick(tell, read(report));
  };
}

function read(report: ArrayBuffer): PeerError {
  const [errno, isIcmp, mtu, quoted] = new Uint32Array(report, 0, WORDS) as unknown as [number, number, number, number];
  const slot = new Uint32Array(report, SLOT_AT, SLOT_WORDS);
  const isKnown = slot[0] !== 0;
  const error = systemError('send', 'send', errno, isKnown ? endpointOf(slot) : undefined) as PeerError;
  if (isKnown) error.remoteAddress = decodeAddress(slot);
  if (mtu !== 0) error.mtu = mtu;
  error.isLocal = isIcmp === 0;
  error.data = Buffer.from(new Uint8Array(report, DATA_AT, quoted));
  return error;
}
