import type { Pollable } from '../readiness/pollable.js';
import { checkNames } from '../rules/names.js';
import { type Allow, type Denial, policyOf } from '../rules/policy.js';
import { WriteBehind } from '../socket/write-behind.js';
import { asyncInterfaces, Crossings } from './async-guest.js';
import { attend, attentive } from './attention.js';
import { asyncSocketForms } from './core/async-functions.js';
import type { FastHost } from './core/fast-instance.js';
import { coreForms } from './core/functions.js';
import type { JcoHandles } from './core/handles.js';
import { attachCoreForms, type CoreImports, type CoreImportsOptions, callAsync, coreImports } from './core/imports.js';
import { instantiateCore } from './core/instantiate.js';
import type { LinearMemory } from './core/memory.js';
import type { CoreInstance, Imports, Way } from './core/ways.js';
import { dropOf, guestInterfaces } from './guest.js';
import { blockingPoll, guestPoll, type MixedPoll } from './guest-poll.js';
import { GuestSockets } from './guest-sockets.js';
import { type Limits, limitsOf } from './limits.js';
import { asyncMonotonicClock, monotonicClock } from './monotonic-clock.js';
import { type HostOutgoingDatagramStream, TableOutgoing } from './outgoing.js';
import { ResourceTable } from './resource-table.js';
import { systemClock, wallClock } from './wall-clock.js';

/** What a guest may do, how much of the host it may use, and how it is served. */
export interface HostOptions {
  /** What the guest may do. Default: nothing. */
  allow?: Allow;
  /**
   * Hears of what `allow` denies, when it does: of the same address once, as long as the host remembers it. It is called in the
   * middle of the guest's call, which traps with what it throws.
   */
  onDenied?: (denial: Denial) => void;
  /** Whether `block` and `poll` return promises, for jco's JSPI mode: the event loop is free while the guest waits. */
  async?: boolean;
  /** Whether runs of equal datagrams may leave as one UDP_SEGMENT message: see `openUdp`. */
  segmentation?: boolean;
  /**
   * Whether small sends of the guest wait for each other, and leave as one batch. Default: false, each `send` is a system call.
   *
   * A `send` of up to 32 datagrams is checked as ever, its bytes are copied, and it counts as sent. What waits leaves when it is a
   * full batch (1024 datagrams, or 1.5 MiB); before the guest waits for, or calls, anything but `check-send`, `send` and clocks;
   * at the next `send` or look at a clock once the oldest has waited 1 ms; and at the end of the turn of the event loop in which
   * the guest's call returns. A guest that computes after a `send` delays it as long. The next `check-send` tells the first error
   * that the system had for what waited, once; it costs the datagram that it is about, and no other.
   */
  writeBehind?: boolean;
  /** How much of the host the guest may use: see `Limits`, each of which has a generous default. */
  limits?: Limits;
  /**
   * Puts an implementation of one's own around the host's outgoing streams, such as a `MeteredOutgoing`. There are none in 0.3, whose
   * sockets such a host does not open.
   */
  outgoing?: (outgoing: HostOutgoingDatagramStream, table: ResourceTable) => HostOutgoingDatagramStream;
}

