import { getSystemErrorMap, type InspectOptions, inspect } from 'node:util';
import { nameOf, numberOf, SocketError } from '../errors.js';
import { native } from '../native/native.js';

/*
 * The errors of node:dgram, with its codes, messages and properties: https://nodejs.org/api/errors.html
 */

type Base = ErrorConstructor | TypeErrorConstructor | RangeErrorConstructor;

/** An error of Node.js with a code: the code stands beside its name where it is shown, and not in its name. */
function coded(base: Base, code: string, message: string): Error & { code: string } {
  const error = new base(message) as Error & { code: string };
  Object.defineProperties(error, {
    name: { value: `${base.name} [${code}]`, writable: true, configurable: true },
    toString: { value: () => `${base.name} [${code}]: ${error.message}`, writable: true, configurable: true },
  });
  // The stack is made by its first reader, and begins with the name of that moment.
  error.stack;
  delete (error as { name?: string }).name;
  error.code = code;
  return error;
}

export const alreadyBound = () => coded(Error, 'ERR_SOCKET_ALREADY_BOUND', 'Socket is already bound');
export const alreadyConnected = () => coded(Error, 'ERR_SOCKET_DGRAM_IS_CONNECTED', 'Already connected');
export const notConnected = () => coded(Error, 'ERR_SOCKET_DGRAM_NOT_CONNECTED', 'Not connected');
export const notRunning = () => coded(Error, 'ERR_SOCKET_DGRAM_NOT_RUNNING', 'Not running');
export const badType = () =>
  coded(TypeError, 'ERR_SOCKET_BAD_TYPE', 'Bad socket type specified. Valid types are: udp4, udp6');
export const badBufferSize = () =>
  coded(TypeError, 'ERR_SOCKET_BAD_BUFFER_SIZE', 'Buffer size must be a positive integer');
export const badDescriptorType = (type: string) =>
  coded(TypeError, 'ERR_INVALID_FD_TYPE', `Unsupported fd type: ${type}`);
export const outOfBounds = (name: string) =>
  coded(RangeError, 'ERR_BUFFER_OUT_OF_BOUNDS', `"${name}" is outside of buffer bounds`);
export const missing = (name: string) =>
  coded(TypeError, 'ERR_MISSING_ARGS', `The "${name}" argument must be specified`);
export const blocked = (address: string) =>
  coded(Error, 'ERR_IP_BLOCKED', `IP(${address}) is blocked by net.BlockList`);
export const notImplemented = (what: string, remedy: string) =>
  coded(Error, 'ERR_METHOD_NOT_IMPLEMENTED', `${what} is not implemented: ${remedy}`);

export const badPort = (name: string, port: unknown, allowsZero: boolean) =>
  coded(
    RangeError,
    'ERR_SOCKET_BAD_PORT',
    `${name} should be ${allowsZero ? '>=' : '>'} 0 and < 65536. ${received(port)}.`,
  );

export const outOfRange = (name: string, range: string, value: unknown) =>
  coded(
    RangeError,
    'ERR_OUT_OF_RANGE',
    `The value of "${name}" is out of range. It must be ${range}. Received ${separated(value)}`,
  );

export const badValue = (name: string, value: unknown, reason: string) =>
  coded(
    TypeError,
    'ERR_INVALID_ARG_VALUE',
    `The ${kindOf(name)} '${name}' ${reason}. Received ${shortened(inspect(value), 128)}`,
  );

/** `expected` as it stands behind "must be": `of type string`, `an instance of AbortSignal`. */
export const badArgument = (name: string, expected: string, value: unknown) =>
  coded(TypeError, 'ERR_INVALID_ARG_TYPE', `The "${name}" ${kindOf(name)} must be ${expected}. ${received(value)}`);

const kindOf = (name: string) => (name.includes('.') ? 'property' : 'argument');

const shortened = (text: string, most: number) => (text.length > most ? `${text.slice(0, most)}...` : text);

/** An integer beyond 32 bits in groups of three characters, as Node.js shows it. */
function separated(value: unknown): string {
  const text = inspect(value);
  return Number.isInteger(value) && Math.abs(value as number) > 2 ** 32
    ? text.replace(/(?<=[^-])(?=(?:.{3})+$)/g, '_')
    : text;
}

