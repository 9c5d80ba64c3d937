import { describe, expect, it } from 'vitest';
import { noNamespaces, ON_ONE_PROCESSOR, runInNamespace } from './support/runtime.js';

interface Seen {
  partial: number;
  zero: number;
  blockedCheck: number;
  notReady: number;
  readyLater: number;
  means: Record<string, number>;
  altered: number;
  sent: number;
  inOrder: boolean;
}

describe.skipIf(noNamespaces)(`backpressure on a shaped link ${noNamespaces ?? ''}`, () => {
  it.each([
    ['127.0.0.1', 'mixed'],
    ['127.0.0.1', 'equal'],
    ['[::1]', 'mixed'],
    ['[::1]', 'equal'],
  ])(
    'over %s, %s sizes: partial counts, ok(0), readiness, and every datagram once, in order',
    async (loopback, sizes) => {
      const shaped = `tc qdisc add dev lo root tbf rate 10mbit burst 10k limit 100k
        ${ON_ONE_PROCESSOR}`;
      const seen = await runInNamespace<Seen>(shaped, 'backpressure.mjs', [loopback, sizes]);
      expect(seen.partial).toBeGreaterThan(0);
      expect(seen.zero).toBeGreaterThan(0);
      expect(seen.blockedCheck).toBeGreaterThanOrEqual(8);
      // On a busy machine the link may have drained between the check and the look.
      expect(seen.notReady).toBeGreaterThan(0);
      expect(seen.readyLater).toBe(seen.blockedCheck);
      for (const name of ['ready', 'block', 'poll', 'wait']) expect(seen.means[name]).toBeGreaterThan(0);
      expect(seen).toMatchObject({ sent: 2000, altered: 0, inOrder: true });
    },
  );
});
