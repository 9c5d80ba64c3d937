import type { OutgoingDatagram } from '../batch/arena.js';
import { LAYOUT } from '../native/layout.js';
import type { Datagrams } from './input.js';

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

/** Datagrams of one size, all alike; in place of a text. */
export class Generated implements Datagrams {
  readonly name: string;
  readonly total: number | undefined;
  readonly isLive = false;
  readonly #batch: OutgoingDatagram[];
  #left: number;

  /** `count` of them, which may be infinite. */
  constructor(size: number, count: number) {
    this.name = `datagrams of ${size} bytes`;
    this.total = Number.isFinite(count) ? count : undefined;
    this.#left = count;
    const datagram = { data: Buffer.alloc(size, LETTERS) };
    this.#batch = Array.from({ length: LAYOUT.maxDatagrams }, () => datagram);
  }

  async take(most: number): Promise<OutgoingDatagram[]> {
    const taken = this.#batch.slice(0, Math.min(most, this.#left));
    this.#left -= taken.length;
    return taken;
  }

  close(): void {}
}
