import { checkedPort, checkString } from './checks.js';
import { alreadyConnected, badArgument, outOfBounds } from './errors.js';

/** What may be sent. */
export type Data = string | NodeJS.ArrayBufferView;

/** What a call of `send` asks for. */
export interface SendRequest {
  /** One datagram. Text is as it leaves; the bytes of several parts are joined. */
  readonly data: Uint8Array | string;
  /** 0 for the peer of a connected socket. */
  readonly port: number;
  readonly address: string | undefined | null;
  readonly callback: ((error: Error | null, bytes?: number) => void) | undefined;
}

const DATA = 'of type string or an instance of Buffer, TypedArray, or DataView';
const EMPTY = Buffer.alloc(0);

/**
 * Reads the arguments of `send`, which come in many forms: data, or a list of them, or data with offset and length; then port
 * and address, but on a connected socket; then the callback. Throws as node:dgram does, in its order.
 */
export function readSend(
  isConnected: boolean,
  message: unknown,
  offset?: unknown,
  length?: unknown,
  port?: unknown,
  address?: unknown,
  callback?: unknown,
): SendRequest {
  let data = message;
  if (!isConnected) {
    if (address || (port && typeof port !== 'function')) data = part(message, offset, length);
    else [port, address, callback] = [offset, length, port];
  } else {
    if (typeof length === 'number') {
      data = part(message, offset, length);
      if (typeof port === 'function') [port, callback] = [null, port];
    } else callback = offset;
    if (port || address) throw alreadyConnected();
  }
  const joined = typeof data === 'string' ? data : Array.isArray(data) ? join(data) : bytesOf(data, 'buffer');
  const checked = isConnected ? 0 : checkedPort(port, 'Port', false);
  if (typeof address === 'function') [callback, address] = [address, undefined];
  else if (address !== undefined && address !== null) checkString(address, 'address');
  return {
    data: joined,
    port: checked,
    address: address as string | undefined | null,
    callback: typeof callback === 'function' ? (callback as SendRequest['callback']) : undefined,
  };
}

/** The bytes of a view, of whatever kind; none of one whose memory was taken away. */
function bytesOf(data: unknown, name: string): Uint8Array {
  if (!ArrayBuffer.isView(data)) throw badArgument(name, DATA, data);
  if (data.byteLength === 0) return EMPTY;
  return data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** `length` bytes from `offset` on. */
function part(data: unknown, offset: unknown, length: unknown): Uint8Array {
  const bytes = typeof data === 'string' ? Buffer.from(data) : bytesOf(data, 'buffer');
  const start = (offset as number) >>> 0;
  const count = (length as number) >>> 0;
  if (start > bytes.byteLength) throw outOfBounds('offset');
  if (start + count > bytes.byteLength) throw outOfBounds('length');
  return bytes.subarray(start, start + count);
}

function join(list: unknown[]): Uint8Array {
  // A list with a hole has no datagram's bytes there.
  const parts = Array.from(list, (item) => {
    if (typeof item === 'string') return Buffer.from(item);
    if (!ArrayBuffer.isView(item)) throw badArgument('buffer list arguments', DATA, list);
    return bytesOf(item, 'buffer');
  });
  return parts.length === 0 ? EMPTY : parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}
