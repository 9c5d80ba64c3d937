import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { native } from '../dist/native/native.js';
import { compile } from './support/compile.js';
import { fixture, RUNTIME, run } from './support/runtime.js';

const isLinux = native.features().backend === 'sendmmsg';
const refuse = (isLinux && compile('support/refuse.c')) || '';

/** Why no calls can be refused here; undefined where they can. */
const noFilter: string | undefined = (() => {
  if (!isLinux) return '(the backend of Linux has what is refused)';
  if (!refuse) return '(needs cc, and the headers of Linux)';
  return spawnSync(refuse, ['EPERM', 'sendmmsg', 'true']).status === 0 ? undefined : '(needs seccomp)';
})();

/** What is refused, by its name in refuse.c, and as the doctor tells it. */
const CASES: Record<string, string[]> = {
  sendmmsg: ['sendmmsg'],
  recvmmsg: ['recvmmsg'],
  sendto: ['sendto'],
  sendmsg: ['sendmsg'],
  recvmsg: ['recvmsg', 'recvmsg with MSG_ERRQUEUE'],
  'recvmsg/errqueue': ['recvmsg with MSG_ERRQUEUE'],
  'sendmmsg,recvmmsg': ['sendmmsg', 'recvmmsg'],
  'sendmmsg,sendmsg,recvmmsg,recvmsg': ['sendmmsg', 'sendmsg', 'recvmmsg', 'recvmsg', 'recvmsg with MSG_ERRQUEUE'],
};

describe.skipIf(noFilter)(`where a filter refuses calls ${noFilter ?? ''}`, () => {
  for (const errno of ['ENOSYS', 'EPERM'])
    for (const [calls, names] of Object.entries(CASES))
      it(`${calls} by ${errno}: counts, content, order and refusals are what they are without`, async () => {
        const { code, stdout, stderr } = await run([refuse, errno, calls, ...RUNTIME, fixture('refused-calls.mjs')]);
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        expect(JSON.parse(stdout)).toEqual({ refused: names.map((name) => `${name}: ${errno}`), wrong: [] });
      });

  it.each([
    ['recvmmsg,recvmsg', ['packetInfo', 'receiveTrafficClass', 'timestamps', 'onPeerError']],
    ['recvmsg/errqueue', ['onPeerError']],
    ['sendmmsg,sendmsg,recvmmsg', []],
    ['setsockopt', []],
  ])('without %s, options whose answers cannot be read say so', async (calls, refused) => {
    const options = ['packetInfo', 'receiveTrafficClass', 'timestamps', 'onPeerError'];
    for (const errno of ['ENOSYS', 'EPERM']) {
      const { stdout } = await run([refuse, errno, calls, ...RUNTIME, fixture('open-with.mjs'), ...options]);
      const lines = stdout
        .split('\n')
        .filter((line) => line.includes(`which a filter refuses (${errno}, seccomp): allow them`));
      expect(lines.map((line) => /openUdp\(\), (\w+)/.exec(line)![1])).toEqual(refused);
    }
  });

  // Deno's own list of interfaces needs recvmsg.
  it.skipIf('Deno' in globalThis)('wasi-udp doctor tells what is refused, and what follows', () => {
    const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
    const { status, stdout } = spawnSync(refuse, ['EPERM', 'sendmmsg,recvmsg', ...RUNTIME, main, 'doctor'], {
      encoding: 'utf8',
    });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^note +the system refuses sendmmsg, by EPERM: each datagram, or run of them, /m);
    expect(stdout).toMatch(/^note +the system refuses recvmsg, by EPERM: /m);
    expect(stdout).toContain('127.0.0.1: 4 of 4 datagrams sent, 4 received');
    expect(stdout).toContain('[::1]: 4 of 4 datagrams sent, 4 received');
  });
});
