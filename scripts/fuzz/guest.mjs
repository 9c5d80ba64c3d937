/**
 * A guest that passes anything: the core functions of the host, called with arguments, a memory and an allocator at random. Of
 * each call: nothing but a Trap is thrown; what no handle of the right type names, traps; nothing outside the result's area
 * and the guest's own blocks is written; the table holds what the guest was given, and at the end nothing.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { ERROR_CODES } from '../../dist/errors.js';
import { createHost, MeteredOutgoing, Trap } from '../../dist/index.js';
import { runCases } from './cases.mjs';

const CALLS = 200;
const PAGE = 65_536;
/** The guest's own blocks lie from here on; lists, results and noise lie before. */
const BLOCKS = 16_384;
const OUTGOING_BYTES = 44;

/** No more than loopback: whatever else a call names is denied. */
const ALLOW = [{ bind: '127.0.0.1:0' }, { bind: '[::1]:0' }, { send: '127.0.0.0/8:*' }, { send: '[::1]:*' }];

const SOCKET = 'udp-socket';
const INCOMING = 'incoming-datagram-stream';
const OUTGOING = 'outgoing-datagram-stream';
const POLLABLE = 'pollable';
const NETWORK = 'network';

/** The flattened ip-socket-address, and the pointer behind it. */
const ADDRESS_AND_POINTER = 'a'.repeat(12);

/**
 * The core functions. `takes`: what each parameter is for, a letter each, by which values are made up: h the handle, n a
 * network, p the result's pointer, L a list's pointer, c its length, f a family, o an option, a address parts, v a number,
 * V one of 64 bits. `kind`: what the handle must name. `area`: bytes of the result, which is aligned to `at`, where a
 * result<T, error-code> has its T. `gives`: what the result names, in order.
 */
const FUNCTIONS = [
  { from: 'sockets/udp-create-socket', name: 'create-udp-socket', takes: 'fp', area: 8, at: 4, gives: [SOCKET] },
  { from: 'sockets/instance-network', name: 'instance-network', takes: '', returns: NETWORK },
  ...[
    { name: 'start-bind', takes: `hn${ADDRESS_AND_POINTER}p`, area: 2, at: 1 },
    { name: 'finish-bind', takes: 'hp', area: 2, at: 1 },
    { name: 'stream', takes: `ho${ADDRESS_AND_POINTER}p`, area: 12, at: 4, gives: [INCOMING, OUTGOING] },
    { name: 'local-address', takes: 'hp', area: 36, at: 4 },
    { name: 'remote-address', takes: 'hp', area: 36, at: 4 },
    { name: 'address-family', takes: 'h', most: 1 },
    { name: 'unicast-hop-limit', takes: 'hp', area: 2, at: 1 },
    { name: 'set-unicast-hop-limit', takes: 'hvp', area: 2, at: 1 },
    { name: 'receive-buffer-size', takes: 'hp', area: 16, at: 8 },
    { name: 'set-receive-buffer-size', takes: 'hVp', area: 2, at: 1 },
    { name: 'send-buffer-size', takes: 'hp', area: 16, at: 8 },
    { name: 'set-send-buffer-size', takes: 'hVp', area: 2, at: 1 },
    { name: 'subscribe', takes: 'h', returns: POLLABLE },
  ].map((one) => method(SOCKET, one)),
  ...[
    { name: 'receive', takes: 'hVp', area: 12, at: 4 },
    { name: 'subscribe', takes: 'h', returns: POLLABLE },
  ].map((one) => method(INCOMING, one)),
  ...[
    { name: 'check-send', takes: 'hp', area: 16, at: 8 },
    { name: 'send', takes: 'hLcp', area: 16, at: 8 },
    { name: 'subscribe', takes: 'h', returns: POLLABLE },
  ].map((one) => method(OUTGOING, one)),
  { from: 'io/poll', name: 'poll', takes: 'Lcp', area: 8, at: 4, isPlain: true },
  method(POLLABLE, { from: 'io/poll', name: 'ready', takes: 'h', most: 1 }),
  method(POLLABLE, { from: 'io/poll', name: 'block', takes: 'h' }),
  { from: 'clocks/monotonic-clock', name: 'now', takes: '' },
  { from: 'clocks/monotonic-clock', name: 'resolution', takes: '' },
  { from: 'clocks/monotonic-clock', name: 'subscribe-instant', takes: 'V', returns: POLLABLE },
  { from: 'clocks/monotonic-clock', name: 'subscribe-duration', takes: 'V', returns: POLLABLE },
  ...[SOCKET, INCOMING, OUTGOING, NETWORK, POLLABLE].map((kind) => ({
    from: kind === POLLABLE ? 'io/poll' : kind === NETWORK ? 'sockets/network' : 'sockets/udp',
    name: `[resource-drop]${kind}`,
    takes: 'h',
    kind,
    drops: true,
  })),
];

