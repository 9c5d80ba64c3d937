import { describe, expect, it } from 'vitest';
import { AbortError, openUdp, poll, Trap } from '../dist/index.js';
import { noNamespaces, runInNamespace } from './support/runtime.js';

const SLOW = 'tc qdisc add dev lo root tbf rate 1mbit burst 3k limit 100k';
const inSlowNamespace = <T>(mode: string) => runInNamespace<T>(SLOW, 'waits.mjs', [mode]);

describe('pollables of a stream that may send', () => {
  it('are ready, do not block, and resolve', async () => {
    const { outgoing } = openUdp();
    const pollable = outgoing.subscribe();
    expect(pollable.ready()).toBe(true);
    pollable.block();
    await pollable.wait();
    expect(poll.poll([pollable, outgoing.subscribe()])).toEqual(Uint32Array.of(0, 1));
    outgoing[Symbol.dispose]();
  });

  it('poll of an empty list traps', () => {
    expect(() => poll.poll([])).toThrow(Trap);
  });

  it('poll of what are no pollables is a TypeError', () => {
    for (const list of [5, undefined, {}])
      expect(() => poll.poll(list as never)).toThrow(/an array of pollables, got /);
    for (const one of [{}, null, 5]) expect(() => poll.poll([one as never])).toThrow(/pollables of this package, got /);
  });

  it('a dropped pollable traps, its stream goes on', () => {
    const { outgoing } = openUdp();
    const pollable = outgoing.subscribe();
    pollable[Symbol.dispose]();
    pollable[Symbol.dispose]();
    expect(() => pollable.ready()).toThrow(/the pollable was dropped/);
    expect(() => poll.poll([pollable])).toThrow(Trap);
    expect(outgoing.checkSend()).toBe(1024n);
    outgoing[Symbol.dispose]();
  });

  it('an aborted signal rejects before anything is asked', async () => {
    const { outgoing } = openUdp();
    const reason = new Error('no');
    const waiting = outgoing.subscribe().wait({ signal: AbortSignal.abort(reason) });
    await expect(waiting).rejects.toBeInstanceOf(AbortError);
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: reason });
    outgoing[Symbol.dispose]();
  });
});

describe.skipIf(noNamespaces)(`waiting while the send buffer is full ${noNamespaces ?? ''}`, () => {
  it('a pending wait keeps the process alive until it is ready', async () => {
    expect(await inSlowNamespace('pending')).toEqual({ granted: '1024' });
  });

  it('a process with no wait ends', async () => {
    expect(await inSlowNamespace('none')).toEqual({ exits: true });
  });

  it('an aborted wait leaves nothing behind', async () => {
    const seen = await inSlowNamespace('aborted');
    expect(seen).toEqual({ name: 'AbortError', cause: 'enough', code: 'ABORT_ERR', listeners: 0 });
  });

  it('one abort and one drop leave the other waits alone', async () => {
    expect(await inSlowNamespace('several')).toEqual(['AbortError', 'ready', 'ClosedError']);
  });

  it('waits on end are one call of the addon, or one each by the polling thread, with the loop free meanwhile, no timer and no thread', async () => {
    interface Seen {
      calls: number;
      turns: number;
      milliseconds: number;
      resources: string[];
      threads: string[];
      poller: string;
    }
    const seen = await inSlowNamespace<Seen>('wakeups');
    // Five waits, each begun when the one before had ended: the watch stays armed. The polling thread reports each event once,
    // and is asked for the next one.
    expect(seen.calls).toBe(seen.poller === 'libuv' ? 1 : 5);
    expect(seen.turns).toBeGreaterThan(5);
    if (seen.poller !== 'libuv') return;
    expect(seen.resources).not.toContain('Timeout');
    expect(seen.threads.filter((name) => name.includes('wasi-udp'))).toEqual([]);
  });
});
