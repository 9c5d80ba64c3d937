import { Trap } from '../../errors.js';

/** `WebAssembly.Memory`, as far as it is used here. */
export interface LinearMemory {
  readonly buffer: ArrayBufferLike;
}

/** `cabi_realloc`: a guest's allocator. (0, 0, alignment, size) asks for a new block. */
export type Realloc = (pointer: number, oldSize: number, alignment: number, newSize: number) => number;

/** A guest's linear memory as the canonical ABI reads and writes it. Nothing that the guest says of it is believed. */
export class GuestMemory {
  readonly #memory: () => LinearMemory;
  readonly #realloc: Realloc | undefined;
  /** The memory's buffer as of the last look: a memory that grows has a new one. */
  buffer = new ArrayBuffer(0);
  bytes = new Uint8Array(this.buffer);
  words = new Uint32Array(this.buffer);
  #longs = new BigUint64Array(this.buffer);

  constructor(memory: () => LinearMemory, realloc: Realloc | undefined) {
    this.#memory = memory;
    this.#realloc = realloc;
  }

  /** Looks whether the memory has grown, which detaches its buffer: at the start of each call, and after the guest ran. */
  look(): this {
    // Asking for the buffer takes longer than all else of a call.
    if (this.words.length === 0) this.#follow(this.#memory().buffer);
    return this;
  }

  /** A pointer to `length` bytes, checked; `alignment` is a power of 2. The ABI: "trap_if(ptr != align_to(ptr, alignment))", "trap_if(ptr + byte_length > len)". */
  area(pointer: number, length: number, alignment: number): number {
    const start = pointer >>> 0;
    if ((start & (alignment - 1)) !== 0)
      throw new Trap(`pointer ${start} of the guest must be a multiple of ${alignment}`);
    if (start + length > this.bytes.length) {
      throw new Trap(`the guest's memory has ${this.bytes.length} bytes, got a pointer to ${length} at ${start}`);
    }
    return start;
  }

  /** The memory itself. */
  get source(): LinearMemory {
    return this.#memory();
  }

  /** Whether the guest has given its allocator. */
  get canAllocate(): boolean {
    return this.#realloc !== undefined;
  }

  /** A new block of the guest's, which the guest frees. */
  allocate(length: number, alignment: number): number {
    if (this.#realloc === undefined)
      throw new Trap('the guest exports no cabi_realloc, which a list result needs: export it');
    const pointer = this.#realloc(0, 0, alignment, length);
    return this.look().area(pointer, length, alignment);
  }

  setU64(pointer: number, value: bigint): void {
    this.#longs[pointer >>> 3] = value;
  }

  #follow(buffer: ArrayBufferLike): void {
    if (!(buffer instanceof ArrayBuffer)) {
      throw new Trap('a shared memory can change while it is read, and is not served: build the guest without threads');
    }
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.#longs = new BigUint64Array(buffer);
  }
}
