import { slotOf } from './addresses.js';
import { afterBind, bindAnywhere, emitLater } from './bind.js';
import { checkedPort, checkIp, checkString } from './checks.js';
import { addressError, alreadyBound, alreadyConnected, blocked, systemErrorOf } from './errors.js';
import { localHost, lookUp } from './lookup.js';
import { Bind, Connect, isBlocked, type Owner, running, type State, stateOf } from './state.js';

type ConnectCallback = (error?: Error) => void;

/** Connects by the arguments of `connect`, once the socket is bound. */
export function connect(socket: Owner, port_: unknown, address_: unknown, callback_: unknown): void {
  const port = checkedPort(port_, 'Port', false);
  const callback = (typeof address_ === 'function' ? address_ : callback_) as ConnectCallback | undefined;
  const address = typeof address_ === 'function' || address_ === undefined ? '' : address_;
  checkString(address, 'address');
  const state = stateOf(socket);
  if (state.connectState !== Connect.Disconnected) throw alreadyConnected();
  state.connectState = Connect.Connecting;
  if (state.bindState === Bind.Unbound) bindAnywhere(socket);
  const start = () => connectBound(socket, port, address, callback);
  if (state.bindState === Bind.Bound) start();
  else afterBind(socket, start);
}

/** Connects at once, as `connectSync`. */
export function connectSync(socket: Owner, port_: unknown, address: unknown): void {
  const state = running(socket);
  const port = checkedPort(port_, 'Port', false);
  if (state.connectState !== Connect.Disconnected) throw alreadyConnected();
  const isNamed = address !== undefined && address !== null && address !== '';
  if (isNamed) checkIp(address, 'address', 'connectSync');
  const ip = isNamed ? address : localHost(state.family);
  if (state.bindState === Bind.Unbound) socket.bindSync();
  else if (state.bindState !== Bind.Bound) throw alreadyBound();
  const error = connectTo(state, ip, port, ip);
  if (error !== undefined) throw error;
  state.connectState = Connect.Connected;
  emitLater(socket, 'connect');
}

function connectBound(socket: Owner, port: number, address: string, callback: ConnectCallback | undefined): void {
  if (callback) socket.once('connect', callback);
  const state = running(socket);
  lookUp(state.settings.lookup, state.family, address, (failure, ip) => {
    if (state.endpoint.isClosed) return;
    const error = failure || connectTo(state, ip, port, address);
    state.connectState = error ? Connect.Disconnected : Connect.Connected;
    process.nextTick(() => {
      if (!error) socket.emit('connect');
      else if (callback) {
        socket.removeListener('connect', callback);
        callback(error);
      } else socket.emit('error', error);
    });
  });
}

/** Connects to an IP address; the error, if there is one. */
function connectTo(state: State, ip: string, port: number, address: string): Error | undefined {
  if (isBlocked(state, ip)) return blocked(ip);
  const slot = slotOf(ip, port, state.family);
  const refusal = slot === undefined ? systemErrorOf('EINVAL') : state.endpoint.connect(slot);
  return refusal && addressError(refusal, 'connect', address, port);
}
