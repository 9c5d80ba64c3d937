// Checked by the compiler alone: a program of node:dgram is one of ours where its import is exchanged.

import type * as nodeDgram from 'node:dgram';
import type { EventEmitter } from 'node:events';
import dgram, {
  type BindOptions,
  createSocket,
  type RemoteInfo,
  Socket,
  type SocketOptions,
  type SocketType,
} from '../dist/dgram/index.js';

const options: SocketOptions = {
  type: 'udp4',
  reuseAddr: true,
  lookup: undefined as never,
  signal: undefined as never,
};
const type: SocketType = 'udp6';
const socket: dgram.Socket = createSocket(options, (message: Buffer, { address, port }: RemoteInfo) => {
  socket.send(message, port, address, (error: Error | null, bytes: number) => [error, bytes]);
});
const binding: BindOptions = { port: 53, address: '::', exclusive: true };
socket.bind(binding, () => {});
socket.on('message', (message, remote) => [message.byteLength, remote.size]);
export const made: Socket[] = [new Socket(type), dgram.createSocket('udp4'), new dgram.Socket({ type })];
export const theirs: nodeDgram.Socket = socket;
export const emitter: EventEmitter = socket;
export const module: Pick<typeof nodeDgram, 'createSocket'> = dgram;
export class Own extends dgram.Socket {
  constructor() {
    super('udp4');
  }
}
export const infos: dgram.RemoteInfo[] = [];
// @ts-expect-error: there is no such type of socket
createSocket('tcp');
