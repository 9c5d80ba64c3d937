/**
 * Addresses and rules of the policy against a model in big integers: what is read is what is written, a rule covers what its
 * numbers say, and what is no address or rule is refused, by the one error that is promised.
 */
import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { SocketError } from '../../dist/errors.js';
import { decodeAddress, encodeAddress, formatSocketAddress, parseSocketAddress } from '../../dist/rules/address.js';
import { localRefusal, Refusal, remoteRefusal, sameAddress, samePeer } from '../../dist/rules/destination.js';
import { Policy } from '../../dist/rules/policy.js';
import { runCases } from './cases.mjs';

const BITS = { ipv4: 32, ipv6: 128 };
const MAPPED = 0xffffn << 32n;

/** A host as a number. Those of few bits, of one bit, and at the edges are where rules differ. */
function host(random, tag) {
  const bits = BITS[tag];
  switch (random.below(8)) {
    case 0:
      return BigInt(random.below(3));
    case 1:
      return 1n << BigInt(random.below(bits));
    case 2:
      return BigInt.asUintN(bits, -1n << BigInt(random.below(bits)));
    case 3:
      return BigInt.asUintN(bits, BigInt(-1 - random.below(3)));
    case 4:
      return tag === 'ipv4' ? 0x7f00_0001n : MAPPED | random.big(32);
    case 5:
      return tag === 'ipv4' ? random.big(8) << 24n : random.big(32);
    case 6:
      // Groups of zeros, for IPv6's `::`.
      return BigInt.asUintN(
        bits,
        random.big(bits) & random.pick([-1n, 0xffff_0000_0000_ffffn << 32n, 0xffffn << 112n]),
      );
    default:
      return random.big(bits);
  }
}

const port = (random) => random.pick([0, 1, 53, 65_534, 65_535, random.below(65_536)]);

/** The parts of a number, the high ones first. */
const parts = (value, count, bits) =>
  Array.from({ length: count }, (_, i) => Number(BigInt.asUintN(bits, value >> BigInt((count - 1 - i) * bits))));
const dotted = (value) => parts(value, 4, 8).join('.');

function address(tag, value, portNumber, flowInfo = 0, scopeId = 0) {
  return tag === 'ipv4'
    ? { tag, val: { port: portNumber, address: parts(value, 4, 8) } }
    : { tag, val: { port: portNumber, flowInfo, address: parts(value, 8, 16), scopeId } };
}

/** The form of RFC 5952 but for its section 5, dotted ends, which the WHATWG's URL does not write. */
function canonical(value) {
  const groups = parts(value, 8, 16);
  let [from, length] = [0, 1];
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (groups[end] === 0) end++;
    if (end - i > length) [from, length] = [i, end - i];
  }
  const text = (list) => list.map((group) => group.toString(16)).join(':');
  return length === 1 ? text(groups) : `${text(groups.slice(0, from))}::${text(groups.slice(from + length))}`;
}

/** A host in any of the ways that it may be written. */
function written(random, tag, value) {
  if (tag === 'ipv4') return dotted(value);
  const tail = random.oneIn(4) ? [dotted(BigInt.asUintN(32, value))] : [];
  const groups = parts(value, 8, 16).slice(0, 8 - 2 * tail.length);
  let texts = groups.map((group) => {
    const hex = group.toString(16).padStart(random.oneIn(4) ? 4 : 1, '0');
    return random.oneIn(4) ? hex.toUpperCase() : hex;
  });
  texts = [...texts, ...tail];
  // Any zeros may become `::`, one group of them too.
  const zeros = groups.flatMap((group, i) => (group === 0 ? [i] : []));
  if (zeros.length === 0 || random.oneIn(3)) return texts.join(':');
  const from = random.pick(zeros);
  let to = from + 1;
  while (groups[to] === 0 && !random.oneIn(4)) to++;
  return `${texts.slice(0, from).join(':')}::${texts.slice(to).join(':')}`;
}

