import { decodeAddress, encodeAddress, type IpSocketAddress, parseSocketAddress, show } from '../rules/address.js';
import { type Allow, policyOf } from '../rules/policy.js';
import type { IncomingDatagramStream } from './incoming-datagram-stream.js';
import type { OutgoingDatagramStream } from './outgoing-datagram-stream.js';
import { UdpSocket } from './udp-socket.js';

export interface OpenUdpOptions {
  /** The address to bind: '127.0.0.1:53', '[::1]:53' or an IpSocketAddress. Default: the unspecified address, port 0. */
  local?: string | IpSocketAddress;
  /** The address to connect to. Then datagrams carry no address of their own, and only this peer is heard. */
  remote?: string | IpSocketAddress;
  /**
   * Whether runs of equal datagrams may leave as one UDP_SEGMENT message. Default: true, unless WASI_UDP_GSO=0 is set.
   * Turn it off where a device loses segmented packets (vxlan, geneve and PPPoE devices have).
   */
  segmentation?: boolean;
  /** What the socket may be used for, as for a guest. Default: everything. */
  allow?: Allow;
}

export interface OpenUdp extends Disposable {
  readonly socket: UdpSocket;
  readonly incoming: IncomingDatagramStream;
  readonly outgoing: OutgoingDatagramStream;
  /** The bound address, with the port that the system chose. */
  readonly localAddress: IpSocketAddress;
}

/**
 * Opens a UDP socket: binds it, connects it where `remote` is given, and returns it with its streams.
 * `[Symbol.dispose]()` drops them all.
 *
 * Throws SocketError: `invalid-argument` for an address that is none or of two families, `address-in-use`,
 * `address-not-bindable`, `access-denied`, `remote-unreachable` or `new-socket-limit` from the system.
 */
export function openUdp(options: OpenUdpOptions = {}): OpenUdp {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`openUdp() takes options, got ${show(options)}: write { remote: '127.0.0.1:53' }`);
  }
  const { allow, segmentation } = options;
  const remote = toAddress(options.remote);
  const local = toAddress(options.local) ?? unspecified(remote);
  const policy = allow === undefined ? undefined : policyOf(allow);
  const socket = new UdpSocket(local.tag, { policy, segmentation });
  const resources: Disposable[] = [socket];
  const dispose = () => {
    for (const resource of resources) resource[Symbol.dispose]();
  };
  try {
    socket.startBind(local);
    socket.finishBind();
    const [incoming, outgoing] = socket.stream(remote);
    resources.unshift(incoming, outgoing);
    return { socket, incoming, outgoing, localAddress: socket.localAddress(), [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** The address as plain data, which answers the same each time. */
function toAddress(address: string | IpSocketAddress | undefined): IpSocketAddress | undefined {
  if (typeof address === 'string') return parseSocketAddress(address);
  return address === undefined ? undefined : decodeAddress(encodeAddress(address));
}

/** The unspecified address, port 0, of the remote's family; IPv4 without one. */
function unspecified(remote: IpSocketAddress | undefined): IpSocketAddress {
  return parseSocketAddress(remote?.tag === 'ipv6' ? '[::]:0' : '0.0.0.0:0');
}
