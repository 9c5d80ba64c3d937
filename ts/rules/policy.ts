import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { hostText, type IpSocketAddress, show } from './address.js';
import { lengthOf } from './list.js';

/** One thing that a guest may do, with the addresses that it may do it with: see `Allow`. */
export type AllowRule = { bind: string } | { send: string } | { receive: string };

/**
 * What a guest may do; nothing but this is allowed.
 *
 * - `bind`: local addresses that it may bind to; port 0 asks for a free port, and is a port of its own here.
 * - `send`: remote addresses that it may connect and send to.
 * - `receive`: sources that it may hear. Without any such rule: the sources that a `send` rule covers.
 *
 * Addresses are `HOST:PORT`. HOST is an IP address (`10.1.2.3`, `[::1]`), a CIDR block (`10.0.0.0/8`, `[fd00::/8]`) or `*`
 * for every host of both families; PORT a number, a range (`5000-5999`) or `*`. `'all'` allows everything.
 */
export type Allow = 'all' | readonly AllowRule[];

type Action = 'bind' | 'send' | 'receive';

/** What no rule covers, and a guest wanted. */
export interface Denial {
  /** The kind of rule that was missing. A `receive` dropped a datagram; the others were answered with `access-denied`. */
  action: Action;
  /** The local address to bind to, the remote one to connect or send to, or the source. */
  address: IpSocketAddress;
}

interface Rule {
  /** The hosts; undefined for every host. */
  readonly hosts: { readonly tag: IpSocketAddress['tag']; readonly list: BlockList } | undefined;
  readonly firstPort: number;
  readonly lastPort: number;
}

/** The policy for what a guest may do; none where it may do everything. `onDenied`: see `Policy`. */
export function policyOf(allow: Allow, onDenied?: (denial: Denial) => void): Policy | undefined {
  return allow === 'all' ? undefined : new Policy(allow, onDenied);
}

/** Answers that are remembered, for each action: an answer of BlockList costs microseconds. */
const REMEMBERED = 1024;

/** The rules of one guest, and their answers. */
export class Policy {
  /** Datagrams that were dropped because their source may not be heard. */
  refused = 0;
  readonly #rules: Record<Action, Rule[]> = { bind: [], send: [], receive: [] };
  readonly #answers: Record<Action, Map<string, boolean>> = { bind: new Map(), send: new Map(), receive: new Map() };

  readonly #onDenied: ((denial: Denial) => void) | undefined;

  /**
   * `onDenied` hears of what is denied: of the same once, as long as its answer is remembered.
   *
   * Throws TypeError for a rule that it does not understand: one misread rule could allow what nobody meant to.
   */
  constructor(rules: readonly AllowRule[], onDenied?: (denial: Denial) => void) {
    this.#onDenied = onDenied;
    const length = lengthOf(rules, `allow takes 'all' or a list of rules`, `write [{ send: '10.0.0.0/8:514' }]`);
    for (let i = 0; i < length; i++) {
      const rule = rules[i];
      const entries = Object.entries(rule ?? {});
      const [action, text] = entries[0] ?? [];
      if (entries.length !== 1 || !(action === 'bind' || action === 'send' || action === 'receive')) {
        throw new TypeError(
          `a rule is { bind: ... }, { send: ... } or { receive: ... }, got ${show(rule)}: name one of them`,
        );
      }
      this.#rules[action].push(parseRule(action, text));
    }
    if (this.#rules.receive.length === 0) this.#rules.receive = this.#rules.send;
  }

  /** Whether a rule covers the address: plain data, such as `decodeAddress` makes of the slot that is to be used. */
  allows(action: Action, address: IpSocketAddress): boolean {
    const answers = this.#answers[action];
    const host = hostText(address);
    const text = `${host} ${address.val.port}`;
    let answer = answers.get(text);
    if (answer === undefined) {
      answer = this.#rules[action].some((rule) => covers(rule, address, host));
      if (answers.size === REMEMBERED) answers.clear();
      answers.set(text, answer);
      if (!answer) this.#onDenied?.({ action, address });
    }
    return answer;
  }
}

function covers({ hosts, firstPort, lastPort }: Rule, { tag, val }: IpSocketAddress, host: string): boolean {
  if (val.port < firstPort || val.port > lastPort) return false;
  if (hosts === undefined) return true;
  // BlockList takes IPv4 and IPv4-mapped addresses for the same; sockets do not.
  return hosts.tag === tag && hosts.list.check(host, tag);
}

/** `HOST:PORT`, where HOST is `*`, an IPv4 address or an IPv6 address in brackets, with an optional prefix length. */
const RULE =
  /^(?:(?<any>\*)|(?<v4>[\d.]+)(?:\/(?<bits4>\d{1,2}))?|\[(?<v6>[\da-fA-F:.]+)(?:\/(?<bits6>\d{1,3}))?\]):(?<port>\*|\d{1,5}(?:-\d{1,5})?)$/;

function parseRule(action: Action, text: unknown): Rule {
  const refuse = (problem: string) =>
    new TypeError(
      `a "${action}" rule is HOST:PORT, got ${show(text)}: ${problem}. HOST is an address, a block such as 10.0.0.0/8 or ` +
        `[fd00::/8], or *; PORT is a number, a range such as 5000-5999, or *`,
    );
  const groups = typeof text === 'string' ? RULE.exec(text)?.groups : undefined;
  if (groups === undefined) throw refuse('that is not of this form');
  const { any, v4, bits4, v6, bits6, port } = groups;
  const [first, last = first] = port === '*' ? [0, 65_535] : port!.split('-').map(Number);
  if (first! > last! || last! > 65_535) throw refuse('ports go from 0 to 65535, and a range from its lower end');
  const ports = { firstPort: first!, lastPort: last! };
  if (any !== undefined) return { hosts: undefined, ...ports };
  const tag = v4 === undefined ? 'ipv6' : 'ipv4';
  const address = (v4 ?? v6)!;
  const bits = Number(bits4 ?? bits6 ?? (tag === 'ipv4' ? 32 : 128));
  if (!(tag === 'ipv4' ? isIPv4(address) : isIPv6(address))) throw refuse(`that is no ${tag} address`);
  if (bits > (tag === 'ipv4' ? 32 : 128)) throw refuse(`that is no prefix length of ${tag}`);
  const list = new BlockList();
  list.addSubnet(address, bits, tag);
  return { hosts: { tag, list }, ...ports };
}
