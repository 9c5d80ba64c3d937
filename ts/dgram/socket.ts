import { AsyncResource } from 'node:async_hooks';
import nodeDgram from 'node:dgram';
import { channel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import { type AddressInfo, Destinations } from './addresses.js';
import { bind, bindSync } from './bind.js';
import { checkNumber, checkString } from './checks.js';
import { connect, connectSync } from './connect.js';
import { addDeprecated } from './deprecated.js';
import { Endpoint, type RemoteInfo } from './endpoint.js';
import { callError, notConnected, notImplemented } from './errors.js';
import { optionMethods } from './option-methods.js';
import { send } from './send.js';
import type { Data } from './send-arguments.js';
import { readSettings, type SocketOptions } from './settings.js';
import {
  Bind,
  type BindSyncOptions,
  Connect,
  check,
  type Owner,
  running,
  type Socket as SocketInterface,
  type SocketType,
  STATE,
  type State,
  stateOf,
} from './state.js';

type MessageListener = NonNullable<Parameters<typeof nodeDgram.createSocket>[1]>;

const socketChannel = channel('udp.socket');

/** A function, as node:dgram's is: `Socket.call(this, type)` of older subclasses works. */
function SocketFunction(this: Owner, given: SocketType | SocketOptions, listener?: MessageListener): void {
  EventEmitter.call(this);
  const { type, settings, signal } = readSettings(given);
  const { receiveBlockList } = settings;
  const family = type === 'udp4' ? 4 : 6;
  const resource = new AsyncResource('UDPWRAP');
  const endpoint = new Endpoint(family, {
    message: (data, remote) => {
      const isBlocked = receiveBlockList?.check(remote.address, remote.family === 'IPv4' ? 'ipv4' : 'ipv6');
      if (!isBlocked) resource.runInAsyncScope(emitMessage, this, data, remote);
    },
    error: (error) => resource.runInAsyncScope(emitError, this, callError(error, 'recvmsg')),
  });
  const state: State = {
    endpoint,
    family,
    settings,
    destinations: new Destinations(family),
    resource,
    bindState: Bind.Unbound,
    connectState: Connect.Disconnected,
    waiting: undefined,
    shared: undefined,
    tick: undefined,
  };
  Object.defineProperty(this, STATE, { value: state });
  this.type = type;
  if (typeof listener === 'function') this.on('message', listener);
  closeBy(this, signal());
  if (socketChannel.hasSubscribers) socketChannel.publish({ socket: this });
}

function emitMessage(this: Owner, data: Buffer, remote: RemoteInfo): void {
  this.emit('message', data, remote);
}

function emitError(this: Owner, error: Error): void {
  this.emit('error', error);
}

function closeBy(socket: Owner, signal: AbortSignal | undefined): void {
  if (signal === undefined) return;
  const close = () => {
    if (!stateOf(socket).endpoint.isClosed) socket.close();
  };
  if (signal.aborted) {
    close();
    return;
  }
  signal.addEventListener('abort', close, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', close));
}

/** A socket of node:dgram's interface. */
export type Socket = SocketInterface;

/** The class: see https://nodejs.org/api/dgram.html. Its sockets are instances of node:dgram's class as well. */
export const Socket = SocketFunction as unknown as {
  new (type: SocketType | SocketOptions, listener?: MessageListener): Socket;
  readonly prototype: Socket;
};
Object.setPrototypeOf(SocketFunction, EventEmitter);
Object.defineProperty(SocketFunction, 'name', { value: 'Socket' });
const { Socket: NodeSocket } = nodeDgram;
Object.setPrototypeOf(SocketFunction.prototype, NodeSocket.prototype);

/**
 * Makes a socket; see https://nodejs.org/api/dgram.html#dgramcreatesocketoptions-callback.
 *
 * @param type the family, or the options with it.
 * @param listener hears of each message, as one of the event 'message'.
 * @returns the socket, which is bound by `bind`, or by its first `send`.
 * @throws as node:dgram: TypeError with `code` ERR_SOCKET_BAD_TYPE and its like.
 * @example createSocket('udp4', (message, remote) => console.log(`${message}`, remote.port)).bind(8125);
 */
export function createSocket(type: SocketType | SocketOptions, listener?: MessageListener): Socket {
  return new Socket(type, listener);
}

const methods = {
  bind(this: Owner, ...values: unknown[]): Socket {
    bind(this, values);
    return this;
  },

  bindSync(this: Owner, options: BindSyncOptions = {}): AddressInfo {
    return bindSync(this, options);
  },

  connect(this: Owner, port: unknown, address?: unknown, callback?: unknown): void {
    connect(this, port, address, callback);
  },

  connectSync(this: Owner, port: unknown, address?: unknown): void {
    connectSync(this, port, address);
  },

  disconnect(this: Owner): void {
    const state = stateOf(this);
    if (state.connectState !== Connect.Connected) throw notConnected();
    check(running(this).endpoint.disconnect(), 'connect');
    state.connectState = Connect.Disconnected;
  },

  send(this: Owner, message: unknown, a?: unknown, b?: unknown, c?: unknown, d?: unknown, e?: unknown): void {
    send(this, message, a, b, c, d, e);
  },

  sendto(
    this: Owner,
    message: Data,
    offset: unknown,
    length: unknown,
    port: unknown,
    address: unknown,
    callback?: () => void,
  ): void {
    checkNumber(offset, 'offset');
    checkNumber(length, 'length');
    checkNumber(port, 'port');
    checkString(address, 'address');
    this.send(message as Uint8Array, offset, length, port, address, callback);
  },

  close(this: Owner, callback?: () => void): Socket {
    const state = stateOf(this);
    if (typeof callback === 'function') this.on('close', callback);
    if (state.waiting !== undefined) {
      state.waiting.push(this.close.bind(this));
      return this;
    }
    running(this).endpoint.close();
    state.shared?.close();
    process.nextTick(() => this.emit('close'));
    return this;
  },

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')](this: Owner): Promise<void> {
    if (stateOf(this).endpoint.isClosed) return;
    await new Promise<void>((resolve) => this.close(resolve));
  },

  address(this: Owner): AddressInfo {
    const found = running(this).endpoint.address('localAddress');
    if ('number' in found) throw callError(found, 'getsockname');
    return found;
  },

  remoteAddress(this: Owner): AddressInfo {
    const { endpoint, connectState } = running(this);
    if (connectState !== Connect.Connected) throw notConnected();
    const found = endpoint.address('remoteAddress');
    if ('number' in found) throw callError(found, 'getpeername');
    return found;
  },

  ref(this: Owner): Socket {
    stateOf(this).endpoint.ref(true);
    return this;
  },

  unref(this: Owner): Socket {
    stateOf(this).endpoint.ref(false);
    return this;
  },

  getSendQueueSize(this: Owner): number {
    return running(this).endpoint.pendingBytes;
  },

  getSendQueueCount(this: Owner): number {
    return running(this).endpoint.pending;
  },
};

const own = SocketFunction.prototype as object;
addDeprecated(own);
Object.assign(own, methods, optionMethods);

// A method that node:dgram has and this has not would find no socket of node's own.
for (const name of Reflect.ownKeys(NodeSocket.prototype)) {
  if (name === 'constructor' || Object.hasOwn(own, name)) continue;
  Object.defineProperty(own, name, {
    value: () => {
      throw notImplemented(`${String(name)}(), a method of node:dgram's sockets,`, 'take node:dgram for this one');
    },
    writable: true,
    configurable: true,
  });
}
