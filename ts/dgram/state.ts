import type { AsyncResource } from 'node:async_hooks';
import type nodeDgram from 'node:dgram';
import { type BlockList, isIP } from 'node:net';
import type { Family } from '../native/native.js';
import type { AddressInfo, Destinations } from './addresses.js';
import type { BindFlags, Endpoint } from './endpoint.js';
import { callError, notRunning, type SystemError } from './errors.js';
import type { Lookup } from './lookup.js';
import type { SharedHandle } from './shared-handle.js';

/** The family of a socket, as node:dgram names it: IPv4 or IPv6. */
export type SocketType = 'udp4' | 'udp6';

/** The options of `bindSync`. */
export interface BindSyncOptions {
  /** The port, 0 to 65535. Default: 0, a free one. */
  port?: number | undefined;
  /** The IP address. Default: the unspecified one of the socket's family. */
  address?: string | undefined;
}

/** A socket of node:dgram's interface. */
export interface Socket extends nodeDgram.Socket {
  /**
   * As node:dgram of Node.js 24.21: binds at once, to an IP address.
   *
   * @param options the address and the port.
   * @returns the bound address.
   * @throws as node:dgram: what the system answers, with its `code` such as EADDRINUSE.
   */
  bindSync(options?: BindSyncOptions): AddressInfo;
  /**
   * As node:dgram of Node.js 24.21: connects at once, to an IP address.
   *
   * @param port the port, 1 to 65535.
   * @param address the IP address. Default: 127.0.0.1, or ::1 of a socket of `udp6`.
   * @throws as node:dgram: what the system answers, with its `code`.
   */
  connectSync(port: number, address?: string): void;
}

export const Bind = { Unbound: 0, Binding: 1, Bound: 2 } as const;
export const Connect = { Disconnected: 0, Connecting: 1, Connected: 2 } as const;

/** What a socket was made with, as it was then. */
export interface Settings {
  readonly lookup: Lookup;
  readonly recvBufferSize: number | undefined;
  readonly sendBufferSize: number | undefined;
  readonly receiveBlockList: BlockList | undefined;
  readonly sendBlockList: BlockList | undefined;
  readonly flags: BindFlags;
}

/** What a socket has beside its events. */
export interface State {
  readonly endpoint: Endpoint;
  readonly family: Family;
  readonly settings: Settings;
  readonly destinations: Destinations;
  /** The context in which the socket was made, in which its messages are told. */
  readonly resource: AsyncResource;
  bindState: number;
  connectState: number;
  /** What waits until the socket is bound. */
  waiting: (() => void)[] | undefined;
  /** The socket of a cluster's primary that this one shares. */
  shared: SharedHandle | undefined;
  /** Sends of this tick, which node:dgram would look up until the next one; and whether that one will come. */
  tick: { isOver: boolean } | undefined;
}

export const STATE = Symbol('wasi-udp dgram');
export type Owner = Socket & { [STATE]: State; type: SocketType };

export const stateOf = (socket: object): State => (socket as Owner)[STATE];

/** The state of a socket that is not closed. */
export function running(socket: object): State {
  const state = stateOf(socket);
  if (state.endpoint.isClosed) throw notRunning();
  return state;
}

/** Throws the error of a call, where it has one. */
export function check(error: SystemError | undefined, syscall: string): void {
  if (error !== undefined) throw callError(error, syscall);
}

/** Whether an IP address is one that the socket does not send to. */
export function isBlocked({ settings }: State, ip: string): boolean {
  return settings.sendBlockList?.check(ip, `ipv${isIP(ip)}` as 'ipv4') === true;
}
