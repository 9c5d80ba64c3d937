import { AsyncResource } from 'node:async_hooks';
import { isIP } from 'node:net';
import type { IpSocketAddress } from '../rules/address.js';
import type { SendCallback } from '../socket/datagram-queue.js';
import { afterBind, bindAnywhere } from './bind.js';
import { addressError, blocked, notRunning, systemErrorOfRefusal } from './errors.js';
import { knowsAddresses, localHost, lookUp } from './lookup.js';
import { readSend, type SendRequest } from './send-arguments.js';
import { Bind, Connect, isBlocked, type Owner, type State, stateOf } from './state.js';

/** Sends by the arguments of `send`, once the socket is bound. */
export function send(
  socket: Owner,
  message: unknown,
  a: unknown,
  b: unknown,
  c: unknown,
  d: unknown,
  e: unknown,
): void {
  const state = stateOf(socket);
  const request = readSend(state.connectState === Connect.Connected, message, a, b, c, d, e);
  if (state.endpoint.isClosed) throw notRunning();
  if (state.bindState === Bind.Unbound) bindAnywhere(socket);
  // A lookup that answers at once has bound it by now.
  if (state.bindState === Bind.Bound) {
    sendNow(socket, state, request);
    return;
  }
  // The arguments as node:dgram passes them on: who has wrapped `send` sees the call again.
  const { data, port, address, callback } = request;
  const again = socket.send as (...values: unknown[]) => void;
  afterBind(socket, again.bind(socket, [Buffer.from(data as Uint8Array)], port, address, callback));
}

/** Sends one datagram of a bound socket. */
function sendNow(socket: Owner, state: State, request: SendRequest): void {
  const { address, port } = request;
  if (port === 0) {
    transmit(state, request, undefined);
    return;
  }
  const { lookup } = state.settings;
  const host = address || localHost(state.family);
  // An IP address is what the system's lookup would answer.
  if (knowsAddresses(lookup)) {
    const destination = state.destinations.of(host, port);
    if (destination !== undefined || isIP(host) !== 0) {
      sendTo(state, request, host, destination, false);
      return;
    }
  }
  // The bytes are the caller's again, and text has none of its own.
  const { data, callback } = request;
  const kept = typeof data === 'string' ? request : { ...request, data: Buffer.from(data) };
  lookUp(lookup, state.family, host, (error, ip) => {
    if (error) process.nextTick(callback ?? (() => socket.emit('error', error)), error);
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
  if (state.settings.sendBlockList !== undefined && isBlocked(state, ip))
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