/** What was received, as the messages end. */
function received(value: unknown): string {
  if (value === undefined || value === null) return `Received ${value}`;
  if (typeof value === 'function') return `Received function ${value.name}`;
  if (typeof value === 'object') {
    const { name } = (value.constructor ?? {}) as { name?: string };
    return typeof name === 'string' ? `Received an instance of ${name}` : `Received ${inspect(value, { depth: -1 })}`;
  }
  if (typeof value !== 'string') return `Received type ${typeof value} (${inspect(value, { colors: false })})`;
  const text = value.length > 28 ? `${value.slice(0, 25)}...` : value;
  return `Received type string (${text.includes("'") ? JSON.stringify(text) : `'${text}'`})`;
}

/** An error of the system: its name, and the number that Node.js has for it, which is negative. */
export interface SystemError {
  readonly name: string;
  readonly number: number;
}

/** By its name: `EBADF`. */
export const systemErrorOf = (name: string): SystemError => ({ name, number: numberOf(name) ?? UNKNOWN });

/** By that number. */
export const systemErrorOfNumber = (number: number): SystemError => ({
  name: nameOf(number) ?? `Unknown system error ${number}`,
  number,
});

/** `UV__UNKNOWN` of libuv. */
const UNKNOWN = -4094;

/** By a number that the addon answered, which is negative. */
export const systemErrorOfAnswer = (answer: number): SystemError => systemErrorOf(native.errorInfo(-answer).name);

/** Of an error that the queue tells: the system's, or that of a rule which the system has as well. */
export function systemErrorOfRefusal(error: Error): SystemError {
  // What the socket still held when it was closed is no SocketError.
  return systemErrorOf(error instanceof SocketError ? error.code : 'ECANCELED');
}

/** An error of a system call. */
export function callError({ name, number }: SystemError, syscall: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${syscall} ${name}`), { errno: number, code: name, syscall });
}

/** An error of a system call on an address. */
export function addressError(
  { name, number }: SystemError,
  syscall: string,
  address: string | undefined | null,
  port?: number | null,
): NodeJS.ErrnoException {
  // What is no number is passed for a port as well.
  const place = Number(port) > 0 ? ` ${address}:${port}` : address ? ` ${address}` : '';
  const error = new Error(`${syscall} ${name}${place}`);
  return Object.assign(error, { errno: number, code: name, syscall, address, ...(port && { port }) });
}

/** ERR_SOCKET_BUFFER_SIZE: a SystemError, which has what the system said in `info`, and repeats two fields of it. */
export function bufferSizeError({ name, number }: SystemError, syscall: string): Error {
  const code = 'ERR_SOCKET_BUFFER_SIZE';
  const message = getSystemErrorMap().get(number)?.[1] ?? name;
  const info = { errno: number, code: name, message, syscall };
  const error = new Error(`Could not get or set buffer size: ${syscall} returned ${name} (${message})`);
  const hidden = { writable: true, configurable: true, enumerable: false };
  Object.defineProperties(error, {
    name: { value: 'SystemError', ...hidden },
    toString: { value: () => `SystemError [${code}]: ${error.message}`, ...hidden },
    code: { value: code, writable: true, configurable: true, enumerable: true },
    info: { value: info, configurable: true, enumerable: true },
    errno: accessor(info, 'errno'),
    syscall: accessor(info, 'syscall'),
    // It shows what its accessors answer.
    [inspect.custom]: {
      value: (_: number, options: InspectOptions) =>
        inspect(error, { ...options, getters: true, customInspect: false }),
      ...hidden,
    },
  });
  Object.defineProperty(error, 'stack', {
    value: `SystemError [${code}]: ${error.message}\n${(error.stack ?? '').split('\n').slice(1).join('\n')}`,
    ...hidden,
  });
  return error;
}

function accessor<T extends object, K extends keyof T>(info: T, key: K): PropertyDescriptor {
  return {
    get: () => info[key],
    set: (value: T[K]) => {
      info[key] = value;
    },
    configurable: true,
    enumerable: true,
  };
}
