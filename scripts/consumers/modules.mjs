import { RUNTIMES, runtime } from '../runtimes.mjs';
import { COMMON_JS, ES_MODULE, PRINTED } from './programs.mjs';

/** Prints whether require and import give the same classes, of both entries; and what require gives for the one above the shim. */
const SHARED = `
const { Pollable, SocketError, openUdp } = require('wasi-udp');
async function main() {
  const imported = await import('wasi-udp');
  const { createHost, udpSockets } = await import('wasi-udp/jco');
  console.log('shared', imported.Pollable === Pollable && imported.SocketError === SocketError);
  const host = createHost({ allow: [{ bind: '*:*' }] });
  const sockets = udpSockets();
  const socket = sockets.udpCreateSocket.createUdpSocket('ipv4');
  const pollable = socket.subscribe();
  console.log('ready', pollable.ready(), 'interfaces', 'wasi:sockets/udp' in host.imports());
  for (const one of [pollable, socket, sockets, host]) one[Symbol.dispose]();
  try {
    console.log('required', require('wasi-udp/jco').createHost === createHost);
  } catch (error) {
    console.log('required', error.code, error.message);
  }
}
main();
`;

/** What \`require('wasi-udp/jco')\` answers where ES modules cannot be required. */
const REFUSED = /^required ERR_REQUIRE_ESM wasi-udp\/jco stands on .* load it by await import\('wasi-udp\/jco'\)/m;

/** A program of node:dgram, which prints whether that is ours, and what it heard. */
const exchange = (load) => `
${load}
const receiver = dgram.createSocket('udp4', (message) => {
  const isOwn = (socket) => Object.getOwnPropertySymbols(socket).some((key) => key.description === 'wasi-udp dgram');
  console.log('own', isOwn(receiver) && isOwn(sender), String(message));
  receiver.close();
  sender.close();
});
const sender = new Socket('udp4');
receiver.bind(0, '127.0.0.1', () => sender.send('hello', receiver.address().port, '127.0.0.1'));
`;
const OWN = /^own true hello$/m;

/** `wasi-udp/dgram`: imported, required, and in place of node:dgram for programs that know that alone. */
function dgram(consumer) {
  const loads = {
    'ours.mjs': "import dgram, { Socket } from 'wasi-udp/dgram';",
    'ours.cjs': "const dgram = require('wasi-udp/dgram'); const { Socket } = dgram;",
    'theirs.mjs': "import dgram, { Socket } from 'node:dgram';",
    'theirs.cjs': "const dgram = require('dgram'); const { Socket } = dgram;",
  };
  for (const name of Object.keys(RUNTIMES)) {
    const [program, ...args] = runtime(name);
    // Others do not hand on to ES modules what a builtin module is given.
    const registers = name.startsWith('node');
    consumer.check(`${name}: wasi-udp/dgram${registers ? ', and in place of node:dgram' : ''}`, () => {
      for (const [file, load] of Object.entries(loads)) {
        const isTheirs = file.startsWith('theirs');
        if (isTheirs && !registers) continue;
        const register = isTheirs ? ['--import', 'wasi-udp/dgram/register'] : [];
        consumer.expect(consumer.run(program, ...args, ...register, consumer.write(file, exchange(load))), OWN);
      }
    });
  }
}

/** ES modules and CommonJS, on every runtime: one copy of the package in each process, whatever loads it. */
export function modules(consumer) {
  const module = consumer.write('consumer.mjs', ES_MODULE);
  const common = consumer.write('consumer.cjs', COMMON_JS);
  const shared = consumer.write('shared.cjs', SHARED);
  for (const name of Object.keys(RUNTIMES)) {
    const [program, ...args] = runtime(name);
    const isOld = /^node\d+\.\d/.test(name);
    consumer.check(`${name}: import and require, of one copy`, () => {
      for (const file of [module, common]) consumer.expect(consumer.run(program, ...args, file), PRINTED);
      const printed = consumer.run(program, ...args, shared);
      consumer.expect(printed, /^shared true\nready true interfaces true$/m);
      consumer.expect(printed, isOld ? REFUSED : /^required true$/m);
    });
  }
  dgram(consumer);
}
