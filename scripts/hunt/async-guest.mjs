import { readFileSync } from 'node:fs';
import { parse } from '@bytecodealliance/jco';

const text = readFileSync(new URL('../../__test__/fixtures/hostile-async.wat', import.meta.url), 'utf8');
const module = new WebAssembly.Module(await parse(text));

export const EXIT = 0;
export const YIELD = 1;
export const WAIT = 2;
export const SUBTASK = 1;
export const RETURNED = 2;
export const CANCELLED_BEFORE_STARTED = 3;

/** Bytes of the largest datagram. */
const MOST_BYTES = 128;
/** What a call needs of the guest's memory: its parameters at 0, its result at 64, its data at 128. */
const CALL_BYTES = 128 + MOST_BYTES;
/** Behind what the guest allocates. */
const CALLS = 2 ** 17;
const LOOPBACK = [127, 0, 0, 1];

/** A core module of 0.3 that does what JavaScript tells it to within its slices, with no component around it. */
export class AsyncGuest {
  #imports;
  #host;
  #tasks = [];
  #free = [];

  constructor(host) {
    this.#host = host;
    this.#imports = host.coreImports({
      memory: () => this.exports.memory,
      realloc: (...values) => this.exports.cabi_realloc(...values),
    });
    this.exports = new WebAssembly.Instance(module, {
      ...this.#imports,
      test: {
        slice: (...event) => {
          if (event[0] === -1) this.exports.context_set(this.#tasks.length - 1);
          return this.#tasks[this.exports.context_get()](...event);
        },
      },
    }).exports;
    this.exports.memory.grow(30);
    this.view = new DataView(this.exports.memory.buffer);
    for (let at = CALLS; at + CALL_BYTES <= this.view.byteLength; at += CALL_BYTES) this.#free.push(at);
  }

  /** Runs a task: `slice` is called with each event, first with -1, and returns the status. */
  run(slice) {
    this.#tasks.push(slice);
    return this.#host.callAsync(this.#imports, this.exports, 'go');
  }

  /** Memory for a call; undefined where all is in use. */
  take() {
    return this.#free.pop();
  }

  give(call) {
    this.#free.push(call);
  }

  /** The error-code of the call's result, 0 counted; undefined where it is no error. */
  errorOf(call) {
    return this.view.getUint8(call + 64) === 0 ? undefined : this.view.getUint8(call + 68);
  }

  /** A socket that is bound to a free port, and the port. */
  open() {
    const call = this.take();
    this.exports.create(0, call + 64);
    const handle = this.view.getUint32(call + 68, true);
    this.exports.bind(handle, 0, 0, ...LOOPBACK, 0, 0, 0, 0, 0, 0, call + 64);
    this.exports.local_address(handle, call + 64);
    const port = this.view.getUint16(call + 72, true);
    this.give(call);
    return { handle, port };
  }

  /** Changes a socket's peer; what became of it. */
  connect(handle, port) {
    const call = this.take();
    this.exports.connect(handle, 0, port, ...LOOPBACK, 0, 0, 0, 0, 0, 0, call + 64);
    const error = this.errorOf(call);
    this.give(call);
    return error;
  }

  /** Writes words as a datagram of so many bytes; to the peer where there is no port. */
  #write(call, handle, port, words, length) {
    const { view } = this;
    view.setUint32(call, handle, true);
    view.setUint32(call + 4, call + 128, true);
    view.setUint32(call + 8, length, true);
    view.setUint8(call + 12, port === undefined ? 0 : 1);
    view.setUint8(call + 16, 0);
    view.setUint16(call + 20, port ?? 0, true);
    for (const [i, value] of LOOPBACK.entries()) view.setUint8(call + 22 + i, value);
    for (const [i, word] of words.entries()) view.setUint32(call + 128 + 4 * i, word, true);
  }

  send(call, handle, port, words, length = words.length * 4) {
    this.#write(call, handle, port, words, length);
    return this.exports.send(call, call + 64);
  }

  /** The same, by a call that blocks. */
  sendSync(call, handle, port, words, length = words.length * 4) {
    this.#write(call, handle, port, words, length);
    const address = port === undefined ? Array(12).fill(0) : [0, port, ...LOOPBACK, 0, 0, 0, 0, 0, 0];
    this.exports.send_sync(handle, call + 128, length, port === undefined ? 0 : 1, ...address, call + 64);
  }

  receive(call, handle) {
    return this.exports.receive(handle, call + 64);
  }

  /** The words of what a call has received. */
  received(call, count) {
    const data = this.view.getUint32(call + 68, true);
    return Array.from({ length: count }, (_, i) => this.view.getUint32(data + 4 * i, true));
  }
}
