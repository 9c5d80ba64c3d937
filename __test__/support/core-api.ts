import { ERROR_CODES } from '../../dist/errors.js';
import {
  createHost,
  type ErrorCode,
  type HostOptions,
  type IpAddressFamily,
  type IpSocketAddress,
  type OutgoingDatagram,
  SocketError,
} from '../../dist/index.js';
import type { GuestApi } from './guest-api.js';
import { FAMILIES, flat, GuestBlocks, RESULT } from './guest-blocks.js';

/*
 * A guest's side of the canonical ABI, for tests: objects in jco's conventions over the host's core functions. Arguments are
 * flattened, or written into a memory; results are read from it.
 */

type Core = (...values: (number | bigint)[]) => number | bigint | undefined;

class GuestSide extends GuestBlocks {
  readonly #imports: Record<string, Record<string, Core>>;

  constructor(host: ReturnType<typeof createHost>) {
    super();
    this.#imports = host.coreImports({ memory: this.memory, realloc: this.realloc }) as never;
  }

  /** Calls a function of an interface, with everything of the call before forgotten. */
  call(from: string, name: string, ...values: (number | bigint)[]): number {
    const result = this.#imports[`wasi:${from}@0.2.12`]![name]!(...values);
    this.free();
    return result as number;
  }

  /** As `call`, where the result is `result<T, error-code>` in memory; where T stands. */
  attempt(from: string, name: string, at: number, ...values: (number | bigint)[]): number {
    this.call(from, name, ...values, RESULT);
    if (this.bytes[RESULT] === 0) return RESULT + at;
    const code = ERROR_CODES[this.bytes[RESULT + at]!] as ErrorCode;
    throw new SocketError(code, `${name}: the core function returned ${code}`);
  }

  /** Writes a list of outgoing-datagram; its pointer. */
  writeList(list: readonly OutgoingDatagram[]): number {
    const pointer = this.allocate(4, list.length * 44);
    for (const [i, { data, remoteAddress }] of list.entries()) {
      const at = pointer + 44 * i;
      const block = this.allocate(1, data.length);
      this.bytes.set(data, block);
      this.view.setUint32(at, block, true);
      this.view.setUint32(at + 4, data.length, true);
      this.view.setUint8(at + 8, remoteAddress === undefined ? 0 : 1);
      this.bytes.fill(0xee, at + 9, at + 44);
      if (remoteAddress !== undefined) this.writeAddress(remoteAddress as IpSocketAddress, at + 12);
    }
    return pointer;
  }
}

