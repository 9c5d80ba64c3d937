/** The two ways to one socket: the objects of the package, and the core functions that a guest imports. */
import { addon, POLICY } from './world.mjs';

const { createHost, IncomingBatch, IncomingDatagramStream, SocketError } = await import('../../dist/index.js');
const { ERROR_CODES } = await import('../../dist/errors.js');
const { UdpSocket } = await import('../../dist/socket/udp-socket.js');
const { policyOf } = await import('../../dist/rules/policy.js');

const batch = new IncomingBatch();

/** A socket by the objects of the package. */
export class ObjectFront {
  waits = true;

  constructor(family, hasPolicy) {
    const policy = hasPolicy ? policyOf(POLICY) : undefined;
    this.socket = new UdpSocket(family === 4 ? 'ipv4' : 'ipv6', { policy });
    this.descriptor = addon.descriptor(this.socket.descriptor.socket);
    this.socket.startBind(ANY[family]);
    this.socket.finishBind();
  }
  stream(remote) {
    [this.incoming, this.outgoing] = this.socket.stream(remote);
  }
  checkSend() {
    return Number(this.outgoing.checkSend());
  }
  send(list) {
    return Number(this.outgoing.send(list));
  }
  receive(max) {
    return plain(this.incoming).receive.call(this.incoming, max);
  }
  receiveInto(max) {
    const count = this.incoming.receiveInto(batch, max);
    return Array.from({ length: count }, (_, i) => ({ data: batch.data(i), remoteAddress: batch.remoteAddress(i) }));
  }
  subscribe(kind) {
    return plain(this[kind]).subscribe.call(this[kind]);
  }
  drop(kind) {
    this[kind][Symbol.dispose]();
  }
  /** Drops what is left. */
  leave() {
    for (const one of [this.incoming, this.outgoing, this.socket]) one?.[Symbol.dispose]();
  }
  get refused() {
    return this.incoming.refused;
  }
}

/** The methods of a resource as they are: `iterate` puts others before them. */
function plain(resource) {
  return Object.getPrototypeOf(resource);
}

/** The unspecified addresses. */
const ANY = {
  4: { tag: 'ipv4', val: { port: 0, address: [0, 0, 0, 0] } },
  6: { tag: 'ipv6', val: { port: 0, flowInfo: 0, address: [0, 0, 0, 0, 0, 0, 0, 0], scopeId: 0 } },
};

const RESULT = 64;
const FIRST_BLOCK = 256;
const NAMES = { incoming: 'incoming-datagram-stream', outgoing: 'outgoing-datagram-stream', socket: 'udp-socket' };

/** A socket as a guest has it: flat arguments, lists in a memory, results read from it. */
export class CoreFront {
  waits = false;
  #memory = new WebAssembly.Memory({ initial: 4 });
  #next = FIRST_BLOCK;
  #handles = {};

