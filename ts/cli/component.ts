import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** How jco is to translate a component. */
export interface TranslationOptions {
  /** Whether host functions that have a core form are called by it (`hybrid`), or all by objects (`js`). */
  bindings: 'js' | 'hybrid';
  /** Whether the guest's stack is suspended while it waits (JSPI), so that the event loop is free. */
  async: boolean;
}

/** A guest, ready to be instantiated with its imports; any number of times. */
export type Instantiate = (imports: object) => Promise<Record<string, unknown>>;

/** `WebAssembly.compile`, which the types of Node.js leave to the DOM's. */
const { compile } = (globalThis as unknown as { WebAssembly: { compile(bytes: Uint8Array): Promise<object> } })
  .WebAssembly;

/** The functions that wait, and the export that waits for them, in jco's spelling. */
const WAITING_IMPORTS = ['wasi:io/poll#poll', 'wasi:io/poll#[method]pollable.block'];
const WAITING_EXPORTS = ['wasi:cli/run#run'];

/** Loads a component from its file. What jco makes of it is kept, by the hash of all that goes into it. */
export async function loadComponent(file: string, options: TranslationOptions): Promise<Instantiate> {
  const bytes = await readFile(file);
  const { version } = JSON.parse(
    await readFile(new URL('../package.json', import.meta.resolve('@bytecodealliance/jco')), 'utf8'),
  );
  const hash = createHash('sha256')
    .update(JSON.stringify({ version, ...options }))
    .update(bytes)
    .digest('hex');
  const folder = path.join(cacheFolder(), hash.slice(0, 32));
  const module = path.join(folder, 'component.js');
  await readFile(module).catch(() => translate(bytes, options, folder));
  const { instantiate } = await import(pathToFileURL(module).href);
  const getCoreModule = async (name: string) => compile(await readFile(path.join(folder, name)));
  return (imports) => instantiate(getCoreModule, imports);
}

function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache');
  return path.join(base, 'wasi-udp', 'components');
}

async function translate(component: Uint8Array, options: TranslationOptions, folder: string): Promise<void> {
  const { transpile } = await import('@bytecodealliance/jco');
  const { files } = await transpile(component, {
    name: 'component',
    instantiation: 'async',
    importBindings: options.bindings,
    ...(options.async ? { asyncMode: 'jspi', asyncImports: WAITING_IMPORTS, asyncExports: WAITING_EXPORTS } : {}),
  });
  // Renamed into place, so that nobody reads half of it, and the first of two writers wins.
  await mkdir(path.dirname(folder), { recursive: true });
  const draft = await mkdtemp(`${folder}.`);
  for (const [name, content] of Object.entries(files)) {
    if (/\.(js|wasm)$/.test(name)) await writeFile(path.join(draft, name), content);
  }
  await writeFile(path.join(draft, 'package.json'), '{ "type": "module" }\n');
  await rename(draft, folder).catch(() => rm(draft, { recursive: true }));
}
