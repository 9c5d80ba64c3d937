import nodeDgram from 'node:dgram';
import { syncBuiltinESMExports } from 'node:module';
import { createSocket, Socket } from './socket.js';

/**
 * Replaces node:dgram for the whole program: whoever requires or imports it finds `createSocket` and `Socket` of this package.
 * Sockets that exist are left alone, and so is who has kept the former functions. May be called again.
 *
 * @example register(); // before whatever opens sockets; or: node --import wasi-udp/dgram/register app.js
 */
export function register(): void {
  Object.assign(nodeDgram, { createSocket, Socket });
  syncBuiltinESMExports();
}
