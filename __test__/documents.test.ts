import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const root = new URL('../', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, root), 'utf8');

it.each(['docs/conformance.md', 'docs/features.md'])('%s names tests that there are', (file) => {
  const sources = readdirSync(new URL('__test__/', root))
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => read(`__test__/${file}`).replaceAll("\\'", "'"))
    .join('\n');
  const rows = read(file)
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| ---') && !/test \|$/.test(line));
  const titles = rows.flatMap((row) => {
    const cell = row.split(' | ').at(-1)!;
    return [...cell.matchAll(/`([^`]+)`/g)].map(([, title]) => title!);
  });
  expect(titles.length).toBeGreaterThan(rows.length / 2);
  expect(titles.filter((title) => !sources.includes(title))).toEqual([]);
});

it('docs/environment.md names every variable of ours', () => {
  const folders = ['ts', 'crates', 'scripts', '__test__', 'bench'];
  const sources = folders.flatMap((folder) =>
    readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(ts|mjs|rs)$/.test(file))
      .map((file) => read(`${folder}/${file}`)),
  );
  const used = new Set(sources.flatMap((source) => source.match(/\bWASI_UDP_[A-Z]+(_[A-Z]+)*\b/g) ?? []));
  const named = read('docs/environment.md')
    .match(/^\| `WASI_UDP_\w+`/gm)!
    .map((cell) => cell.slice(3, -1));
  expect([...used].sort()).toEqual(named.sort());
});
