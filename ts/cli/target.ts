import { InvalidArgumentError } from 'commander';
import { SocketError } from '../errors.js';
import { parseSocketAddress } from '../rules/address.js';
import { nameAndPort } from '../socket/resolve.js';

/** A parser of HOST:PORT, with ports from `leastPort` on: the text, as `openUdpAsync` takes it. */
export function hostAndPort(leastPort: 0 | 1): (text: string) => string {
  return (text) => {
    const port = portOf(text);
    if (typeof port === 'number' && port >= leastPort) return text;
    throw new InvalidArgumentError(
      `It takes HOST:PORT, such as 127.0.0.1:514, [::1]:514 or localhost:514, with a port from ${leastPort} to 65535${hint(port)}.`,
    );
  };
}

/** Where to listen: at an address, or, without one, at every address of this machine. */
export interface Listening {
  local: string;
  /** Whether both IPv4 and IPv6 are meant. */
  isDual: boolean;
}

/** A parser of HOST:PORT or PORT. */
export function addressOrPort(text: string): Listening {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return { local: `[::]:${text}`, isDual: true };
  const port = portOf(text);
  if (typeof port === 'number') return { local: text, isDual: false };
  throw new InvalidArgumentError(
    `It takes HOST:PORT or PORT, such as 127.0.0.1:514, [::1]:514 or 514, with a port up to 65535; port 0 is a free port${hint(port)}.`,
  );
}

/** The port of HOST:PORT; or what is the matter with it. */
function portOf(text: string): number | SocketError {
  try {
    return nameAndPort(text)?.port ?? parseSocketAddress(text).val.port;
  } catch (error) {
    if (error instanceof SocketError) return error;
    throw error;
  }
}

/** What the form alone does not tell: that of a zone. */
function hint(port: number | SocketError): string {
  return typeof port === 'object' && port.message.includes('a zone is') ? `; ${port.message}` : '';
}

/** A parser of whole numbers in a range. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It takes a whole number from ${least} to ${most}.`);
  };
}

/** A parser of seconds, from more than 0 on, up to what a timer can wait: milliseconds. */
export function seconds(text: string): number {
  const value = 1000 * Number(/^(\d+(?:\.\d+)?|\.\d+)s?$/.exec(text)?.[1]);
  if (value > 0 && value < 2 ** 31) return value;
  throw new InvalidArgumentError(`It takes seconds, such as 10 or 0.5, up to ${Math.floor(2 ** 31 / 1000)}.`);
}

/** By which a number with that letter is multiplied. */
const FACTORS: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** A parser of datagrams a second. */
export function rate(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?|\.\d+)([kmg]?)(?:\/s)?$/i.exec(text) ?? [];
  const value = Number(number) * (FACTORS[unit?.toLowerCase() ?? ''] ?? Number.NaN);
  if (value > 0) return value;
  throw new InvalidArgumentError('It takes datagrams a second, such as 5000, 5000/s, 5k or 1.5M.');
}

/** A parser of an option that may be given several times. */
export const collect = (value: string, before: string[]): string[] => [...before, value];
