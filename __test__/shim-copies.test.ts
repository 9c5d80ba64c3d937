// Two copies of preview2-shim in one process, as where a clone is linked into an application that has its own.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { clocks as ownClocks, sockets as ownSockets } from '@bytecodealliance/preview2-shim';
import { afterAll, describe, expect, it } from 'vitest';
import { createHost, udpSockets } from '../dist/host/jco.js';
import { parseSocketAddress } from '../dist/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(path.join(os.tmpdir(), 'wasi-udp-copies-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const SHIM = '@bytecodealliance/preview2-shim';
const copy = path.join(scratch, 'node_modules', SHIM);
mkdirSync(path.dirname(copy), { recursive: true });
cpSync(path.join(root, 'node_modules', SHIM), copy, { recursive: true });
const importCopy = (file: string) => import(pathToFileURL(path.join(copy, 'dist', file)).href);

const allow = [{ bind: '127.0.0.1:*' }];
const local = parseSocketAddress('127.0.0.1:0');

describe('another copy of preview2-shim', () => {
  it('under udpSockets: start-bind says so', async () => {
    const { sockets } = await importCopy('nodejs/index.js');
    using host = udpSockets({ allow });
    const socket = host.udpCreateSocket.createUdpSocket('ipv4');
    const bind = (network: unknown) => socket.startBind(network as never, local as never);
    expect(() => bind(sockets.instanceNetwork.instanceNetwork())).toThrow(
      /^two copies of @bytecodealliance\/preview2-shim/,
    );
    bind(ownSockets.instanceNetwork.instanceNetwork());
    socket.finishBind();
    expect(socket.localAddress().tag).toBe('ipv4');
  });

  it('given to createHost: a poll of its pollables says so', async () => {
    const { WASIShim } = await importCopy('common/instantiation.js');
    const { clocks } = await importCopy('nodejs/index.js');
    using host = createHost({ allow, shim: new WASIShim() });
    const { poll } = host.imports()['wasi:io/poll'] as { poll(list: object[]): Uint32Array };
    expect(() => poll([clocks.monotonicClock.subscribeDuration(0n)])).toThrow(/^two copies .* npm ls/);
    expect([...poll([ownClocks.monotonicClock.subscribeDuration(0n)])]).toEqual([0]);
  });
});
