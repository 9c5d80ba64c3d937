export {
  formatSocketAddress,
  type IpAddressFamily,
  type IpSocketAddress,
  type Ipv4Address,
  type Ipv4SocketAddress,
  type Ipv6Address,
  type Ipv6SocketAddress,
  parseSocketAddress,
} from './address.js';
export type { OutgoingDatagram } from './arena.js';
export { DatagramWriter } from './datagram-writer.js';
export { AbortError, type ErrorCode, SocketError, Trap } from './errors.js';
export { type OpenUdp, type OpenUdpOptions, openUdp } from './open-udp.js';
export { OutgoingDatagramStream } from './outgoing-datagram-stream.js';
export { Pollable, poll } from './pollable.js';
export { type SendAllOptions, sendAll } from './send-all.js';
export { UdpSocket } from './udp-socket.js';
