import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openUdp } from '../dist/index.js';
import { noNamespaces, ON_ONE_PROCESSOR, ROUNDS, RUNTIME, run, unshared } from './support/runtime.js';

/** `node scripts/hunt.mjs` runs millions of steps. */
const STEPS = ROUNDS * 100;

const SLOW = `tc qdisc add dev lo root tbf rate 20mbit burst 10k limit 10m
  ${ON_ONE_PROCESSOR}`;

/** Some steps of the hunt; another seed each day, which a failure prints. */
function hunt(driver: string, ...options: string[]): string[] {
  const seed = Math.floor(Date.now() / 86_400_000) * 1000;
  const script = fileURLToPath(new URL('../scripts/hunt.mjs', import.meta.url));
  return [...RUNTIME, script, '--seed', `${seed}`, '--steps', `${STEPS}`, '--driver', driver, ...options];
}

async function clean(command: string[], driver: string): Promise<void> {
  // Where the variable is set already, Bun and Deno hand it on to the addon.
  const env = driver === 'thread' ? { WASI_UDP_POLLER: 'thread' } : {};
  const { code, stdout, stderr } = await run(command, { env });
  expect(stderr.split('\n').slice(-20).join('\n')).toBe('');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ driver, steps: STEPS });
}

describe.each(['libuv', 'thread'])('whoever waits for what is there hears of it, by %s', (driver) => {
  it(`${STEPS} random steps over loopback: nothing lost, doubled or disordered, and the process ends`, async () => {
    await clean(hunt(driver), driver);
  });

  it.skipIf(noNamespaces)(`${STEPS} of them over a slow link, where senders wait ${noNamespaces ?? ''}`, async () => {
    await clean(unshared(SLOW, hunt(driver, '--send-buffer', '4608')), driver);
  });
});

describe('a wait that another call ended, and not the system', () => {
  it('leaves what is watched as it was: later waits for the same hear of it', async () => {
    using receiver = openUdp({ local: '127.0.0.1:0' });
    using udp = openUdp({ remote: receiver.localAddress });
    const { incoming, outgoing } = udp;
    const wait = () => {
      // Else nobody need wait: there is room.
      outgoing.doubt();
      return outgoing.subscribe().wait();
    };
    const first = wait();
    expect(outgoing.checkSend()).toBe(1024n);
    const late = new AbortController();
    const other = incoming.subscribe().wait({ signal: late.signal });
    await first;
    const outcome = await Promise.race([
      wait().then(() => 'room'),
      setTimeout(30_000, 'none', { signal: late.signal }),
    ]);
    late.abort();
    await expect(other).rejects.toThrow();
    expect(outcome).toBe('room');
  });
});
