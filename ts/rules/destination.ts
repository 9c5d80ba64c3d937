import { SocketError } from '../errors.js';
import { type Endpoint, endpointOf } from '../native/endpoint.js';
import { SLOT_WORDS, type Slot } from '../native/layout.js';
import type { Family } from '../native/native.js';
import { encodeAddress, type IpSocketAddress, show } from './address.js';

/** The most bytes that a UDP datagram carries: 65,535 less the UDP header and, for IPv4, the IP header (RFC 768, 791). */
export const MAX_PAYLOAD: Record<Family, number> = { 4: 65_507, 6: 65_527 };

/** Where the datagrams of a stream may go: the facts that its send rules need. */
export interface Destination {
  readonly family: Family;
  /** Whether an IPv6 socket speaks IPv4 as well; only where the host asked for it. Default: false. */
  readonly dualStack?: boolean;
  /** Whether the system alone judges addresses: the rules of the WIT do not hold. Default: false. */
  readonly lenient?: boolean;
  /** The address that the stream is connected to. */
  readonly remote: Slot | undefined;
  /** Whether the policy lets a datagram go to the address; without one, every address passes. */
  readonly permits: ((address: IpSocketAddress) => boolean) | undefined;
  /** Whether the policy lets a datagram leave from the address, whose port is not looked at; without one, every address passes. */
  readonly permitsSource?: ((address: IpSocketAddress) => boolean) | undefined;
  /** The address that the policy let pass last, which it lets pass again. */
  readonly permitted?: Slot;
}

/** The rule that an entry of a list breaks; 0 where it breaks none. */
export const Refusal = {
  None: 0,
  NotADatagram: 1,
  TooLarge: 2,
  MalformedAddress: 3,
  WrongFamily: 4,
  UnspecifiedAddress: 5,
  PortZero: 6,
  Ipv4InIpv6: 7,
  NotTheRemote: 8,
  NoAddress: 9,
  Denied: 10,
  SourceFamily: 11,
  SourceDenied: 12,
} as const;
export type Refusal = (typeof Refusal)[keyof typeof Refusal];

/** The low half of an IPv4-mapped address's third word: `ffff` in network order. */
const MAPPED_WORD = 0xffff_0000;
/** The last word of `::1`. */
const LOOPBACK_WORD = 0x0100_0000;

/**
 * The rules of `remote-address` that need no list: its family, a specified address, a port, and no IPv4 address in IPv6
 * clothes. Reads the slot at word `at`.
 *
 * WIT, udp.wit: "`invalid-argument`: The `remote-address` has the wrong address family", "The IP address in
 * `remote-address` is set to INADDR_ANY", "The port in `remote-address` is set to 0"; network.wit and udp.wit have IPv6
 * sockets be v6-only, so an IPv4-mapped (RFC 4291, 2.5.5.2) or -compatible (2.5.5.1) address names nothing they reach. A socket
 * of both protocols (`dualStack`) takes IPv4 addresses as such.
 */
export function remoteRefusal(slots: Uint32Array, at: number, family: Family, dualStack = false): Refusal {
  if (slots[at] !== family && !(dualStack && slots[at] === 4)) return Refusal.WrongFamily;
  const w0 = slots[at + 2]!;
  const w3 = slots[at + 5]!;
  if (slots[at] === 4) {
    if (w0 === 0) return Refusal.UnspecifiedAddress;
  } else if (w0 === 0 && slots[at + 3] === 0) {
    const w2 = slots[at + 4]!;
    if (w2 === MAPPED_WORD) return Refusal.Ipv4InIpv6;
    if (w2 === 0) {
      if (w3 === 0) return Refusal.UnspecifiedAddress;
      if (w3 !== LOOPBACK_WORD) return Refusal.Ipv4InIpv6;
    }
  }
  return slots[at + 1] === 0 ? Refusal.PortZero : Refusal.None;
}

/**
 * The rules of `local-address`: its family, and no IPv4 address in IPv6 clothes. The unspecified address and port 0 leave the
 * choice to the system.
 */
export function localRefusal(slot: Slot, family: Family, dualStack = false): Refusal {
  const refusal = remoteRefusal(slot, 0, family, dualStack);
  return refusal === Refusal.UnspecifiedAddress || refusal === Refusal.PortZero ? Refusal.None : refusal;
}

/** Whether the slots at those words hold the same address. */
export function sameAddress(slots: Uint32Array, at: number, others: Uint32Array, other: number): boolean {
  for (let word = 0; word < SLOT_WORDS; word++) if (slots[at + word] !== others[other + word]) return false;
  return true;
}

