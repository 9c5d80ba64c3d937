import { describe, expect, it } from 'vitest';
import { createHost } from '../dist/index.js';
import { component } from './support/guests.js';
import { fixture, noNamespaces, ON_ONE_PROCESSOR, ROUNDS, run, unshared } from './support/runtime.js';
import { noAsyncGuests, SUSPENDING } from './support/suspending.js';

// Components of WASI 0.3 by the real jco, which needs JSPI: guests/async/*.c. Each test is a process of its own.

/** Runs a scenario of fixtures/async-guest.mjs with these arguments. */
type Step = [scenario: string, ...args: unknown[]];

interface Answer {
  /** What each step saw. */
  seen: unknown[];
  /** Whether all modules of the guests were served the fast way. */
  allFast: boolean;
  /** Resources that the guests have left. */
  left: number;
}

const slow = `tc qdisc add dev lo root tbf rate 2mbit burst 5k limit 200k
  ${ON_ONE_PROCESSOR}`;

/** By the host's instantiateCore, or by jco alone; where there are fewer rounds, each and both kinds of bindings once. */
const WAYS = ['host, hybrid', 'jco, js', ...(ROUNDS < 200 ? [] : ['host, js', 'jco, hybrid'])];

/** Whether there is an instantiateCore. */
const hasFastWay = 'instantiateCore' in createHost();

