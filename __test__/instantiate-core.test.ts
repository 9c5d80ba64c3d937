import { parse } from '@bytecodealliance/jco';
import { describe, expect, it } from 'vitest';
import { createHost, openUdp } from '../dist/index.js';
import { component } from './support/guests.js';
import { fixture, run } from './support/runtime.js';
import { noAsyncGuests, SUSPENDING } from './support/suspending.js';

// Which way a core module of WASI 0.3 takes, and what waits beside sockets.

const compile = async (text: string) => new WebAssembly.Module((await parse(text)) as Uint8Array<ArrayBuffer>);

const SOCKETS = 'wasi:sockets/types@0.3.0';
const SEND = '[async-lower][method]udp-socket.send';
const SENDER = (more: string) => `(module
  (import "${SOCKETS}" "[static]udp-socket.create" (func (param i32 i32)))
  (import "${SOCKETS}" "${SEND}" (func $send (param i32 i32) (result i32)))
  (func (export "[async-lift]go") (param i32 i64) (result i32) (call $send (local.get 0) (local.get 0)))
  (func (export "[callback][async-lift]go") (param i32 i32 i32) (result i32) (i32.const 0))
  ${more})`;
const MEMORY = `(memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))`;
const hasSuspending = 'Suspending' in WebAssembly;

describe('a core module', () => {
  const imports = { [SOCKETS]: { [SEND]: () => 2, '[static]udp-socket.create': () => {} } };

  it('that imports no sockets of 0.3 is instantiated as it is', async () => {
    using host = createHost();
    const module = await compile('(module (func (export "one") (result i32) (i32.const 1)))');
    const { exports } = host.instantiateCore(module);
    expect((exports['one'] as () => number)()).toBe(1);
    expect(host.ways).toEqual([]);
  });

  it('without a memory of its own goes the way of jco, which is told', async () => {
    using host = createHost();
    const { exports } = host.instantiateCore(await compile(SENDER('')), imports as never);
    expect((exports['[async-lift]go'] as (one: number, other: bigint) => number)(8, 1n)).toBe(2);
    const reason = hasSuspending ? /exports no memory/ : /no JSPI/;
    expect(host.ways).toEqual([{ imports: SOCKETS, fast: false, reason: expect.stringMatching(reason) }]);
  });

  it.skipIf(!hasSuspending)('goes the fast way; where another module calls it, what waits is left to jco', async () => {
    using host = createHost();
    const { exports } = host.instantiateCore(await compile(SENDER(MEMORY)), imports as never);
    expect(host.ways.map(({ fast }) => fast)).toEqual([true]);
    const adapter = await compile('(module (import "callee" "go" (func (param i32 i64) (result i32))))');
    host.instantiateCore(adapter, { callee: { go: exports['[async-lift]go'] } } as never);
    expect(host.ways.map(({ fast }) => fast)).toEqual([true, false]);
    expect(host.ways[1]!.reason).toMatch(/other components call it/);
  });

  it.skipIf(!hasSuspending)('that connects by an asynchronous call has sent before what it sent before', async () => {
    using host = createHost({ allow: 'all' });
    using receiver = openUdp({ local: '127.0.0.1:0' });
    const { port } = receiver.localAddress.val;
    const CONNECT = '[async-lower][method]udp-socket.connect';
    const GUEST = `(module
      (import "${SOCKETS}" "[static]udp-socket.create" (func $create (param i32 i32)))
      (import "${SOCKETS}" "${SEND}" (func $send (param i32 i32) (result i32)))
      (import "${SOCKETS}" "${CONNECT}" (func $connect (param i32 i32) (result i32)))
      (func (export "[async-lift]go") (result i32)
        (call $create (i32.const 0) (i32.const 0))
        (i32.store (i32.const 64) (i32.const 7))
        (i32.store8 (i32.const 76) (i32.const 1))
        (i32.store16 (i32.const 84) (i32.const ${port}))
        (i32.store (i32.const 86) (i32.const 0x0100007f))
        (drop (call $send (i32.const 64) (i32.const 128)))
        (drop (call $connect (i32.const 192) (i32.const 256)))
        (i32.const 0))
      (func (export "[callback][async-lift]go") (param i32 i32 i32) (result i32) (i32.const 0))
      ${MEMORY})`;
    const arrived: number[] = [];
    let memory: WebAssembly.Memory | undefined;
    const imports = {
      [SOCKETS]: {
        '[static]udp-socket.create': (_: number, result: number) => {
          expect(host.types.UdpSocket.create('ipv4')).toBeInstanceOf(host.types.UdpSocket);
          new DataView(memory!.buffer).setUint32(result + 4, 7, true);
        },
        [SEND]: () => 2,
        [CONNECT]: () => {
          arrived.push(receiver.incoming.receive().length);
          return 2;
        },
      },
    };
    const { exports } = host.instantiateCore(await compile(GUEST), imports as never);
    memory = exports['memory'] as WebAssembly.Memory;
    (exports['[async-lift]go'] as () => number)();
    expect(arrived).toEqual([1]);
  });

  it.skipIf(!hasSuspending)('whose component may be given sockets by others takes no handle for its own', async () => {
    using host = createHost({ allow: 'all' });
    const GUEST = `(module
      (import "${SOCKETS}" "[static]udp-socket.create" (func $create (param i32 i32)))
      (import "${SOCKETS}" "${SEND}" (func $send (param i32 i32) (result i32)))
      (func (export "create") (call $create (i32.const 0) (i32.const 0)))
      (func (export "send") (result i32) (call $send (i32.const 64) (i32.const 128)))
      (data (i32.const 64) "\\07")
      ${MEMORY})`;
    let bySlow = 0;
    let memory: WebAssembly.Memory | undefined;
    const imports = {
      [SOCKETS]: {
        '[static]udp-socket.create': (_: number, result: number) => {
          expect(host.types.UdpSocket.create('ipv4')).toBeInstanceOf(host.types.UdpSocket);
          new DataView(memory!.buffer).setUint32(result + 4, 7, true);
        },
        [SEND]: () => {
          bySlow += 1;
          return 2;
        },
      },
    };
    const { exports } = host.instantiateCore(await compile(GUEST), imports as never);
    memory = exports['memory'] as WebAssembly.Memory;
    const { create, send } = exports as Record<string, () => number>;
    create!();
    expect([send!(), bySlow]).toEqual([2, 0]);
    const between = await compile(
      '(module (import "resource" "transfer-own" (func (param i32 i32 i32) (result i32))))',
    );
    host.instantiateCore(between, { resource: { 'transfer-own': () => 7 } } as never);
    expect([send!(), bySlow]).toEqual([2, 1]);
  });
});

describe.skipIf(noAsyncGuests)(`a guest that waits for several things ${noAsyncGuests ?? ''}`, () => {
  it.each(['js', 'hybrid'])('hears of each in its turn, by %s bindings', async (bindings) => {
    const times = [20, 120, 220];
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ];
    const cases = orders.map((order) => order.map((place) => times[place]!));
    const argv = [fixture('async-beside.mjs'), bindings, component('async-beside'), JSON.stringify(cases)];
    const { stdout, stderr } = await run([...SUSPENDING, ...argv]);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([123, 132, 213, 312, 231, 321]);
  });
});