/** The number of a host, read once more; undefined for what is none. */
function read(text) {
  const digits = (part, base, most, limit) =>
    (base === 10 ? /^(0|[1-9]\d*)$/ : /^[\da-f]+$/i).test(part) &&
    part.length <= most &&
    Number.parseInt(part, base) < limit
      ? BigInt(Number.parseInt(part, base))
      : undefined;
  const joined = (list, bits) =>
    list.includes(undefined) ? undefined : list.reduce((sum, part) => (sum << BigInt(bits)) | part, 0n);
  const v4 = (dots) =>
    dots.split('.').length === 4
      ? joined(
          dots.split('.').map((d) => digits(d, 10, 3, 256)),
          8,
        )
      : undefined;
  if (!text.includes(':')) return { tag: 'ipv4', value: v4(text) };
  const none = { tag: 'ipv6', value: undefined };
  const halves = text.split('::');
  if (halves.length > 2) return none;
  const lists = halves.map((half) => (half === '' ? [] : half.split(':')));
  const last = lists.at(-1);
  if (last.at(-1)?.includes('.')) {
    const end = v4(last.pop());
    if (end === undefined) return none;
    last.push((end >> 16n).toString(16), (end & 0xffffn).toString(16));
  }
  const missing = 8 - lists.flat().length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return none;
  const all = halves.length === 1 ? lists[0] : [...lists[0], ...Array(missing).fill('0'), ...lists[1]];
  return {
    tag: 'ipv6',
    value: joined(
      all.map((group) => digits(group, 16, 4, 65_536)),
      16,
    ),
  };
}

/** A text with a mistake, maybe. */
function mistaken(random, text) {
  const odd = [
    '',
    ':',
    '::',
    '[',
    ']',
    '.',
    '/',
    '%',
    '%1',
    '%lo',
    '%constructor',
    '%__proto__',
    '-',
    '*',
    '0',
    '9',
    'g',
    ' ',
    '\n',
    '\0',
    '٣',
  ];
  const at = random.below(text.length + 1);
  return text.slice(0, at) + random.pick(odd) + text.slice(at + random.below(3));
}

/** What `act` returns; undefined where it throws the error of that type, and no other. */
function attempt(act, type) {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof type)) throw error;
    assert.match(error.message, /, got |, the /, 'the message says what was received');
    return undefined;
  }
}

/** An address that is read has a class, for its text, and is otherwise the model's plain data. */
function same(got, expected, message) {
  assert.deepEqual(got && { ...got }, expected, message);
}

/** What is read and written, encoded and decoded, is the number; what the model cannot read is refused. */
function addresses(random) {
  const tag = random.pick(['ipv4', 'ipv6']);
  const value = host(random, tag);
  const portNumber = port(random);
  const zone = tag === 'ipv6' && random.oneIn(4) ? random.below(1e9) : 0;
  const inBrackets = (text) => (tag === 'ipv4' ? text : `[${text}]`);
  const form = written(random, tag, value);
  assert.equal(tag === 'ipv4' ? isIPv4(form) : isIPv6(form), true, form);
  const text = `${inBrackets(zone === 0 ? form : `${form}%${zone}`)}:${portNumber}`;
  const expected = address(tag, value, portNumber, 0, zone);
  same(parseSocketAddress(text), expected, text);
  const told = tag === 'ipv4' ? dotted(value) : canonical(value);
  assert.equal(formatSocketAddress(expected), `${inBrackets(zone === 0 ? told : `${told}%${zone}`)}:${portNumber}`);

  const odd = mistaken(random, text);
  const [, v6, itsZone, v4, digits] = /^(?:\[([^\]%]*)(%[^\]]*)?\]|([^:[\]]*)):(\d{1,5})$/.exec(odd) ?? [];
  const model = v6 === undefined ? read(v4 ?? '') : read(v6);
  const isGood =
    model.value !== undefined && model.tag === (v6 === undefined ? 'ipv4' : 'ipv6') && Number(digits) <= 65_535;
  const got = attempt(() => parseSocketAddress(odd), SocketError);
  if (itsZone === undefined) {
    same(got, isGood ? address(model.tag, model.value, Number(digits)) : undefined, JSON.stringify(odd));
  } else if (got !== undefined) {
    same(got, address('ipv6', model.value, Number(digits), 0, got.val.scopeId), JSON.stringify(odd));
    if (/^%\d+$/.test(itsZone)) assert.equal(got.val.scopeId, Number(itsZone.slice(1)));
  }
}

