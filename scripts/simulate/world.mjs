/** What a simulation is made of: the addon over its simulated kernel, the package over that, peers, payloads. */
import { createRequire } from 'node:module';
import './clock.mjs';

// Errors are told all the time here, and a trace takes longer than all else.
Error.stackTraceLimit = 0;

/** The addon, with the functions that drive its kernel. */
export const addon = createRequire(import.meta.url)(process.env.NAPI_RS_NATIVE_LIBRARY_PATH);

const { parseSocketAddress } = await import('../../dist/index.js');

/** The hosts and ports that datagrams go to and come from, by family. A port names its peer. */
export const PEERS = { 4: peers(4), 6: peers(6) };

/** How many of the peers a policy allows to send to, and to hear: the first ones. */
export const ALLOWED = 5;
export const HEARD = 6;

function peers(family) {
  return Array.from({ length: 7 }, (_, index) => {
    const port = family * 1000 + index;
    const text = family === 4 ? `10.0.0.${index + 1}:${port}` : `[fd00::${index + 1}]:${port}`;
    const host = family === 4 ? 0x0a00_0001 + index : index + 1;
    return { family, index, host, port, address: parseSocketAddress(text) };
  });
}

/** The policy of a socket that has one. */
export const POLICY = [
  { bind: '*:*' },
  ...[4, 6].flatMap((family) => [
    { send: `*:${family * 1000}-${family * 1000 + ALLOWED - 1}` },
    { receive: `*:${family * 1000}-${family * 1000 + HEARD - 1}` },
  ]),
];

/** Payloads by their size in bytes, of each size many that differ; with the hash that the kernel makes of them. */
export const PAYLOADS = new Map([0, 1, 3, 20, 64, 100, 1200, 9000, 65_507].map((size) => [size, payloads(size)]));
/** More than a datagram carries. */
export const TOO_LARGE = { data: new Uint8Array(65_528), hash: 0 };

function payloads(size) {
  const variants = size > 2000 ? 4 : size === 0 ? 1 : 64;
  return Array.from({ length: variants }, (_, variant) => {
    const data = Uint8Array.from({ length: size }, (_, at) => variant * 37 + at * 11 + (at >> 8));
    return { data, hash: addon.simulateHash(data.buffer) };
  });
}
