import { type OutgoingDatagram, sizeOf } from '../batch/arena.js';
import { SocketError } from '../errors.js';
import { Pollable } from '../readiness/pollable.js';
import { lengthOf } from '../rules/list.js';
import { Permit } from '../rules/permit.js';
import { OutgoingDatagramStream } from '../socket/outgoing-datagram-stream.js';
import type { HostOutgoingDatagramStream } from './outgoing.js';
import type { Resource, ResourceTable } from './resource-table.js';

/** The rate of each stream. */
export interface MeteredOptions {
  /** Datagrams a second that each stream may send on average. Default: any number. */
  rate?: number;
  /** Datagrams that a stream may send at once after it was idle. Default: what the rate gives in a tenth of a second. */
  burst?: number;
}

/** What a stream has sent. */
export interface Meter {
  /** Calls to `send`. */
  sends: number;
  /** Datagrams accepted. */
  datagrams: number;
  /** Bytes of their payload. */
  bytes: number;
  /** Error results. */
  errors: number;
}

const NS_PER_S = 1e9;

/** One stream: its counters, its permit, and the allowance of its rate. */
class Metered implements Meter {
  sends = 0;
  datagrams = 0;
  bytes = 0;
  errors = 0;
  readonly permit = new Permit();
  /** Datagrams that may go at `since`, in nanoseconds of the monotonic clock. */
  #allowance: number;
  #since = process.hrtime.bigint();
  readonly #rate: number;
  readonly #burst: number;

  constructor(rate: number, burst: number) {
    this.#rate = rate;
    this.#burst = burst;
    this.#allowance = burst;
  }

  /** Whole datagrams that may go now. */
  allowance(): number {
    if (this.#rate === Infinity) return Infinity;
    const now = process.hrtime.bigint();
    this.#allowance = Math.min(this.#burst, this.#allowance + (Number(now - this.#since) / NS_PER_S) * this.#rate);
    this.#since = now;
    return Math.floor(this.#allowance);
  }

  use(datagrams: number): void {
    this.#allowance -= datagrams;
  }

  /** The moment from which a datagram may go. */
  readyAt(): bigint {
    if (this.allowance() >= 1) return this.#since;
    return this.#since + BigInt(Math.ceil(((1 - this.#allowance) / this.#rate) * NS_PER_S));
  }
}

/** Counts what each stream sends, and holds it to a rate: a permit never exceeds the rate's allowance. */
export class MeteredOutgoing implements HostOutgoingDatagramStream {
  readonly #inner: HostOutgoingDatagramStream;
  readonly #table: ResourceTable;
  readonly #rate: number;
  readonly #burst: number;
  readonly #streams = new Map<Resource<OutgoingDatagramStream>, Metered>();

  /**
   * Meters the streams of another implementation.
   *
   * @param inner what sends.
   * @param table the table of the handles of its streams.
   * @param options the rate that holds for each stream. Default: none.
   * @throws RangeError for a rate or a burst that is none.
   */
  constructor(inner: HostOutgoingDatagramStream, table: ResourceTable, options: MeteredOptions = {}) {
    const { rate = Infinity, burst = Math.max(1, Math.ceil(rate / 10)) } = options;
    if (!(rate > 0))
      throw new RangeError(`rate is datagrams a second, above 0, got ${rate}: leave it out for no limit`);
    if (!(burst >= 1)) throw new RangeError(`burst is a number of datagrams, at least 1, got ${burst}: leave it out`);
    this.#inner = inner;
    this.#table = table;
    this.#rate = rate;
    this.#burst = burst;
  }

  /** The counters of the streams that live, by their handles. */
  get meters(): ReadonlyMap<Resource<OutgoingDatagramStream>, Readonly<Meter>> {
    return this.#streams;
  }

  checkSend(self: Resource<OutgoingDatagramStream>): bigint {
    const stream = this.#stream(self);
    stream.permit.revoke();
    const granted = this.#counted(stream, () => this.#inner.checkSend(self));
    const permit = Math.min(Number(granted), stream.allowance());
    stream.permit.grant(permit);
    return BigInt(permit);
  }

  send(self: Resource<OutgoingDatagramStream>, datagrams: readonly OutgoingDatagram[]): bigint {
    const stream = this.#stream(self);
    const length = lengthOf(datagrams, 'send() takes an array of datagrams', 'pass [datagram]');
    if (length > 0) stream.permit.use('send', length);
    stream.sends += 1;
    // Read once: what is counted is what the inner stream was given.
    const list = Array.from({ length }, (_, i) => plain(datagrams[i]!));
    const sent = Number(this.#counted(stream, () => this.#inner.send(self, list)));
    stream.use(sent);
    stream.datagrams += sent;
    for (let i = 0; i < sent; i++) stream.bytes += sizeOf(list[i]!.data);
    return BigInt(sent);
  }

  subscribe(self: Resource<OutgoingDatagramStream>): Resource<Pollable> {
    const stream = this.#stream(self);
    const inner = this.#table.take(this.#inner.subscribe(self), Pollable);
    const event = Pollable.sources([inner])[0]?.event;
    return this.#table.push(new Pollable({ event, readyAt: () => stream.readyAt() }));
  }

  drop(self: Resource<OutgoingDatagramStream>): void {
    this.#inner.drop(self);
    this.#streams.delete(self);
  }

  #stream(self: Resource<OutgoingDatagramStream>): Metered {
    let stream = this.#streams.get(self);
    if (stream === undefined) {
      this.#table.get(self, OutgoingDatagramStream);
      stream = new Metered(this.#rate, this.#burst);
      this.#streams.set(self, stream);
    }
    return stream;
  }

  #counted<T>(stream: Metered, call: () => T): T {
    try {
      return call();
    } catch (error) {
      if (error instanceof SocketError) stream.errors += 1;
      throw error;
    }
  }
}

/** A datagram whose properties are read, once; what is none stays what it is. */
function plain(datagram: OutgoingDatagram): OutgoingDatagram {
  if (typeof datagram !== 'object' || datagram === null) return datagram;
  const { data, remoteAddress } = datagram;
  return { data, remoteAddress };
}