function method(kind, one) {
  return { from: 'sockets/udp', ...one, name: `[method]${kind}.${one.name}`, kind };
}

const functionOf = (name) => FUNCTIONS.find((one) => one.name === name);
const named = Object.fromEntries(
  ['create-udp-socket', 'instance-network', 'subscribe-duration', 'poll'].map((name) => [name, functionOf(name)]),
);

/** What the guest's own code throws: a trap of its, which goes through the host. */
class GuestTrap extends Error {}

class Guest {
  memory = new WebAssembly.Memory({ initial: 1 });
  /** What each handle of the guest names. */
  handles = new Map();
  /** Pollables that are ready for good. */
  ready = new Set();
  /** Handles that were dropped, or never were. */
  stale = [0, 1, -1, 2 ** 28 - 1, 2 ** 31 - 1, -(2 ** 31)];
  /** Ports of the guest's sockets. */
  ports = [9];
  /** What the call may write: pairs of a first byte, and the byte behind the last. */
  areas = [];
  /** Where the last list was written. */
  list = 0;
  #depth = 0;
  #next = BLOCKS;

  constructor(random, host) {
    this.random = random;
    this.host = host;
    this.imports = host.coreImports({
      memory: random.oneIn(2) ? this.memory : () => this.memory,
      realloc: random.oneIn(10) ? undefined : (...values) => this.#realloc(values),
    });
    this.allocator = random.oneIn(2) ? 'good' : random.pick(['outside', 'askew', 'traps', 'grows', 'calls', 'any']);
  }

  get view() {
    return new DataView(this.memory.buffer);
  }

  word(at) {
    return this.view.getUint32(at, true);
  }

  /** The guest's allocator, which may do what it likes; a block of its own where it is good. */
  #realloc([pointer, oldSize, alignment, size]) {
    assert.deepEqual([pointer, oldSize], [0, 0], 'the host asks for new blocks alone');
    assert.ok([1, 4].includes(alignment) && Number.isInteger(size) && size >= 0);
    const { random, memory } = this;
    let block = Math.ceil(this.#next / alignment) * alignment;
    switch (random.oneIn(4) ? this.allocator : 'good') {
      case 'outside':
        block = memory.buffer.byteLength - random.below(size + 1) + random.below(9);
        break;
      case 'askew':
        block += 1;
        break;
      case 'traps':
        throw new GuestTrap();
      case 'grows':
        if (memory.buffer.byteLength < 4 * PAGE) memory.grow(1);
        break;
      case 'calls':
        if (this.#depth < 3) this.call(random.pick(FUNCTIONS));
        break;
      case 'any':
        block = random.bits() | 0;
        break;
    }
    const missing = block + size - memory.buffer.byteLength;
    if (missing > 0 && missing < 2 * PAGE && memory.buffer.byteLength < 8 * PAGE && this.allocator === 'good') {
      memory.grow(Math.ceil(missing / PAGE));
    }
    this.#next = Math.max(this.#next, block >>> 0 < 2 * PAGE ? block + size : 0);
    this.#allow(block, size, alignment);
    return block;
  }

  /** Lets the call write there, where the canonical ABI takes the pointer. */
  #allow(pointer, size, alignment) {
    const start = pointer >>> 0;
    if (start % alignment === 0 && start + size <= this.memory.buffer.byteLength)
      this.areas.push([start, start + size]);
  }

