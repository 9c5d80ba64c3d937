import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Command, type CommandOptions } from './support/command.js';
import { component, noGuests } from './support/guests.js';

const onWindows = process.platform === 'win32';
const isRoot = process.getuid?.() === 0;
/** A user and group that own nothing else. */
const STRANGER = 54_321;

/** Where the cache is, and one that is copied there for most tests, since a translation takes its time. */
let base: string;
let full: string;
const temporary = () => mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
beforeAll(async () => {
  if (noGuests) return;
  base = full = temporary();
  await prints();
});
afterAll(() => rmSync(full, { recursive: true, force: true }));
beforeEach(() => {
  base = temporary();
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const components = () => path.join(base, 'wasi-udp', 'components');
const kept = () => readdirSync(components());
const entry = (...parts: string[]) => path.join(components(), kept()[0]!, ...parts);

/** Runs a component that prints a line, with a cache in `base` unless told otherwise; what it printed. */
async function prints(options: CommandOptions = {}): Promise<{ stderr: string }> {
  const command = new Command(['run', component('prints'), '--', '1'], { env: { XDG_CACHE_HOME: base }, ...options });
  expect(await command.end()).toBe(0);
  expect(command.stdout).toMatch(/^line 0, .*\n$/);
  return { stderr: command.stderr };
}

/** Fills the cache with what a run leaves there. */
function fill(): void {
  cpSync(path.join(full, 'wasi-udp'), path.join(base, 'wasi-udp'), { recursive: true });
}

/** Changes the JavaScript of the entry so that it tells that it runs, and makes its manifest agree. */
function plant(): void {
  const text = `${readFileSync(entry('component.js'), 'utf8')}\nconsole.log('planted');\n`;
  writeFileSync(entry('component.js'), text);
  const manifest = entry('manifest.json');
  if (!existsSync(manifest)) return;
  const hash = createHash('sha256').update(text).digest('hex');
  writeFileSync(manifest, JSON.stringify({ ...JSON.parse(readFileSync(manifest, 'utf8')), 'component.js': hash }));
}

/** The line of a cache that is not used. */
const NOT_USED = /^wasi-udp: the component is not kept for the next run: .+\n$/;

describe.skipIf(noGuests)(`an entry of the cache of components ${noGuests ?? ''}`, () => {
  const damages: [string, () => void][] = [
    ['lost its JavaScript', () => rmSync(entry('component.js'))],
    ['lost a core module', () => rmSync(entry('component.core2.wasm'))],
    ['lost the end of a core module', () => truncateSync(entry('component.core.wasm'), 1000)],
    ['lost its manifest', () => rmSync(entry('manifest.json'), { force: true })],
    ['has a manifest of nothing', () => writeFileSync(entry('manifest.json'), '')],
    ['has other bytes', () => writeFileSync(entry('component.core3.wasm'), 'x', { flag: 'r+' })],
    ['is gone', () => rmSync(entry(), { recursive: true })],
  ];

  it.each(damages)('that %s is made again', async (_, damage) => {
    fill();
    const before = readdirSync(entry()).sort();
    damage();
    await prints();
    expect(kept()).toHaveLength(1);
    expect(readdirSync(entry()).sort()).toEqual(before);
    // It is used again.
    const { ino } = lstatSync(entry());
    await prints();
    expect(lstatSync(entry()).ino).toBe(ino);
  });

  it('that is a file, or a link, is made again', async () => {
    fill();
    for (const put of [writeFileSync, (name: string) => symlinkSync(base, name)] as ((
      name: string,
      text: string,
    ) => void)[]) {
      const name = entry();
      rmSync(name, { recursive: true });
      put(name, 'x');
      await prints();
      expect(lstatSync(name).isDirectory()).toBe(true);
    }
    expect(kept()).toHaveLength(1);
  });

  it('that is damaged is made again by several at once', async () => {
    fill();
    rmSync(entry('component.core.wasm'));
    await Promise.all([1, 2, 3].map(() => prints()));
    expect(kept()).toHaveLength(1);
    expect(existsSync(entry('component.core.wasm'))).toBe(true);
  });
});

describe.skipIf(noGuests)(`the folder of the cache ${noGuests ?? ''}`, () => {
  it.each([
    ['neither variable', { XDG_CACHE_HOME: '', HOME: '' }],
    ['relative ones', { XDG_CACHE_HOME: 'cache', HOME: 'home' }],
    ['relative ones, of the current folder', { XDG_CACHE_HOME: '.', HOME: '.' }],
  ])('is never in the current folder: with %s', async (_, env) => {
    const { stderr } = await prints({ env, cwd: base });
    // Bun knows no home of the user's but HOME, so that there is no cache. Bun and Deno put their own there.
    expect(stderr).toMatch('Bun' in globalThis ? /^$|no home folder/ : /^$/);
    const names = readdirSync(base, { recursive: true }).map(String);
    expect(names.filter((name) => name.includes('wasi-udp'))).toEqual([]);
  });

  it.skipIf(onWindows)('is for its owner alone', async () => {
    await prints();
    for (const folder of [path.join(base, 'wasi-udp'), components(), entry()]) {
      expect((lstatSync(folder).mode & 0o777).toString(8)).toBe('700');
    }
  });

  it.skipIf(onWindows).each([
    ['the cache', () => components(), 0o777],
    ['the cache, by the group', () => components(), 0o770],
    ['what is above', () => path.join(base, 'wasi-udp'), 0o777],
    ['what is far above', () => base, 0o777],
  ])('is not used where others may write to %s', async (_, folder, mode) => {
    fill();
    plant();
    chmodSync(folder(), mode);
    expect((await prints()).stderr).toMatch(NOT_USED);
    chmodSync(folder(), 0o700);
  });

  it.skipIf(onWindows)("is used below a folder like /tmp, of which nobody may remove what is another's", async () => {
    chmodSync(base, 0o1777);
    expect((await prints()).stderr).toBe('');
    expect(kept()).toHaveLength(1);
  });

  it.skipIf(!isRoot).each([
    ['it', () => components()],
    ['what is above', () => path.join(base, 'wasi-udp')],
    ['what is far above', () => base],
  ])('is not used where another user owns %s', async (_, folder) => {
    fill();
    plant();
    chownSync(folder(), STRANGER, STRANGER);
    expect((await prints()).stderr).toMatch(NOT_USED);
  });

  it.skipIf(!isRoot)('has no use for an entry of another user', async () => {
    fill();
    plant();
    chownSync(entry(), STRANGER, STRANGER);
    expect((await prints()).stderr).toBe('');
    expect(lstatSync(entry()).uid).toBe(0);
  });

  it.skipIf(onWindows)('may be a link to a folder that can be trusted, and to no other', async () => {
    fill();
    const elsewhere = path.join(base, 'elsewhere');
    renameSync(path.join(base, 'wasi-udp'), elsewhere);
    symlinkSync(elsewhere, path.join(base, 'wasi-udp'));
    const { ino } = lstatSync(entry());
    expect((await prints()).stderr).toBe('');
    expect(lstatSync(entry()).ino).toBe(ino);
    plant();
    chmodSync(elsewhere, 0o777);
    expect((await prints()).stderr).toMatch(NOT_USED);
  });

  it('costs a line where it cannot be made', async () => {
    writeFileSync(path.join(base, 'wasi-udp'), 'a file');
    expect((await prints()).stderr).toMatch(NOT_USED);
  });

  it.skipIf(process.platform !== 'linux')('costs a line where a folder cannot hold another: proc(5)', async () => {
    expect((await prints({ env: { XDG_CACHE_HOME: '/proc' } })).stderr).toMatch(NOT_USED);
  });
});