/** A slot holds the bytes in network order, and the rules of destinations read there what the number says. */
function slots(random) {
  const tag = random.pick(['ipv4', 'ipv6']);
  const value = host(random, tag);
  const one = address(
    tag,
    value,
    port(random),
    tag === 'ipv6' ? random.bits() : 0,
    tag === 'ipv6' ? random.below(3) : 0,
  );
  const slot = encodeAddress(one);
  same(decodeAddress(slot), one);
  const bytes = new Uint8Array(slot.buffer, slot.byteOffset + 8, BITS[tag] / 8);
  assert.equal(BigInt(`0x${Buffer.from(bytes).toString('hex')}`), value);

  const family = random.pick([4, 6]);
  const expected = () => {
    if (family !== (tag === 'ipv4' ? 4 : 6)) return Refusal.WrongFamily;
    if (value === 0n) return Refusal.UnspecifiedAddress;
    if (tag === 'ipv6' && (value >> 32n === 0xffffn || (value >> 32n === 0n && value !== 1n)))
      return Refusal.Ipv4InIpv6;
    return one.val.port === 0 ? Refusal.PortZero : Refusal.None;
  };
  assert.equal(remoteRefusal(slot, 0, family), expected(), JSON.stringify(one));
  const isLocal = [Refusal.UnspecifiedAddress, Refusal.PortZero, Refusal.None].includes(expected());
  assert.equal(localRefusal(slot, family), isLocal ? Refusal.None : expected(), JSON.stringify(one));

  const other = structuredClone(one);
  const change = random.below(4);
  if (change === 0 && tag === 'ipv6') other.val.scopeId = random.below(3);
  else if (change === 1) other.val.port ^= 1;
  else if (change === 2) other.val.address[random.below(other.val.address.length)] ^= 1;
  const scopes = [one.val.scopeId ?? 0, other.val.scopeId ?? 0];
  const isSame =
    one.val.port === other.val.port &&
    one.val.address.join() === other.val.address.join() &&
    (scopes[0] === scopes[1] || scopes.includes(0));
  const otherSlot = encodeAddress(other);
  assert.equal(samePeer(slot, 0, otherSlot), isSame);
  assert.equal(sameAddress(slot, 0, otherSlot, 0), isDeepStrictEqual(one, other));
}

/** Whatever is no address is named so, and nothing else is thrown. */
function garbage(random) {
  const one = address(...(random.oneIn(2) ? ['ipv4', random.big(32)] : ['ipv6', random.big(128)]), port(random));
  const odd = [undefined, null, -1, 0.5, 256, 65_536, 2 ** 32, Number.NaN, '1', [], {}, true, 1n];
  const value = random.pick(odd);
  const place = random.below(5);
  if (place === 0) one.tag = value;
  else if (place === 1) one.val = value;
  else if (place === 2) one.val.port = value;
  else if (place === 3) one.val.address = value;
  else one.val.address[random.below(9)] = value;
  const unsigned = (number, bits) => Number.isInteger(number) && number >= 0 && number < 2 ** bits;
  const { tag, val } = one;
  const [length, bits] = tag === 'ipv4' ? [4, 8] : [8, 16];
  const isGood =
    ['ipv4', 'ipv6'].includes(tag) &&
    typeof val === 'object' &&
    val !== null &&
    unsigned(val.port, 16) &&
    Array.isArray(val.address) &&
    val.address.length === length &&
    Array.from(val.address).every((part) => unsigned(part, bits)) &&
    (tag === 'ipv4' || (unsigned(val.flowInfo, 32) && unsigned(val.scopeId, 32)));
  assert.equal(attempt(() => encodeAddress(one), SocketError) !== undefined, isGood);
  assert.equal(attempt(() => formatSocketAddress(one), SocketError) !== undefined, isGood);
}

/** A rule, as its text and as its numbers; the text often at fault, and then there are no numbers. */
function rule(random) {
  const action = random.pick(['bind', 'send', 'receive']);
  const any = random.oneIn(6);
  const tag = random.pick(['ipv4', 'ipv6']);
  const value = host(random, tag);
  const bits = random.pick([0, 1, 8, 31, 32, 64, 127, 128, random.below(129)].filter((count) => count <= BITS[tag]));
  const ports = [port(random), port(random)].sort((a, b) => a - b);
  const kind = random.below(3);
  if (kind === 0) ports.splice(0, 2, 0, 65_535);
  if (kind === 1) ports[1] = ports[0];
  const isBlock = random.oneIn(2);
  const hostText = `${written(random, tag, value)}${isBlock ? `/${bits}` : ''}`;
  const portText = kind === 0 ? '*' : kind === 1 ? `${ports[0]}` : `${ports[0]}-${ports[1]}`;
  const text = `${any ? '*' : tag === 'ipv4' ? hostText : `[${hostText}]`}:${portText}`;
  const shift = BigInt(BITS[tag] - (isBlock ? bits : BITS[tag]));
  return { action, text, ports, hosts: any ? undefined : { tag, value, shift } };
}

