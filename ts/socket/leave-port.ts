import { SocketError } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { encodeAddress } from '../rules/address.js';
import { getOption } from './udp-options.js';

/**
 * Has the kernel pass the socket over when it chooses who gets a datagram: it is connected to itself, while its streams go on as
 * those of anybody. On Linux alone may a socket that is connected be sent by to others.
 */
export function leavePort(descriptor: Descriptor, isConnected: boolean): void {
  if (process.platform !== 'linux')
    throw new SocketError(
      'not-supported',
      `retire(): ${process.platform} cannot take a socket out of its port: close it`,
    );
  if (isConnected) {
    throw new SocketError(
      'invalid-state',
      'retire(): the socket has a remote address, and shares its datagrams with none: close it',
      {
        code: 'EISCONN',
      },
    );
  }
  const local = descriptor.localAddress();
  if (local.subarray(2, 6).every((word) => word === 0)) {
    // A connection has chosen the source of all that is sent without one of its own.
    if (!getOption(descriptor, 'packetInfo')) {
      throw new SocketError(
        'not-supported',
        'retire(): a socket of every address would answer from another than it was asked at: bind it to one, ' +
          'or open it with packetInfo and answer by a Route with localAddress',
      );
    }
    const host = local[0] === 4 ? '127.0.0.1' : '::1';
    encodeAddress({ address: host, port: local[1]! }, local);
  }
  descriptor.connect(local);
}
