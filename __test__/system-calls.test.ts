import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { parseSocketAddress } from '../dist/index.js';
import { native } from '../dist/native/native.js';
import { createSocket } from './support/dgram.mjs';
import { fixture, RUNTIME } from './support/runtime.js';

/** Why system calls cannot be counted here; undefined where they can. Other runtimes than Node.js have event loops of their own. */
const noStrace: string | undefined = (() => {
  if ('Bun' in globalThis || 'Deno' in globalThis) return '(counts those of libuv)';
  if (native.features().backend !== 'sendmmsg') return '(a backend of single messages receives until nothing is there)';
  const { status } = spawnSync('strace', ['-o', '/dev/null', 'true']);
  return status === 0 ? undefined : '(needs strace)';
})();

/** What waits, receives and sends. */
const TRACED = /^(poll|ppoll|epoll_|recv|send)/;

const WARM_UP = 30;
const QUERIES = 200;

/** The system calls of an echo server, by name, for `QUERIES` queries that come one by one, each after the answer before. */
async function callsOf(env: Record<string, string>): Promise<Record<string, number>> {
  const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-calls-'));
  const file = path.join(folder, 'trace');
  const calls = 'trace=poll,ppoll,epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2,%network,%file';
  const command = ['-f', '-qq', '-o', file, '-e', calls, '-e', 'signal=none', ...RUNTIME];
  const server = spawn('strace', [...command, fixture('echo-server.mjs'), `${WARM_UP}`, `${QUERIES}`], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const client = createSocket('udp4');
  try {
    const [address] = (await once(createInterface(server.stdout), 'line')) as [string];
    const { port } = parseSocketAddress(address).val;
    for (let i = 0; i < WARM_UP + QUERIES; i++) {
      const answer = once(client, 'message');
      client.send('query', port, '127.0.0.1');
      await answer;
      await setTimeout(2);
    }
    expect(await once(server, 'close')).toEqual([0, null]);
    const lines = readFileSync(file, 'utf8').split('\n');
    const place = (text: string) => lines.findIndex((line) => line.includes(text));
    const made: Record<string, number> = {};
    for (const line of lines.slice(place('/warmed-up'), place('/at-the-end'))) {
      const name = /^\d+ +(\w+)\(/.exec(line)?.[1];
      if (name !== undefined && TRACED.test(name)) made[name] = (made[name] ?? 0) + 1;
    }
    return made;
  } finally {
    client.close();
    server.kill();
    rmSync(folder, { recursive: true });
  }
}

describe.skipIf(noStrace)(`system calls of an echo server at a low rate ${noStrace ?? ''}`, () => {
  it('a query costs a wait, a receive and an answer: no poll, and no change of what is watched', async () => {
    // By libuv: the polling thread has calls of its own.
    const made = await callsOf({ WASI_UDP_POLLER: '' });
    const sum = (pattern: RegExp) =>
      Object.entries(made).reduce((total, [name, count]) => total + (pattern.test(name) ? count : 0), 0);
    expect(sum(/^send/)).toBeGreaterThanOrEqual(QUERIES);
    expect(sum(/^recv/)).toBeGreaterThanOrEqual(QUERIES);
    expect(sum(/^p?poll$|^epoll_ctl$/)).toBeLessThan(QUERIES / 20);
    // Now and then the runtime has something of its own to do.
    expect(sum(/./)).toBeLessThanOrEqual(4 * QUERIES + 20);
  });
});
