import { isIPv4, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { SocketError } from '../errors.js';
import { newSlot, SLOT_WORDS, type Slot } from '../native/layout.js';
import type { Family } from '../native/native.js';

/** `ip-address-family` of wasi:sockets/network. */
export type IpAddressFamily = 'ipv4' | 'ipv6';
/** Four bytes, the first one first. */
export type Ipv4Address = [number, number, number, number];
/** Eight 16-bit groups, the first one first. */
export type Ipv6Address = [number, number, number, number, number, number, number, number];

export interface Ipv4SocketAddress {
  port: number;
  address: Ipv4Address;
}

export interface Ipv6SocketAddress {
  port: number;
  flowInfo: number;
  address: Ipv6Address;
  scopeId: number;
}

/** `ip-socket-address` of wasi:sockets/network, in the form that jco gives it. */
export type IpSocketAddress = { tag: 'ipv4'; val: Ipv4SocketAddress } | { tag: 'ipv6'; val: Ipv6SocketAddress };

export function familyOf(address: IpSocketAddress): Family {
  return address.tag === 'ipv4' ? 4 : 6;
}

/** Four bytes as the 32-bit word that holds them in that order; every supported target is little-endian. */
export function bytesWord(a: number, b: number, c: number, d: number): number {
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

/** Two 16-bit groups as the 32-bit word that holds them in network order. */
export function groupsWord(high: number, low: number): number {
  return ((high >>> 8) | ((high & 0xff) << 8) | ((low & 0xff00) << 8) | (low << 24)) >>> 0;
}

/** Writes `address` into a slot. Throws `invalid-argument` where it is not an ip-socket-address in range. */
export function encodeAddress(address: IpSocketAddress, slot: Slot = newSlot()): Slot {
  const problem = malformation(address);
  if (problem !== undefined) throw new SocketError('invalid-argument', problem);
  slot.fill(0);
  slot[0] = familyOf(address);
  slot[1] = address.val.port;
  if (address.tag === 'ipv4') {
    slot[2] = bytesWord(...address.val.address);
  } else {
    const groups = address.val.address;
    for (let i = 0; i < 4; i++) slot[2 + i] = groupsWord(groups[2 * i]!, groups[2 * i + 1]!);
    slot[6] = address.val.flowInfo;
    slot[7] = address.val.scopeId;
  }
  return slot;
}

/** The address in a slot, or in the slot of that index of a table's slots. */
export function decodeAddress(slots: Uint32Array, index = 0): IpSocketAddress {
  const at = index * SLOT_WORDS;
  const port = slots[at + 1]!;
  if (slots[at] === 4) {
    const word = slots[at + 2]!;
    return {
      tag: 'ipv4',
      val: { port, address: [word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, word >>> 24] },
    };
  }
  const groups = [];
  for (let i = 2; i < 6; i++) {
    const word = slots[at + i]!;
    groups.push(((word & 0xff) << 8) | ((word >>> 8) & 0xff), ((word >>> 8) & 0xff00) | (word >>> 24));
  }
  const address = groups as Ipv6Address;
  return { tag: 'ipv6', val: { port, flowInfo: slots[at + 6]!, address, scopeId: slots[at + 7]! } };
}

const isUnsigned = (value: unknown, bits: number) =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** bits;

/** What keeps `value` from being an ip-socket-address: rule, received, remedy; undefined where nothing does. */
export function malformation(value: unknown): string | undefined {
  const { tag, val } = (value ?? {}) as { tag?: unknown; val?: Partial<Ipv6SocketAddress> };
  if ((tag !== 'ipv4' && tag !== 'ipv6') || typeof val !== 'object' || val === null) {
    return `an address is { tag: 'ipv4' | 'ipv6', val }, got ${show(value)}: parseSocketAddress('127.0.0.1:53') makes one`;
  }
  if (!isUnsigned(val.port, 16)) return `a port is an integer from 0 to 65535, got ${show(val.port)}`;
  const [length, bits] = tag === 'ipv4' ? [4, 8] : [8, 16];
  const parts: unknown = val.address;
  const inRange = Array.isArray(parts) && parts.length === length && [...parts].every((part) => isUnsigned(part, bits));
  if (!inRange) return `an ${tag} address is ${length} integers of ${bits} bits, got ${show(parts)}`;
  if (tag === 'ipv6' && !(isUnsigned(val.flowInfo, 32) && isUnsigned(val.scopeId, 32))) {
    return `flowInfo and scopeId are integers of 32 bits, got ${show(val.flowInfo)} and ${show(val.scopeId)}`;
  }
  return undefined;
}

/** A value as it is shown in a message: short, and never a cause of another error. */
export function show(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? String(value);
    return text.length > 80 ? `${text.slice(0, 77)}...` : text;
  } catch {
    return typeof value;
  }
}

/**
 * Reads `127.0.0.1:53`, `[::1]:53` or `[fe80::1%eth0]:53` (a zone is an interface's name or number).
 * Throws SocketError `invalid-argument` for anything else; names are not looked up.
 */
export function parseSocketAddress(text: string): IpSocketAddress {
  const match = /^(?:\[(?<v6>[^\]%]+)(?:%(?<zone>[^\]]+))?\]|(?<v4>[^:[\]]+)):(?<port>\d{1,5})$/.exec(text);
  const { v4, v6, zone, port: digits } = match?.groups ?? {};
  const port = Number(digits);
  if (port <= 65_535) {
    if (v4 !== undefined && isIPv4(v4)) {
      return { tag: 'ipv4', val: { port, address: v4.split('.').map(Number) as Ipv4Address } };
    }
    if (v6 !== undefined && isIPv6(v6)) {
      const scopeId = zone === undefined ? 0 : scopeOf(zone, text);
      return { tag: 'ipv6', val: { port, flowInfo: 0, address: parseGroups(v6), scopeId } };
    }
  }
  throw new SocketError(
    'invalid-argument',
    `a socket address is '127.0.0.1:53' or '[::1]:53', an IP address and a port from 0 to 65535, got ${show(text)}: ` +
      `look names up first, with dns.lookup`,
  );
}

