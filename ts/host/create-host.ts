import type { Pollable } from '../readiness/pollable.js';
import { type Allow, policyOf } from '../rules/policy.js';
import { coreForms } from './core/functions.js';
import { attachCoreForms, type CoreImports, type CoreImportsOptions, coreImports } from './core/imports.js';
import { dropOf, guestInterfaces } from './guest.js';
import { guestPoll, type MixedPoll } from './guest-poll.js';
import { GuestSockets } from './guest-sockets.js';
import { type Limits, limitsOf } from './limits.js';
import { monotonicClock } from './monotonic-clock.js';
import { type HostOutgoingDatagramStream, TableOutgoing } from './outgoing.js';
import { ResourceTable } from './resource-table.js';
import { wallClock } from './wall-clock.js';

export interface HostOptions {
  /** What the guest may do. Default: nothing. */
  allow?: Allow;
  /** Whether `block` and `poll` return promises, for jco's JSPI mode: the event loop is free while the guest waits. */
  async?: boolean;
  /** Whether runs of equal datagrams may leave as one UDP_SEGMENT message: see `openUdp`. */
  segmentation?: boolean;
  /** How much of the host the guest may use: see `Limits`, each of which has a generous default. */
  limits?: Limits;
  /** Puts an implementation of one's own around the host's outgoing streams, such as a `MeteredOutgoing`. */
  outgoing?: (outgoing: HostOutgoingDatagramStream, table: ResourceTable) => HostOutgoingDatagramStream;
}

/** The wasi:sockets/udp of one guest. Dropping it closes whatever the guest has left open. */
export interface UdpHost extends ReturnType<typeof guestInterfaces>, Disposable {
  readonly poll: ReturnType<typeof guestPoll>;
  readonly monotonicClock: ReturnType<typeof monotonicClock<object>>;
  readonly wallClock: ReturnType<typeof wallClock>;
  /** The outgoing streams by their handles: for a host that calls without jco. */
  readonly outgoingDatagramStream: HostOutgoingDatagramStream;
  /** The guest's resources. */
  readonly table: ResourceTable;
  /** Datagrams that were dropped because the guest may not hear their source. */
  readonly refused: number;
  /**
   * The same as core functions, for a core module with no component around it: handles are numbers of the guest's table,
   * lists are read and written where the guest has them. `WebAssembly.instantiate(module, host.coreImports(...))` runs it.
   */
  coreImports(options: CoreImportsOptions): CoreImports;
  /** All of it as an import object for jco's `instantiate`; spread it over the shim's. */
  imports(): Record<string, object>;
}

/** Makes the host of one guest: resources are its own, and nothing is allowed that `allow` does not name. */
export function createHost(options: HostOptions = {}): UdpHost {
  return assembleHost(options);
}

/** How a host's pollables get along with those of another host. */
export interface Neighbours {
  /** Makes the guest's object of a pollable, where the guest's `poll` is another host's; `drop` is to be called with its end. */
  readonly pollable?: (pollable: Pollable, drop: () => void) => object;
  /** Waits on both, where the guest's `poll` is ours. */
  readonly mixed?: MixedPoll;
}

/** As `createHost`, beside another host. */
export function assembleHost(options: HostOptions, neighbours: Neighbours = {}): UdpHost {
  const policy = policyOf(options.allow ?? []);
  const limits = limitsOf(options.limits);
  const table = new ResourceTable(limits.resources);
  const own = new TableOutgoing(table);
  const outgoing = options.outgoing?.(own, table) ?? own;
  const sockets = new GuestSockets({ policy, segmentation: options.segmentation }, limits.sockets);
  const context = { table, outgoing, sockets, limits };
  const drop = dropOf(context);
  const poll = guestPoll(context, options.async ?? false, neighbours.mixed);
  const pollable = (one: Pollable) => {
    const handle = table.push(one);
    return neighbours.pollable?.(one, () => drop(handle)) ?? new poll.Pollable(handle);
  };
  const interfaces = guestInterfaces({ ...context, pollable });
  const clock = monotonicClock(pollable);
  const wall = wallClock();
  const forms = coreForms(context, neighbours.mixed);
  const attach = (name: Exclude<keyof typeof forms, 'drops'>, to: object) =>
    attachCoreForms(table, drop, forms[name], to);
  attach('wasi:sockets/udp-create-socket', interfaces.udpCreateSocket);
  attach('wasi:sockets/instance-network', interfaces.instanceNetwork);
  attach('wasi:sockets/udp', interfaces.udp);
  attach('wasi:clocks/wall-clock', wall);
  // Another host's pollables are objects, which a core form never sees; but `poll` sees the numbers that they stand for.
  if (neighbours.pollable === undefined) {
    attach('subscribe', interfaces.udp);
    attach('wasi:clocks/monotonic-clock', clock);
    if (!options.async) attach('wasi:io/poll', poll);
    if (!options.async && neighbours.mixed === undefined) attach('pollable', poll);
  }
  return {
    ...interfaces,
    poll,
    monotonicClock: clock,
    wallClock: wall,
    outgoingDatagramStream: outgoing,
    table,
    get refused() {
      return policy?.refused ?? 0;
    },
    coreImports: (core) => coreImports(table, forms, core),
    imports: () => ({
      'wasi:sockets/udp': interfaces.udp,
      'wasi:sockets/udp-create-socket': interfaces.udpCreateSocket,
      'wasi:sockets/network': interfaces.network,
      'wasi:sockets/instance-network': interfaces.instanceNetwork,
      'wasi:io/poll': poll,
      'wasi:clocks/monotonic-clock': clock,
      'wasi:clocks/wall-clock': wall,
    }),
    [Symbol.dispose]() {
      try {
        for (const handle of table.handles()) drop(handle);
      } finally {
        table[Symbol.dispose]();
      }
    },
  };
}
