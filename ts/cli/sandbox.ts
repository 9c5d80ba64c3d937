import type { Preview3 } from '../host/jco.js';
import type { GuestOutputs } from './guest-output.js';

/** What a guest may import of WASI 0.3 without the shim: sockets, but no TCP, and clocks. */
const WITHOUT_SHIM = /^wasi:(sockets\/types$|clocks\/)/;

/** Whether a guest that imports these interfaces of 0.3 needs the shim for some of them. */
export function needsShim(imports: readonly string[]): boolean {
  return imports.some((name) => !WITHOUT_SHIM.test(name));
}

/** An error result of WASI 0.3, as jco takes it: a thrown value with an own `payload`. */
class Denied extends Error {
  readonly payload: { tag: string };

  constructor(what: string, tag = 'access-denied') {
    super(`a component that is run may not ${what}`);
    this.payload = { tag };
  }
}

/** `tcp-socket` of 0.3, of which there are none. */
// biome-ignore lint/complexity/noStaticOnlyClass: jco takes a resource type for a class.
class TcpSocket {
  static create(): never {
    throw new Denied('use TCP');
  }
}

const names = {
  async resolveAddresses(): Promise<never> {
    throw new Denied('look up names');
  },
};

async function request(): Promise<never> {
  throw new Denied('make HTTP requests', 'HTTP-request-denied');
}

/**
 * The shim of 0.3 for a guest that gets standard input and output, random numbers, and nothing else: no files, no TCP, no names,
 * no HTTP. Arguments and variables are those of the sandbox of 0.2, which has them by the same names.
 */
export function sandbox(shim: Preview3 | undefined, outputs: GuestOutputs): Preview3 {
  const sockets = { types: { TcpSocket }, ipNameLookup: names };
  if (shim === undefined) return { cli: {}, clocks: {}, filesystem: {}, http: {}, random: {}, sockets };
  return {
    cli: {
      ...shim.cli,
      environment: { getInitialCwd: () => undefined },
      stdout: outputs.of(process.stdout),
      stderr: outputs.of(process.stderr),
    },
    clocks: shim.clocks,
    filesystem: { ...shim.filesystem, preopens: { getDirectories: () => [] } },
    http: { ...shim.http, client: { send: request }, handler: { handle: request } },
    random: shim.random,
    sockets,
  };
}