/** The numbers of a rule's text, read once more; undefined for what is none. */
function readRule(text) {
  const [, star, v6, v4, prefix, portText] =
    /^(?:(\*)|\[([^/[\]]*)(?=[/\]])|([^:/[\]]*))(\/\d+)?\]?:([\d*-]+)$/.exec(text) ?? [];
  if (portText === undefined || text.split(']').length - 1 !== (v6 === undefined ? 0 : 1)) return undefined;
  const [, first, last = first] =
    /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(portText) ?? (portText === '*' ? ['', '0', '65535'] : []);
  if (first === undefined || Number(first) > Number(last) || Number(last) > 65_535) return undefined;
  const ports = [Number(first), Number(last)];
  if (star !== undefined) return prefix === undefined ? { ports, hosts: undefined } : undefined;
  const { tag, value } = read(v6 ?? v4);
  if (value === undefined || (tag === 'ipv6') !== (v6 !== undefined)) return undefined;
  const bits = prefix === undefined ? BITS[tag] : Number(prefix.slice(1));
  if (bits > BITS[tag] || (prefix?.length ?? 0) > (tag === 'ipv4' ? 3 : 4)) return undefined;
  return { ports, hosts: { tag, value, shift: BigInt(BITS[tag] - bits) } };
}

function covers({ ports, hosts }, tag, value, portNumber) {
  if (portNumber < ports[0] || portNumber > ports[1]) return false;
  return hosts === undefined || (hosts.tag === tag && value >> hosts.shift === hosts.value >> hosts.shift);
}

/** A policy of some rules says of any address what their numbers say, again and again. */
function rules(random) {
  const list = Array.from({ length: random.below(5) }, () => rule(random));
  const policy = new Policy(list.map(({ action, text }) => ({ [action]: text })));
  const many = random.oneIn(200);
  for (let i = 0; i < (many ? 3000 : 20); i++) {
    const action = random.pick(['bind', 'send', 'receive']);
    let tag = random.pick(['ipv4', 'ipv6']);
    let value = host(random, tag);
    let portNumber = port(random);
    const near = list.length === 0 ? undefined : random.pick(list);
    if (near !== undefined && !random.oneIn(3)) {
      // Near the edges of a rule: its own host, its block's first and last, and those beside them.
      portNumber = Math.min(65_535, Math.max(0, random.pick(near.ports) + random.below(3) - 1));
      if (near.hosts !== undefined) {
        const { shift } = near.hosts;
        tag = near.hosts.tag;
        const first = (near.hosts.value >> shift) << shift;
        value = random.pick([near.hosts.value, first, first - 1n, first + (1n << shift), first + (1n << shift) - 1n]);
        value = BigInt.asUintN(BITS[tag], value);
        if (tag === 'ipv4' && random.oneIn(8)) [tag, value] = ['ipv6', MAPPED | value];
      }
    }
    const heard = action === 'receive' && !list.some((one) => one.action === 'receive') ? 'send' : action;
    const expected = list.some((one) => one.action === heard && covers(one, tag, value, portNumber));
    const one = address(tag, value, portNumber, random.bits(), random.bits());
    assert.equal(
      policy.allows(action, one),
      expected,
      `${action} ${formatSocketAddress(one)}: ${JSON.stringify(list, texts)}`,
    );
  }
}
const texts = (key, value) => (key === 'hosts' ? undefined : value);

/** A text that is no rule makes no policy; one that is, though nobody meant it, means what its numbers say. */
function mistakenRules(random) {
  const { text } = rule(random);
  const odd = mistaken(random, text);
  const model = readRule(odd);
  const policy = attempt(() => new Policy([{ send: odd }]), TypeError);
  assert.equal(policy !== undefined, model !== undefined, JSON.stringify(odd));
  if (model === undefined) return;
  const [tag, value] = model.hosts === undefined ? ['ipv4', random.big(32)] : [model.hosts.tag, model.hosts.value];
  for (const portNumber of model.ports) assert.equal(policy.allows('send', address(tag, value, portNumber)), true);
}

Error.stackTraceLimit = 3;
await runCases('policy', (random) => {
  for (const one of [addresses, slots, garbage, rules, mistakenRules]) one(random);
});
