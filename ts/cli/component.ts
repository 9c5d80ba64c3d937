import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { UdpHost } from '../host/create-host.js';
import { CacheError, ComponentCache, type Files } from './component-cache.js';
import { tell } from './output.js';
import { TEXT_URL } from './report.js';
import { type World, worldOf } from './world.js';

/** How jco is to translate a component. */
export interface TranslationOptions {
  /** Whether host functions that have a core form are called by it (`hybrid`), or all by objects (`js`). */
  bindings: 'js' | 'hybrid';
  /** Whether the guest's stack is suspended while it waits (JSPI), so that the event loop is free. */
  async: boolean;
}

/** A guest, ready to be instantiated with its imports; any number of times. `instantiateCore`: the host's. */
export interface Instantiate {
  (imports: object, instantiateCore?: UdpHost['instantiateCore']): Promise<Record<string, unknown>>;
  readonly world: World;
}

/** `WebAssembly.compile`, which the types of Node.js leave to the DOM's. */
const { compile } = (globalThis as unknown as { WebAssembly: { compile(bytes: Uint8Array): Promise<object> } })
  .WebAssembly;

/** The functions that wait, and the export that waits for them, in jco's spelling. */
const WAITING_IMPORTS = ['wasi:io/poll#poll', 'wasi:io/poll#[method]pollable.block'];
const WAITING_EXPORTS = ['wasi:cli/run#run'];

/** The file that instantiates a component, and that of its world in WIT. */
const MODULE = 'component.js';
const WORLD = 'component.wit';

/** Loads a component from its file. What jco makes of it is kept, by the hash of all that goes into it. */
export async function loadComponent(file: string, options: TranslationOptions): Promise<Instantiate> {
  const bytes = await readFile(file);
  const files = await translated(bytes, options);
  // Imported from memory: what runs is what was checked, whatever becomes of the files.
  const module = Buffer.from(files.get(MODULE)!).toString('base64');
  const { instantiate } = await import(`${TEXT_URL}${module}`);
  // All of them before the first is instantiated, so that what this runtime does not know is told here.
  const names = [...files.keys()].filter((name) => name.endsWith('.wasm'));
  const modules = new Map(
    await Promise.all(names.map(async (name) => [name, await compile(files.get(name)!)] as const)),
  );
  const getCoreModule = async (name: string) => modules.get(name);
  return Object.assign(
    // What throws before it returns a promise rejects.
    async (imports: object, core?: UdpHost['instantiateCore']) => await instantiate(getCoreModule, imports, core),
    {
      world: worldOf(Buffer.from(files.get(WORLD)!).toString()),
    },
  );
}

/** The translation of a component, from the cache where it has it; a cache that cannot be used costs time, and a line. */
async function translated(component: Uint8Array, options: TranslationOptions): Promise<Files> {
  const { version } = JSON.parse(
    await readFile(new URL('../package.json', import.meta.resolve('@bytecodealliance/jco')), 'utf8'),
  );
  const key = createHash('sha256')
    .update(JSON.stringify({ version, files: [MODULE, WORLD], ...options }))
    .update(component)
    .digest('hex')
    .slice(0, 32);
  const cache = await ComponentCache.open().catch(tellUnused);
  const kept = await cache?.read(key);
  if (kept !== undefined) return kept;
  const files = await translate(component, options);
  await cache?.write(key, files).catch(tellUnused);
  return files;
}

function tellUnused(error: unknown): undefined {
  if (!(error instanceof CacheError)) throw error;
  tell(`wasi-udp: the component is not kept for the next run: ${error.message}`);
}

async function translate(component: Uint8Array, options: TranslationOptions): Promise<Files> {
  const { componentWit, transpile } = await import('@bytecodealliance/jco');
  const { files } = await transpile(component, {
    name: 'component',
    instantiation: 'async',
    importBindings: usesStreams(component) ? 'js' : options.bindings,
    ...(options.async ? { asyncMode: 'jspi', asyncImports: WAITING_IMPORTS, asyncExports: WAITING_EXPORTS } : {}),
  });
  const kept = new Map(Object.entries(files).filter(([name]) => /\.(js|wasm)$/.test(name)));
  return kept.set(WORLD, Buffer.from(await componentWit(component)));
}

/** Whether core modules import streams or futures of 0.3: jco has no `hybrid` bindings for functions that take or give some. */
function usesStreams(component: Uint8Array): boolean {
  const bytes = Buffer.from(component.buffer, component.byteOffset, component.byteLength);
  return bytes.includes('[stream-') || bytes.includes('[future-');
}