/** The word of a slot that holds an IPv6 address's scope. */
const SCOPE_WORD = 7;

/** Whether the slot at that word names the peer: its host and port, and its scope where both tell one. */
export function samePeer(slots: Uint32Array, at: number, peer: Slot): boolean {
  for (let word = 0; word < 6; word++) if (slots[at + word] !== peer[word]) return false;
  const scope = slots[at + SCOPE_WORD];
  return scope === 0 || peer[SCOPE_WORD] === 0 || scope === peer[SCOPE_WORD];
}

/** A host and a port as text. */
function textOf({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * The error for a refused datagram or peer: the rule, what was received, the remedy; `code` is the name that udp.wit has beside the
 * rule. A value of no WIT type is a TypeError. `where` names the call and the datagram; `culprit` is what was judged: the length of
 * what is too large, what is the matter with a malformed address, the address as plain data, or what stands in place of the data.
 */
export function refusalError(
  refusal: Refusal,
  where: string,
  culprit: unknown,
  { family, dualStack, remote }: Destination,
): Error {
  /** For an address: the rule, the address, the remedy. */
  const refused = (code: string, rule: string, remedy: string) => {
    const endpoint = endpointOf(encodeAddress(culprit as IpSocketAddress));
    const payload = code === 'EACCES' ? 'access-denied' : 'invalid-argument';
    return new SocketError(payload, `${where}: ${rule}, got ${textOf(endpoint)}: ${remedy}`, { code, ...endpoint });
  };
  /** For a source, which has the socket's port. */
  const refusedSource = (payload: 'invalid-argument' | 'access-denied', code: string, rule: string, remedy: string) => {
    const { address } = endpointOf(encodeAddress(culprit as IpSocketAddress));
    return new SocketError(payload, `${where}: ${rule}, got ${address}: ${remedy}`, { code, address });
  };
  switch (refusal) {
    case Refusal.TooLarge:
      return new SocketError(
        'datagram-too-large',
        `${where}: UDP over IPv${family} carries at most ${MAX_PAYLOAD[family]} bytes, got ${culprit}: split the data`,
      );
    case Refusal.MalformedAddress:
      return new SocketError('invalid-argument', `${where}: ${culprit}`);
    case Refusal.WrongFamily:
      return refused(
        'EAFNOSUPPORT',
        `an IPv${family} socket takes IPv${family} addresses`,
        'open a socket of the other family',
      );
    case Refusal.UnspecifiedAddress:
      return refused('EDESTADDRREQ', 'a remote address names a host', 'use 127.0.0.1 or ::1 for this machine');
    case Refusal.PortZero:
      return refused('EDESTADDRREQ', 'a remote port is 1 to 65535', "name the receiver's port");
    case Refusal.Ipv4InIpv6:
      // tcp.wit of 0.2 and types.wit of 0.3: "is an IPv4-mapped IPv6 address. (EINVAL)".
      return dualStack
        ? refused('EINVAL', 'a socket of both protocols names IPv4 peers by their IPv4 addresses', 'use that address')
        : refused('EINVAL', 'an IPv6 socket reaches IPv6 alone', 'use the IPv4 address on an IPv4 socket');
    case Refusal.NotTheRemote:
      return refused(
        'EISCONN',
        `the socket is connected to ${textOf(endpointOf(remote!))}`,
        'leave the address out, or send by a socket without a peer',
      );
    case Refusal.NoAddress:
      return new SocketError(
        'invalid-argument',
        `${where}: a socket without a peer needs the remote address of each datagram, got none: name one`,
        { code: 'EDESTADDRREQ' },
      );
    case Refusal.SourceFamily:
      return refusedSource(
        'invalid-argument',
        'EAFNOSUPPORT',
        'a source is of the family of the destination',
        'name an address of that family',
      );
    case Refusal.SourceDenied:
      return refusedSource(
        'access-denied',
        'EACCES',
        'no "bind" rule of the policy covers the source with the port of the socket',
        'allow it',
      );
    case Refusal.Denied:
      return refused('EACCES', 'no "send" rule of the policy covers the address', 'allow it');
    default:
      return new TypeError(
        `${where}: a datagram is { data, remoteAddress? }, data a Uint8Array that still has its bytes, got ${show(culprit)}: ` +
          `make text a Uint8Array with Buffer.from(text), and another view one over its buffer`,
      );
  }
}
