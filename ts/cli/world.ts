/** What a component imports, and what it has to do with WASI 0.3. */
export interface World {
  /** The interfaces that it imports, of every version, by name without version. */
  readonly imports: readonly string[];
  /** Whether it imports or exports anything of 0.3. */
  readonly isAsync: boolean;
  /** The interfaces of 0.3 that it imports, by name without version, such as `wasi:cli/stdout`. */
  readonly asyncImports: readonly string[];
}

/** Reads a component's world in WIT, as jco's `componentWit` prints it: an import or export a line, with its version. */
export function worldOf(wit: string): World {
  const lines = Array.from(wit.matchAll(/^ *(import|export) (wasi:[^@;]+)@0\.3\.[^;]*;/gm));
  return {
    imports: Array.from(wit.matchAll(/^ *import ([\w-]+:[^@;{ ]+)(?:@[^;]*)?;/gm), ([, name]) => name!),
    isAsync: lines.length > 0,
    asyncImports: lines.filter(([, kind]) => kind === 'import').map(([, , name]) => name!),
  };
}