/** A host as its core functions are called. */
export function openCore(options: HostOptions): GuestApi {
  const host = createHost(options);
  const guest = new GuestSide(host);
  const UDP = 'sockets/udp';

  class Resource {
    constructor(
      readonly handle: number,
      readonly kind: string,
    ) {}
    attempt(name: string, at: number, ...values: (number | bigint)[]): number {
      return guest.attempt(UDP, `[method]${this.kind}.${name}`, at, this.handle, ...values);
    }
    subscribe(): object {
      return new Pollable(guest.call(UDP, `[method]${this.kind}.subscribe`, this.handle));
    }
    [Symbol.dispose](): void {
      guest.call(this.kind === 'pollable' ? 'io/poll' : UDP, `[resource-drop]${this.kind}`, this.handle);
    }
  }

  class Pollable extends Resource {
    constructor(handle: number) {
      super(handle, 'pollable');
    }
    ready(): boolean {
      return guest.call('io/poll', '[method]pollable.ready', this.handle) === 1;
    }
    block(): void {
      guest.call('io/poll', '[method]pollable.block', this.handle);
    }
  }

  class UdpSocket extends Resource {
    constructor(handle: number) {
      super(handle, 'udp-socket');
    }
    startBind(network: { handle: number }, local: IpSocketAddress): void {
      this.attempt('start-bind', 1, network.handle, ...flat(local));
    }
    finishBind(): void {
      this.attempt('finish-bind', 1);
    }
    stream(remote?: IpSocketAddress) {
      const at = this.attempt('stream', 4, remote === undefined ? 0 : 1, ...flat(remote));
      return [new Incoming(guest.view.getUint32(at, true)), new Outgoing(guest.view.getUint32(at + 4, true))];
    }
    localAddress(): IpSocketAddress {
      return guest.readAddress(this.attempt('local-address', 4));
    }
    remoteAddress(): IpSocketAddress {
      return guest.readAddress(this.attempt('remote-address', 4));
    }
    addressFamily(): IpAddressFamily {
      return FAMILIES[guest.call(UDP, '[method]udp-socket.address-family', this.handle)]!;
    }
    unicastHopLimit(): number {
      return guest.bytes[this.attempt('unicast-hop-limit', 1)]!;
    }
    setUnicastHopLimit(value: number): void {
      this.attempt('set-unicast-hop-limit', 1, value);
    }
    receiveBufferSize(): bigint {
      return guest.view.getBigUint64(this.attempt('receive-buffer-size', 8), true);
    }
    setReceiveBufferSize(value: bigint): void {
      this.attempt('set-receive-buffer-size', 1, BigInt.asIntN(64, value));
    }
    sendBufferSize(): bigint {
      return guest.view.getBigUint64(this.attempt('send-buffer-size', 8), true);
    }
    setSendBufferSize(value: bigint): void {
      this.attempt('set-send-buffer-size', 1, BigInt.asIntN(64, value));
    }
  }

  class Incoming extends Resource {
    constructor(handle: number) {
      super(handle, 'incoming-datagram-stream');
    }
    receive(max: bigint) {
      const at = this.attempt('receive', 4, BigInt.asIntN(64, max));
      const [list, count] = [guest.view.getUint32(at, true), guest.view.getUint32(at + 4, true)];
      return Array.from({ length: count }, (_, i) => {
        const entry = list + 40 * i;
        const data = guest.view.getUint32(entry, true);
        return {
          data: guest.bytes.slice(data, data + guest.view.getUint32(entry + 4, true)),
          remoteAddress: guest.readAddress(entry + 8),
        };
      });
    }
  }

  class Outgoing extends Resource {
    constructor(handle: number) {
      super(handle, 'outgoing-datagram-stream');
    }
    checkSend(): bigint {
      return guest.view.getBigUint64(this.attempt('check-send', 8), true);
    }
    send(list: readonly OutgoingDatagram[]): bigint {
      return guest.view.getBigUint64(this.attempt('send', 8, guest.writeList(list), list.length), true);
    }
  }

  const api = {
    udp: { UdpSocket, IncomingDatagramStream: Incoming, OutgoingDatagramStream: Outgoing },
    udpCreateSocket: {
      createUdpSocket(family: IpAddressFamily) {
        const create = ['sockets/udp-create-socket', 'create-udp-socket'] as const;
        return new UdpSocket(guest.view.getUint32(guest.attempt(...create, 4, FAMILIES.indexOf(family)), true));
      },
    },
    network: host.network,
    instanceNetwork: {
      instanceNetwork: () => ({ handle: guest.call('sockets/instance-network', 'instance-network') }),
    },
    poll: {
      Pollable,
      poll(list: readonly { handle: number }[]): Uint32Array {
        const pointer = guest.allocate(4, list.length * 4);
        for (const [i, { handle }] of list.entries()) guest.view.setUint32(pointer + 4 * i, handle, true);
        guest.call('io/poll', 'poll', pointer, list.length, RESULT);
        const [ready, count] = [guest.view.getUint32(RESULT, true), guest.view.getUint32(RESULT + 4, true)];
        return Uint32Array.from({ length: count }, (_, i) => guest.view.getUint32(ready + 4 * i, true));
      },
    },
    monotonicClock: {
      now: () => BigInt(guest.call('clocks/monotonic-clock', 'now')),
      resolution: () => BigInt(guest.call('clocks/monotonic-clock', 'resolution')),
      subscribeInstant: (at: bigint) =>
        new Pollable(guest.call('clocks/monotonic-clock', 'subscribe-instant', BigInt.asIntN(64, at))),
      subscribeDuration: (nanoseconds: bigint) =>
        new Pollable(guest.call('clocks/monotonic-clock', 'subscribe-duration', BigInt.asIntN(64, nanoseconds))),
    },
    [Symbol.dispose]: () => host[Symbol.dispose](),
  };
  return api as unknown as GuestApi;
}
