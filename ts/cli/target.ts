import dns from 'node:dns/promises';
import { InvalidArgumentError } from 'commander';
import { SocketError } from '../errors.js';
import { type IpSocketAddress, parseSocketAddress } from '../rules/address.js';

/** An address as the command line has it. */
export interface Target {
  host: string;
  port: number;
}

/** A parser of HOST:PORT, with ports from `leastPort` on. */
export function hostAndPort(leastPort: 0 | 1): (text: string) => Target {
  return (text) => {
    const match = /^(?:\[(?<bracketed>[^\]]+)\]|(?<plain>[^:[\]]+)):(?<port>\d{1,5})$/.exec(text);
    const host = match?.groups?.['bracketed'] ?? match?.groups?.['plain'];
    const port = Number(match?.groups?.['port']);
    if (host !== undefined && port >= leastPort && port <= 65_535) return { host, port };
    throw new InvalidArgumentError('It takes HOST:PORT, such as 127.0.0.1:514, [::1]:514 or localhost:514.');
  };
}

/** The address of a target; names are looked up as the system does. Throws SocketError `name-unresolvable`. */
export async function resolve({ host, port }: Target): Promise<IpSocketAddress> {
  try {
    const { address, family } = await dns.lookup(host);
    return parseSocketAddress(family === 6 ? `[${address}]:${port}` : `${address}:${port}`);
  } catch (error) {
    if (error instanceof SocketError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new SocketError(
      'name-unresolvable',
      `looking up ${host} failed (${code}): check the name, or give an address`,
    );
  }
}

/** A parser of whole numbers in a range. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It takes a whole number from ${least} to ${most}.`);
  };
}
