import { readFileSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { inspect } from 'node:util';
import { SocketError } from '../errors.js';
import { endpointOf, groupsOf } from '../native/endpoint.js';
import { newSlot, SLOT_WORDS, type Slot } from '../native/layout.js';
import type { Family } from '../native/native.js';

/** `ip-address-family` of wasi:sockets/network. */
export type IpAddressFamily = 'ipv4' | 'ipv6';
/** Four bytes, the first one first. */
export type Ipv4Address = [number, number, number, number];
/** Eight 16-bit groups, the first one first. */
export type Ipv6Address = [number, number, number, number, number, number, number, number];

/** `ipv4-socket-address` of wasi:sockets/network. */
export interface Ipv4SocketAddress {
  /** 0 to 65535. */
  port: number;
  /** 192.0.2.1 is `[192, 0, 2, 1]`. */
  address: Ipv4Address;
}

/** `ipv6-socket-address` of wasi:sockets/network. */
export interface Ipv6SocketAddress {
  /** 0 to 65535. */
  port: number;
  /** The flow label and the traffic class, 32 bits; 0 for none (RFC 3493, 3.3). */
  flowInfo: number;
  /** ::1 is `[0, 0, 0, 0, 0, 0, 0, 1]`. */
  address: Ipv6Address;
  /** The index of the interface that a link-local address belongs to, 32 bits; 0 for none (RFC 4007). */
  scopeId: number;
}

/** `ip-socket-address` of wasi:sockets/network, in the form that jco gives it. */
export type IpSocketAddress = { tag: 'ipv4'; val: Ipv4SocketAddress } | { tag: 'ipv6'; val: Ipv6SocketAddress };

/**
 * An address as Node.js users have it: what `parseSocketAddress` reads, such as '192.0.2.1:53' or '[::1]:53', or a host with a port,
 * as in the `rinfo` of node:dgram and of `address()`; a `family` beside them is not looked at.
 */
export type SocketAddressLike =
  | IpSocketAddress
  | string
  | { readonly address: string; readonly port: number; readonly family?: string | number | undefined };

/** An address of ours: the plain data that jco passes, which prints as `formatSocketAddress` writes it. */
class SocketAddress {
  readonly tag: IpAddressFamily;
  readonly val: Ipv4SocketAddress | Ipv6SocketAddress;

  constructor(tag: IpAddressFamily, val: Ipv4SocketAddress | Ipv6SocketAddress) {
    this.tag = tag;
    this.val = val;
  }

  toString(): string {
    return formatSocketAddress(this as IpSocketAddress);
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

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

/**
 * Writes `address` into a slot. Throws `invalid-argument` where it is no address, or not in range.
 *
 * What judges or shows an address afterwards takes the slot, or `decodeAddress` of it: a getter or a Proxy answers once more as
 * it likes.
 */
export function encodeAddress(address: SocketAddressLike, slot: Slot = newSlot()): Slot {
  const encoded = encodeInto(address, slot, 0, slot, -1);
  if (typeof encoded === 'string') throw new SocketError('invalid-argument', encoded);
  return slot;
}

/** The address as plain data, which answers the same each time. Throws as `encodeAddress`. */
export function plainAddress(address: SocketAddressLike): IpSocketAddress {
  return decodeAddress(encodeAddress(address));
}

/** What came of an address that is one. */
export const Encoded = { Written: 0, Known: 1 } as const;
export type Encoded = (typeof Encoded)[keyof typeof Encoded];

/**
 * Writes an address into the slot at word `at`, unless the slot of `known` at word `last` holds it; there is none below 0. Each
 * property is read once, and all of them before anything is compared or written. What keeps it from being an ip-socket-address in
 * range is returned as text: rule, received, remedy.
 */
export function encodeInto(
  address: SocketAddressLike,
  slots: Uint32Array,
  at: number,
  known: Uint32Array,
  last: number,
): Encoded | string {
  const { tag, val } = (address ?? NOTHING) as IpSocketAddress;
  if ((tag !== 'ipv4' && tag !== 'ipv6') || typeof val !== 'object' || val === null) {
    const slot = typeof address === 'string' ? slotOf(address) : slotOfParts(address, tag, val);
    return typeof slot === 'string' ? slot : copySlot(slot, slots, at, known, last);
  }
  if (tag === 'ipv4') {
    const { port, address: bytes } = val as Ipv4SocketAddress;
    if (!isUint16(port)) return portProblem(port);
    if (!Array.isArray(bytes) || bytes.length !== 4) return hostProblem(tag, bytes);
    const a = bytes[0];
    const b = bytes[1];
    const c = bytes[2];
    const d = bytes[3];
    if (!isByte(a) || !isByte(b) || !isByte(c) || !isByte(d)) return hostProblem(tag, [a, b, c, d]);
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
    return Encoded.Written;
  }
  const { port, flowInfo, address: groups, scopeId } = val as Ipv6SocketAddress;
  if (!isUint16(port)) return portProblem(port);
  if (!isUint32(flowInfo) || !isUint32(scopeId)) {
    return `flowInfo and scopeId are integers of 32 bits, got ${show(flowInfo)} and ${show(scopeId)}`;
  }
  if (!Array.isArray(groups) || groups.length !== 8) return hostProblem(tag, groups);
  const a = groups[0];
  const b = groups[1];
  const c = groups[2];
  const d = groups[3];
  const e = groups[4];
  const f = groups[5];
  const g = groups[6];
  const h = groups[7];
  if (
    !(isUint16(a) && isUint16(b) && isUint16(c) && isUint16(d)) ||
    !(isUint16(e) && isUint16(f) && isUint16(g) && isUint16(h))
  ) {
    return hostProblem(tag, [a, b, c, d, e, f, g, h]);
  }
  const w0 = groupsWord(a, b);
  const w1 = groupsWord(c, d);
  const w2 = groupsWord(e, f);
  const w3 = groupsWord(g, h);
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
  return Encoded.Written;
}

/** Copies a slot to word `at`, unless the slot of `known` at word `last` is the same; there is none below 0. */
function copySlot(slot: Slot, slots: Uint32Array, at: number, known: Uint32Array, last: number): Encoded {
  if (last >= 0 && slot.every((word, i) => known[last + i] === word)) return Encoded.Known;
  slots.set(slot, at);
  return Encoded.Written;
}

/** In place of null and undefined: has no property. */
const NOTHING = Object.freeze(Object.create(null)) as IpSocketAddress;

function portProblem(port: unknown): string {
  return `a port is an integer from 0 to 65535, got ${show(port)}`;
}

function hostProblem(tag: IpAddressFamily, parts: unknown): string {
  return `an ${tag} address is ${tag === 'ipv4' ? '4 integers of 8' : '8 integers of 16'} bits, got ${show(parts)}`;
}

function isByte(value: unknown): value is number {
  return typeof value === 'number' && (value & 0xff) === value;
}

function isUint16(value: unknown): value is number {
  return typeof value === 'number' && (value & 0xffff) === value;
}

function isUint32(value: unknown): value is number {
  return typeof value === 'number' && value >>> 0 === value;
}

/** The address in a slot, or in the slot of that index of a table's slots. */
export function decodeAddress(slots: Uint32Array, index = 0): IpSocketAddress {
  const at = index * SLOT_WORDS;
  const port = slots[at + 1]!;
  if (slots[at] === 4) {
    const word = slots[at + 2]!;
    const address: Ipv4Address = [word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, word >>> 24];
    return new SocketAddress('ipv4', { port, address }) as IpSocketAddress;
  }
  const address = groupsOf(slots, at) as Ipv6Address;
  const val = { port, flowInfo: slots[at + 6]!, address, scopeId: slots[at + 7]! };
  return new SocketAddress('ipv6', val) as IpSocketAddress;
}

/** How values are shown: their getters, and what they say of themselves, are not asked. */
const SHOWN = {
  breakLength: Infinity,
  compact: true,
  customInspect: false,
  depth: 2,
  getters: false,
  maxArrayLength: 8,
  maxStringLength: 80,
};

/** A value as it is shown in a message: short, and never a cause of another error. */
export function show(value: unknown): string {
  try {
    const text = typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : inspect(value, SHOWN);
    return text.length > 80 ? `${text.slice(0, 77)}...` : text;
  } catch {
    return typeof value;
  }
}

const SOCKET_ADDRESS = /^(?:\[(?<v6>[^\]%]+)(?:%(?<zone>[^\]]+))?\]|(?<v4>[^:[\]]+)):(?<port>\d{1,5})$/;

/**
 * Reads `127.0.0.1:53`, `[::1]:53` or `[fe80::1%eth0]:53` (a zone is an interface's name or number), or whatever else is an
 * address; names are not looked up.
 *
 * @param address a text, `{ address, port }`, or the interface's `{ tag, val }`.
 * @returns plain data of the interface, which print as text: `${address}` is '127.0.0.1:53'.
 * @throws SocketError `invalid-argument` for anything else.
 * @example parseSocketAddress('[::1]:53').val.port; // 53
 */
export function parseSocketAddress(address: SocketAddressLike): IpSocketAddress {
  return plainAddress(address);
}

/** Texts that are remembered, of addresses and of hosts. */
const REMEMBERED = 1024;
const addresses = new Map<string, Slot>();
const hosts = new Map<string, Slot>();

/** Remembers what a text stands for, as long as that does not change: interfaces come and go. */
function remember(texts: Map<string, Slot>, text: string, slot: Slot): Slot {
  if (texts.size === REMEMBERED) texts.clear();
  if (!text.includes('%')) texts.set(text, slot);
  return slot;
}

/** The slot of a text, which is not to be written; or what keeps it from being an address. */
function slotOf(text: string): Slot | string {
  const known = addresses.get(text);
  if (known !== undefined) return known;
  const { v4, v6, zone, port: digits } = SOCKET_ADDRESS.exec(text)?.groups ?? {};
  const port = Number(digits);
  const isHost = v6 === undefined ? v4 !== undefined && isIPv4(v4) : isIPv6(v6);
  if (!isHost || port > 65_535) {
    return (
      `a socket address is '127.0.0.1:53' or '[::1]:53', an IP address and a port from 0 to 65535, got ${show(text)}: ` +
      remedyOf(text)
    );
  }
  const slot = slotOfHost((v4 ?? v6)!, zone, port, text);
  return typeof slot === 'string' ? slot : remember(addresses, text, slot);
}

/** The slot of a host and a port of Node.js, whose `tag` and `val` are none; or what is the matter with it. */
function slotOfParts(parts: unknown, tag: unknown, val: unknown): Slot | string {
  const isObject = typeof parts === 'object' && parts !== null;
  const { address, port } = (isObject && tag === undefined ? parts : NOTHING) as { address?: unknown; port?: unknown };
  if (typeof address !== 'string') {
    const got = !isObject
      ? show(parts)
      : address !== undefined || port !== undefined
        ? `{ address: ${show(address)}, port: ${show(port)} }`
        : `{ tag: ${show(tag)}, val: ${show(val)} }`;
    return (
      `an address is '127.0.0.1:53', { address: '127.0.0.1', port: 53 } or { tag: 'ipv4' | 'ipv6', val }, got ${got}: ` +
      `parseSocketAddress('127.0.0.1:53') makes one`
    );
  }
  if (!isUint16(port)) return portProblem(port);
  let host = hosts.get(address);
  if (host === undefined) {
    const [, name = address, zone] = /^([^%]+)%(.+)$/.exec(address) ?? [];
    if (!isIPv6(name) && (zone !== undefined || !isIPv4(name))) {
      return (
        `the address beside a port is an IP address such as '127.0.0.1' or '::1', got ${show(address)}: ` +
        remedyOf(`${address}:0`)
      );
    }
    const found = slotOfHost(name, zone, 0, address);
    if (typeof found === 'string') return found;
    host = remember(hosts, address, found);
  }
  const slot = host.slice();
  slot[1] = port;
  return slot;
}

/** The slot of an IP address, maybe with a zone; `text` is where they stand. */
function slotOfHost(host: string, zone: string | undefined, port: number, text: string): Slot | string {
  const slot = newSlot();
  slot[1] = port;
  if (isIPv4(host)) {
    slot[0] = 4;
    slot[2] = bytesWord(...(host.split('.').map(Number) as Ipv4Address));
    return slot;
  }
  const scopeId = zone === undefined ? 0 : scopeOf(zone, text);
  if (typeof scopeId === 'string') return scopeId;
  const groups = parseGroups(host);
  slot[0] = 6;
  for (let i = 0; i < 4; i++) slot[2 + i] = groupsWord(groups[2 * i]!, groups[2 * i + 1]!);
  slot[7] = scopeId;
  return slot;
}

/** What to do about a text that is no socket address. */
function remedyOf(text: string): string {
  const [host] = /^[^:[\]]+(?=:\d+$)|^[^:[\]]+$/.exec(text) ?? [];
  if (/^\*?:\d*$/.test(text) || host === '*')
    return `for all addresses of this machine write '0.0.0.0:53' for IPv4, '[::]:53' for IPv6`;
  if (isIPv6(text)) return `write an IPv6 address in brackets, and a port behind them`;
  if (isIPv4(text) || /^\[.*\]$/.test(text))
    return `name the port too, as in '127.0.0.1:53'; port 0 binds to a free one`;
  // A host that is a number, or ends with one, would be an address.
  if (host === undefined || /(^|\.)\d+$/.test(host)) return 'correct the address or the port';
  const portless = host === text ? 'name the port too, and ' : '';
  return `${portless}look names up, with openUdpAsync() or resolveSocketAddress()`;
}

/** The scope id that a zone names: an interface's index; or what is the matter with it. */
function scopeOf(zone: string, text: string): number | string {
  const index = /^\d{1,10}$/.test(zone) ? Number(zone) : interfaceIndex(zone);
  if (index !== undefined && index >= 1 && index < 2 ** 32) return index;
  return `a zone is the name of an interface that speaks IPv6, or its number from 1 on, got ${show(text)}: see "ip link"`;
}

/** The index of the interface of that name, which its link-local addresses have as scope id; others have 0. */
function interfaceIndex(name: string): number | undefined {
  try {
    const interfaces = networkInterfaces();
    const entries = Object.hasOwn(interfaces, name) ? interfaces[name]! : [];
    for (const entry of entries) if (entry.family === 'IPv6' && entry.scopeid > 0) return entry.scopeid;
  } catch {
    // Some systems forbid the call, and Node.js fails in it where an interface is named `constructor`.
  }
  return process.platform === 'linux' ? listedIndex(name) : undefined;
}

/**
 * The index by the kernel's list of IPv6 multicast groups, where every interface that speaks IPv6 is, with or without address.
 * proc_pid_net(5) shows the process's own network namespace; /sys/class/net shows that of whoever mounted it.
 */
function listedIndex(name: string): number | undefined {
  try {
    const lines = readFileSync('/proc/net/igmp6', 'utf8').split('\n');
    // `3    eth0            ff02...`
    const [index] = lines.map((line) => line.split(/ +/)).find((fields) => fields[1] === name) ?? [];
    return index === undefined ? undefined : Number(index);
  } catch {
    return undefined;
  }
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

/** Addresses on their way to text: nothing but ours runs meanwhile. */
const scratch = newSlot();

/**
 * Writes an address as `parseSocketAddress` reads it, which is its key in a Map: '192.0.2.1:53', or '[::1]:53', with IPv6 in the
 * form of RFC 5952.
 *
 * @param address whatever is an address, such as the `remoteAddress` of a datagram.
 * @returns the text: equal for equal addresses.
 * @throws SocketError `invalid-argument` for what is no address.
 * @example formatSocketAddress({ address: '0:0::1', port: 53 }); // '[::1]:53'
 */
export function formatSocketAddress(address: SocketAddressLike): string {
  const { address: host, port } = endpointOf(encodeAddress(address, scratch));
  return scratch[0] === 4 ? `${host}:${port}` : `[${host}]:${port}`;
}
