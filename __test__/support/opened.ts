import { afterEach } from 'vitest';
import { type OpenUdp, type OpenUdpOptions, openUdp } from '../../dist/index.js';

/** What is disposed of at the end of the test, in this order. */
export const opened: Disposable[] = [];

/** As `openUdp`; the socket is closed at the end of the test. */
export function open(options?: OpenUdpOptions): OpenUdp {
  const udp = openUdp(options);
  opened.push(udp);
  return udp;
}

afterEach(() => {
  for (const resource of opened.splice(0)) resource[Symbol.dispose]();
});
