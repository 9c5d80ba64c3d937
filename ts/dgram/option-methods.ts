import { OPTION } from '../native/native.js';
import { checkNumber, checkString } from './checks.js';
import { badBufferSize, bufferSizeError, missing, type SystemError, systemErrorOf } from './errors.js';
import { check, type Owner, running } from './state.js';

/** The methods that read and set options of a socket, memberships among them. */
export const optionMethods = {
  setBroadcast(this: Owner, isOn: unknown): void {
    setOption(this, OPTION.broadcast, isOn ? 1 : 0, 0, 1, 'setBroadcast');
  },

  setTTL(this: Owner, ttl: unknown): number {
    checkNumber(ttl, 'ttl');
    setOption(this, OPTION.hopLimit, ttl | 0, 1, 255, 'setTTL');
    return ttl;
  },

  setMulticastTTL(this: Owner, ttl: unknown): number {
    checkNumber(ttl, 'ttl');
    setOption(this, OPTION.multicastHopLimit, ttl | 0, 0, 255, 'setMulticastTTL');
    return ttl;
  },

  setMulticastLoopback<T>(this: Owner, isOn: T): T {
    setOption(this, OPTION.multicastLoopback, isOn ? 1 : 0, 0, 1, 'setMulticastLoopback');
    return isOn;
  },

  setMulticastInterface(this: Owner, address: unknown): void {
    const { endpoint } = running(this);
    checkString(address, 'interfaceAddress');
    check(endpoint.setMulticastInterface(address), 'setMulticastInterface');
  },

  addMembership(this: Owner, group: unknown, by?: unknown): void {
    setMembership(this, true, group, by);
  },

  dropMembership(this: Owner, group: unknown, by?: unknown): void {
    setMembership(this, false, group, by);
  },

  addSourceSpecificMembership(this: Owner, source: unknown, group: unknown, by?: unknown): void {
    setSourceMembership(this, true, source, group, by);
  },

  dropSourceSpecificMembership(this: Owner, source: unknown, group: unknown, by?: unknown): void {
    setSourceMembership(this, false, source, group, by);
  },

  setRecvBufferSize(this: Owner, size: number): void {
    bufferSize(this, size, 'recv');
  },

  setSendBufferSize(this: Owner, size: number): void {
    bufferSize(this, size, 'send');
  },

  getRecvBufferSize(this: Owner): number {
    return bufferSize(this, 0, 'recv');
  },

  getSendBufferSize(this: Owner): number {
    return bufferSize(this, 0, 'send');
  },
};

/** Reads or sets (with a size but 0) a buffer's size, in bytes as the system has it. */
export function bufferSize(socket: Owner, size: number, which: 'recv' | 'send'): number {
  if (size >>> 0 !== size) throw badBufferSize();
  const { endpoint } = running(socket);
  const option = which === 'recv' ? OPTION.receiveBuffer : OPTION.sendBuffer;
  let outcome: number | SystemError | undefined = size;
  if (size === 0) outcome = endpoint.option(option);
  else if (size > 0x7fff_ffff) outcome = systemErrorOf('EINVAL');
  else outcome = endpoint.setOption(option, size) ?? size;
  if (typeof outcome === 'object') throw bufferSizeError(outcome, `uv_${which}_buffer_size`);
  return outcome;
}

function setOption(socket: Owner, option: number, value: number, least: number, most: number, syscall: string): void {
  const { endpoint } = running(socket);
  const isIn = value >= least && value <= most;
  check(isIn ? endpoint.setOption(option, value) : systemErrorOf('EINVAL'), syscall);
}

function setMembership(socket: Owner, join: boolean, group: unknown, by: unknown): void {
  const { endpoint } = running(socket);
  if (!group) throw missing('multicastAddress');
  const membership = { group: `${group}`, by: interfaceText(by) };
  check(endpoint.setMembership(join, membership), join ? 'addMembership' : 'dropMembership');
}

function setSourceMembership(socket: Owner, join: boolean, from: unknown, group: unknown, by: unknown): void {
  const { endpoint } = running(socket);
  checkString(from, 'sourceAddress');
  checkString(group, 'groupAddress');
  const syscall = join ? 'addSourceSpecificMembership' : 'dropSourceSpecificMembership';
  check(endpoint.setMembership(join, { group, from, by: interfaceText(by) }), syscall);
}

/** What names an interface is taken as text, whatever it is; a symbol has none, and throws. */
const interfaceText = (by: unknown): string | undefined => (by === undefined || by === null ? undefined : `${by}`);
