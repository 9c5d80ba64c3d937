import { isIP } from 'node:net';
import { SocketError } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { newSlot, type Slot, slotBytes } from '../native/layout.js';
import { native } from '../native/native.js';
import { encodeAddress, type IpSocketAddress, parseSocketAddress, show } from '../rules/address.js';
import { interfaceIndex } from '../rules/interface.js';
import { checkNames } from '../rules/names.js';
import { optionError } from './udp-options.js';

/** By which interface, and from whom, a multicast group is heard. */
export interface MembershipOptions {
  /** The interface: its name, an IP address that it has, or its index. Default: the one by which a route leads to the group. */
  interface?: string | number;
  /** The only source that is heard: its IP address (source-specific multicast, RFC 4607). Default: every source. */
  source?: string;
}

/** Joins a multicast group or leaves it: see `OpenUdp`. */
export function setMembership(
  where: 'joinGroup' | 'leaveGroup',
  descriptor: Descriptor,
  group: string,
  options: MembershipOptions,
): void {
  checkNames(`${where}()`, options, ['interface', 'source'], { device: 'interface', sourceaddress: 'source' });
  const { interface: device, source: sender } = options;
  const address = hostOf(where, 'group', group);
  const isMulticast = address.tag === 'ipv4' ? address.val.address[0] >> 4 === 14 : address.val.address[0] >> 8 === 255;
  if (!isMulticast) {
    throw new SocketError(
      'invalid-argument',
      `${where}: a group is of 224.0.0.0/4 or ff00::/8, got ${show(group)}: name one of these`,
    );
  }
  const { family, dualStack } = descriptor;
  if (address.tag !== `ipv${family}` && !(dualStack && address.tag === 'ipv4')) {
    throw new SocketError(
      'invalid-argument',
      `${where}: an IPv${family} socket joins groups of IPv${family}, got ${show(group)}: open a socket of the other family, ` +
        `or one of both with ipv6Only: false`,
    );
  }
  let source: Slot = newSlot();
  if (sender !== undefined) {
    const from = hostOf(where, 'source', sender);
    if (from.tag !== address.tag) {
      throw new SocketError(
        'invalid-argument',
        `${where}: a source is of the family of its group, got ${show(sender)}: name an ${address.tag} address`,
      );
    }
    source = encodeAddress(from);
  }
  const zone = address.tag === 'ipv6' ? address.val.scopeId : 0;
  const index = device === undefined ? zone : interfaceIndex(`${where}, interface`, device);
  const join = where === 'joinGroup' ? 1 : 0;
  const slot = slotBytes(encodeAddress(address));
  const result = native.setMembership(descriptor.socket, join, index, slot, slotBytes(source));
  const kind = `MCAST_${join ? 'JOIN' : 'LEAVE'}_${sender === undefined ? '' : 'SOURCE_'}GROUP`;
  if (result < 0) throw optionError(where, kind, 'setsockopt', -result);
}

/** The IP address in a text. */
function hostOf(where: string, what: string, text: string): IpSocketAddress {
  const family = typeof text === 'string' ? isIP(text) : 0;
  if (family !== 0) return parseSocketAddress(family === 6 ? `[${text}]:0` : `${text}:0`);
  throw new SocketError(
    'invalid-argument',
    `${where}: a ${what} is an IP address such as '${what === 'group' ? '224.0.0.251' : '192.0.2.1'}', without a port, got ` +
      `${show(text)}: name one`,
  );
}
