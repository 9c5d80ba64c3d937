import type nodeDgram from 'node:dgram';
import { BlockList } from 'node:net';
import { checkFunction, checkSignal, checkUint32 } from './checks.js';
import { badArgument, badType } from './errors.js';
import { defaultLookup, type Lookup } from './lookup.js';
import type { Settings, SocketType } from './state.js';

/** The options of `createSocket`: those of node:dgram, of all versions of Node.js. */
export interface SocketOptions extends nodeDgram.SocketOptions {
  /** Whether others of this user that say so too may bind to the port: Linux spreads what arrives among them by flow. */
  reusePort?: boolean | undefined;
  /** Addresses that are not heard. */
  receiveBlockList?: BlockList | undefined;
  /** Addresses that are not sent to. */
  sendBlockList?: BlockList | undefined;
}

/** What `createSocket` is given, each option read once, in node:dgram's order; throws as it does. */
export function readSettings(given: SocketType | SocketOptions): {
  type: SocketType;
  settings: Settings;
  /** To be called once the socket is made: it may be aborted already. */
  signal: () => AbortSignal | undefined;
} {
  const options = (given !== null && typeof given === 'object' ? given : { type: given }) as SocketOptions;
  const { type, lookup } = options;
  const recvBufferSize = sizeOf(options.recvBufferSize, 'recvBufferSize');
  const sendBufferSize = sizeOf(options.sendBufferSize, 'sendBufferSize');
  const receiveBlockList = listOf(options.receiveBlockList, 'receiveBlockList');
  const sendBlockList = listOf(options.sendBlockList, 'sendBlockList');
  if (lookup !== undefined) checkFunction(lookup, 'lookup');
  if (type !== 'udp4' && type !== 'udp6') throw badType();
  const { reuseAddr, reusePort, ipv6Only } = options;
  const settings = {
    lookup: (lookup as unknown as Lookup | undefined) ?? defaultLookup(),
    recvBufferSize,
    sendBufferSize,
    receiveBlockList,
    sendBlockList,
    flags: { reuseAddr, reusePort, ipv6Only },
  };
  return { type, settings, signal: () => signalOf(options) };
}

function sizeOf(size: number | undefined, name: string): number | undefined {
  if (size) checkUint32(size, `options.${name}`);
  return size;
}

function listOf(list: BlockList | undefined, name: string): BlockList | undefined {
  if (!list) return undefined;
  if (!(list instanceof BlockList)) throw badArgument(`options.${name}`, 'an net.BlockList', list);
  return list;
}

function signalOf({ signal }: SocketOptions): AbortSignal | undefined {
  if (signal !== undefined) checkSignal(signal, 'options.signal');
  return signal;
}
