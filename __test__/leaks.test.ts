import { describe, expect, it } from 'vitest';
import { fixture, ROUNDS, run, runFixture } from './support/runtime.js';

describe('descriptors', () => {
  it(`${50 * ROUNDS} sockets opened and disposed leave none`, async () => {
    expect(await runFixture('leaks.mjs', ['dispose', `${50 * ROUNDS}`])).toEqual({ leaked: 0, most: 0 });
  });

  it('1,000 sockets forgotten to the garbage collector leave none', async () => {
    const { stdout, stderr } = await run([process.execPath, '--expose-gc', fixture('leaks.mjs'), 'forget', '1000']);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ leaked: 0 });
  });
});
