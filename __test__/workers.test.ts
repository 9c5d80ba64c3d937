import { describe, expect, it } from 'vitest';
import { noNamespaces, runFixture, runInNamespace } from './support/runtime.js';

/** How often a worker is terminated: what leaks once in many times shows. */
const ROUNDS = process.env['WASI_UDP_TEST_ROUNDS'] ?? '200';

const SLOW = 'tc qdisc add dev lo root tbf rate 100kbit burst 3k limit 100m';

describe('worker_threads', () => {
  it('several send at once, each in its own order', async () => {
    expect(await runFixture('workers.mjs', ['count'])).toEqual({
      accepted: ['500', '500', '500', '500'],
      inOrder: [true, true, true, true],
    });
  });

  it(`a worker terminated in mid-send leaves no descriptor, ${ROUNDS} times`, async () => {
    expect(await runFixture('workers.mjs', ['send', ROUNDS])).toEqual({ leaked: 0 });
  }, 120_000);

  describe.skipIf(noNamespaces)(`while the send buffer is full ${noNamespaces ?? ''}`, () => {
    it.each(['wait', 'block'])(
      `a worker terminated in mid-%s leaves no descriptor, ${ROUNDS} times`,
      async (mode) => {
        expect(await runInNamespace(SLOW, 'workers.mjs', [mode, ROUNDS])).toEqual({ leaked: 0 });
      },
      120_000,
    );
  });
});