  /** A handle: mostly one of that kind, then any, then none. */
  handle(kind) {
    const { random } = this;
    const all = [...this.handles.keys()];
    const of = all.filter((handle) => this.handles.get(handle) === kind);
    if (of.length > 0 && !random.oneIn(6)) return random.pick(of);
    return random.oneIn(2) && all.length > 0 ? random.pick(all) : random.pick([...this.stale, random.bits() | 0]);
  }

  /** A pointer: mostly a good one; else askew, at the memory's end, or any. */
  pointer() {
    const { random } = this;
    const end = this.memory.buffer.byteLength;
    if (!random.oneIn(4)) return random.below(BLOCKS / 8) * 8;
    return random.pick([random.below(BLOCKS), end - random.below(64), end, -1, -8, random.bits() | 0]);
  }

  number() {
    const { random } = this;
    return random.pick([0, 1, 2, -1, 255, 256, 65_535, 65_536, random.below(2048), random.bits() | 0]);
  }

  /** An argument by its letter. */
  argument(letter, { kind }) {
    const { random } = this;
    switch (letter) {
      case 'h':
        return this.handle(kind);
      case 'n':
        return this.handle(NETWORK);
      case 'p':
        return this.pointer();
      case 'L':
        return random.oneIn(8) ? this.pointer() : this.list;
      case 'c':
        return random.oneIn(8) ? this.number() : random.below(12);
      case 'f':
      case 'o':
        return random.oneIn(12) ? this.number() : random.below(2);
      case 'V':
        return random.oneIn(3)
          ? BigInt.asIntN(64, random.big(64))
          : BigInt(random.oneIn(3) ? random.below(8) : this.number());
      default:
        return this.number();
    }
  }

  /** The arguments of a function; an address in them is often one that can be bound, or reached. */
  #arguments(one) {
    const { random } = this;
    const values = [...one.takes].map((letter) => this.argument(letter, one));
    const at = one.takes.indexOf('a');
    if (at >= 0 && !random.oneIn(4)) {
      const port = one.name.endsWith('start-bind') ? 0 : random.pick(this.ports);
      values.splice(
        at,
        12,
        ...random.pick([
          [0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0],
          [1, port, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        ]),
      );
    }
    return values;
  }

  /** Writes what a call may find: a list of outgoing datagrams, a list of handles, noise. */
  scribble() {
    const { random, view } = this;
    const start = random.below(512) * 4;
    const kind = random.below(4);
    const family = random.below(2);
    if (kind !== 1) this.list = start;
    for (let i = 0; i < 10; i++) {
      if (kind === 0) view.setUint32(start + 4 * i, this.handle(POLLABLE), true);
      else if (kind === 1) view.setUint32(random.below(BLOCKS / 4) * 4, random.bits(), true);
      else this.#datagram(start + OUTGOING_BYTES * i, random.oneIn(20) ? 1 - family : family);
    }
  }

