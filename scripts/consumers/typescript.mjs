import path from 'node:path';
import { packageFolder } from '../runtimes.mjs';
import { root } from '../setup.mjs';

const PROGRAM = `import { type OutgoingDatagram, openUdp, SocketError } from 'wasi-udp';
import dgram, { Socket } from 'wasi-udp/dgram';
import 'wasi-udp/dgram/register';
export const socket: Socket = dgram.createSocket('udp4').on('message', (message: Buffer) => void message);
const udp = openUdp({ remote: '127.0.0.1:9' });
const datagram: OutgoingDatagram = { data: new Uint8Array(1) };
const granted: bigint = udp.outgoing.checkSend();
export const sent: bigint = granted > 0n ? udp.outgoing.send([datagram]) : 0n;
export const isRefused = (error: unknown): boolean => error instanceof SocketError;
// @ts-expect-error: not an error-code
new SocketError('no-such-code', '');
udp[Symbol.dispose]();
`;

/** Beside the shim: its own types, and ours, of one guest. */
const ABOVE_SHIM = `import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { createHost, udpSockets } from 'wasi-udp/jco';
const allow = [{ bind: '0.0.0.0:0' }, { send: '192.0.2.0/24:7' }];
export const shim = new WASIShim({ udpSockets: udpSockets({ allow }) });
export const host = createHost({ allow, shim: new WASIShim() });
`;

/** The compilers: this checkout's, and the last one of the line before. */
export const COMPILERS = () => ({
  'TypeScript 7': path.join(root, 'node_modules/typescript/bin/tsc'),
  'TypeScript 5.9': path.join(packageFolder('typescript@5.9'), 'bin/tsc'),
});

/** The options of a consumer that wants to know. */
export const OPTIONS = [
  ...['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--isolatedModules', '--noEmit'],
  ...['--skipLibCheck', 'false', '--target', 'es2022', '--lib', 'es2023,esnext.disposable'],
  ...['--typeRoots', path.join(root, 'node_modules/@types'), '--types', 'node'],
];

/** The types, with those of the libraries checked too, by each way that TypeScript finds them. */
export function typescript(consumer) {
  // The oldest that reads the declarations, libraries' included: once is enough to know that.
  const oldest = path.join(packageFolder('typescript@5.4'), 'bin/tsc');
  consumer.check('TypeScript 5.4', () => {
    const files = [consumer.write('oldest.mts', PROGRAM), consumer.write('oldest.cts', PROGRAM)];
    consumer.run('node', oldest, ...OPTIONS, '--module', 'nodenext', '--moduleResolution', 'nodenext', ...files);
  });
  for (const [name, compiler] of Object.entries(COMPILERS())) {
    for (const [file, module, moduleResolution] of [
      ['consumer.mts', 'node16', 'node16'],
      ['consumer.cts', 'node16', 'node16'],
      ['next.mts', 'nodenext', 'nodenext'],
      ['next.cts', 'nodenext', 'nodenext'],
      ['bundled.ts', 'esnext', 'bundler'],
    ]) {
      const files = [consumer.write(file, PROGRAM)];
      // The shim's types are those of an ES module alone.
      if (file !== 'consumer.cts') files.push(consumer.write(`shim-${file}`, ABOVE_SHIM));
      const resolution = ['--module', module, '--moduleResolution', moduleResolution];
      consumer.check(`${name}, ${moduleResolution}, ${file}`, () =>
        consumer.run('node', compiler, ...OPTIONS, ...resolution, ...files),
      );
    }
  }
}
