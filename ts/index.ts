/**
 * UDP sockets, many datagrams at a time, and the host of a component that uses them: `openUdp` opens a socket, `sendAll` sends a list,
 * `createHost` serves a guest.
 *
 * @module wasi-udp
 */

import './dispose.js';

export type { OutgoingDatagram } from './batch/arena.js';
export { DatagramWriter } from './batch/datagram-writer.js';
export { IncomingBatch } from './batch/incoming-batch.js';
export type { ReceiveInfo } from './batch/receive-info.js';
export { AbortError, ClosedError, type ErrorCode, type ErrorFacts, SocketError, Trap } from './errors.js';
export type { Way } from './host/core/ways.js';
export { createHost, type HostOptions, type UdpHost } from './host/create-host.js';
export type { Limits } from './host/limits.js';
export { type Meter, type MeteredOptions, MeteredOutgoing } from './host/metered-outgoing.js';
export type { HostOutgoingDatagramStream } from './host/outgoing.js';
export { type Resource, ResourceTable } from './host/resource-table.js';
export { Pollable, poll } from './readiness/pollable.js';
export {
  formatSocketAddress,
  type IpAddressFamily,
  type IpSocketAddress,
  type Ipv4Address,
  type Ipv4SocketAddress,
  type Ipv6Address,
  type Ipv6SocketAddress,
  parseSocketAddress,
  type SocketAddressLike,
} from './rules/address.js';
export type { Allow, AllowRule, Denial } from './rules/policy.js';
export { Route, type RouteOptions } from './rules/route.js';
export { AsyncUdpSocket } from './socket/async-udp-socket.js';
export { DatagramQueue, type QueueOptions, type RefusedDatagram, type SendCallback } from './socket/datagram-queue.js';
export { type IncomingDatagram, IncomingDatagramStream } from './socket/incoming-datagram-stream.js';
export type { MembershipOptions } from './socket/multicast.js';
export { type OpenUdpAsyncOptions, type OpenUdpOptions, openUdp, openUdpAsync } from './socket/open-udp.js';
export type { OpenUdp } from './socket/opened-udp.js';
export { OutgoingDatagramStream } from './socket/outgoing-datagram-stream.js';
export type { PeerError } from './socket/peer-errors.js';
export { type Lookup, type ResolveOptions, resolveSocketAddress } from './socket/resolve.js';
export { type SendAllOptions, sendAll } from './socket/send-all.js';
export type { ChangingUdpOptions, FixedUdpOptions, UdpSocketSettings } from './socket/udp-options.js';
export { UdpSocket } from './socket/udp-socket.js';
