import nodeDgram from 'node:dgram';
import { EventEmitter } from 'node:events';
import { fstatSync } from 'node:fs';
import { type AddressInfo, slotOf } from './addresses.js';
import { checkedPort, checkIp, checkObject } from './checks.js';
import {
  addressError,
  alreadyBound,
  badDescriptorType,
  callError,
  type SystemError,
  systemErrorOf,
  systemErrorOfNumber,
} from './errors.js';
import { lookUp } from './lookup.js';
import { bufferSize } from './option-methods.js';
import { FLAGS, isWorker, type SharedBind, type SharedHandle, shareHandle } from './shared-handle.js';
import { Bind, type BindSyncOptions, type Owner, running, stateOf } from './state.js';

/** Binds by the arguments of `bind`. */
export function bind(socket: Owner, values: unknown[]): void {
  const state = running(socket);
  if (state.bindState !== Bind.Unbound) throw alreadyBound();
  state.bindState = Bind.Binding;
  const callback = values.at(-1);
  if (typeof callback === 'function') hearBind(socket, callback);
  const [first, second] = values;
  let port = first;
  let address: unknown = typeof second === 'function' ? '' : second;
  let isExclusive = false;
  if (typeof first === 'object' && first !== null) {
    const given = first as Record<'recvStart' | 'fd' | 'address' | 'exclusive' | 'port', unknown>;
    if (typeof given.recvStart === 'function') {
      takeHandle(socket, first as SharedHandle, (error) => callError(error, 'open'));
      return;
    }
    const { fd } = given;
    if (typeof fd === 'number' && (fd | 0) === fd && fd > 0) {
      bindDescriptor(socket, fd, Boolean(given.exclusive));
      return;
    }
    address = given.address;
    isExclusive = Boolean(given.exclusive);
    port = given.port;
  }
  const local = (address || unspecified(state.family)) as string;
  lookUp(state.settings.lookup, state.family, local, (error, ip) => {
    if (state.endpoint.isClosed) return;
    if (error) {
      refuseBind(socket, error);
      return;
    }
    const { reuseAddr, reusePort, ipv6Only } = state.settings.flags;
    // Sockets that share a port by themselves need no primary.
    if (isWorker() && !isExclusive && !reusePort) {
      const flags = (reuseAddr ? FLAGS.reuseAddr : 0) | (ipv6Only ? FLAGS.ipv6Only : 0);
      const asked = { address: ip, port: port as number, addressType: socket.type, fd: -1, flags };
      bindShared(socket, asked, (refusal) => addressError(refusal, 'bind', ip, port as number));
      return;
    }
    const refusal = bindTo(socket, ip, port);
    if (refusal === undefined) startListening(socket);
    else refuseBind(socket, refusal);
  });
}

/** Binds at once, as `bindSync`. */
export function bindSync(socket: Owner, options: BindSyncOptions): AddressInfo {
  const state = running(socket);
  checkObject(options, 'options');
  if (state.bindState !== Bind.Unbound) throw alreadyBound();
  const port = checkedPort(options.port ?? 0, 'options.port', true);
  const { address } = options;
  if (address) checkIp(address, 'options.address', 'bindSync');
  const refusal = bindTo(socket, address || unspecified(state.family), port);
  if (refusal !== undefined) throw refusal;
  startReceiving(socket);
  emitLater(socket, 'listening');
  return socket.address() as AddressInfo;
}

/** Binds to any port, for a send or a connect. */
export function bindAnywhere(socket: Owner): void {
  (socket.bind as (...values: unknown[]) => void)({ port: 0, exclusive: true }, null);
}

/** Once a socket is bound, what waits for it goes on; where it cannot be, that is forgotten. */
export function afterBind(socket: Owner, task: () => void): void {
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

/** Emits an event of what was done at once. */
export function emitLater(socket: Owner, event: 'listening' | 'connect'): void {
  process.nextTick(() => {
    if (!stateOf(socket).endpoint.isClosed) socket.emit(event);
  });
}

const unspecified = (family: 4 | 6): string => (family === 4 ? '0.0.0.0' : '::');

/** How a callback of `bind` learns that it is in vain. Before node:dgram had `bindSync`, that was a listener of errors, as any other. */
const FAILED = 'bindSync' in nodeDgram.Socket.prototype ? EventEmitter.errorMonitor : 'error';

/** Has a callback of `bind` hear of this bind alone. */
function hearBind(socket: Owner, callback: unknown): void {
  const done = () => {
    socket.removeListener(FAILED, done);
    socket.removeListener('listening', listening);
  };
  const listening = () => {
    done();
    (callback as () => void).call(socket);
  };
  (socket as EventEmitter).on(FAILED, done);
  socket.on('listening', listening);
}

function startReceiving(socket: Owner): void {
  const state = stateOf(socket);
  const { recvBufferSize, sendBufferSize } = state.settings;
  state.bindState = Bind.Bound;
  state.endpoint.startReceiving();
  if (recvBufferSize) bufferSize(socket, recvBufferSize, 'recv');
  if (sendBufferSize) bufferSize(socket, sendBufferSize, 'send');
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

/** Binds to an IP address at once; the error, if there is one. */
function bindTo(socket: Owner, ip: string, port: unknown): Error | undefined {
  const { endpoint, family, settings } = stateOf(socket);
  // As libuv, which takes the low 16 bits of whatever number there is; a BigInt is none.
  const slot = slotOf(`${ip}`, +(port || (0 as never)) & 0xffff, family);
  const refusal = slot === undefined ? systemErrorOf('EINVAL') : endpoint.bind(slot, settings.flags);
  return refusal && addressError(refusal, 'bind', ip, port as number);
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
