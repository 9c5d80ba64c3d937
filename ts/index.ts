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
export { createHost, type HostOptions, type UdpHost } from './host/create-host.js';
export { type Meter, type MeteredOptions, MeteredOutgoing } from './host/metered-outgoing.js';
export type { HostOutgoingDatagramStream } from './host/outgoing.js';
export type { Allow, AllowRule } from './host/policy.js';
export { type Resource, ResourceTable } from './host/resource-table.js';
export { IncomingBatch } from './incoming-batch.js';
export { type IncomingDatagram, IncomingDatagramStream } from './incoming-datagram-stream.js';
export { type OpenUdp, type OpenUdpOptions, openUdp } from './open-udp.js';
export { OutgoingDatagramStream } from './outgoing-datagram-stream.js';
export { Pollable, poll } from './pollable.js';
export { type SendAllOptions, sendAll } from './send-all.js';
export { UdpSocket } from './udp-socket.js';
