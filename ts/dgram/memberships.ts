import { isIP } from 'node:net';
import type { Descriptor } from '../native/descriptor.js';
import { newSlot, type Slot, slotBytes } from '../native/layout.js';
import { type Family, native } from '../native/native.js';
import { interfaceIndex } from '../rules/interface.js';
import { scopeOf, slotOf } from './addresses.js';

/** An interface that is named by what is no address, or none of this machine: the name of the system's error. */
export type NoInterface = 'EINVAL' | 'EADDRNOTAVAIL';

/**
 * The index of the interface that node:dgram's `multicastInterface` names: over IPv4 by an address that it has, over IPv6 by the
 * zone of any address, as in `::%eth1`; 0 for the system's choice.
 */
export function interfaceOf(text: string, family: Family): number | NoInterface {
  if (isIP(text) !== family) return 'EINVAL';
  if (family === 6) {
    const zone = text.split('%')[1];
    return zone === undefined ? 0 : scopeOf(zone);
  }
  if (text === '0.0.0.0') return 0;
  try {
    return interfaceIndex('multicastInterface', text);
  } catch {
    return 'EADDRNOTAVAIL';
  }
}

/** Which group, and from where: `from` undefined for every source, `by` for the interface of the system's choice. */
export interface Membership {
  readonly group: string;
  readonly from?: string | undefined;
  readonly by?: string | null | undefined;
}

/** The addresses of a membership, which are of one family: it need not be the socket's. */
export interface Group {
  readonly family: Family;
  readonly group: Slot;
  readonly source: Slot;
}

/** The addresses that a membership names; undefined where a text is none, or the two are not of one family. */
export function groupOf({ group, from }: Membership): Group | undefined {
  const family = familyOf(group);
  const groupSlot = family && slotOf(group, 0, family);
  const source = family && from !== undefined ? slotOf(from, 0, family) : newSlot();
  return family && groupSlot && source && { family, group: groupSlot, source };
}

/** The family of an IP address; undefined where the text is none. */
export const familyOf = (text: string): Family | undefined => (isIP(text) || undefined) as Family | undefined;

/**
 * Joins a group or leaves it; the system's answer, or the name of an error. A socket of IPv6 has the groups of IPv4 as well where
 * the system's sockets have them, as Linux's.
 */
export function setMembership(
  descriptor: Descriptor,
  join: boolean,
  { family, group, source }: Group,
  by: string | null | undefined,
): number | NoInterface | 'ENODEV' {
  const index = by === undefined || by === null ? 0 : interfaceOf(String(by), family);
  if (index === 'EADDRNOTAVAIL') return withoutInterface(join, group, source);
  if (typeof index === 'string') return index;
  return native.setMembership(descriptor.socket, join ? 1 : 0, index, slotBytes(group), slotBytes(source));
}

/** What Linux answers where no interface has the IPv4 address that names one: it looks at the group first, but to leave it. */
function withoutInterface(join: boolean, group: Slot, source: Slot): NoInterface | 'ENODEV' {
  if (!join && source[0] === 0) return 'EADDRNOTAVAIL';
  const isMulticast = (group[2]! & 0xf0) === 0xe0;
  return isMulticast ? 'ENODEV' : 'EINVAL';
}
