import type { OutgoingDatagram } from '../batch/arena.js';
import type { Pollable } from '../readiness/pollable.js';
import { OutgoingDatagramStream } from '../socket/outgoing-datagram-stream.js';
import type { Resource, ResourceTable } from './resource-table.js';

/**
 * The outgoing half of wasi:sockets/udp as a host implements it: over handles. A host that wants more than the standard does
 * implements it by delegating to another; see `MeteredOutgoing`.
 *
 * Each method throws SocketError for an error result, and Trap where the guest broke the contract: a dropped or made-up
 * handle, a `send` beyond its permit.
 */
export interface HostOutgoingDatagramStream {
  /**
   * `check-send`: the number of datagrams that the next `send` may take.
   *
   * @param self the stream's handle.
   * @returns the permit.
   */
  checkSend(self: Resource<OutgoingDatagramStream>): bigint;
  /**
   * `send`: sends the datagrams in order, up to the first error.
   *
   * @param self the stream's handle.
   * @param datagrams at most as many as the permit has.
   * @returns how many of the datagrams were accepted.
   */
  send(self: Resource<OutgoingDatagramStream>, datagrams: readonly OutgoingDatagram[]): bigint;
  /**
   * `subscribe`: a pollable that is ready when `checkSend` would give at least 1 or an error.
   *
   * @param self the stream's handle.
   * @returns the handle of the pollable.
   */
  subscribe(self: Resource<OutgoingDatagramStream>): Resource<Pollable>;
  /**
   * Drops the stream; its handle is void then.
   *
   * @param self the stream's handle.
   */
  drop(self: Resource<OutgoingDatagramStream>): void;
}

/** The streams of a table, by their handles. */
export class TableOutgoing implements HostOutgoingDatagramStream {
  readonly #table: ResourceTable;

  constructor(table: ResourceTable) {
    this.#table = table;
  }

  checkSend(self: Resource<OutgoingDatagramStream>): bigint {
    return this.#stream(self).checkSend();
  }

  send(self: Resource<OutgoingDatagramStream>, datagrams: readonly OutgoingDatagram[]): bigint {
    return this.#stream(self).send(datagrams);
  }

  subscribe(self: Resource<OutgoingDatagramStream>): Resource<Pollable> {
    return this.#table.push(this.#stream(self).subscribe());
  }

  drop(self: Resource<OutgoingDatagramStream>): void {
    this.#stream(self);
    this.#table.drop(self);
  }

  #stream(self: Resource<OutgoingDatagramStream>): OutgoingDatagramStream {
    return this.#table.get(self, OutgoingDatagramStream);
  }
}
