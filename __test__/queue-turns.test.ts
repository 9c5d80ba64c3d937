import { describe, expect, it } from 'vitest';
import { runFixture } from './support/runtime.js';

describe('a queue and the event loop’s turns', () => {
  it('a stream that is dropped while its queue pauses leaves setImmediate as it was', async () => {
    expect(await runFixture('queue-paused.mjs')).toEqual({ came: true, refused: 1 });
  });

  it('an unreferenced queue sends at the end of the turn, too', async () => {
    const { took } = await runFixture<{ took: number }>('queue-unref-turn.mjs');
    expect(took).toBeLessThan(1000);
  });
});
