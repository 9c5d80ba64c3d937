import type { IpAddressFamily, IpSocketAddress, Ipv6Address } from '../../dist/index.js';

export const FAMILIES: IpAddressFamily[] = ['ipv4', 'ipv6'];

/** A flattened option of an address that is none. */
const NO_ADDRESS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/** Where results are written; lists and what is allocated come behind. */
export const RESULT = 64;
const FIRST_BLOCK = 256;

/** A guest's memory as its own side of the canonical ABI reads and writes it. */
export class GuestBlocks {
  readonly memory = new WebAssembly.Memory({ initial: 2 });
  #next = FIRST_BLOCK;

  get view(): DataView {
    return new DataView(this.memory.buffer);
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.memory.buffer);
  }

  /** The guest's cabi_realloc. */
  readonly realloc = (_pointer: number, _old: number, alignment: number, size: number) =>
    this.allocate(alignment, size);

  allocate(alignment: number, size: number): number {
    const block = Math.ceil(this.#next / alignment) * alignment;
    this.#next = block + size;
    const missing = this.#next - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65_536));
    return block;
  }

  /** Forgets what was allocated. */
  free(): void {
    this.#next = FIRST_BLOCK;
  }

  readAddress(at: number): IpSocketAddress {
    const { view } = this;
    const port = view.getUint16(at + 4, true);
    if (view.getUint8(at) === 0) {
      return { tag: 'ipv4', val: { port, address: [...this.bytes.subarray(at + 6, at + 10)] as never } };
    }
    const address = Array.from({ length: 8 }, (_, i) => view.getUint16(at + 12 + 2 * i, true)) as Ipv6Address;
    return {
      tag: 'ipv6',
      val: { port, flowInfo: view.getUint32(at + 8, true), address, scopeId: view.getUint32(at + 28, true) },
    };
  }

  writeAddress({ tag, val }: IpSocketAddress, at: number): void {
    const { view } = this;
    // Padding is whatever it was: a host must not read it.
    this.bytes.fill(0xee, at, at + 32);
    view.setUint8(at, FAMILIES.indexOf(tag));
    view.setUint16(at + 4, val.port, true);
    if (tag === 'ipv4') this.bytes.set(val.address, at + 6);
    else {
      view.setUint32(at + 8, val.flowInfo, true);
      for (const [i, group] of val.address.entries()) view.setUint16(at + 12 + 2 * i, group, true);
      view.setUint32(at + 28, val.scopeId, true);
    }
  }
}

/** An address, or none, as core values. */
export function flat(address: IpSocketAddress | undefined): number[] {
  if (address === undefined) return NO_ADDRESS;
  const { tag, val } = address;
  if (tag === 'ipv4') return [0, val.port, ...val.address, 0, 0, 0, 0, 0, 0];
  return [1, val.port, val.flowInfo, ...val.address, val.scopeId];
}
