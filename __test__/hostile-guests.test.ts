import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from '@bytecodealliance/jco';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHost, type UdpHost } from '../dist/index.js';
import { FAMILIES, Receiver } from './support/receiver.js';
import { ROUNDS } from './support/runtime.js';

const CALLS = 5000 * ROUNDS;

type Exports = Record<string, (...values: unknown[]) => number> & {
  memory: WebAssembly.Memory;
  mode: WebAssembly.Global<'i32'>;
  incoming: WebAssembly.Global<'i32'>;
};

let module: WebAssembly.Module;
beforeAll(async () => {
  const text = readFileSync(fileURLToPath(new URL('fixtures/hostile.wat', import.meta.url)), 'utf8');
  module = await WebAssembly.compile((await parse(text)) as Uint8Array<ArrayBuffer>);
});

/** The guest's exports, in the order of its imports. */
const NAMES = [
  ...[
    'create',
    'network',
    'start_bind',
    'finish_bind',
    'stream',
    'local_address',
    'udp_subscribe',
    'receive',
    'check_send',
  ],
  ...['send', 'out_subscribe', 'drop_outgoing', 'poll', 'ready'],
];

/** A guest with a bound socket and its streams, and room in its memory: 0 to 65,535 is the test's, the rest the allocator's. */
class Guest {
  readonly exports: Exports;
  /** The core functions that the guest imports, by the names of its exports. */
  readonly core: Record<string, (...values: unknown[]) => unknown>;
  readonly socket: number;
  readonly network: number;
  readonly incoming: number;
  readonly outgoing: number;

  constructor(host: UdpHost) {
    const imports = host.coreImports({
      memory: () => this.exports.memory,
      realloc: (...values) => this.exports['cabi_realloc']!(...values),
    });
    this.exports = new WebAssembly.Instance(module, imports as WebAssembly.Imports).exports as unknown as Exports;
    const functions = WebAssembly.Module.imports(module).map(({ module: from, name }) => imports[from]![name]!);
    // The guest exports what it imports, in the same order but for names.
    this.core = Object.fromEntries(NAMES.map((name, i) => [name, functions[i] as never]));
    const { create, network, start_bind: startBind, finish_bind: finishBind, stream } = this.exports;
    create!(0, 8);
    this.socket = this.word(12);
    this.network = network!();
    startBind!(this.socket, this.network, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8);
    finishBind!(this.socket, 8);
    stream!(this.socket, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8);
    this.incoming = this.word(12);
    this.outgoing = this.word(16);
    this.exports.incoming.value = this.incoming;
  }

  get view(): DataView {
    return new DataView(this.exports.memory.buffer);
  }

  word(at: number): number {
    return this.view.getUint32(at, true);
  }

  /** Writes an outgoing-datagram at 1024 + 44 * index: `length` bytes at `data`, to 127.0.0.1. */
  datagram(index: number, port: number, { data = 512, length = 3, option = 1, tag = 0 } = {}): void {
    const { view } = this;
    const at = 1024 + 44 * index;
    view.setUint32(at, data, true);
    view.setUint32(at + 4, length, true);
    view.setUint8(at + 8, option);
    view.setUint8(at + 12, tag);
    view.setUint16(at + 16, port, true);
    view.setUint32(at + 18, 0x0100007f, true);
  }

  permit(): void {
    this.exports['check_send']!(this.outgoing, 16);
    expect(this.view.getUint8(16)).toBe(0);
  }

  /** Sends `count` datagrams from 1024 on; the count of the result at 16. */
  send(count: number): number {
    this.exports['send']!(this.outgoing, 1024, count, 16);
    expect(this.view.getUint8(16)).toBe(0);
    return Number(this.view.getBigUint64(24, true));
  }
}