  /** An outgoing-datagram, good but for one field now and then; padding is noise. */
  #datagram(at, family) {
    const { random, view } = this;
    const odd = (good, bad) => (random.oneIn(150) ? bad : good);
    const end = this.memory.buffer.byteLength;
    for (let i = 0; i < OUTGOING_BYTES; i += 4) view.setUint32(at + i, random.bits(), true);
    const length = random.pick([0, 1, 64, 64, 64, 200, 1200]);
    view.setUint32(at, odd(random.below(BLOCKS), random.pick([end - 1, end, -1, random.bits()])), true);
    view.setUint32(at + 4, odd(length, random.pick([65_507, 65_508, -1, random.bits()])), true);
    view.setUint8(at + 8, odd(random.oneIn(4) ? 0 : 1, random.below(256)));
    view.setUint8(at + 12, odd(family, random.below(256)));
    view.setUint16(at + 16, odd(random.pick(this.ports), random.below(65_536)), true);
    if (family === 0) view.setUint32(at + 18, odd(0x0100_007f, random.bits()), true);
    else {
      for (let i = 0; i < 4; i++) view.setUint32(at + 24 + 4 * i, 0, true);
      view.setUint16(at + 38, odd(1, random.below(3)), true);
      view.setUint32(at + 40, odd(0, random.bits()), true);
    }
  }

  /** Whether the call would wait for good: it names pollables alone, and none that is known to be ready. */
  #waits(one, values) {
    if (one.name.endsWith('pollable.block')) {
      return this.handles.get(values[0]) === POLLABLE && !this.ready.has(values[0]);
    }
    if (one !== named.poll) return false;
    const [list, count] = values.map((value) => value >>> 0);
    if (count === 0 || list % 4 !== 0 || list + 4 * count > this.memory.buffer.byteLength) return false;
    const handles = Array.from({ length: count }, (_, i) => this.word(list + 4 * i) | 0);
    return (
      handles.every((handle) => this.handles.get(handle) === POLLABLE) &&
      !handles.some((handle) => this.ready.has(handle))
    );
  }

  /** Calls a function, and looks at what came of it. */
  call(one, values = this.#arguments(one)) {
    if (this.#waits(one, values)) return;
    const isOutermost = this.#depth === 0;
    let before;
    if (isOutermost) {
      this.areas = [];
      this.#next = BLOCKS;
      before = Buffer.from(new Uint8Array(this.memory.buffer).slice().buffer);
    }
    const pointer = values[one.takes.indexOf('p')];
    if (one.area !== undefined) this.#allow(pointer, one.area, one.at);
    // Where a kind is asked for, nothing else will do.
    const mustTrap = one.kind !== undefined && this.handles.get(values[0]) !== one.kind;
    this.#depth += 1;
    const what = `${one.name}(${values.join(', ')})`;
    try {
      const result = this.imports[`wasi:${one.from}@0.2.12`][one.name](...values);
      assert.ok(!mustTrap, `${what} takes what names no ${one.kind}`);
      this.#learn(one, values, result, pointer >>> 0);
      Guest.results += 1;
    } catch (error) {
      if (!(error instanceof Trap || error instanceof GuestTrap)) throw new Error(`${what} throws`, { cause: error });
      Guest.traps += 1;
      if (!isOutermost) throw error;
    } finally {
      this.#depth -= 1;
    }
    if (!isOutermost) return;
    assert.equal(this.host.table.size, this.handles.size, `${what}: the table holds what the guest does not know of`);
    const after = Buffer.from(this.memory.buffer);
    for (const [start, end] of this.areas) after.copy(before, start, start, Math.min(end, before.length));
    assert.ok(before.equals(after.subarray(0, before.length)), `${what} writes outside its areas`);
  }

  /** What a call that returned has given to the guest, or taken from it. */
  #learn(one, values, result, area) {
    const { view, handles } = this;
    if (one.drops) {
      handles.delete(values[0]);
      this.ready.delete(values[0]);
      this.stale.push(values[0]);
    }
    if (one.returns !== undefined) this.#own(result, one.returns);
    if (one === named['subscribe-duration'] && values[0] === 0n) this.ready.add(result);
    if (one.most !== undefined) assert.ok(Number.isInteger(result) && result >= 0 && result <= one.most, one.name);
    if (one.area === undefined) return;
    assert.equal(result, undefined);
    const isOk = one.isPlain || view.getUint8(area) === 0;
    if (!isOk) {
      assert.equal(view.getUint8(area), 1);
      assert.ok(view.getUint8(area + one.at) < ERROR_CODES.length);
      return;
    }
    for (const [i, kind] of (one.gives ?? []).entries()) this.#own(this.word(area + one.at + 4 * i), kind);
    const method = one.name.split('.').at(-1);
    if (method === 'check-send') assert.ok(view.getBigUint64(area + 8, true) <= 1024n);
    if (method === 'send') assert.ok(view.getBigUint64(area + 8, true) <= BigInt(values[2] >>> 0));
    if (method === 'local-address') this.ports.push(view.getUint16(area + 8, true));
    if (method === 'receive') this.#received(area + 4, BigInt.asUintN(64, values[1]));
  }

  #own(handle, kind) {
    assert.ok(Number.isInteger(handle) && handle > 0 && !this.handles.has(handle), `handle ${handle} is given twice`);
    this.handles.set(handle, kind);
  }

  /** A list of incoming datagrams lies in blocks of the guest's. */
  #received(at, most) {
    const [list, count] = [this.word(at), this.word(at + 4)];
    assert.ok(BigInt(count) <= most);
    Guest.received += count;
    // An allocator that gives a block twice has its lists overwritten.
    if (this.allocator !== 'good') return;
    const isOwn = (start, length) => this.areas.some(([from, to]) => from <= start && start + length <= to);
    assert.ok(isOwn(list, 40 * count));
    // A result that reaches into the guest's own blocks has overwritten the list.
    if (at + 8 > list && at < list + 40 * count) return;
    for (let i = 0; i < count; i++) {
      const entry = list + 40 * i;
      assert.ok(isOwn(this.word(entry), this.word(entry + 4)));
      assert.ok(this.view.getUint8(entry + 8) <= 1);
    }
  }

  /** Opens a socket with its streams, as far as the random address lets it. */
  open() {
    const family = this.random.below(2);
    const address = family === 0 ? [0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0] : [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    this.call(named['create-udp-socket'], [family, 8]);
    this.call(named['instance-network'], []);
    this.call(named['subscribe-duration'], [0n]);
    const [socket, network] = [...this.handles.keys()].slice(-3);
    this.call(functionOf(`[method]${SOCKET}.start-bind`), [socket, network, ...address, 8]);
    this.call(functionOf(`[method]${SOCKET}.finish-bind`), [socket, 8]);
    this.call(functionOf(`[method]${SOCKET}.local-address`), [socket, 8]);
    this.call(functionOf(`[method]${SOCKET}.stream`), [socket, 0, ...Array(12).fill(0), 8]);
  }

  has(kind) {
    return [...this.handles.values()].includes(kind);
  }

  /** Calls that go together: a permit, a send of a list, a look at what came. */
  echo() {
    this.scribble();
    for (const name of [`${OUTGOING}.check-send`, `${OUTGOING}.send`, `${INCOMING}.receive`]) {
      this.call(functionOf(`[method]${name}`));
    }
  }

  static results = 0;
  static traps = 0;
  static received = 0;
}

