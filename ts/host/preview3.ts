/** What is used of `import * as preview3 from '@bytecodealliance/preview3-shim'`: its packages, each with its interfaces. */
export type Preview3 = Readonly<Record<'cli' | 'clocks' | 'filesystem' | 'http' | 'random' | 'sockets', object>>;

const PACKAGES = ['cli', 'clocks', 'filesystem', 'http', 'random', 'sockets'] as const;

/** The interfaces of the shim of 0.3 by their names in the WIT, without version, as jco asks for them. */
export function preview3Interfaces(shim: Preview3): Record<string, object> {
  const interfaces: Record<string, object> = {};
  for (const name of PACKAGES) {
    for (const [key, value] of Object.entries(shim[name])) {
      // Beside its interfaces a package exports classes, functions and constants.
      if (/^[a-z]/.test(key) && typeof value === 'object' && value !== null) {
        const kebab = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
        interfaces[`wasi:${name}/${kebab}`] = value;
      }
    }
  }
  return interfaces;
}

/** Both together: what the two have by the same name is the second's. */
export function merged(
  under: Record<string, object | undefined>,
  over: Record<string, object | undefined>,
): Record<string, object> {
  const names = new Set([...Object.keys(under), ...Object.keys(over)]);
  return Object.fromEntries(
    Array.from(names, (name) => {
      const [low, high] = [under[name], over[name]];
      return [name, low !== undefined && high !== undefined ? { ...low, ...high } : (high ?? low)!];
    }),
  );
}
