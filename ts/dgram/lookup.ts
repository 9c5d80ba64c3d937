import nodeDgram from 'node:dgram';
import dns from 'node:dns';
import { isIP } from 'node:net';
import type { Family } from '../native/native.js';

/** Finds the address of a name. */
export type Lookup = (
  hostname: string,
  family: Family,
  callback: (error: Error | null, address: string, family: number) => void,
) => void;

/** As the runtime has it before anybody replaces it. */
const systemLookup = dns.lookup as unknown as Lookup;
/** Where node:dgram has `bindSync`, it asks `dns.lookup` for names alone; before that, for IP addresses too. */
const namesAlone = 'bindSync' in nodeDgram.Socket.prototype ? lookupName : undefined;

/** The lookup of a socket that is given none. */
export const defaultLookup = (): Lookup => namesAlone ?? (dns.lookup as unknown as Lookup);

/** Whether a lookup answers an IP address with itself, so that it need not be asked. */
export const knowsAddresses = (lookup: Lookup): boolean => lookup === systemLookup || lookup === namesAlone;

/** An IP address of the socket's family is its own answer, by the next tick. */
function lookupName(...[address, family, callback]: Parameters<Lookup>): void {
  if (isIP(address) === family) process.nextTick(callback, null, address, family);
  else (dns.lookup as unknown as Lookup)(address, family, callback);
}

/** Where a datagram goes that names no host. */
export const localHost = (family: Family): string => (family === 4 ? '127.0.0.1' : '::1');

/** Looks a name up, as node:dgram does: an address is found by the next tick. */
export function lookUp(
  lookup: Lookup,
  family: Family,
  address: string | undefined | null,
  found: (error: Error | null, ip: string) => void,
): void {
  lookup(address || localHost(family), family, found);
}
