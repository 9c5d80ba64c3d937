import { createHash } from 'node:crypto';
import { lstat, mkdir, mkdtemp, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import path from 'node:path';

/** What jco makes of a component: the contents of its files, by name. */
export type Files = ReadonlyMap<string, Uint8Array>;

/** Why the cache cannot be used: its message is what is wrong and the remedy. */
export class CacheError extends Error {}

/** The file of an entry that makes it complete: a JSON object of the other files' names and their SHA-256. */
const MANIFEST = 'manifest.json';

/** Bits of a folder's mode, see inode(7): group or others may write; only the owner of a file may rename or remove it. */
const OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/**
 * Translated components, a folder each. Their JavaScript is run, so that nobody but the user may write here, or replace a
 * folder above; where the system has users and modes.
 */
export class ComponentCache {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Opens the cache, which is made where there is none. Rejects with CacheError where it cannot be had or be trusted. */
  static async open(): Promise<ComponentCache> {
    const folder = cachePath();
    try {
      await makeFolders(folder);
      // What is checked is what is used, whatever becomes of symbolic links on the way.
      const real = await realpath(folder);
      const reason = await whyNotTrusted(real);
      if (reason === undefined) return new ComponentCache(real);
      throw new CacheError(`${reason}: make it yours alone, or set XDG_CACHE_HOME to a folder that is`);
    } catch (error) {
      if (error instanceof CacheError) throw error;
      throw new CacheError(`${(error as Error).message}: set XDG_CACHE_HOME to a folder of yours`);
    }
  }

  /** The files of that name, whole as they were written; undefined where some are missing or damaged. */
  async read(key: string): Promise<Files | undefined> {
    const entry = path.join(this.#folder, key);
    try {
      if (reasonAgainst(await lstat(entry), entry, [userId()]) !== undefined) return undefined;
      const manifest = JSON.parse(await readFile(path.join(entry, MANIFEST), 'utf8')) as Record<string, string>;
      const files = new Map<string, Uint8Array>();
      for (const [name, hash] of Object.entries(manifest)) {
        const content = await readFile(path.join(entry, path.basename(name)));
        if (sha256(content) !== hash) return undefined;
        files.set(name, content);
      }
      return files;
    } catch {
      return undefined;
    }
  }

  /**
   * Keeps files under a name. They are renamed into place together, so that the first of two writers wins, and what is
   * damaged is replaced. Rejects with CacheError where they cannot be written.
   */
  async write(key: string, files: Files): Promise<void> {
    const entry = path.join(this.#folder, key);
    let draft: string | undefined;
    try {
      draft = await mkdtemp(`${entry}.`);
      const manifest: Record<string, string> = {};
      for (const [name, content] of files) {
        await writeFile(path.join(draft, name), content);
        manifest[name] = sha256(content);
      }
      await writeFile(path.join(draft, MANIFEST), JSON.stringify(manifest));
      await this.#place(draft, key);
    } catch (error) {
      throw new CacheError(`${(error as Error).message}: see to it, or set XDG_CACHE_HOME to another folder`);
    } finally {
      if (draft !== undefined) await rm(draft, { recursive: true, force: true }).catch(() => {});
    }
  }

  async #place(draft: string, key: string): Promise<void> {
    const entry = path.join(this.#folder, key);
    // A system that replaces an empty folder or none, and refuses all else: what stands there is another's, or damaged.
    const isPlaced = () =>
      rename(draft, entry).then(
        () => true,
        async () => (await this.read(key)) !== undefined,
      );
    if (await isPlaced()) return;
    await rm(entry, { recursive: true, force: true });
    if (!(await isPlaced())) await rename(draft, entry);
  }
}

/**
 * Makes a folder and those above it. Not by the recursive mkdir of Node.js, which does not end where a file system answers ENOENT
 * in a folder that is there, as that of proc(5) does.
 */
async function makeFolders(folder: string): Promise<void> {
  try {
    await mkdir(folder, 0o700);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || path.dirname(folder) === folder) throw error;
    await makeFolders(path.dirname(folder));
    await mkdir(folder, 0o700);
  }
}

/** The folder of the cache, whether or not it is there. Throws CacheError where the user has no folder for caches. */
export function cachePath(): string {
  return path.join(cacheHome(), 'wasi-udp', 'components');
}

/** The folder for caches: XDG_CACHE_HOME, or .cache of the user's home. Throws CacheError where neither is absolute. */
function cacheHome(): string {
  // "If an implementation encounters a relative path in any of these variables it should consider the path invalid and
  // ignore it." (XDG Base Directory Specification)
  const named = process.env['XDG_CACHE_HOME'] ?? '';
  if (path.isAbsolute(named)) return named;
  for (const home of [homedir, () => userInfo().homedir]) {
    const folder = attempt(home);
    if (path.isAbsolute(folder)) return path.join(folder, '.cache');
  }
  throw new CacheError('the user has no home folder: set HOME, or XDG_CACHE_HOME to an absolute path');
}

/** A home folder, or '' where the system knows none. */
function attempt(home: () => string | null): string {
  try {
    return home() ?? '';
  } catch {
    return '';
  }
}

/** Whose files may be trusted; undefined where the system has no such users. */
function userId(): number | undefined {
  return process.geteuid?.() ?? process.getuid?.();
}

/** Why somebody else could put something into a folder, which is free of symbolic links; undefined where nobody can. */
async function whyNotTrusted(folder: string): Promise<string | undefined> {
  const user = userId();
  if (user === undefined) return undefined;
  // The cache itself and `wasi-udp` are the user's; what is above may be the system's.
  const own = [folder, path.dirname(folder)];
  for (let at = folder; ; at = path.dirname(at)) {
    const reason = reasonAgainst(
      await lstat(at),
      at,
      own.includes(at) ? [user] : [user, 0],
      own.includes(at) ? 0 : STICKY,
    );
    if (reason !== undefined || at === path.dirname(at)) return reason;
  }
}

/** Why a folder is not trusted: another owner, or others may write; but for those with a bit of `exempt`. */
function reasonAgainst(
  { mode, uid }: { mode: number; uid: number },
  folder: string,
  owners: (number | undefined)[],
  exempt = 0,
): string | undefined {
  if (userId() === undefined) return undefined;
  if (!owners.includes(uid)) return `${folder} belongs to user ${uid}`;
  if ((mode & OTHERS_WRITE) !== 0 && (mode & exempt) === 0)
    return `${folder} may be written by others (mode ${(mode & 0o7777).toString(8)})`;
  return undefined;
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
