import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from '@bytecodealliance/jco';
import { expect } from 'vitest';
import type { UdpHost } from '../../dist/index.js';

type Functions = Record<string, (...values: unknown[]) => number>;
type Exports = Functions & {
  memory: WebAssembly.Memory;
  mode: WebAssembly.Global<'i32'>;
  socket: WebAssembly.Global<'i32'>;
};

const text = readFileSync(fileURLToPath(new URL('../fixtures/hostile-async.wat', import.meta.url)), 'utf8');
const module = await WebAssembly.compile((await parse(text)) as Uint8Array<ArrayBuffer>);

export const EXIT = 0;
export const YIELD = 1;
export const WAIT = 2;
export const STARTING = 0;
export const STARTED = 1;
export const RETURNED = 2;
/** Where the parameters of a send lie, its data, and the result. */
export const PARAMS = 1024;
export const DATA = 256;
export const RESULT = 512;
export const MEMORY = 131072;

/** What a slice of the guest does with an event; the status that it ends with. */
export type Slice = (event: number, waitable: number, state: number) => number;

/** A guest of fixtures/hostile-async.wat with a bound socket. */
export class HostileGuest {
  readonly exports: Exports;
  readonly imports: ReturnType<UdpHost['coreImports']>;
  readonly host: UdpHost;
  /** What each task has left to do, by the number in its context. */
  readonly #tasks: Slice[][] = [];

  constructor(host: UdpHost) {
    this.host = host;
    this.imports = host.coreImports({
      memory: () => this.exports.memory,
      realloc: (...values) => this.exports['cabi_realloc']!(...values),
    });
    const test = {
      slice: (...event: Parameters<Slice>) => {
        if (event[0] === -1) this.exports['context_set']!(this.#tasks.length - 1);
        return this.#tasks[this.exports['context_get']!()]!.shift()!(...event);
      },
    };
    const imports = { ...this.imports, test } as WebAssembly.Imports;
    this.exports = new WebAssembly.Instance(module, imports).exports as unknown as Exports;
    this.exports.socket.value = this.open();
  }

  get socket(): number {
    return this.exports.socket.value;
  }

  /** A socket that is bound to a free port. */
  open(): number {
    this.exports['create']!(0, RESULT);
    const socket = this.word(RESULT + 4);
    this.exports['bind']!(socket, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, RESULT);
    expect(this.byte(RESULT)).toBe(0);
    return socket;
  }

  get port(): number {
    this.exports['local_address']!(this.socket, RESULT);
    return new DataView(this.exports.memory.buffer).getUint16(RESULT + 8, true);
  }

  word(at: number): number {
    return new DataView(this.exports.memory.buffer).getUint32(at, true);
  }

  byte(at: number): number {
    return new Uint8Array(this.exports.memory.buffer)[at]!;
  }

  /** Writes the parameters of a send to 127.0.0.1. */
  params(port: number, { at = PARAMS, socket = this.socket, data = DATA, length = 3, option = 1, tag = 0 } = {}): void {
    const view = new DataView(this.exports.memory.buffer);
    view.setUint32(at, socket, true);
    view.setUint32(at + 4, data, true);
    view.setUint32(at + 8, length, true);
    view.setUint8(at + 12, option);
    view.setUint8(at + 16, tag);
    view.setUint16(at + 20, port, true);
    new Uint8Array(this.exports.memory.buffer).set([127, 0, 0, 1], at + 22);
  }

  /** Runs a task of these slices, one after the other, of which the last ends it. It may run beside others. */
  run(...slices: Slice[]): Promise<void> {
    this.#tasks.push([...slices]);
    return this.host.callAsync(this.imports, this.exports, 'go');
  }
}
