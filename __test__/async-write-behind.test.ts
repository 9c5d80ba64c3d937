import { readFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parse } from '@bytecodealliance/jco';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHost, type OpenUdp, openUdp, parseSocketAddress, type UdpHost } from '../dist/index.js';

// Small sends of a guest of 0.3 stay behind: by the class that jco calls, and by core functions within a task of the guest's.

type Exports = Record<string, (...values: unknown[]) => number> & { memory: WebAssembly.Memory };

let module: WebAssembly.Module;
beforeAll(async () => {
  const text = readFileSync(fileURLToPath(new URL('fixtures/hostile-async.wat', import.meta.url)), 'utf8');
  module = await WebAssembly.compile((await parse(text)) as Uint8Array<ArrayBuffer>);
});

let host: UdpHost;
let receiver: OpenUdp;
beforeEach(() => {
  host = createHost({ allow: 'all', writeBehind: true });
  receiver = openUdp({ local: '127.0.0.1:0' });
});
afterEach(() => {
  host[Symbol.dispose]();
  receiver[Symbol.dispose]();
});

const arrived = () => receiver.incoming.receive().map(({ data }) => Buffer.from(data).toString());

/** Does it until it holds: what waits leaves once a millisecond has passed, which a busy machine may take for anything. */
async function eventually(holds: () => Promise<boolean> | boolean): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) if (await holds()) return true;
  return false;
}

describe('by the class', () => {
  it('several sends of a turn wait, and leave at its end, or before another call', async () => {
    const { UdpSocket } = host.types;
    const socket = UdpSocket.create('ipv4');
    socket.bind(parseSocketAddress('127.0.0.1:0'));
    const waited = await eventually(() => {
      const sends = ['one', 'two'].map((text) => socket.send(Buffer.from(text), receiver.localAddress));
      const early = arrived();
      socket.getLocalAddress();
      expect([...early, ...arrived()]).toEqual(['one', 'two']);
      return Promise.all(sends).then(() => early.length === 0);
    });
    expect(waited).toBe(true);
    await socket.send(Buffer.from('three'), receiver.localAddress);
    await setImmediate();
    expect(arrived()).toEqual(['three']);
  });

  it('leave before a receive that waits', async () => {
    const socket = host.types.UdpSocket.create('ipv4');
    socket.bind(parseSocketAddress('127.0.0.1:0'));
    const sending = socket.send(Buffer.from('query'), receiver.localAddress);
    const answer = socket.receive();
    expect(arrived()).toEqual(['query']);
    await sending;
    receiver.outgoing.checkSend();
    receiver.outgoing.send([{ data: Buffer.from('answer'), remoteAddress: socket.getLocalAddress() }]);
    expect(Buffer.from((await answer)[0]).toString()).toBe('answer');
  });
});

describe('by core functions', () => {
  let exports: Exports;
  let imports: ReturnType<UdpHost['coreImports']>;
  let slice: (event: number) => number;
  let socket: number;
  const PARAMS = 1024;
  const DATA = 256;
  const RESULT = 512;

  beforeEach(() => {
    imports = host.coreImports({
      memory: () => exports.memory,
      realloc: (...values) => exports['cabi_realloc']!(...values),
    });
    const test = { slice: (event: number) => slice(event) };
    exports = new WebAssembly.Instance(module, { ...imports, test } as WebAssembly.Imports).exports as never;
    exports['create']!(0, RESULT);
    socket = new DataView(exports.memory.buffer).getUint32(RESULT + 4, true);
    exports['bind']!(socket, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, RESULT);
  });

  function send(text: string): number {
    const view = new DataView(exports.memory.buffer);
    const bytes = new Uint8Array(exports.memory.buffer);
    bytes.set(Buffer.from(text), DATA);
    for (const [i, value] of [socket, DATA, text.length, 1, 0].entries()) view.setUint32(PARAMS + 4 * i, value, true);
    view.setUint16(PARAMS + 20, receiver.localAddress.val.port, true);
    bytes.set([127, 0, 0, 1], PARAMS + 22);
    return exports['send']!(PARAMS, RESULT);
  }

  it('each is answered at once, and all leave when the task ends', async () => {
    let early: string[] = [];
    const waited = await eventually(async () => {
      slice = () => {
        expect(['one', 'two', 'three'].map(send)).toEqual([2, 2, 2]);
        early = arrived();
        return 0;
      };
      await host.callAsync(imports, exports, 'go');
      expect([...early, ...arrived()]).toEqual(['one', 'two', 'three']);
      return early.length === 0;
    });
    expect(waited).toBe(true);
  });

  it('leave before the task waits', async () => {
    const set = exports['set_new']!();
    let subtask = 0;
    slice = (event) => {
      if (event === 1) {
        exports['subtask_drop']!(subtask);
        return 0;
      }
      send('before');
      subtask = exports['receive']!(socket, RESULT + 64) >>> 4;
      exports['join']!(subtask, set);
      return (set << 4) | 2;
    };
    const running = host.callAsync(imports, exports, 'go');
    expect(arrived()).toEqual(['before']);
    exports['local_address']!(socket, RESULT);
    const port = new DataView(exports.memory.buffer).getUint16(RESULT + 8, true);
    receiver.outgoing.checkSend();
    receiver.outgoing.send([{ data: Buffer.from('go on'), remoteAddress: parseSocketAddress(`127.0.0.1:${port}`) }]);
    await running;
  });

  it.each<[string, () => void]>([
    ['get-local-address', () => exports['local_address']!(socket, RESULT)],
    ['another socket', () => exports['create']!(0, RESULT)],
    ['a drop', () => exports['drop']!(socket)],
    ['disconnect', () => exports['disconnect']!(socket, RESULT)],
  ])('leave before %s', async (_, call) => {
    slice = () => {
      send('one');
      call();
      expect(arrived()).toEqual(['one']);
      return 0;
    };
    await host.callAsync(imports, exports, 'go');
  });
});
