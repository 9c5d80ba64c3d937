import { Trap } from '../errors.js';
import { show } from '../rules/address.js';

/** How much of the host one guest may use. */
export interface Limits {
  /**
   * Sockets, streams, pollables and networks that the guest may hold at once; asking for one more traps it.
   * Default: 65,536. Guests hold a few for each socket; so many pollables cost the host 15 to 25 MB.
   */
  resources?: number;
  /**
   * Sockets that the guest may have open at once; `create-udp-socket` gives one more the error `new-socket-limit`. A socket
   * is open until it and both its streams are dropped. Default: 1,024, the usual limit of open files of a process; each may
   * fill buffers of the kernel as large as the system lets it (`net.core.rmem_max` and `wmem_max` of Linux).
   */
  sockets?: number;
  /**
   * Entries of the list that the guest gives to `poll`, where one pollable may stand more than once; a longer list traps it.
   * Default: 65,536, as many as the guest has resources.
   */
  pollList?: number;
}

/** The largest limit: a `Map` of V8 has no more entries. */
const MOST = 2 ** 24;

const DEFAULTS: Required<Limits> = { resources: 65_536, sockets: 1024, pollList: 65_536 };

/** The limits with their defaults. Throws TypeError for what is no limit, RangeError for what is no number of things. */
export function limitsOf(given: Limits = {}): Required<Limits> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new TypeError(`limits is an object, got ${show(given)}: write { sockets: 16 }`);
  }
  const limits = { ...DEFAULTS };
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULTS, name)) {
      throw new TypeError(`limits are ${Object.keys(DEFAULTS).join(', ')}, got ${show(name)}: name one of them`);
    }
    if (value === undefined) continue;
    const rule = `limits.${name} is a whole number from 0 to ${MOST}, got ${typeof value === 'number' ? value : show(value)}`;
    if (typeof value !== 'number') throw new TypeError(`${rule}: write a number`);
    if (!(Number.isInteger(value) && value >= 0 && value <= MOST)) {
      throw new RangeError(`${rule}: leave it out for ${DEFAULTS[name as keyof Limits]}`);
    }
    limits[name as keyof Limits] = value;
  }
  return limits;
}

/** Traps where the list of a `poll` has more entries than the guest may name. */
export function checkPollList(entries: number, { pollList }: Required<Limits>): void {
  if (entries <= pollList) return;
  throw new Trap(
    `a guest may name ${pollList} pollables in one poll() (limits.pollList), got ${entries}: name each once, or raise the limit`,
  );
}
