import type { Pollable } from '../pollable.js';
import { guestInterfaces } from './guest.js';
import { guestPoll, type MixedPoll } from './guest-poll.js';
import { monotonicClock } from './monotonic-clock.js';
import { type HostOutgoingDatagramStream, TableOutgoing } from './outgoing.js';
import { type Allow, policyOf } from './policy.js';
import { ResourceTable } from './resource-table.js';

export interface HostOptions {
  /** What the guest may do. Default: nothing. */
  allow?: Allow;
  /** Whether `block` and `poll` return promises, for jco's JSPI mode: the event loop is free while the guest waits. */
  async?: boolean;
  /** Whether runs of equal datagrams may leave as one UDP_SEGMENT message: see `openUdp`. */
  segmentation?: boolean;
  /** Puts an implementation of one's own around the host's outgoing streams, such as a `MeteredOutgoing`. */
  outgoing?: (outgoing: HostOutgoingDatagramStream, table: ResourceTable) => HostOutgoingDatagramStream;
}

/** The wasi:sockets/udp of one guest. Dropping it closes whatever the guest has left open. */
export interface UdpHost extends ReturnType<typeof guestInterfaces>, Disposable {
  readonly poll: ReturnType<typeof guestPoll>;
  readonly monotonicClock: ReturnType<typeof monotonicClock>;
  /** The outgoing streams by their handles: for a host that calls without jco. */
  readonly outgoingDatagramStream: HostOutgoingDatagramStream;
  /** The guest's resources. */
  readonly table: ResourceTable;
  /** Datagrams that were dropped because the guest may not hear their source. */
  readonly refused: number;
  /** All of it as an import object for jco's `instantiate`; spread it over the shim's. */
  imports(): Record<string, object>;
}

/** Makes the host of one guest: resources are its own, and nothing is allowed that `allow` does not name. */
export function createHost(options: HostOptions = {}): UdpHost {
  return assembleHost(options);
}

/** How a host's pollables get along with those of another host. */
export interface Neighbours {
  /** Makes the guest's object of a pollable, where the guest's `poll` is another host's. It owns ours. */
  readonly pollable?: (pollable: Pollable) => object;
  /** Waits on both, where the guest's `poll` is ours. */
  readonly mixed?: MixedPoll;
}

/** As `createHost`, beside another host. */
export function assembleHost(options: HostOptions, neighbours: Neighbours = {}): UdpHost {
  const policy = policyOf(options.allow ?? []);
  const table = new ResourceTable();
  const own = new TableOutgoing(table);
  const outgoing = options.outgoing?.(own, table) ?? own;
  const sockets = { policy, segmentation: options.segmentation };
  const poll = guestPoll({ table, outgoing }, options.async ?? false, neighbours.mixed);
  const { pollable = (one: Pollable) => new poll.Pollable(table.push(one)) } = neighbours;
  const interfaces = guestInterfaces({ table, outgoing, sockets, pollable });
  const clock = monotonicClock(pollable);
  return {
    ...interfaces,
    poll,
    monotonicClock: clock,
    outgoingDatagramStream: outgoing,
    table,
    get refused() {
      return policy?.refused ?? 0;
    },
    imports: () => ({
      'wasi:sockets/udp': interfaces.udp,
      'wasi:sockets/udp-create-socket': interfaces.udpCreateSocket,
      'wasi:sockets/network': interfaces.network,
      'wasi:sockets/instance-network': interfaces.instanceNetwork,
      'wasi:io/poll': poll,
      'wasi:clocks/monotonic-clock': clock,
    }),
    [Symbol.dispose]: () => table[Symbol.dispose](),
  };
}
