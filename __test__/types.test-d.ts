// Checked by the compiler alone: what is ours is assignable to what preview2-shim declares for the same WIT things.
import type { Pollable as ShimPollable } from '@bytecodealliance/preview2-shim/interfaces/wasi-io-poll';
import type {
  IpSocketAddress as ShimAddress,
  ErrorCode as ShimErrorCode,
} from '@bytecodealliance/preview2-shim/interfaces/wasi-sockets-network';
import type {
  OutgoingDatagram as ShimDatagram,
  OutgoingDatagramStream as ShimOutgoing,
} from '@bytecodealliance/preview2-shim/interfaces/wasi-sockets-udp';
import type {
  ErrorCode,
  IpSocketAddress,
  OutgoingDatagram,
  OutgoingDatagramStream,
  Pollable,
  poll,
  UdpHost,
} from '../dist/index.js';

type Extends<A, B> = [A] extends [B] ? true : never;

/** The third argument of the `instantiate` that jco makes, by the types that it gives. */
type InstantiateCore = (
  module: WebAssembly.Module,
  // biome-ignore lint/suspicious/noExplicitAny: that is how jco has it.
  imports: Record<string, any>,
) => WebAssembly.Instance | Promise<WebAssembly.Instance>;

export const checks: true[] = [
  true satisfies Extends<UdpHost['instantiateCore'], InstantiateCore>,
  true satisfies Extends<OutgoingDatagramStream, ShimOutgoing>,
  true satisfies Extends<Pollable, ShimPollable>,
  true satisfies Extends<ShimDatagram, OutgoingDatagram>,
  true satisfies Extends<IpSocketAddress, ShimAddress>,
  true satisfies Extends<ShimAddress, IpSocketAddress>,
  true satisfies Extends<ErrorCode, ShimErrorCode>,
  true satisfies Extends<ShimErrorCode, ErrorCode>,
  true satisfies Extends<ReturnType<typeof poll.poll>, Uint32Array>,
];
