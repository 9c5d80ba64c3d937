import { AsyncResource } from 'node:async_hooks';
import nodeDgram from 'node:dgram';
import { channel } from 'node:diagnostics_channel';
import dns from 'node:dns';
import { EventEmitter } from 'node:events';
import { fstatSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { deprecate } from 'node:util';
import { type Family, OPTION } from '../native/native.js';
import type { IpSocketAddress } from '../rules/address.js';
import type { SendCallback } from '../socket/datagram-queue.js';
import { type AddressInfo, Destinations, slotOf } from './addresses.js';
import {
  checkedPort,
  checkFunction,
  checkNumber,
  checkObject,
  checkSignal,
  checkString,
  checkUint32,
} from './checks.js';
import { type BindFlags, Endpoint, type RemoteInfo } from './endpoint.js';
import {
  addressError,
  alreadyBound,
  alreadyConnected,
  badArgument,
  badBufferSize,
  badDescriptorType,
  badType,
  badValue,
  blocked,
  bufferSizeError,
  callError,
  missing,
  notConnected,
  notImplemented,
  notRunning,
  type SystemError,
  systemErrorOf,
  systemErrorOfNumber,
  systemErrorOfRefusal,
} from './errors.js';
import { type Data, readSend, type SendRequest } from './send-arguments.js';
import { FLAGS, isWorker, type SharedBind, type SharedHandle, shareHandle } from './shared-handle.js';

/** The family of a socket, as node:dgram names it: IPv4 or IPv6. */
export type SocketType = 'udp4' | 'udp6';
type MessageListener = NonNullable<Parameters<typeof nodeDgram.createSocket>[1]>;

/** The options of `createSocket`: those of node:dgram, of all versions of Node.js. */
export interface SocketOptions extends nodeDgram.SocketOptions {
  /** Whether others of this user that say so too may bind to the port: Linux spreads what arrives among them by flow. */
  reusePort?: boolean | undefined;
  /** Addresses that are not heard. */
  receiveBlockList?: BlockList | undefined;
  /** Addresses that are not sent to. */
  sendBlockList?: BlockList | undefined;
}

/** The options of `bindSync`. */
export interface BindSyncOptions {
  /** The port, 0 to 65535. Default: 0, a free one. */
  port?: number | undefined;
  /** The IP address. Default: the unspecified one of the socket's family. */
  address?: string | undefined;
}

/** A socket of node:dgram's interface. */
export interface Socket extends nodeDgram.Socket {
  /** As node:dgram of Node.js 24.21: binds at once, to an IP address; the address. */
  bindSync(options?: BindSyncOptions): AddressInfo;
  /** As node:dgram of Node.js 24.21: connects at once, to an IP address. */
  connectSync(port: number, address?: string): void;
}

type Lookup = (
  hostname: string,
  family: Family,
  callback: (error: Error | null, address: string, family: number) => void,
) => void;

const Bind = { Unbound: 0, Binding: 1, Bound: 2 } as const;
const Connect = { Disconnected: 0, Connecting: 1, Connected: 2 } as const;

/** What a socket has beside its events. */
interface State {
  readonly endpoint: Endpoint;
  readonly family: Family;
  readonly lookup: Lookup;
  readonly destinations: Destinations;
  /** The context in which the socket was made, in which its messages are told. */
  readonly resource: AsyncResource;
  readonly options: SocketOptions;
  bindState: number;
  connectState: number;
  /** What waits until the socket is bound. */
  waiting: (() => void)[] | undefined;
  /** The socket of a cluster's primary that this one shares. */
  shared: SharedHandle | undefined;
  /** Sends of this tick, which node:dgram would look up until the next one; and whether that one will come. */
  tick: { isOver: boolean } | undefined;
}

const STATE = Symbol('wasi-udp dgram');
type Owner = Socket & { [STATE]: State; type: SocketType };

const stateOf = (socket: object): State => (socket as Owner)[STATE];

/** As the runtime has it before anybody replaces it. */
const systemLookup = dns.lookup as unknown as Lookup;
/** Where node:dgram has `bindSync`, it asks `dns.lookup` for names alone; before that, for IP addresses too. */
const defaultLookup = 'bindSync' in nodeDgram.Socket.prototype ? lookupName : undefined;

/** An IP address of the socket's family is its own answer, by the next tick. */
function lookupName(...[address, family, callback]: Parameters<Lookup>): void {
  if (isIP(address) === family) process.nextTick(callback, null, address, family);
  else (dns.lookup as unknown as Lookup)(address, family, callback);
}
const socketChannel = channel('udp.socket');

/** A function, as node:dgram's is: `Socket.call(this, type)` of older subclasses works. */
function SocketFunction(this: Owner, type: SocketType | SocketOptions, listener?: MessageListener): void {
  EventEmitter.call(this);
  const options: SocketOptions =
    type !== null && typeof type === 'object' ? type : ({ type } as unknown as SocketOptions);
  checkOptions(options);
  const kind = options.type;
  const { lookup = defaultLookup ?? dns.lookup } = options;
  checkFunction(lookup, 'lookup');
  if (kind !== 'udp4' && kind !== 'udp6') throw badType();
  const family = kind === 'udp4' ? 4 : 6;
  const resource = new AsyncResource('UDPWRAP');
  const { receiveBlockList } = options;
  const endpoint = new Endpoint(family, {
    message: (data, remote) => {
      const isBlocked = receiveBlockList?.check(remote.address, family === 4 ? 'ipv4' : 'ipv6');
      if (!isBlocked) resource.runInAsyncScope(emitMessage, this, data, remote);
    },
    error: (error) => resource.runInAsyncScope(emitError, this, callError(error, 'recvmsg')),
  });
  const state: State = {
    endpoint,
    family,
    lookup: lookup as unknown as Lookup,
    destinations: new Destinations(family),
    resource,
    options,
    bindState: Bind.Unbound,
    connectState: Connect.Disconnected,
    waiting: undefined,
    shared: undefined,
    tick: undefined,
  };
  Object.defineProperty(this, STATE, { value: state });
  this.type = kind;
  if (typeof listener === 'function') this.on('message', listener);
  if (options.signal !== undefined) closeBy(this, options.signal);
  if (socketChannel.hasSubscribers) socketChannel.publish({ socket: this });
}

function emitMessage(this: Owner, data: Buffer, remote: RemoteInfo): void {
  this.emit('message', data, remote);
}

function emitError(this: Owner, error: Error): void {
  this.emit('error', error);
}

function checkOptions({ recvBufferSize, sendBufferSize, receiveBlockList, sendBlockList }: SocketOptions): void {
  if (recvBufferSize) checkUint32(recvBufferSize, 'options.recvBufferSize');
  if (sendBufferSize) checkUint32(sendBufferSize, 'options.sendBufferSize');
  for (const [name, list] of Object.entries({ receiveBlockList, sendBlockList })) {
    if (list && !(list instanceof BlockList)) throw badArgument(`options.${name}`, 'an net.BlockList', list);
  }
}

function closeBy(socket: Owner, signal: AbortSignal | undefined): void {
  checkSignal(signal, 'options.signal');
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

/** The state of a socket that is not closed. */
function running(socket: object): State {
  const state = stateOf(socket);
  if (state.endpoint.isClosed) throw notRunning();
  return state;
}

/** Looks a name up, as node:dgram does: an address is found by the next tick. */
function lookUp(
  state: State,
  address: string | undefined | null,
  found: (error: Error | null, ip: string) => void,
): void {
  const { lookup, family } = state;
  lookup(address || (family === 4 ? '127.0.0.1' : '::1'), family, found);
}

function startReceiving(socket: Owner): void {
  const { endpoint, options } = stateOf(socket);
  stateOf(socket).bindState = Bind.Bound;
  endpoint.startReceiving();
  if (options.recvBufferSize) bufferSize(socket, options.recvBufferSize, 'recv');
  if (options.sendBufferSize) bufferSize(socket, options.sendBufferSize, 'send');
}

function startListening(socket: Owner): void {
  startReceiving(socket);
  socket.emit('listening');
}

/** A bind has failed: the socket may be bound again. */
function refuseBind(socket: Owner, error: Error): void {
  stateOf(socket).bindState = Bind.Unbound;
  socket.emit('error', error);
}

/** Binds by the primary of a cluster. */
function bindShared(socket: Owner, options: SharedBind, errorOf: (error: SystemError) => Error): void {
  const state = stateOf(socket);
  try {
    shareHandle(socket, options, (error, handle) => {
      if (state.endpoint.isClosed) {
        if (!error) handle.close();
      } else if (error) refuseBind(socket, errorOf(systemErrorOfNumber(error)));
      else takeHandle(socket, handle, errorOf);
    });
  } catch (error) {
    refuseBind(socket, error as Error);
  }
}

/** Stands on a handle of node's own, which is kept open beside. */
function takeHandle(socket: Owner, handle: SharedHandle, errorOf: (error: SystemError) => Error): void {
  const state = stateOf(socket);
  const refusal = state.endpoint.share(handle.fd);
  if (refusal !== undefined) {
    handle.close();
    refuseBind(socket, errorOf(refusal));
    return;
  }
  state.shared = handle;
  // A worker that disconnects closes the handles that it shares: then nothing keeps it alive.
  const { close } = handle;
  handle.close = function (this: SharedHandle, ...values) {
    state.endpoint.stopReceiving();
    return close.apply(this, values);
  };
  handle.unref?.();
  startListening(socket);
}

/** Binds to a descriptor that the process has open. */
function bindDescriptor(socket: Owner, fd: number, isExclusive: boolean): void {
  const state = stateOf(socket);
  const errorOf = (error: SystemError) => callError(error, 'open');
  if (isWorker() && !isExclusive) {
    bindShared(socket, { address: null, port: null, addressType: socket.type, fd, flags: null }, errorOf);
    return;
  }
  const refusal = state.endpoint.open(fd);
  if (refusal !== undefined) throw NO_UDP.has(refusal.name) ? badDescriptorType(kindOf(fd, refusal)) : errorOf(refusal);
  startListening(socket);
}

/** The errors of a descriptor that is no UDP socket of IPv4 or IPv6. */
const NO_UDP = new Set(['EBADF', 'ENOTSOCK', 'EPROTOTYPE', 'EAFNOSUPPORT']);

/** What a descriptor is in place of a UDP socket, in the words of Node.js. */
function kindOf(fd: number, { name }: SystemError): string {
  if (name === 'EPROTOTYPE') return 'TCP';
  if (name === 'EAFNOSUPPORT') return 'PIPE';
  try {
    const status = fstatSync(fd);
    if (status.isFile()) return 'FILE';
    if (status.isFIFO()) return 'PIPE';
    if (status.isCharacterDevice()) return process.stdin.isTTY && fd === 0 ? 'TTY' : 'FILE';
  } catch {
    // It is not open.
  }
  return 'UNKNOWN';
}

function flagsOf({ options }: State): BindFlags {
  const { reuseAddr, reusePort, ipv6Only } = options;
  return { reuseAddr, reusePort, ipv6Only };
}

/** Binds to an IP address at once; the error, if there is one. */
function bindTo(socket: Owner, ip: string, port: unknown): Error | undefined {
  const state = stateOf(socket);
  // As libuv, which takes the low 16 bits of whatever number there is.
  const slot = slotOf(ip, Number(port || 0) & 0xffff, state.family);
  const refusal = slot === undefined ? systemErrorOf('EINVAL') : state.endpoint.bind(slot, flagsOf(state));
  return refusal && addressError(refusal, 'bind', ip, port as number);
}

/** Once a socket is bound, what waits for it goes on; where it cannot be, that is forgotten. */
function afterBind(socket: Owner, task: () => void): void {
  const state = stateOf(socket);
  if (state.waiting === undefined) {
    state.waiting = [];
    const failed = () => {
      socket.removeListener('listening', bound);
      state.waiting = undefined;
    };
    const bound = () => {
      socket.removeListener(EventEmitter.errorMonitor, failed);
      const tasks = state.waiting ?? [];
      state.waiting = undefined;
      for (const task of tasks) task();
    };
    (socket as EventEmitter).once(EventEmitter.errorMonitor, failed);
    socket.once('listening', bound);
  }
  state.waiting.push(task);
}

function emitLater(socket: Owner, event: 'listening' | 'connect'): void {
  process.nextTick(() => {
    if (!stateOf(socket).endpoint.isClosed) socket.emit(event);
  });
}

/** Connects to an IP address; the error, if there is one. */
function connectTo(state: State, ip: string, port: number, address: string): Error | undefined {
  if (isBlocked(state, ip)) return blocked(ip);
  const slot = slotOf(ip, port, state.family);
  const refusal = slot === undefined ? systemErrorOf('EINVAL') : state.endpoint.connect(slot);
  return refusal && addressError(refusal, 'connect', address, port);
}

function connect(socket: Owner, port: number, address: string, callback: ((error?: Error) => void) | undefined): void {
  const state = stateOf(socket);
  if (callback) socket.once('connect', callback);
  lookUp(state, address, (failure, ip) => {
    if (state.endpoint.isClosed) return;
    const error = failure ?? connectTo(state, ip, port, address);
    state.connectState = error ? Connect.Disconnected : Connect.Connected;
    process.nextTick(() => {
      if (!error) {
        if (!state.endpoint.isClosed) socket.emit('connect');
      } else if (callback) {
        socket.removeListener('connect', callback);
        callback(error);
      } else socket.emit('error', error);
    });
  });
}

function isBlocked({ options }: State, ip: string): boolean {
  return options.sendBlockList?.check(ip, isIP(ip) === 4 ? 'ipv4' : 'ipv6') === true;
}

/** Sends one datagram of a bound socket. */
function sendNow(socket: Owner, state: State, request: SendRequest): void {
  const { address, port } = request;
  if (port === 0) {
    transmit(state, request, undefined);
    return;
  }
  const host = address || (state.family === 4 ? '127.0.0.1' : '::1');
  // An IP address is what the system's lookup would answer.
  if (state.lookup === systemLookup || state.lookup === defaultLookup) {
    const destination = state.destinations.of(host, port);
    if (destination !== undefined || isIP(host) !== 0) {
      sendTo(state, request, host, destination, false);
      return;
    }
  }
  // The bytes are the caller's again, and text has none of its own.
  const { data } = request;
  const kept = typeof data === 'string' ? request : { ...request, data: Buffer.from(data) };
  lookUp(state, host, (error, ip) => {
    if (error) process.nextTick(() => (request.callback ? request.callback(error) : socket.emit('error', error)));
    else if (!state.endpoint.isClosed) sendTo(state, kept, ip, state.destinations.of(ip, port), true);
  });
}

/** An address that the queue refuses, so that whoever waits for it is told in its turn. */
const NOWHERE = Object.freeze({}) as IpSocketAddress;

/** Sends one datagram to the address that was found, where it is one of the socket's family. */
function sendTo(
  state: State,
  request: SendRequest,
  ip: string,
  destination: IpSocketAddress | undefined,
  isFound: boolean,
): void {
  if (state.options.sendBlockList !== undefined && isBlocked(state, ip))
    transmit(state, request, NOWHERE, isFound, blocked(ip));
  else transmit(state, request, destination ?? NOWHERE, isFound);
}

function transmit(
  state: State,
  request: SendRequest,
  destination: IpSocketAddress | undefined,
  isFound = true,
  error?: Error,
): void {
  const { data, callback } = request;
  state.endpoint.send(data, destination, callback && completion(state, request, isFound, error));
}

/** Tells a callback what became of its datagram, in the context of the send; `own` is the error of what was refused here. */
function completion(state: State, request: SendRequest, isFound: boolean, own: Error | undefined): SendCallback {
  const { data, address, port, callback } = request;
  const resource = new AsyncResource('UDPSENDWRAP');
  const size = typeof data === 'string' ? Buffer.byteLength(data) : data.byteLength;
  const tick = isFound ? undefined : tickOf(state);
  return (error) => {
    // What node:dgram still looks up when its socket is closed, it does not send, and tells nobody.
    if (tick?.isOver === false) return;
    if (error === undefined) resource.runInAsyncScope(callback!, undefined, null, size);
    else {
      const told = own ?? addressError(systemErrorOfRefusal(error), 'send', address, port);
      resource.runInAsyncScope(callback!, undefined, told);
    }
  };
}

/** The tick at hand, in which the socket may yet be closed. */
function tickOf(state: State): { isOver: boolean } {
  if (state.tick === undefined) {
    const tick = { isOver: false };
    state.tick = tick;
    process.nextTick(() => {
      state.tick = undefined;
      if (!state.endpoint.isClosed) tick.isOver = true;
    });
  }
  return state.tick;
}

/** Reads or sets (with a size but 0) a buffer's size, in bytes as the system has it. */
function bufferSize(socket: Owner, size: number, which: 'recv' | 'send'): number {
  if (size >>> 0 !== size) throw badBufferSize();
  const { endpoint } = stateOf(socket);
  const option = which === 'recv' ? OPTION.receiveBuffer : OPTION.sendBuffer;
  let outcome: number | SystemError | undefined = size;
  if (size === 0) outcome = endpoint.option(option);
  else if (size > 0x7fff_ffff) outcome = systemErrorOf('EINVAL');
  else outcome = endpoint.setOption(option, size) ?? size;
  if (typeof outcome === 'object') throw bufferSizeError(outcome, `uv_${which}_buffer_size`);
  return outcome;
}

/** Throws the error of a call, where it has one. */
function check(error: SystemError | undefined, syscall: string): void {
  if (error !== undefined) throw callError(error, syscall);
}

function setOption(socket: Owner, option: number, value: number, least: number, most: number, syscall: string): void {
  const isIn = value >= least && value <= most;
  check(isIn ? running(socket).endpoint.setOption(option, value) : systemErrorOf('EINVAL'), syscall);
}

function checkMembership(socket: Owner, join: boolean, group: unknown, by: unknown): void {
  const { endpoint } = running(socket);
  if (!group) throw missing('multicastAddress');
  const membership = { group: String(group), by: by as string | undefined };
  check(endpoint.setMembership(join, membership), join ? 'addMembership' : 'dropMembership');
}

function checkSourceMembership(socket: Owner, join: boolean, from: unknown, group: unknown, by: unknown): void {
  const { endpoint } = running(socket);
  checkString(from, 'sourceAddress');
  checkString(group, 'groupAddress');
  const syscall = join ? 'addSourceSpecificMembership' : 'dropSourceSpecificMembership';
  check(endpoint.setMembership(join, { group, from, by: by as string | undefined }), syscall);
}

/** Refuses a name where only an IP address will do. */
function checkIp(address: unknown, name: string, method: string): asserts address is string {
  checkString(address, name);
  if (isIP(address) === 0)
    throw badValue(name, address, `must be a numeric IP address; ${method} does not perform DNS resolution`);
}

const methods = {
  bind(this: Owner, ...values: unknown[]): Socket {
    const state = running(this);
    if (state.bindState !== Bind.Unbound) throw alreadyBound();
    state.bindState = Bind.Binding;
    const callback = values.at(-1);
    if (typeof callback === 'function') {
      const done = () => {
        this.removeListener(EventEmitter.errorMonitor, done);
        this.removeListener('listening', listening);
      };
      const listening = () => {
        done();
        callback.call(this);
      };
      (this as EventEmitter).on(EventEmitter.errorMonitor, done);
      this.on('listening', listening);
    }
    const [first, second] = values;
    let port = first;
    let address: unknown = typeof second === 'function' ? '' : second;
    let isExclusive = false;
    if (typeof first === 'object' && first !== null) {
      const given = first as {
        fd?: unknown;
        exclusive?: unknown;
        port?: unknown;
        address?: unknown;
        recvStart?: unknown;
      };
      if (typeof given.recvStart === 'function') {
        takeHandle(this, first as SharedHandle, (error) => callError(error, 'open'));
        return this;
      }
      const { fd } = given;
      isExclusive = Boolean(given.exclusive);
      if (typeof fd === 'number' && (fd | 0) === fd && fd > 0) {
        bindDescriptor(this, fd, isExclusive);
        return this;
      }
      ({ port, address } = given);
    }
    const local = (address || (state.family === 4 ? '0.0.0.0' : '::')) as string;
    lookUp(state, local, (error, ip) => {
      if (state.endpoint.isClosed) return;
      if (error) {
        refuseBind(this, error);
        return;
      }
      const { reuseAddr, reusePort, ipv6Only } = state.options;
      // Sockets that share a port by themselves need no primary.
      if (isWorker() && !isExclusive && !reusePort) {
        const flags = (reuseAddr ? FLAGS.reuseAddr : 0) | (ipv6Only ? FLAGS.ipv6Only : 0);
        const bind = { address: ip, port: port as number, addressType: this.type, fd: -1, flags };
        bindShared(this, bind, (refusal) => addressError(refusal, 'bind', ip, port as number));
        return;
      }
      const refusal = bindTo(this, ip, port);
      if (refusal === undefined) startListening(this);
      else refuseBind(this, refusal);
    });
    return this;
  },

  bindSync(this: Owner, options: BindSyncOptions = {}): AddressInfo {
    const state = running(this);
    checkObject(options, 'options');
    if (state.bindState !== Bind.Unbound) throw alreadyBound();
    const port = checkedPort(options.port ?? 0, 'options.port', true);
    const { address } = options;
    if (address) checkIp(address, 'options.address', 'bindSync');
    const refusal = bindTo(this, address || (state.family === 4 ? '0.0.0.0' : '::'), port);
    if (refusal !== undefined) throw refusal;
    startReceiving(this);
    emitLater(this, 'listening');
    return this.address() as AddressInfo;
  },

  connect(this: Owner, port_: unknown, address_?: unknown, callback_?: unknown): void {
    const port = checkedPort(port_, 'Port', false);
    const [address, callback] = typeof address_ === 'function' ? ['', address_] : [address_ ?? '', callback_];
    if (address_ === null) checkString(address_, 'address');
    checkString(address, 'address');
    const state = stateOf(this);
    if (state.connectState !== Connect.Disconnected) throw alreadyConnected();
    state.connectState = Connect.Connecting;
    if (state.bindState === Bind.Unbound) this.bind({ port: 0, exclusive: true });
    const start = () => connect(this, port, address, callback as ((error?: Error) => void) | undefined);
    if (state.bindState === Bind.Bound) start();
    else afterBind(this, start);
  },

  connectSync(this: Owner, port_: unknown, address?: unknown): void {
    const state = running(this);
    const port = checkedPort(port_, 'Port', false);
    if (state.connectState !== Connect.Disconnected) throw alreadyConnected();
    const isNamed = address !== undefined && address !== null && address !== '';
    if (isNamed) checkIp(address, 'address', 'connectSync');
    const ip = isNamed ? address : state.family === 4 ? '127.0.0.1' : '::1';
    if (state.bindState === Bind.Unbound) this.bindSync();
    else if (state.bindState !== Bind.Bound) throw alreadyBound();
    const error = connectTo(state, ip, port, ip);
    if (error !== undefined) throw error;
    state.connectState = Connect.Connected;
    emitLater(this, 'connect');
  },

  disconnect(this: Owner): void {
    const state = stateOf(this);
    if (state.connectState !== Connect.Connected) throw notConnected();
    check(running(this).endpoint.disconnect(), 'connect');
    state.connectState = Connect.Disconnected;
  },

  send(this: Owner, message: unknown, a?: unknown, b?: unknown, c?: unknown, d?: unknown, e?: unknown): void {
    const state = stateOf(this);
    const request = readSend(state.connectState === Connect.Connected, message, a, b, c, d, e);
    if (state.endpoint.isClosed) throw notRunning();
    if (state.bindState === Bind.Unbound) this.bind({ port: 0, exclusive: true });
    // A lookup that answers at once has bound it by now.
    if (state.bindState === Bind.Bound) {
      sendNow(this, state, request);
      return;
    }
    const { data } = request;
    const kept = typeof data === 'string' ? data : Buffer.from(data);
    afterBind(this, () => {
      if (request.port === 0) this.send(kept, request.callback as () => void);
      else this.send(kept, request.port, request.address as string, request.callback as () => void);
    });
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
      state.waiting.push(() => this.close());
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
    checkMembership(this, true, group, by);
  },

  dropMembership(this: Owner, group: unknown, by?: unknown): void {
    checkMembership(this, false, group, by);
  },

  addSourceSpecificMembership(this: Owner, source: unknown, group: unknown, by?: unknown): void {
    checkSourceMembership(this, true, source, group, by);
  },

  dropSourceSpecificMembership(this: Owner, source: unknown, group: unknown, by?: unknown): void {
    checkSourceMembership(this, false, source, group, by);
  },

  ref(this: Owner): Socket {
    stateOf(this).endpoint.ref(true);
    return this;
  },

  unref(this: Owner): Socket {
    stateOf(this).endpoint.ref(false);
    return this;
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

  getSendQueueSize(this: Owner): number {
    return stateOf(this).endpoint.pendingBytes;
  },

  getSendQueueCount(this: Owner): number {
    return stateOf(this).endpoint.pending;
  },
};

/** What node:dgram has deprecated, and packages still look at. */
const deprecated: Record<string, (state: State) => unknown> = {
  _handle: ({ endpoint }) => (endpoint.isClosed ? null : endpoint.handle),
  _receiving: ({ endpoint }) => endpoint.isReceiving,
  _bindState: ({ bindState }) => bindState,
  _queue: ({ waiting }) => waiting,
  _reuseAddr: ({ options }) => options.reuseAddr,
};

const own = SocketFunction.prototype as object;
const told = (name: string) => [`Socket.prototype.${name} is deprecated`, 'DEP0112'] as const;
for (const [name, read] of Object.entries(deprecated)) {
  Object.defineProperty(own, name, {
    get: deprecate(
      function (this: Owner) {
        return read(stateOf(this));
      },
      ...told(name),
    ),
    // What is set is the socket's own matter: there is nothing here to replace.
    set: deprecate(() => {}, ...told(name)),
    configurable: true,
  });
}
Object.assign(own, methods, {
  _healthCheck: deprecate(
    function (this: Owner) {
      running(this);
    },
    ...told('_healthCheck()'),
  ),
  _stopReceiving: deprecate(
    function (this: Owner) {
      stateOf(this).endpoint.stopReceiving();
    },
    ...told('_stopReceiving()'),
  ),
});

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
