import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Slot } from '../native/layout.js';
import { SLOT_WORDS } from '../native/layout.js';
import { type Family, native } from '../native/native.js';
import { encodeAddress, type IpSocketAddress, parseSocketAddress } from '../rules/address.js';

/** Texts of addresses, and addresses of texts, that are remembered. */
const REMEMBERED = 1024;

/** An address as node:dgram tells it. */
export interface AddressInfo {
  address: string;
  family: 'IPv4' | 'IPv6';
  port: number;
}

/**
 * The IP address in a text, with a port, for a socket of that family; undefined where the text is no such address. A zone
 * (`fe80::1%eth0`) that names no interface is none, as with libuv.
 */
export function addressOf(text: string, port: number, family: Family): IpSocketAddress | undefined {
  if (isIP(text) !== family) return undefined;
  if (family === 4) return parseSocketAddress(`${text}:${port}`);
  const [host, zone] = text.split('%') as [string, string | undefined];
  const address = parseSocketAddress(`[${host}]:${port}`);
  if (zone !== undefined && address.tag === 'ipv6') address.val.scopeId = scopeOf(zone);
  return address;
}

/** The scope that a zone names; 0 where it names none. As with libuv, a number is a zone on Windows alone. */
export function scopeOf(zone: string): number {
  if (process.platform !== 'win32') return native.interfaceIndex(zone);
  return /^\d{1,9}$/.test(zone) ? Number(zone) : 0;
}

/** As `addressOf`, as a slot. */
export function slotOf(text: string, port: number, family: Family): Slot | undefined {
  const address = addressOf(text, port, family);
  return address && encodeAddress(address);
}

/** The destinations of a socket that were named of late, so that each is an object that the batch knows again. */
export class Destinations {
  readonly #family: Family;
  #known = new Map<string, Map<number, IpSocketAddress>>();
  #count = 0;

  constructor(family: Family) {
    this.#family = family;
  }

  /** The destination of an IP address and a port; undefined where the text is no IP address of the family. */
  of(text: string, port: number): IpSocketAddress | undefined {
    return this.#known.get(text)?.get(port) ?? this.#learn(text, port);
  }

  #learn(text: string, port: number): IpSocketAddress | undefined {
    const address = addressOf(text, port, this.#family);
    if (address === undefined) return undefined;
    if (this.#count === REMEMBERED) {
      this.#known = new Map();
      this.#count = 0;
    }
    let ports = this.#known.get(text);
    if (ports === undefined) {
      ports = new Map();
      this.#known.set(text, ports);
    }
    ports.set(port, address);
    this.#count += 1;
    return address;
  }
}

/** IPv4 addresses by their word. */
let texts4 = new Map<number, string>();

/** The address in a slot as node:dgram tells it; on a socket of IPv6, IPv4 peers in IPv6's form. */
export function infoOf(slots: Uint32Array, family: Family, index = 0): AddressInfo {
  const at = index * SLOT_WORDS;
  return {
    address: textOf(slots, family, index),
    family: family === 4 ? 'IPv4' : 'IPv6',
    port: slots[at + 1]!,
  };
}

/** The text of the IP address in a slot, as `infoOf` has it. */
export function textOf(slots: Uint32Array, family: Family, index = 0): string {
  const at = index * SLOT_WORDS;
  const isIpv4 = slots[at] === 4;
  const text = isIpv4 ? text4Of(slots[at + 2]!) : text6Of(slots, at);
  return isIpv4 && family === 6 ? `::ffff:${text}` : text;
}

function text4Of(word: number): string {
  let text = texts4.get(word);
  if (text === undefined) {
    text = `${word & 0xff}.${(word >>> 8) & 0xff}.${(word >>> 16) & 0xff}.${word >>> 24}`;
    if (texts4.size === REMEMBERED) texts4 = new Map();
    texts4.set(word, text);
  }
  return text;
}

/** The last IPv6 address, which mostly is the next one too. */
const last6 = new Uint32Array(SLOT_WORDS);
let lastText6 = '::';

function text6Of(slots: Uint32Array, at: number): string {
  let word = 2;
  while (word < 6 && slots[at + word] === last6[word]) word++;
  if (word === 6 && slots[at + 7] === last6[7]) return lastText6;
  last6.set(slots.subarray(at, at + SLOT_WORDS));
  lastText6 = format6(last6);
  return lastText6;
}

/** By RFC 5952, with IPv4 addresses in IPv6 written as inet_ntop(3) does; a link-local one with its zone. */
function format6(slot: Uint32Array): string {
  const groups = [];
  for (let i = 2; i < 6; i++) {
    const word = slot[i]!;
    groups.push(((word & 0xff) << 8) | ((word >>> 8) & 0xff), ((word >>> 8) & 0xff00) | (word >>> 24));
  }
  // The longest run of zeros, the first of several, of two at least.
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
    if (end > i) i = end;
  }
  const isEmbedded = start === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff));
  const parts = groups.map((group) => group.toString(16));
  if (isEmbedded) {
    const word = slot[5]!;
    parts.splice(6, 2, `${word & 0xff}.${(word >>> 8) & 0xff}.${(word >>> 16) & 0xff}.${word >>> 24}`);
  }
  const head = start < 0 ? parts : parts.slice(0, start);
  const tail = start < 0 ? undefined : parts.slice(start + length);
  const host = tail === undefined ? head.join(':') : `${head.join(':')}::${tail.join(':')}`;
  const scope = slot[7]!;
  return groups[0]! >> 6 === 0x3fa && scope !== 0 ? `${host}%${zoneOf(scope)}` : host;
}

/** The interface of a scope: its name, but on Windows, and where it has none, its number. */
function zoneOf(scope: number): string {
  if (process.platform !== 'win32') {
    try {
      for (const [name, entries] of Object.entries(networkInterfaces()))
        if (entries?.some((entry) => entry.family === 'IPv6' && entry.scopeid === scope)) return name;
    } catch {
      // Some systems forbid to ask.
    }
  }
  return String(scope);
}
