import type { Preview3 } from '../host/jco.js';
import { preceded } from '../host/preceded.js';
import type { GuestOutputs } from './guest-output.js';

/** What a guest may import of WASI 0.3 without the shim: sockets, but no TCP, and clocks. */
const WITHOUT_SHIM = /^wasi:(sockets\/types$|clocks\/)/;

/** Whether a guest that imports these interfaces of 0.3 needs the shim for some of them. */
export function needsShim(imports: readonly string[]): boolean {
  return imports.some((name) => !WITHOUT_SHIM.test(name));
}

/** An error result, as jco takes it: a thrown value with an own `payload`. */
class Denied extends Error {
  readonly payload: { tag: string };

  constructor(what: string, tag = 'access-denied') {
    super(`a component that is run may not ${what}`);
    this.payload = { tag };
  }
}

/** Hears what is denied, and what to do instead, if anything: see `Denials`. */
type Hear = (what: string, instead?: string) => void;

const TCP = 'use TCP';
const HTTP = 'make HTTP requests';
const lookUp = (name: unknown) => [`look up ${JSON.stringify(name)}`, 'give it an address'] as const;

/** `tcp-socket` of 0.3, of which there are none. */
function noTcp(hear: Hear): object {
  // biome-ignore lint/complexity/noStaticOnlyClass: jco takes a resource type for a class.
  return class TcpSocket {
    static create(): never {
      hear(TCP);
      throw new Denied(TCP);
    }
  };
}

/**
 * The shim of 0.3 for a guest that gets standard input and output, random numbers, and nothing else: no files, no TCP, no names,
 * no HTTP. Arguments and variables are those of the sandbox of 0.2, which has them by the same names.
 */
export function sandbox(shim: Preview3 | undefined, outputs: GuestOutputs, hear: Hear): Preview3 {
  const ipNameLookup = {
    async resolveAddresses(name: string): Promise<never> {
      hear(...lookUp(name));
      throw new Denied('look up names');
    },
  };
  const request = async (): Promise<never> => {
    hear(HTTP);
    throw new Denied(HTTP, 'HTTP-request-denied');
  };
  const sockets = { types: { TcpSocket: noTcp(hear) }, ipNameLookup };
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

/** Interfaces of the shim of 0.2 whose network is shut, by their names: each tells what it denies. */
export function shut(imports: Record<string, object>, hear: Hear): Record<string, object> {
  const {
    'wasi:sockets/tcp-create-socket': tcp,
    'wasi:sockets/ip-name-lookup': names,
    'wasi:http/outgoing-handler': http,
  } = imports as Record<string, Record<string, (...values: unknown[]) => unknown> | undefined>;
  return {
    ...(tcp && {
      'wasi:sockets/tcp-create-socket': { ...tcp, createTcpSocket: preceded(() => hear(TCP), tcp['createTcpSocket']!) },
    }),
    ...(names && {
      'wasi:sockets/ip-name-lookup': {
        ...names,
        resolveAddresses: (...values: unknown[]) => {
          hear(...lookUp(values.at(-1)));
          return names['resolveAddresses']!(...values);
        },
      },
    }),
    ...(http && {
      'wasi:http/outgoing-handler': {
        ...http,
        // The shim's own throws what is no error-code of the interface.
        handle: () => {
          hear(HTTP);
          throw new Denied(HTTP, 'HTTP-request-denied');
        },
      },
    }),
  };
}
