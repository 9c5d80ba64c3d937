import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const root = new URL('../', import.meta.url);
const importFrom = (file: string) => import(new URL(file, root).href);
const { CHARTS, documents, withFigures } = (await importFrom('bench/documents.mjs')) as {
  CHARTS: Record<string, () => string>;
  documents(): string[];
  withFigures(text: string): string;
};
const { blocks } = (await importFrom('scripts/consumers/blocks.mjs')) as { blocks(): object[] };
const { brokenLinks } = (await importFrom('scripts/docs/links.mjs')) as { brokenLinks(files: string[]): string[] };

const read = (file: string) => readFileSync(new URL(file, root), 'utf8');

it.each(['docs/conformance.md', 'docs/features.md', 'docs/cores.md'])('%s names tests that there are', (file) => {
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

const pages = ['ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', ...documents()];

it('every link leads to a file and to a heading that there are', () => {
  const links = pages.flatMap((file) => read(file).match(/\]\(/g) ?? []);
  expect(links.length).toBeGreaterThan(50);
  expect(brokenLinks(pages)).toEqual([]);
});

it.each(documents())('%s: its figures are those of bench/results', (file) => {
  expect(read(file)).toBe(withFigures(read(file)));
});

it.each(Object.keys(CHARTS))('%s is the chart of what was measured, and its labels fit', (file) => {
  const svg = read(`bench/results/${file}`);
  expect(svg).toBe(CHARTS[file]!());
  for (const [, x, label] of svg.matchAll(/class="label" x="([\d.]+)" y="\d+">([^<]+)/g)) {
    expect(Number(x)).toBeGreaterThan(label!.length * 7.5);
  }
});

it('every block of a document is marked as what can be done with it', () => {
  expect(blocks().length).toBeGreaterThan(10);
});