describe('a hostile guest', () => {
  let receiver: Receiver;
  let host: UdpHost;
  let guest: Guest;
  let port: number;

  beforeEach(async () => {
    receiver = await Receiver.open(FAMILIES[0]);
    port = receiver.address.val.port;
    host = createHost({ allow: [{ bind: '127.0.0.1:0' }, { send: '127.0.0.1:*' }] });
    guest = new Guest(host);
    guest.view.setUint8(512, 0x61);
  });
  afterEach(async () => {
    host[Symbol.dispose]();
    await receiver[Symbol.asyncDispose]();
  });

  /** The call traps, nothing was sent by it, and a good guest in the same process is served. */
  async function traps(call: () => unknown) {
    expect(call).toThrow(WebAssembly.RuntimeError);
    const other = new Guest(host);
    other.datagram(0, port, { length: 1 });
    other.view.setUint8(512, 0x7a);
    other.permit();
    expect(other.send(1)).toBe(1);
    await receiver.until(1);
    expect(receiver.texts).toEqual(['z']);
  }

  const END = 2 * 65_536;
  const sends: [string, (guest: Guest) => unknown][] = [
    ['a list pointer at the end of memory', (g) => g.exports['send']!(g.outgoing, END, 1, 16)],
    ['a list that ends one byte behind memory', (g) => g.exports['send']!(g.outgoing, END - 40, 1, 16)],
    ['a length that overflows', (g) => g.exports['send']!(g.outgoing, 1024, -1, 16)],
    ['a length times size that overflows to a small one', (g) => g.exports['send']!(g.outgoing, 1024, 0x1745d175, 16)],
    ['a negative pointer', (g) => g.exports['send']!(g.outgoing, -44, 1, 16)],
    ['a misaligned list', (g) => g.exports['send']!(g.outgoing, 1025, 1, 16)],
    ['a return pointer outside memory', (g) => g.exports['send']!(g.outgoing, 1024, 1, END)],
    ['a return pointer whose result ends outside memory', (g) => g.exports['send']!(g.outgoing, 1024, 1, END - 8)],
    ['a misaligned return pointer', (g) => g.exports['send']!(g.outgoing, 1024, 1, 20)],
    ['a handle of another kind', (g) => g.exports['send']!(g.incoming, 1024, 1, 16)],
    ['a handle that was never given', (g) => g.exports['send']!(g.outgoing + 1000, 1024, 1, 16)],
    ['handle 0', (g) => g.exports['send']!(0, 1024, 1, 16)],
    ['handle -1', (g) => g.exports['send']!(-1, 1024, 1, 16)],
    ['more datagrams than permitted', (g) => g.exports['send']!(g.outgoing, 1024, 1025, 16)],
  ];
  it.each(sends)('%s', async (_, call) => {
    guest.datagram(0, port);
    guest.permit();
    await traps(() => call(guest));
  });

  it.each<[string, Parameters<Guest['datagram']>[2]]>([
    ['a payload past the end', { data: END - 2, length: 3 }],
    ['a payload whose end overflows', { data: 0xffff_ffff, length: 0xffff_ffff }],
    ['a bad option', { option: 2 }],
    ['a bad address case', { tag: 2 }],
  ])('%s, though the entries before it are good', async (_, entry) => {
    guest.datagram(0, port);
    guest.datagram(1, port, entry);
    guest.permit();
    await traps(() => guest.send(2));
  });

  it('a dropped handle', async () => {
    guest.datagram(0, port);
    guest.permit();
    guest.exports['drop_outgoing']!(guest.outgoing);
    await traps(() => guest.send(1));
  });

  it('a handle dropped twice', async () => {
    guest.exports['drop_outgoing']!(guest.outgoing);
    await traps(() => guest.exports['drop_outgoing']!(guest.outgoing));
  });

  it('no permit', async () => {
    guest.datagram(0, port);
    await traps(() => guest.send(1));
  });

  it.each(['an address family', 'an address'])('%s that is none', async (what) => {
    const { create, stream } = guest.exports;
    await traps(() =>
      what === 'an address' ? stream!(guest.socket, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8) : create!(2, 8),
    );
  });

  it.each<[string, (guest: Guest) => number]>([
    ['the socket itself', (g) => g.socket],
    ['a stream', (g) => g.outgoing],
    ['a pollable', (g) => g.exports['out_subscribe']!(g.outgoing)],
    ['a handle that was never given', (g) => g.network + 1000],
    ['0', () => 0],
    ['-1', () => -1],
  ])('%s in place of a network', async (_, handle) => {
    guest.exports['create']!(0, 8);
    const socket = guest.word(12);
    const start = (network: number) =>
      guest.exports['start_bind']!(socket, network, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8);
    await traps(() => start(handle(guest)));
    start(guest.network);
    expect(guest.view.getUint8(8)).toBe(0);
  });

  it('an empty list of pollables, and one that lies outside memory', async () => {
    expect(() => guest.exports['poll']!(64, 0, 8)).toThrow(WebAssembly.RuntimeError);
    await traps(() => guest.exports['poll']!(END - 4, 2, 8));
  });

  describe('whose allocator', () => {
    beforeEach(async () => {
      guest.exports['local_address']!(guest.socket, 8);
      const to = guest.view.getUint16(16, true);
      for (let i = 0; i < 6; i++) {
        await new Promise((resolve) => receiver.socket.send(Buffer.from(`in ${i}`), to, '127.0.0.1', resolve));
      }
    });
    const receive = () => guest.exports['receive']!(guest.incoming, 100n, 8);

    it.each([
      [1, 'points behind memory'],
      [2, 'gives misaligned blocks'],
      [4, 'traps'],
      [6, 'receives without end'],
    ])('mode %i: %s', async (mode) => {
      guest.exports.mode.value = mode;
      await traps(receive);
    });

    it('mode 7: gives one block for everything, and the guest hurts itself alone', async () => {
      guest.exports.mode.value = 7;
      receive();
      expect([guest.word(12), guest.word(16)]).toEqual([70_000, 6]);
      await traps(() => guest.exports['drop_outgoing']!(guest.incoming));
    });

    it('receives without end: few batches are made', () => {
      guest.exports.mode.value = 6;
      expect(receive).toThrow(
        /cabi_realloc of the guest may not call imports, got 4 calls to receive within each other/,
      );
    });

    it.each([
      [0, 'behaves'],
      [3, 'grows the memory'],
    ])('mode %i: %s, and the list is whole', (mode) => {
      guest.exports.mode.value = mode;
      receive();
      expect(guest.view.getUint8(8)).toBe(0);
      const [list, count] = [guest.word(12), guest.word(16)];
      const texts = Array.from({ length: count }, (_, i) => {
        const at = list + 40 * i;
        expect(guest.view.getUint16(at + 12, true)).toBe(port);
        return Buffer.from(guest.exports.memory.buffer, guest.word(at), guest.word(at + 4)).toString();
      });
      expect(texts).toEqual(['in 0', 'in 1', 'in 2', 'in 3', 'in 4', 'in 5']);
      if (mode === 3) expect(guest.exports.memory.buffer.byteLength).toBeGreaterThan(END);
    });

    it('receives again meanwhile: each datagram is there once', () => {
      guest.exports.mode.value = 5;
      guest.exports['receive']!(guest.incoming, 3n, 8);
      const counts = [guest.word(16), guest.word(40)];
      expect(counts).toEqual([3, 3]);
    });
  });

  it('a memory that has grown is followed', async () => {
    guest.exports.memory.grow(3);
    guest.datagram(0, port, { data: 4 * 65_536, length: 2 });
    new Uint8Array(guest.exports.memory.buffer).set([0x68, 0x69], 4 * 65_536);
    guest.permit();
    expect(guest.send(1)).toBe(1);
    await receiver.until(1);
    expect(receiver.texts).toEqual(['hi']);
  });

  it('a shared memory is refused', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const imports = host.coreImports({ memory });
    const checkSend = imports['wasi:sockets/udp@0.2.12']!['[method]outgoing-datagram-stream.check-send'] as unknown as (
      ...values: number[]
    ) => void;
    expect(() => checkSend(guest.outgoing, 8)).toThrow(/shared memory/);
  });

  it(`${CALLS} random calls: results or traps, nothing else`, () => {
    let state = 0x2545_f491;
    const random = () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state >>> 0;
    };
    const handles = [
      guest.socket,
      guest.network,
      guest.incoming,
      guest.outgoing,
      guest.exports['out_subscribe']!(guest.outgoing),
    ];
    const value = () => {
      const kind = random() % 8;
      if (kind < 3) return handles[random() % handles.length]!;
      if (kind < 5) return (random() % 4096) & ~7;
      return kind === 5 ? random() % 2048 : kind === 6 ? random() | 0 : 1024;
    };
    const names = [
      'send',
      'check_send',
      'receive',
      'stream',
      'local_address',
      'ready',
      'poll',
      'finish_bind',
      'start_bind',
      'create',
    ];
    const seen = { results: 0, traps: 0 };
    // Most calls trap, and nobody reads their stacks.
    Error.stackTraceLimit = 0;
    const memory = new Uint32Array(guest.exports.memory.buffer, 0, 16_384);
    for (let i = 0; i < CALLS; i++) {
      // The guest's memory is noise, with a good list now and then.
      memory[random() % memory.length] = random() % 3 === 0 ? random() : value();
      if (i % 64 === 0) guest.datagram(random() % 8, port);
      const name = names[random() % (i % 500 === 0 ? names.length : names.length - 1)]!;
      const values: (number | bigint)[] = Array.from({ length: guest.exports[name]!.length }, value);
      if (name === 'send' && i % 2 === 0) values.splice(0, 4, guest.outgoing, 1024, random() % 9, 16);
      if (name === 'check_send' && i % 2 === 0) values.splice(0, 2, guest.outgoing, 16);
      if (name === 'receive') values[1] = BigInt(value());
      // A poll of streams that are not ready would wait for good.
      if (name === 'poll' && i % 2 === 0) memory[16] = handles[4]!;
      if (name === 'poll') values.splice(0, 2, 64, 1);
      try {
        // An exception that crosses the guest takes its time: every tenth call does.
        (i % 10 === 0 ? guest.exports : guest.core)[name]!(...values);
        seen.results += 1;
      } catch (error) {
        if (!(error instanceof WebAssembly.RuntimeError)) throw error;
        seen.traps += 1;
      }
    }
    Error.stackTraceLimit = 10;
    expect(seen.results).toBeGreaterThan(CALLS / 100);
    expect(seen.traps).toBeGreaterThan(CALLS / 10);
    expect(guest.exports['ready']!(handles[4])).toBe(1);
  }, 300_000);
});
