/** Sends a datagram to itself, waits for it, and prints how many came: what all ways of loading have in common. */
export const PROGRAM = `
async function main() {
  const udp = openUdp({ local: '127.0.0.1:0' });
  const queue = udp.outgoing.queue();
  queue.send('x', udp.localAddress);
  await queue.close();
  for await (const batch of udp.incoming) {
    console.log('received', batch.length);
    break;
  }
  udp[Symbol.dispose]();
}
main();
`;

/** What it prints. */
export const PRINTED = /^received 1$/m;

export const ES_MODULE = `import { openUdp } from 'wasi-udp';${PROGRAM}`;
export const COMMON_JS = `const { openUdp } = require('wasi-udp');${PROGRAM}`;
