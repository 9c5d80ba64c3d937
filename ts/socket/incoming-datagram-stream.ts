import { IncomingBatch } from '../batch/incoming-batch.js';
import type { ReceiveInfo } from '../batch/receive-info.js';
import { Trap } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { endpointOf } from '../native/endpoint.js';
import { LAYOUT, SLOT_WORDS, type Slot } from '../native/layout.js';
import { native, READABLE, systemError } from '../native/native.js';
import { Pollable } from '../readiness/pollable.js';
import { forsake } from '../readiness/readiness.js';
import { decodeAddress, type IpSocketAddress, show } from '../rules/address.js';
import { samePeer } from '../rules/destination.js';
import { Batches } from './batches.js';

/** `incoming-datagram` of wasi:sockets/udp. */
export interface IncomingDatagram {
  /**
   * The payload, as it was sent: 0 to 65,527 bytes. Neighbours share their memory, as small Buffers of Node.js do: who keeps one
   * keeps 128 at most, of 32 KiB together, or else itself; `Buffer.from(data)` is one's own copy.
   */
  data: Buffer;
  /** The source; as text its host and port. Datagrams of one source that follow each other share the object. */
  remoteAddress: IpSocketAddress;
  /**
   * What the system tells of it beside, where the socket was asked to (`packetInfo`, `receiveTrafficClass`, `timestamps` of
   * `openUdp`). Datagrams that follow each other share the object where it says the same.
   */
  info?: ReceiveInfo;
}

/** Whom a stream hears. */
export interface Sources {
  /** The address that the stream is connected to. */
  readonly remote: Slot | undefined;
  /** Whether the policy lets datagrams of the address in; without one, every address passes. */
  readonly permits: ((address: IpSocketAddress) => boolean) | undefined;
  /** Hears how many datagrams were dropped because their source may not be heard. */
  readonly onRefused?: ((count: number) => void) | undefined;
}

/**
 * Datagrams that share their memory, and bytes of it. Memory of their own costs small ones more than all else: with fewer together,
 * a receive of 1,200 bytes each takes half as long again; with more it is no faster.
 */
const BLOCK_DATAGRAMS = 128;
const BLOCK_BYTES = 32_768;

/** The most datagrams of one call. */
const MOST = LAYOUT.maxDatagrams;

/** Native receives of one call, where what comes is not to be heard: enough for a full queue, and an end to a flood. */
const PASSES = 16;

/** The batch of this thread, while no receive uses it: a receive is synchronous, so one is enough. */
let spare: IncomingBatch | undefined;

/** `incoming-datagram-stream` of wasi:sockets/udp@0.2: the receiving half of a bound socket. */
export class IncomingDatagramStream {
  #descriptor: Descriptor | undefined;
  readonly #sources: Sources;
  #refused = 0;

  /** @internal Takes a share of the descriptor. */
  constructor(descriptor: Descriptor, sources: Sources) {
    this.#descriptor = descriptor.share();
    this.#sources = sources;
  }

  /**
   * Datagrams that came, and that the stream does not hear: the policy forbids their source, or it is connected to another. What the
   * kernel had no room for is not counted.
   */
  get refused(): number {
    return this.#refused;
  }

  /** Whether the stream was closed, which is to say dropped. */
  get closed(): boolean {
    return this.#descriptor === undefined;
  }

  /**
   * The datagrams that are there. Never blocks.
   *
   * WIT: "attempts to receive up to `max-results` datagrams on the socket without blocking. The returned list may contain fewer
   * elements than requested, but never more. This function returns successfully with an empty list when either: `max-results` is 0,
   * or: `max-results` is greater than 0, but no results are immediately available."
   *
   * @param maxResults the most datagrams to give. Default: 1024, and no more at any value.
   * @returns the datagrams, with bytes of their own; none where none is there.
   * @throws SocketError with the error that is pending on the socket (such as `connection-refused`), once, and only where no
   *   datagram came before it; never `would-block`.
   * @throws Trap after drop.
   */
  receive(maxResults: bigint | number = MOST): IncomingDatagram[] {
    const batch = spare ?? new IncomingBatch();
    spare = undefined;
    try {
      return copies(batch, this.receiveInto(batch, maxResults));
    } finally {
      spare = batch;
    }
  }