/** The wasi:sockets of one guest, as far as UDP goes, of 0.2 and of 0.3. Dropping it closes whatever the guest has left open. */
export interface UdpHost extends ReturnType<typeof guestInterfaces>, Disposable {
  /** wasi:sockets/types of 0.3. */
  readonly types: ReturnType<typeof asyncInterfaces>;
  /** wasi:io/poll of 0.2. */
  readonly poll: ReturnType<typeof guestPoll>;
  /** wasi:clocks/monotonic-clock of 0.2: nanoseconds of a clock that never goes back. */
  readonly monotonicClock: ReturnType<typeof monotonicClock<object>>;
  /** wasi:clocks/wall-clock of 0.2: seconds since 1970, and nanoseconds. */
  readonly wallClock: ReturnType<typeof wallClock>;
  /** The outgoing streams by their handles: for a host that calls without jco. */
  readonly outgoingDatagramStream: HostOutgoingDatagramStream;
  /** The guest's resources. */
  readonly table: ResourceTable;
  /** Datagrams that were dropped because the guest may not hear their source. */
  readonly refused: number;
  /**
   * The same as core functions, for a core module with no component around it: handles are numbers of the guest's table, lists are
   * read and written where the guest has them. `WebAssembly.instantiate(module, host.coreImports(...))` runs it.
   *
   * @param options the guest's memory and its `realloc`, which are there only once it is instantiated.
   * @returns an import object: by interface, by name.
   */
  coreImports(options: CoreImportsOptions): CoreImports;
  /**
   * Calls an async-lifted export of a core module of 0.3, with its callback, to its end. What it returns, it gives to the function
   * that it imports as `[task-return]`, which is the caller's to add to the imports.
   *
   * @param imports what `coreImports` gave for the module.
   * @param exports those of its instance.
   * @param name the export's own, such as `wasi:cli/run@0.3.0#run`.
   * @param values its flat arguments.
   * @throws (rejects with) Trap where the guest traps.
   */
  callAsync(imports: CoreImports, exports: Record<string, unknown>, name: string, ...values: unknown[]): Promise<void>;
  /**
   * The third argument of the `instantiate` that jco makes of a component of 0.3: its sends and receives are then served in its own
   * memory, those in flight leave as one batch, and it is woken by the event loop. Where that cannot be done, jco's own way is
   * taken; `ways` says which, and why.
   *
   * @param module a core module of the component.
   * @param imports what jco gives it.
   * @returns the instance, as jco takes it.
   */
  instantiateCore(module: object, imports?: Imports): CoreInstance;
  /** How each core module of 0.3 was served, in the order of their instantiation. */
  readonly ways: readonly Way[];
  /** Resolves when what the guest's sends have left behind (`writeBehind`) is sent or refused. */
  flush(): Promise<void>;
  /**
   * All of it as an import object for jco's `instantiate`; spread it over the shim's.
   *
   * @returns an object by interface, without versions.
   */
  imports(): Record<string, object>;
}

const OPTIONS = ['allow', 'onDenied', 'async', 'segmentation', 'writeBehind', 'limits', 'outgoing'];

/**
 * Makes the host of one guest: resources are its own, and nothing is allowed that `allow` does not name.
 *
 * @param options see `HostOptions`; by default the guest may do nothing.
 * @returns the host. Drop it with the guest: that closes what the guest has left open.
 * @throws TypeError for a rule or a limit that is none, RangeError for a limit out of its range.
 * @example
 * const host = createHost({ allow: [{ bind: '0.0.0.0:0' }, { send: '192.0.2.0/24:514' }] });
 * const component = await instantiate(getCoreModule, { ...shim.getImportObject(), ...host.imports() });
 */
export function createHost(options: HostOptions = {}): UdpHost {
  return assembleHost(options);
}

/** How a host's pollables get along with those of another host. */
export interface Neighbours {
  /** Makes the guest's object of a pollable, where the guest's `poll` is another host's; `drop` is to be called with its end. */
  readonly pollable?: (pollable: Pollable, drop: () => void) => object;
  /** Waits on both, where the guest's `poll` is ours. */
  readonly mixed?: MixedPoll;
  /** Hears of the network of each `start-bind`, where jco lifts it: throws where it is not the neighbour's. */
  readonly network?: (network: unknown) => void;
  /** Where small sends wait, for a neighbour whose calls have them leave. Default: one of the host's own. */
  readonly behind?: WriteBehind | undefined;
}

