import { isIP } from 'node:net';
import { badArgument, badPort, badValue, outOfRange } from './errors.js';

/** The checks that Node.js makes of arguments, with its errors. */

export function checkString(value: unknown, name: string): asserts value is string {
  if (typeof value !== 'string') throw badArgument(name, 'of type string', value);
}

export function checkNumber(value: unknown, name: string): asserts value is number {
  if (typeof value !== 'number') throw badArgument(name, 'of type number', value);
}

export function checkFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw badArgument(name, 'of type function', value);
}

export function checkObject(value: unknown, name: string): asserts value is object {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw badArgument(name, 'of type object', value);
}

export function checkUint32(value: unknown, name: string): void {
  checkNumber(value, name);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < 0 || value > 0xffff_ffff) throw outOfRange(name, '>= 0 && <= 4294967295', value);
}

export function checkSignal(value: unknown, name: string): asserts value is AbortSignal {
  if (value === null || typeof value !== 'object' || !('aborted' in value))
    throw badArgument(name, 'an instance of AbortSignal', value);
}

/** A port as a number, where it is one: Node.js takes text of digits as well. */
export function checkedPort(port: unknown, name: string, allowsZero: boolean): number {
  const isText = typeof port === 'string' && port.trim() !== '';
  const number = isText || typeof port === 'number' ? Number(port) : -1;
  if (number >>> 0 !== number || number > 0xffff || (number === 0 && !allowsZero))
    throw badPort(name, port, allowsZero);
  return number;
}

/** Refuses a name where only an IP address will do. */
export function checkIp(address: unknown, name: string, method: string): asserts address is string {
  checkString(address, name);
  if (isIP(address) === 0)
    throw badValue(name, address, `must be a numeric IP address; ${method} does not perform DNS resolution`);
}