  /**
   * As `receive`, into a batch of the caller's, in place of what it held.
   *
   * @param batch takes the datagrams.
   * @param maxResults the most datagrams to take. Default: 1024, and no more at any value.
   * @returns how many came.
   * @throws as `receive`.
   */
  receiveInto(batch: IncomingBatch, maxResults: bigint | number = MOST): number {
    const descriptor = this.#live('receive');
    batch.fill(0);
    batch.isTold = descriptor.tells;
    const isNumber = typeof maxResults === 'number' || typeof maxResults === 'bigint';
    const max = isNumber ? Math.min(Number(maxResults), MOST) : Number.NaN;
    if (!Number.isInteger(max) || max < 0)
      throw new RangeError(
        `receive() takes a whole number of datagrams from 0 on, got ${show(maxResults)}: leave it out for all`,
      );
    if (max === 0) return 0;
    for (let pass = 0; pass < PASSES; pass++) {
      const count = descriptor.took(native.receive(descriptor.socket, batch.payload, batch.table, max));
      if (count < 0) {
        const { remote } = this.#sources;
        throw systemError('receive', 'recvmsg', -count, remote && endpointOf(remote));
      }
      this.#hear(batch, count);
      if (batch.count > 0 || count === 0) break;
    }
    return batch.count;
  }

  /**
   * A pollable that is ready when a datagram is there, or an error.
   *
   * WIT: "Create a `pollable` which will resolve once the stream is ready to receive again."
   *
   * @returns a pollable of its own each time.
   */
  subscribe(): Pollable {
    const descriptor = this.#live('subscribe');
    const granted = () => {
      this.#live('the pollable');
      return (descriptor.events & READABLE) !== 0;
    };
    return new Pollable({ event: { descriptor, interest: READABLE, granted } });
  }

  /** Batches as they come, until the stream is closed. The event loop gets its turn between them. */
  [Symbol.asyncIterator](): AsyncIterableIterator<IncomingDatagram[]> {
    const descriptor = () => this.#descriptor;
    return new Batches({
      receive: () => this.receive(),
      get descriptor() {
        return descriptor();
      },
    });
  }

  /**
   * Closes the stream: its pending waits reject with ClosedError, its iterations end, and the socket closes with the last of its
   * owners. May be called again.
   */
  close(): void {
    this[Symbol.dispose]();
  }

  /** As `close`. */
  [Symbol.dispose](): void {
    const descriptor = this.#descriptor;
    if (descriptor === undefined) return;
    this.#descriptor = undefined;
    forsake(descriptor, READABLE);
    descriptor.release();
  }

  #live(method: string): Descriptor {
    if (this.#descriptor !== undefined) return this.#descriptor;
    throw new Trap(`${method}: the incoming-datagram-stream was dropped and cannot be used: open another`);
  }

  /**
   * Keeps of `count` received entries those that the stream may hear.
   *
   * WIT: "`receive` will only return datagrams sent from the provided `remote-address`". The kernel sees to that, but for
   * what was queued before the socket was connected.
   */
  #hear(batch: IncomingBatch, count: number): void {
    const { remote, permits } = this.#sources;
    if (remote === undefined && permits === undefined) {
      batch.fill(count);
      return;
    }
    const refused = batch.filter(count, (address) => {
      if (remote !== undefined && !samePeer(batch.slots, address * SLOT_WORDS, remote)) return false;
      return permits === undefined || permits(decodeAddress(batch.slots, address));
    });
    if (refused === 0) return;
    this.#refused += refused;
    this.#sources.onRefused?.(refused);
  }
}

/** The batch as objects, with copies of its bytes in blocks. */
function copies(batch: IncomingBatch, count: number): IncomingDatagram[] {
  const datagrams: IncomingDatagram[] = [];
  let slot = -1;
  let remoteAddress!: IpSocketAddress;
  let info: ReceiveInfo | undefined;
  for (let from = 0; from < count; ) {
    let to = from;
    let total = 0;
    do {
      total += batch.byteLength(to);
      to += 1;
    } while (to < count && to < from + BLOCK_DATAGRAMS && total + batch.byteLength(to) <= BLOCK_BYTES);
    const block = batch.copy(from, to, total);
    for (let position = 0; from < to; from++) {
      const end = position + batch.byteLength(from);
      if (batch.addressIndex(from) !== slot) {
        slot = batch.addressIndex(from);
        remoteAddress = decodeAddress(batch.slots, slot);
        info = batch.info(from);
      }
      const data = block.subarray(position, end);
      datagrams.push(info === undefined ? { data, remoteAddress } : { data, remoteAddress, info });
      position = end;
    }
  }
  return datagrams;
}
