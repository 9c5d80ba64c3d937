/**
 * The interface of node:dgram: https://nodejs.org/api/dgram.html; see docs/dgram.md for what differs.
 *
 * @module wasi-udp/dgram
 */

import type * as nodeDgram from 'node:dgram';
import { register } from './register.js';
import { createSocket, Socket } from './socket.js';

export type { BindOptions, RemoteInfo } from 'node:dgram';
export { register } from './register.js';
export type { SocketOptions } from './settings.js';
export { createSocket, Socket } from './socket.js';
export type { BindSyncOptions, SocketType } from './state.js';

type SocketClass = Socket;
type Options = import('./settings.js').SocketOptions;

/** The module as one object, whose functions may be replaced, as those of node:dgram. */
const dgram = { createSocket, Socket, register };

/** The types, under the names that `import dgram from 'node:dgram'` has them by. */
declare namespace dgram {
  type Socket = SocketClass;
  type SocketOptions = Options;
  type SocketType = nodeDgram.SocketType;
  type BindOptions = nodeDgram.BindOptions;
  type RemoteInfo = nodeDgram.RemoteInfo;
}

export default dgram;