/** As `createHost`, beside another host. */
export function assembleHost(options: HostOptions, neighbours: Neighbours = {}): UdpHost {
  checkNames('a host', options, OPTIONS);
  const policy = policyOf(options.allow ?? [], options.onDenied);
  const limits = limitsOf(options.limits);
  const table = new ResourceTable(limits.resources);
  const own = new TableOutgoing(table);
  const outgoing = options.outgoing?.(own, table) ?? own;
  const behind = neighbours.behind ?? (options.writeBehind ? new WriteBehind() : undefined);
  const { segmentation } = options;
  const sockets = new GuestSockets(
    { policy, segmentation, writeBehind: behind },
    limits.sockets,
    options.outgoing !== undefined,
  );
  const context = { table, outgoing, sockets, limits, behind };
  const drop = dropOf(context);
  const blocking = blockingPoll(behind, neighbours.mixed);
  const poll = guestPoll(context, options.async ?? false, blocking);
  const pollable = (one: Pollable) => {
    const handle = table.push(one);
    if (neighbours.pollable === undefined) return new poll.Pollable(handle);
    // The guest waits on it by calls that are not heard here.
    if (behind !== undefined) behind.unheard += 1;
    return neighbours.pollable(one, () => {
      if (behind !== undefined && table.has(handle)) behind.unheard -= 1;
      drop(handle);
    });
  };
  const interfaces = guestInterfaces({ ...context, pollable, network: neighbours.network });
  const crossings = new Crossings();
  const types = asyncInterfaces(context, crossings);
  const clock = monotonicClock(pollable);
  const wall = wallClock();
  const asyncClock = asyncMonotonicClock(() => behind?.leave());
  const forms = coreForms(context, blocking, neighbours.mixed !== undefined);
  const asyncForms = asyncSocketForms(context);
  if (behind !== undefined) {
    const { subscribe } = forms;
    attend(behind, interfaces.udpCreateSocket, forms['wasi:sockets/udp-create-socket']);
    attend(behind, interfaces.instanceNetwork, forms['wasi:sockets/instance-network']);
    attend(behind, interfaces.udp, { ...forms['wasi:sockets/udp'], ...subscribe });
    attend(behind, clock, forms['wasi:clocks/monotonic-clock']);
    attend(behind, wall, forms['wasi:clocks/wall-clock']);
    attend(behind, types, { ...asyncForms, '[method]udp-socket.receive': undefined });
    const { drops: _, ...groups } = forms;
    for (const [group, own] of Object.entries(groups)) Object.assign(forms, { [group]: attentive(behind, own) });
    Object.assign(asyncForms, attentive(behind, asyncForms));
  }
  const attach = (name: Exclude<keyof typeof forms, 'drops'>, to: object) =>
    attachCoreForms(table, drop, forms[name], to);
  attach('wasi:sockets/udp-create-socket', interfaces.udpCreateSocket);
  attach('wasi:sockets/instance-network', interfaces.instanceNetwork);
  attach('wasi:sockets/udp', interfaces.udp);
  attach('wasi:clocks/wall-clock', wall);
  const seen = new WeakMap<LinearMemory, JcoHandles>();
  attachCoreForms(table, drop, asyncForms, types, seen);
  const ways: Way[] = [];
  const fast: FastHost = {
    handlesOf: (memory) => seen.get(memory),
    created: () => crossings.takeCreated(),
    isPlain: () => crossings.isPlain,
    mix: () => {
      crossings.isPlain = false;
    },
    ring: (socket, promise) => crossings.bells.set(socket, promise),
    hideNext: () => {
      table.widen();
      sockets.hideNext();
    },
    beforeWait: () => behind?.leave(),
    note: (way) => ways.push(way),
  };
  // Another host's pollables are objects, which a core form never sees; but `poll` sees the numbers that they stand for.
  if (neighbours.pollable === undefined) {
    attach('subscribe', interfaces.udp);
    attach('wasi:clocks/monotonic-clock', clock);
    if (!options.async) attach('wasi:io/poll', poll);
    if (!options.async && neighbours.mixed === undefined) attach('pollable', poll);
  }
  return {
    ...interfaces,
    types,
    poll,
    monotonicClock: clock,
    wallClock: wall,
    outgoingDatagramStream: outgoing,
    table,
    get refused() {
      return policy?.refused ?? 0;
    },
    coreImports: (core) =>
      coreImports(table, forms, { forms: asyncForms, drop, beforeWait: () => behind?.leave() }, core),
    callAsync: (imports, exports, name, ...values) => callAsync(imports, exports, name, values),
    instantiateCore: (module, imports) => instantiateCore(fast, module, imports),
    ways,
    flush: async () => behind?.flush(),
    imports: () => ({
      'wasi:sockets/udp': interfaces.udp,
      'wasi:sockets/udp-create-socket': interfaces.udpCreateSocket,
      'wasi:sockets/network': interfaces.network,
      'wasi:sockets/instance-network': interfaces.instanceNetwork,
      'wasi:sockets/types': types,
      'wasi:io/poll': poll,
      'wasi:clocks/monotonic-clock': { ...clock, ...asyncClock },
      'wasi:clocks/wall-clock': wall,
      'wasi:clocks/system-clock': systemClock(wall),
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
