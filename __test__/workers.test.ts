import { describe, expect, it } from 'vitest';
import { noNamespaces, noTerminate, ROUNDS, runFixture, runInNamespace } from './support/runtime.js';

const SLOW = 'tc qdisc add dev lo root tbf rate 100kbit burst 3k limit 100m';

describe('worker_threads', () => {
  it('several send at once, each in its own order', async () => {
    expect(await runFixture('workers.mjs', ['count'])).toEqual({
      accepted: ['500', '500', '500', '500'],
      inOrder: [true, true, true, true],
    });
  });

  it.skipIf(noTerminate)(
    `a worker terminated in mid-send leaves no descriptor, ${ROUNDS} times ${noTerminate ?? ''}`,
    async () => {
      expect(await runFixture('workers.mjs', ['send', `${ROUNDS}`])).toEqual({ leaked: 0 });
    },
    120_000,
  );

  it(`a worker terminated while its queue sends leaves no descriptor, ${ROUNDS} times`, async () => {
    expect(await runFixture('workers.mjs', ['queue', `${ROUNDS}`])).toEqual({ leaked: 0 });
  }, 120_000);

  describe.skipIf(noNamespaces)(`while the send buffer is full ${noNamespaces ?? ''}`, () => {
    it(`a worker terminated in mid-wait leaves no descriptor, ${ROUNDS} times`, async () => {
      expect(await runInNamespace(SLOW, 'workers.mjs', ['wait', `${ROUNDS}`])).toEqual({ leaked: 0 });
    }, 120_000);

    it(`a worker terminated while its queue waits for room leaves no descriptor, ${ROUNDS} times`, async () => {
      expect(await runInNamespace(SLOW, 'workers.mjs', ['queue-wait', `${ROUNDS}`])).toEqual({ leaked: 0 });
    }, 120_000);

    it.skipIf(noTerminate)(
      `a worker terminated in mid-block leaves no descriptor, ${ROUNDS} times ${noTerminate ?? ''}`,
      async () => {
        expect(await runInNamespace(SLOW, 'workers.mjs', ['block', `${ROUNDS}`])).toEqual({ leaked: 0 });
      },
      120_000,
    );
  });
});
