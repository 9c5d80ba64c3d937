import dns from 'node:dns';
import { isIP } from 'node:net';
import { SocketError } from '../errors.js';
import {
  type IpAddressFamily,
  type IpSocketAddress,
  parseSocketAddress,
  type SocketAddressLike,
  show,
} from '../rules/address.js';
import { checkNames } from '../rules/names.js';

/** A function that looks names up, as `dns.lookup` of Node.js and the `lookup` option of its sockets have it. */
export type Lookup = (
  hostname: string,
  options: { all: true; family: 0 | 4 | 6 },
  callback: (
    error: NodeJS.ErrnoException | null,
    addresses: string | readonly { address: string; family?: number }[],
  ) => void,
) => void;

/** How names are looked up. */
export interface ResolveOptions {
  /** The family of the addresses that are asked for. Default: either. */
  family?: IpAddressFamily | undefined;
  /** What looks names up. Default: `dns.lookup`, which asks as the system does. */
  lookup?: Lookup | undefined;
}

/** `HOST:PORT`, where HOST is a name. */
const NAME = /^(?<host>[^\s:[\]%/*]+):(?<port>\d{1,5})$/;

/**
 * The first address of a text such as `localhost:8125`, or of a name beside a port; an IP address with a port (see
 * `parseSocketAddress`) needs no lookup.
 *
 * @param address a text, or `{ address, port }`, whose host may be a name.
 * @param options the family that is asked for, and what looks names up.
 * @returns the address: the first one that the lookup gives.
 * @throws (rejects with) SocketError: `invalid-argument` for what is no host with a port, `name-unresolvable` for a name that has
 * no address, `temporary-resolver-failure` where nobody answers.
 * @example await resolveSocketAddress('localhost:8125', { family: 'ipv4' }); // 127.0.0.1:8125
 */
export async function resolveSocketAddress(
  address: SocketAddressLike,
  options: ResolveOptions = {},
): Promise<IpSocketAddress> {
  checkNames('resolveSocketAddress()', options, ['family', 'lookup']);
  return (await candidatesOf(address, options))[0]!;
}

/** All addresses of what names one, in the order of the lookup; one at least. */
export async function candidatesOf(
  address: SocketAddressLike,
  { family, lookup }: ResolveOptions,
): Promise<IpSocketAddress[]> {
  if (family !== undefined && family !== 'ipv4' && family !== 'ipv6')
    throw new TypeError(`a family is 'ipv4' or 'ipv6', got ${show(family)}: leave it out for either`);
  if (lookup !== undefined && typeof lookup !== 'function')
    throw new TypeError(`a lookup is a function such as dns.lookup, got ${show(lookup)}: leave it out`);
  const { given, text } = readOnce(address);
  const named = nameAndPort(text);
  if (named === undefined) return [parseSocketAddress(given)];
  const { host, port } = named;
  const found = await lookUp(host, lookup ?? dns.lookup, family);
  return found.map((one) => parseSocketAddress({ address: one, port }));
}

/** What was given, with a host and a port read once, and as text where it may name a host. */
function readOnce(address: SocketAddressLike): { given: SocketAddressLike; text: string } {
  if (typeof address === 'string') return { given: address, text: address };
  const { address: host, port } = Object(address) as { address?: unknown; port?: unknown };
  if (typeof host !== 'string') return { given: address, text: '' };
  return { given: { address: host, port: port as number }, text: typeof port === 'number' ? `${host}:${port}` : '' };
}

/** The name and the port of a text such as `localhost:8125`; undefined of what has no name, such as an address. */
export function nameAndPort(text: string): { host: string; port: number } | undefined {
  const { host, port } = NAME.exec(text)?.groups ?? {};
  // Names do not end with a number (RFC 3696, 2), which an address does that is not quite one.
  if (host === undefined || /(^|\.)\d+$/.test(host) || Number(port) > 65_535) return undefined;
  return { host, port: Number(port) };
}

function lookUp(host: string, lookup: Lookup, family: IpAddressFamily | undefined): Promise<string[]> {
  const number = family === undefined ? 0 : family === 'ipv4' ? 4 : 6;
  return new Promise((resolve, reject) => {
    const refuse = (error: unknown) => {
      const { code, errno, syscall, message } = Object(error) as Partial<NodeJS.ErrnoException>;
      const payload = code === 'EAI_AGAIN' ? 'temporary-resolver-failure' : 'name-unresolvable';
      const why = code ?? message ?? show(error);
      const text = `looking up ${show(host)} failed (${why}): check the name, or give an address`;
      reject(new SocketError(payload, text, { code, errno, syscall }));
    };
    lookup(host, { all: true, family: number }, (error, answer) => {
      if (error) {
        refuse(error);
        return;
      }
      try {
        const fitting = textsOf(answer).filter((text) => (number === 0 ? isIP(text) !== 0 : isIP(text) === number));
        if (fitting.length > 0) resolve(fitting);
        else refuse({ code: 'ENOTFOUND' });
      } catch (thrown) {
        reject(thrown);
      }
    });
  });
}

/** The texts in what a lookup has answered; whatever else is there, a lookup of one's own made. */
function textsOf(answer: unknown): string[] {
  const all: unknown[] = Array.isArray(answer) ? answer.map((one) => Object(one).address) : [answer];
  return all.filter((address) => typeof address === 'string');
}