  constructor(family, hasPolicy) {
    this.host = createHost({ allow: hasPolicy ? POLICY : 'all' });
    const realloc = (_pointer, _old, alignment, size) => this.#allocate(alignment, size);
    this.imports = this.host.coreImports({ memory: this.#memory, realloc });
    this.udp = this.imports['wasi:sockets/udp@0.2.12'];
    const network = this.#call(this.imports['wasi:sockets/instance-network@0.2.12']['instance-network']);
    const create = this.imports['wasi:sockets/udp-create-socket@0.2.12']['create-udp-socket'];
    this.#handles.socket = this.#word(this.#attempt(create, 4, family === 4 ? 0 : 1));
    this.descriptor = addon.descriptor(this.host.table.get(this.#handles.socket, UdpSocket).descriptor.socket);
    this.#method('socket', 'start-bind', 1, network, ...flat(ANY[family]));
    this.#method('socket', 'finish-bind', 1);
  }
  stream(remote) {
    const at = this.#method('socket', 'stream', 4, remote === undefined ? 0 : 1, ...flat(remote));
    [this.#handles.incoming, this.#handles.outgoing] = [this.#word(at), this.#word(at + 4)];
  }
  checkSend() {
    return Number(this.#view.getBigUint64(this.#method('outgoing', 'check-send', 8), true));
  }
  send(list) {
    const pointer = this.#write(list);
    return Number(this.#view.getBigUint64(this.#method('outgoing', 'send', 8, pointer, list.length), true));
  }
  receive(max) {
    const at = this.#method('incoming', 'receive', 4, BigInt(max));
    const [list, count] = [this.#word(at), this.#word(at + 4)];
    return Array.from({ length: count }, (_, i) => {
      const entry = list + 40 * i;
      const data = this.#word(entry);
      return {
        data: new Uint8Array(this.#memory.buffer, data, this.#word(entry + 4)),
        remoteAddress: { val: { port: this.#view.getUint16(entry + 12, true) } },
      };
    });
  }
  receiveInto(max) {
    return this.receive(max);
  }
  subscribe(kind) {
    const handle = this.#call(this.udp[`[method]${NAMES[kind]}.subscribe`], this.#handles[kind]);
    const poll = this.imports['wasi:io/poll@0.2.12'];
    return {
      ready: () => this.#call(poll['[method]pollable.ready'], handle) === 1,
      block: () => this.#call(poll['[method]pollable.block'], handle),
      [Symbol.dispose]: () => this.#call(poll['[resource-drop]pollable'], handle),
    };
  }
  drop(kind) {
    this.#call(this.udp[`[resource-drop]${NAMES[kind]}`], this.#handles[kind]);
  }

  leave() {
    this.host[Symbol.dispose]();
  }
  get refused() {
    return this.host.table.get(this.#handles.incoming, IncomingDatagramStream).refused;
  }

  get #view() {
    return new DataView(this.#memory.buffer);
  }
  #word(at) {
    return this.#view.getUint32(at, true);
  }
  #allocate(alignment, size) {
    const block = Math.ceil(this.#next / alignment) * alignment;
    this.#next = block + size;
    const missing = this.#next - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / 65_536));
    return block;
  }
  #call(core, ...values) {
    const result = core(...values);
    this.#next = FIRST_BLOCK;
    return result;
  }
  /** Calls a function whose result is `result<T, error-code>` in memory; where T stands. */
  #attempt(core, at, ...values) {
    this.#call(core, ...values, RESULT);
    const bytes = new Uint8Array(this.#memory.buffer, RESULT, 16);
    if (bytes[0] === 0) return RESULT + at;
    const code = ERROR_CODES[bytes[at]];
    throw new SocketError(code, `a core function returned ${code}`);
  }
  #method(kind, name, at, ...values) {
    return this.#attempt(this.udp[`[method]${NAMES[kind]}.${name}`], at, this.#handles[kind], ...values);
  }
  /** Writes a list of outgoing-datagram. */
  #write(list) {
    const pointer = this.#allocate(4, list.length * 44);
    for (const [i, { data, remoteAddress }] of list.entries()) {
      const block = this.#allocate(1, data.length);
      new Uint8Array(this.#memory.buffer).set(data, block);
      const view = this.#view;
      const at = pointer + 44 * i;
      view.setUint32(at, block, true);
      view.setUint32(at + 4, data.length, true);
      view.setUint8(at + 8, remoteAddress === undefined ? 0 : 1);
      if (remoteAddress === undefined) continue;
      const { tag, val } = remoteAddress;
      view.setUint8(at + 12, tag === 'ipv4' ? 0 : 1);
      view.setUint16(at + 16, val.port, true);
      if (tag === 'ipv4') {
        for (let byte = 0; byte < 4; byte++) view.setUint8(at + 18 + byte, val.address[byte]);
      } else {
        view.setUint32(at + 20, val.flowInfo, true);
        for (let group = 0; group < 8; group++) view.setUint16(at + 24 + 2 * group, val.address[group], true);
        view.setUint32(at + 40, val.scopeId, true);
      }
    }
    return pointer;
  }
}

/** An address as twelve core values. */
function flat(address) {
  if (address === undefined) return Array(12).fill(0);
  const { tag, val } = address;
  if (tag === 'ipv4') return [0, val.port, ...val.address, 0, 0, 0, 0, 0, 0];
  return [1, val.port, val.flowInfo, ...val.address, val.scopeId];
}
