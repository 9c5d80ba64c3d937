import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const github = new URL('../.github/', import.meta.url);
const filesOf = (folder: string) =>
  readdirSync(new URL(folder, github)).map((file): [string, string] => [
    file,
    readFileSync(new URL(`${folder}${file}`, github), 'utf8'),
  ]);

describe('the workflows', () => {
  it.each(filesOf('workflows/'))('%s: actions are named by their commits, with their versions', (_, text) => {
    const uses = text.match(/uses: .*/g)!;
    expect(uses.length).toBeGreaterThan(1);
    for (const action of uses) expect(action).toMatch(/^uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  it.each(filesOf('workflows/'))('%s: no checkout leaves credentials behind', (_, text) => {
    const checkouts = text.split('- uses: actions/checkout@').slice(1);
    expect(checkouts.length).toBeGreaterThan(0);
    for (const step of checkouts) expect(step).toMatch(/^.*\n +with:\n +persist-credentials: false\n/);
  });

  it.each(filesOf('workflows/'))('%s: every line of Node.js from 20 on', (_, text) => {
    expect(text).toContain('node: [20, 22, 24, 26]');
  });
});

describe('the issue forms', () => {
  it.each(filesOf('ISSUE_TEMPLATE/').filter(([file]) => file !== 'config.yml'))('%s asks for the doctor', (_, text) => {
    expect(text).toContain('`npx wasi-udp doctor`');
  });
});
