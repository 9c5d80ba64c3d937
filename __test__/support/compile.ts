import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

/** The program of a source in C, named from __test__ on, until the tests of the file have run; undefined where it does not compile. */
export function compile(source: string): string | undefined {
  const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-c-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const program = path.join(folder, 'program');
  const file = fileURLToPath(new URL(`../${source}`, import.meta.url));
  return spawnSync('cc', ['-o', program, file]).status === 0 ? program : undefined;
}
