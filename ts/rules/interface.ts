import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { SocketError } from '../errors.js';
import { native } from '../native/native.js';
import { show } from './address.js';

/**
 * The index of a network interface, which is named by its name (`eth0`), by an IP address that it has, or by the index itself;
 * 0 leaves the choice to the system. Throws SocketError `invalid-argument` for what names none.
 */
export function interfaceIndex(where: string, name: string | number): number {
  if (typeof name === 'number' && Number.isInteger(name) && name >= 0 && name < 2 ** 31) return name;
  const index = typeof name === 'string' && name !== '' ? indexOf(name) : 0;
  if (index !== 0) return index;
  throw new SocketError(
    'invalid-argument',
    `${where}: an interface is a name such as 'eth0', an IP address of this machine, or an index from 0 on, got ` +
      `${show(name)}: os.networkInterfaces() lists them`,
  );
}

function indexOf(name: string): number {
  const interfaces = listed();
  const found = isIP(name) === 0 ? name : interfaces.find(([, entries]) => entries?.some(hasAddress(name)))?.[0];
  if (found === undefined) return 0;
  // Windows has two names for an interface: it is known by the other one to its own calls.
  return native.interfaceIndex(found) || scopeOf(interfaces.find(([other]) => other === found)?.[1]);
}

type Entries = NonNullable<ReturnType<typeof networkInterfaces>[string]>;

const hasAddress = (address: string) => (entry: Entries[number]) => entry.address === address;

/** The interfaces that have addresses; none where the system forbids to ask. */
function listed(): [string, Entries | undefined][] {
  try {
    return Object.entries(networkInterfaces());
  } catch {
    return [];
  }
}

/** The scope of the link-local addresses, which is the interface's index. */
function scopeOf(entries: Entries = []): number {
  for (const entry of entries) if (entry.family === 'IPv6' && entry.scopeid > 0) return entry.scopeid;
  return 0;
}
