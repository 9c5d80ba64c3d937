import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { compile } from './support/compile.js';
import { fixture, RUNTIME, run } from './support/runtime.js';

const firewall = (process.platform === 'linux' && compile('support/firewall.c')) || '';

/** Why no packets can be refused here; undefined where they can. */
const noFirewall: string | undefined = (() => {
  if (!firewall) return '(needs Linux, cc, and the headers of Linux)';
  const { status, stderr } = spawnSync(firewall, ['true'], { encoding: 'utf8' });
  return status === 0 ? undefined : `(needs root, cgroup2 and bpf: ${stderr.trim()})`;
})();

it.skipIf(noFirewall)(
  `where a firewall refuses some datagrams, each is told once, and no other is lost ${noFirewall ?? ''}`,
  async () => {
    const { code, stdout, stderr } = await run([firewall, ...RUNTIME, fixture('firewalled.mjs')]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toEqual([]);
  },
);
