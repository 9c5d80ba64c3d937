/** A host and a port, as Node.js has them on its errors and in `rinfo`. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** The host and the port in the slot at word `at`; IPv6 in the form of RFC 5952, with the number of its zone. */
export function endpointOf(slots: Uint32Array, at = 0): Endpoint {
  const port = slots[at + 1]!;
  if (slots[at] === 4) {
    const word = slots[at + 2]!;
    return { address: `${word & 0xff}.${(word >>> 8) & 0xff}.${(word >>> 16) & 0xff}.${word >>> 24}`, port };
  }
  const scopeId = slots[at + 7]!;
  const host = shortened(groupsOf(slots, at));
  return { address: scopeId === 0 ? host : `${host}%${scopeId}`, port };
}

/** The eight groups of the IPv6 address in the slot at word `at`. */
export function groupsOf(slots: Uint32Array, at: number): number[] {
  const groups = [];
  for (let i = at + 2; i < at + 6; i++) {
    const word = slots[i]!;
    groups.push(((word & 0xff) << 8) | ((word >>> 8) & 0xff), ((word >>> 8) & 0xff00) | (word >>> 24));
  }
  return groups;
}

/** RFC 5952, 4.2: the longest run of zeros, of two at least and the first of such, is `::`. */
function shortened(groups: readonly number[]): string {
  let start = 0;
  let length = 1;
  for (let from = 0; from < groups.length; from++) {
    let to = from;
    while (groups[to] === 0) to += 1;
    if (to - from > length) {
      start = from;
      length = to - from;
    }
    from = to;
  }
  const texts = groups.map((group) => group.toString(16));
  if (length === 1) return texts.join(':');
  return `${texts.slice(0, start).join(':')}::${texts.slice(start + length).join(':')}`;
}