function scopeOf(zone: string, text: string): number {
  const named = networkInterfaces()[zone]?.find((entry) => entry.family === 'IPv6');
  const scope = /^\d{1,9}$/.test(zone) ? Number(zone) : named?.scopeid;
  if (scope !== undefined) return scope;
  throw new SocketError(
    'invalid-argument',
    `a zone is an interface's name or number, got ${show(text)}: see "ip link"`,
  );
}

/** The eight groups of an IPv6 address that `isIPv6` accepted. */
function parseGroups(text: string): Ipv6Address {
  const hex = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [(a << 8) | b, (c << 8) | d].map((group) => group.toString(16)).join(':'),
  );
  const [head = [], tail] = hex.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = tail === undefined ? [] : Array<string>(8 - head.length - tail.length).fill('0');
  return [...head, ...zeros, ...(tail ?? [])].map((group) => Number.parseInt(group, 16)) as Ipv6Address;
}

/** The host of an address; IPv6 as its eight groups. */
export function hostText({ tag, val }: IpSocketAddress): string {
  return tag === 'ipv4' ? val.address.join('.') : val.address.map((group) => group.toString(16)).join(':');
}

/**
 * Writes an address as `parseSocketAddress` reads it; IPv6 in the form of RFC 5952. Throws SocketError `invalid-argument` for
 * what is no address.
 */
export function formatSocketAddress(address: IpSocketAddress): string {
  const problem = malformation(address);
  if (problem !== undefined) throw new SocketError('invalid-argument', problem);
  if (address.tag === 'ipv4') return `${hostText(address)}:${address.val.port}`;
  const host = new URL(`http://[${hostText(address)}]`).hostname.slice(1, -1);
  const zone = address.val.scopeId === 0 ? '' : `%${address.val.scopeId}`;
  return `[${host}${zone}]:${address.val.port}`;
}