const descriptors = () => (process.platform === 'linux' ? fs.readdirSync('/proc/self/fd').length : 0);
let cases = 0;
let baseline;

Error.stackTraceLimit = 5;
await runCases('guest', async (random) => {
  const outgoing = (streams, table) => new MeteredOutgoing(streams, table);
  const host = createHost({ allow: ALLOW, ...(random.oneIn(4) ? { outgoing } : {}) });
  const guest = new Guest(random, host);
  guest.open();
  for (let i = 0; i < CALLS; i++) {
    if (random.oneIn(3)) guest.scribble();
    // Calls that go together: a permit and a send, a look at what came.
    if (random.oneIn(8)) guest.echo();
    if (!guest.has(OUTGOING) && random.oneIn(4)) guest.open();
    const one = random.pick(FUNCTIONS);
    if (!one.drops || random.oneIn(4)) guest.call(one);
  }
  host[Symbol.dispose]();
  assert.equal(host.table.size, 0, 'a host that was dropped holds nothing');
  cases += 1;
  if (cases % 100 === 0) {
    // Descriptors close in a turn of the event loop.
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
    baseline ??= descriptors();
    assert.ok(descriptors() <= baseline + 2, `${descriptors()} descriptors are open, ${baseline} were`);
  }
});
console.log(`guest: ${Guest.results} results, ${Guest.traps} traps, ${Guest.received} datagrams received`);
