/**
 * The host of a component beside jco's shim, `@bytecodealliance/preview2-shim`, which is to be installed: UDP is ours, all else is the
 * shim's.
 *
 * @module wasi-udp/jco
 */

import '../dispose.js';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { poll as shimPoll } from '@bytecodealliance/preview2-shim/io';
import { network as shimNetwork } from '@bytecodealliance/preview2-shim/sockets';
import { Trap } from '../errors.js';
import { Pollable } from '../readiness/pollable.js';
import { WriteBehind } from '../socket/write-behind.js';
import { attentiveShims } from './attentive-shims.js';
import { assembleHost, type HostOptions, type UdpHost } from './create-host.js';
import { merged, type Preview3, preview3Interfaces } from './preview3.js';
import { shimPollable } from './shim-pollable.js';

export type { Denial } from '../rules/policy.js';
export type { Way } from './core/ways.js';
export type { HostOptions, UdpHost } from './create-host.js';
export type { Limits } from './limits.js';
export type { Preview3 } from './preview3.js';

/** What `new WASIShim({ udpSockets })` takes, by the shim's own types. */
type UdpSockets = NonNullable<NonNullable<ConstructorParameters<typeof WASIShim>[0]>['udpSockets']>;

/** The host of one guest, for `new WASIShim({ udpSockets })`. */
export type ShimUdpSockets = UdpHost & UdpSockets;

/**
 * wasi:sockets/udp for `new WASIShim({ udpSockets: udpSockets({ allow }) })` of preview2-shim: all else stays the shim's, and
 * its `poll.poll` waits on ours beside its clocks, stdin and TCP. One call for each guest; drop what it returns with the guest.
 *
 * With `writeBehind`, small sends wait only while the guest holds no pollable of its sockets, since the shim's `poll.poll` does not
 * tell that it is called. Nor do its clocks and streams: a guest that sleeps after a `send` delays it. `createHost` hears of them.
 *
 * @param options see `HostOptions`; by default the guest may do nothing.
 * @returns the interfaces that the shim takes, and the host's own.
 * @throws TypeError for a rule or a limit that is none, RangeError for a limit out of its range.
 * @example new WASIShim({ udpSockets: udpSockets({ allow: [{ bind: '0.0.0.0:0' }, { send: '192.0.2.0/24:7' }] }) });
 */
export function udpSockets(options: HostOptions = {}): ShimUdpSockets {
  // The shim's types have classes without constructors: components get their objects from functions alone.
  return assembleHost(options, { pollable: shimPollable, network: checkNetwork }) as ShimUdpSockets;
}

/**
 * Traps where the network that a guest gives is of another copy of preview2-shim: that copy would refuse our pollables, by the words
 * `Not a valid "Pollable" resource`, which tell nobody why.
 */
function checkNetwork(network: unknown): void {
  const { constructor: type, noop } = (network ?? {}) as { constructor?: { name: string }; noop?: unknown };
  const isShims = type?.name === 'Network' && noop !== undefined;
  if (isShims && !(network instanceof shimNetwork.Network)) throw twoCopies();
}

function twoCopies(): Trap {
  return new Trap(
    "two copies of @bytecodealliance/preview2-shim are in use, the guest's and that of wasi-udp/jco, and neither knows the " +
      "other's pollables: have one for both. npm ls @bytecodealliance/preview2-shim shows them; a linked clone brings its own",
  );
}

/** The interface of arguments and variables. */
const ENVIRONMENT = 'wasi:cli/environment';

/** As the options of a host without the shim, and what serves all that is not UDP. */
export interface ShimHostOptions extends HostOptions {
  /** The shim for everything else. Default: `new WASIShim()`, which gives the guest what this process has. */
  shim?: { getImportObject(): object };
  /**
   * The shim of WASI 0.3, for components that import more of 0.3 than UDP and clocks:
   * `import * as preview3 from '@bytecodealliance/preview3-shim'`. Arguments and variables stay those of `shim`. Default: none.
   */
  preview3?: Preview3;
}

/** The host of one guest with everything that a component imports. */
export interface ShimHost extends UdpHost {
  /**
   * Everything as an import object for jco's `instantiate`.
   *
   * @param preferred whose functions are given where 0.2 and 0.3 have different ones by one name, as `wasi:filesystem/types` and
   *   `wasi:sockets/ip-name-lookup` do: those of the version that the component imports. Default: '0.2'.
   * @returns an object by interface, without versions.
   */
  imports(preferred?: '0.2' | '0.3'): Record<string, object>;
}

/**
 * The host of one guest, as of `wasi-udp`, with everything that a component imports: `imports()` is the shim's, but for UDP,
 * clocks and `poll.poll`, which are ours. A guest that waits on sockets and clocks involves no worker; one that waits on the
 * shim's stdin or TCP beside them waits on all of them together.
 *
 * @param given see `ShimHostOptions`; by default the guest may do nothing with UDP, and has of the shim what this process has.
 * @returns the host. Drop it with the guest.
 * @throws TypeError for a rule or a limit that is none, RangeError for a limit out of its range.
 * @example
 * const host = createHost({ allow: [{ send: '192.0.2.0/24:7' }], shim: new WASIShim({ sandbox: { preopens: {} } }) });
 * const component = await instantiate(getCoreModule, host.imports());
 */
export function createHost(given: ShimHostOptions = {}): ShimHost {
  const { shim = new WASIShim(), preview3, ...options } = given;
  const behind = options.writeBehind ? new WriteBehind() : undefined;
  const host = assembleHost(options, { mixed, behind });
  return {
    ...host,
    get refused() {
      return host.refused;
    },
    imports(preferred = '0.2') {
      const old = shim.getImportObject() as Record<string, object>;
      const recent = preview3 === undefined ? {} : preview3Interfaces(preview3);
      const given = preferred === '0.3' ? merged(old, recent) : merged(recent, old);
      // Both versions have them by the same names, and only the shim of 0.2 has a sandbox of them.
      given[ENVIRONMENT] = { ...recent[ENVIRONMENT], ...old[ENVIRONMENT] };
      const shims = behind === undefined ? given : attentiveShims(behind, given);
      // The shim's TCP knows its own networks only.
      const { 'wasi:sockets/network': network, 'wasi:sockets/instance-network': instance } = shims;
      return {
        ...merged(shims, host.imports()),
        'wasi:sockets/udp': host.udp,
        'wasi:io/poll': host.poll,
        'wasi:sockets/network': network!,
        'wasi:sockets/instance-network': instance!,
      };
    },
  };
}

/** Waits on pollables of ours and the shim's together, in the shim. */
function mixed(list: readonly object[]): Uint32Array {
  const twins: Disposable[] = [];
  try {
    const shims = list.map((pollable) => {
      if (!(pollable instanceof Pollable)) {
        // What comes from a guest's memory is a plain object with the number alone.
        const isShims = Object.getPrototypeOf(pollable)?.constructor?.name === 'Pollable';
        if (isShims && !(pollable instanceof shimPoll.Pollable)) throw twoCopies();
        return pollable;
      }
      const twin = shimPollable(pollable);
      twins.push(twin);
      return twin;
    });
    return shimPoll.poll(shims as never);
  } finally {
    for (const twin of twins) twin[Symbol.dispose]();
  }
}
