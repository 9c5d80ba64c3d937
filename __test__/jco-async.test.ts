import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import * as preview3 from '@bytecodealliance/preview3-shim';
import { describe, expect, it } from 'vitest';
import { createHost } from '../dist/host/jco.js';
import { component } from './support/guests.js';
import { fixture, run } from './support/runtime.js';
import { noAsyncGuests, SUSPENDING } from './support/suspending.js';

describe('a host with the shim of 0.3', () => {
  const shim = new WASIShim({ sandbox: { args: ['guest', 'one'], env: { LEVEL: 'debug' } } });
  const host = createHost({ shim, preview3 });

  it.each(['0.2', '0.3'] as const)("%s preferred: gives the shim's TCP unchanged, and UDP from here", (preferred) => {
    expect(host.imports(preferred)['wasi:sockets/types']).toEqual({
      TcpSocket: preview3.sockets.types.TcpSocket,
      UdpSocket: host.types.UdpSocket,
    });
  });

  it.each(['0.2', '0.3'] as const)('%s preferred: keeps the sandbox of arguments and variables', (preferred) => {
    const environment = host.imports(preferred)['wasi:cli/environment'] as typeof preview3.cli.environment;
    expect(environment.getArguments()).toEqual(['guest', 'one']);
    expect(environment.getEnvironment()).toEqual([['LEVEL', 'debug']]);
  });

  it.skipIf(noAsyncGuests)(`serves TCP beside UDP to one guest ${noAsyncGuests ?? ''}`, async () => {
    expect(await run([...SUSPENDING, fixture('guest-beside-tcp.mjs'), component('run-tcp')])).toEqual({
      code: 0,
      signal: null,
      stdout: 'by TCP, answered\nby UDP, answered\n',
      stderr: '',
    });
  });
});
