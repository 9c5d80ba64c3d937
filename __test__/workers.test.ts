import { describe, expect, it } from 'vitest';
import { noNamespaces, noTerminate, ROUNDS, runFixture, runInNamespace } from './support/runtime.js';

const SLOW = 'tc qdisc add dev lo root tbf rate 100kbit burst 3k limit 100m';

/** How often a worker is ended in each way. */
const TIMES = Math.max(20, ROUNDS / 2);

/** In a network namespace of its own where there are any: in Deno all sockets of the namespace are counted, and others open some. */
const alone = (mode: string): Promise<{ leaked: number }> =>
  noNamespaces ? runFixture('workers.mjs', [mode, `${TIMES}`]) : runInNamespace('', 'workers.mjs', [mode, `${TIMES}`]);

// Each is a process, which mostly starts and ends workers, one after the other.
describe.concurrent('worker_threads', () => {
  it('several send at once, each in its own order', async () => {
    expect(await runFixture('workers.mjs', ['count'])).toEqual({
      accepted: ['500', '500', '500', '500'],
      inOrder: [true, true, true, true],
    });
  });

  it.skipIf(noTerminate)(
    `a worker terminated in mid-send leaves no descriptor, ${TIMES} times ${noTerminate ?? ''}`,
    async () => {
      expect(await alone('send')).toEqual({ leaked: 0 });
    },
  );

  it(`a worker terminated while its queue sends leaves no descriptor, ${TIMES} times`, async () => {
    expect(await alone('queue')).toEqual({ leaked: 0 });
  });

  describe.skipIf(noNamespaces)(`while the send buffer is full ${noNamespaces ?? ''}`, () => {
    it(`a worker terminated in mid-wait leaves no descriptor, ${TIMES} times`, async () => {
      expect(await runInNamespace(SLOW, 'workers.mjs', ['wait', `${TIMES}`])).toEqual({ leaked: 0 });
    });

    it(`a worker terminated while its queue waits for room leaves no descriptor, ${TIMES} times`, async () => {
      expect(await runInNamespace(SLOW, 'workers.mjs', ['queue-wait', `${TIMES}`])).toEqual({ leaked: 0 });
    });

    it.skipIf(noTerminate)(
      `a worker terminated in mid-block leaves no descriptor, ${TIMES} times ${noTerminate ?? ''}`,
      async () => {
        expect(await runInNamespace(SLOW, 'workers.mjs', ['block', `${TIMES}`])).toEqual({ leaked: 0 });
      },
    );
  });
});