describe.skipIf(noAsyncGuests).each(WAYS)(`guests of WASI 0.3 by %s ${noAsyncGuests ?? ''}`, (combination) => {
  const [way, bindings] = combination.split(', ') as [string, string];
  const command = (name: string, steps: Step[], allow: 'all' | object[] = 'all') => {
    const settings = [way, bindings, JSON.stringify(allow), component(name), JSON.stringify(steps)];
    return [...SUSPENDING, fixture('async-guest.mjs'), ...settings];
  };
  const answerOf = async (argv: string[]): Promise<Answer> => {
    const { code, signal, stdout, stderr } = await run(argv);
    if (code !== 0) throw new Error(`exit ${code ?? signal}: ${stderr || stdout}`);
    const answer = JSON.parse(stdout) as Answer;
    expect(answer.allFast).toBe(hasFastWay && way === 'host');
    return answer;
  };
  /** What the steps saw, beside each; the guests have left nothing. */
  const seenBy = async <T extends object>(name: string, cases: T[], step: (one: T) => Step) => {
    const { seen, left } = await answerOf(command(name, cases.map(step)));
    expect(left).toBe(0);
    return cases.map((one, i) => ({ ...one, seen: seen[i] }));
  };

  const upTo = (count: number) => Array.from({ length: count }, (_, number) => number);
  const all = <T>(count: number, outcome: T): T[] => Array(count).fill(outcome);
  const counts = (outcomes: number[], ...wanted: number[]) =>
    wanted.map((outcome) => outcomes.filter((one) => one === outcome).length);
  /** Every combination of so many in flight, the families, and whether the socket is connected. */
  const combinations = (...inFlights: number[]) =>
    inFlights.flatMap((inFlight) =>
      [false, true].flatMap((ipv6) => [false, true].map((connected) => ({ inFlight, ipv6, connected }))),
    );

  // By hand, and by bindings that wit-bindgen has generated.
  describe.each(['async-sender', 'async-generated'])('%s', (name) => {
    const send = (options: object, more: unknown[]): Step => ['send', 'send', { ...options, more }];

    it('1, 8, 64 and 1000 sends in flight: each datagram once, in order', async () => {
      const cases = combinations(1, 8, 64, 1000).map((one) => ({ ...one, count: Math.max(200, one.inFlight + 100) }));
      const seen = await seenBy(name, cases, (one) => send(one, [one.inFlight, one.connected]));
      expect(seen).toEqual(
        cases.map((one) => ({ ...one, seen: { outcomes: all(one.count, -1), numbers: upTo(one.count) } })),
      );
    });

    it.skipIf(noNamespaces).each([1, 8, 64, 1000])(
      `%i sends in flight over a slow link: each datagram once, in order ${noNamespaces ?? ''}`,
      async (inFlight) => {
        const step = send({ count: 1100, size: 100 }, [inFlight, true]);
        const { seen } = await answerOf(unshared(slow, command(name, [step])));
        expect(seen).toEqual([{ outcomes: all(1100, -1), numbers: upTo(1100) }]);
      },
    );

    it.skipIf(noNamespaces)('a host that is dropped while sends wait leaves nothing', async () => {
      const steps: Step[] = [1, 64].map((inFlight) => ['abandon', 1500, 1000, inFlight]);
      const { seen, left } = await answerOf(unshared(slow, command(name, steps)));
      // One of the guest's own; another where it has waited for so long that jco waits for it.
      const opened = expect.toSatisfy((count: number) => count === 1 || count === 2);
      expect(seen).toEqual(Array(2).fill({ opened, open: 0, outcome: 'failed', inOrder: true }));
      expect(left).toBe(0);
    });

    it('what the policy does not allow: access-denied, each', async () => {
      const step = send({ count: 20 }, [4, false]);
      // Without a rule for the address; without one for the implicit bind.
      for (const rules of [[{ bind: '*:*' }], [{ send: '*:*' }]]) {
        const { seen } = await answerOf(command(name, [step], rules));
        expect(seen).toEqual([{ outcomes: all(20, 0), numbers: [] }]);
      }
    });

    it('a refusal is told once, by the send behind it, which is not sent', async () => {
      const cases = combinations(1, 8).filter(({ ipv6 }) => !ipv6);
      const answers = await seenBy(name, cases, (one) => ['refused', { count: 100, ...one }]);
      for (const { connected, seen } of answers) {
        const [sent, refused] = counts(seen as number[], -1, 9);
        expect(sent! + refused!).toBe(100);
        // Nobody hears of it on a socket without a peer. One that tells of a refusal is not refused itself.
        if (!connected) expect(refused).toBe(0);
        else expect(refused).toBeGreaterThan(0);
        expect(refused).toBeLessThanOrEqual(sent!);
      }
    });
  });

  describe('async-receiver', () => {
    it('1, 8 and 64 receives in flight: each datagram once, in the order of the receives', async () => {
      const cases = combinations(1, 8, 64).filter(({ connected }) => !connected);
      const seen = await seenBy('async-receiver', cases, ({ ipv6, inFlight }) => [
        'receive',
        { ipv6, count: 100, more: [inFlight, false] },
      ]);
      const expected = { numbers: upTo(100), bytes: 6400, failed: 0, answers: [] };
      expect(seen).toEqual(cases.map((one) => ({ ...one, seen: expected })));
    });

    it('what is received may be sent back from where it lies', async () => {
      const cases = [{ inFlight: 1 }, { inFlight: 8 }];
      const answers = await seenBy('async-receiver', cases, ({ inFlight }) => [
        'receive',
        { ipv6: false, count: 100, more: [inFlight, true] },
      ]);
      for (const { seen } of answers as { seen: { numbers: number[]; answers: number[] } }[]) {
        expect(seen.numbers).toEqual(upTo(100));
        expect(seen.answers.sort((one, another) => one - another)).toEqual(upTo(100));
      }
    });
  });

  describe('async-blocking', () => {
    it('each send blocks until it has ended', async () => {
      const cases = ['send', 'sendPlainly'].flatMap((name) => [false, true].map((connected) => ({ name, connected })));
      const seen = await seenBy('async-blocking', cases, ({ name, connected }) => [
        'send',
        name,
        { count: 50, more: [connected] },
      ]);
      const expected = { outcomes: all(50, -1), numbers: upTo(50) };
      expect(seen).toEqual(cases.map((one) => ({ ...one, seen: expected })));
    });

    it.skipIf(noNamespaces)('each send blocks over a slow link, too', async () => {
      const step: Step = ['send', 'send', { count: 600, size: 100, more: [true] }];
      const { seen } = await answerOf(unshared(slow, command('async-blocking', [step])));
      expect(seen).toEqual([{ outcomes: all(600, -1), numbers: upTo(600) }]);
    });

    it('each receive blocks until there is a datagram', async () => {
      const cases = [{ ipv6: false }, { ipv6: true }];
      const seen = await seenBy('async-blocking', cases, ({ ipv6 }) => ['receive', { ipv6, count: 20, more: [] }]);
      expect(seen).toEqual(cases.map((one) => ({ ...one, seen: { numbers: upTo(20), answers: [] } })));
    });
  });

  describe('async-cancel', () => {
    const notTold = 'jco 1.35 tells the host of no cancel';

    it('a receive that is cancelled takes no datagram', async ({ skip }) => {
      const cases = [0, 10, 30].map((sent) => ({ sent }));
      const answers = await seenBy('async-cancel', cases, ({ sent }) => ['cancelReceives', 20, sent]);
      if (answers[0]!.seen === null) skip(notTold);
      for (const { sent, seen } of answers as { sent: number; seen: number[] }[]) {
        // RETURNED, CANCELLED_BEFORE_STARTED or CANCELLED_BEFORE_RETURNED; then the datagrams, of which none is lost.
        expect(seen.slice(0, 20).filter((state) => ![2, 3, 4].includes(state))).toEqual([]);
        if (sent === 0) expect(seen.slice(0, 20)).not.toContain(2);
        expect(seen.slice(20)).toEqual(upTo(sent + 1));
      }
    });

    it.skipIf(noNamespaces)('a send that is cancelled is not sent, and the others are, once', async ({ skip }) => {
      for (const atOnce of [true, false]) {
        const { seen } = await answerOf(unshared(slow, command('async-cancel', [['cancelSends', 200, 500, atOnce]])));
        if (seen[0] === null) skip(notTold);
        const { states, numbers } = seen[0] as { states: number[]; numbers: number[] };
        const sent = states.flatMap((state, number) => (state % 16 === 2 ? [number] : []));
        expect(numbers).toEqual(sent);
        if (!atOnce) expect(sent.length).toBeGreaterThan(0);
        expect(sent.length).toBeLessThan(200);
        expect(states.filter((state) => ![2, 16 + 2, 16 + 3, 16 + 4].includes(state))).toEqual([]);
      }
    });
  });

  describe('async-waits', () => {
    it('waits inside a call for sends and receives in flight, or looks after them', async () => {
      const cases = ['wait', 'poll'].flatMap((name) => [1, 10, 100].map((count) => ({ name, count })));
      const seen = await seenBy('async-waits', cases, ({ name, count }) => ['call', name, count]);
      expect(seen).toEqual(cases.map((one) => ({ ...one, seen: upTo(one.count) })));
    });
  });

  describe('async-tasks', () => {
    it('calls of one instance wait for datagrams that others send meanwhile', async () => {
      const { seen } = await answerOf(
        command('async-tasks', [
          ['tasks', 1],
          ['tasks', 20],
        ]),
      );
      expect(seen).toEqual([upTo(1), upTo(20)]);
    });
  });

  describe('async-mixed', () => {
    it('sockets of 0.2 and of 0.3 of one component talk to each other', async () => {
      const cases = [{ count: 20 }];
      const seen = await seenBy('async-mixed', cases, ({ count }) => ['call', 'exchange', count]);
      expect(seen).toEqual([{ count: 20, seen: upTo(20) }]);
    });
  });
});
