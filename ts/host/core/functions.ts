import { IncomingBatch } from '../../batch/incoming-batch.js';
import { ERROR_CODES, SocketError, Trap } from '../../errors.js';
import { Pollable } from '../../readiness/pollable.js';
import type { IpSocketAddress } from '../../rules/address.js';
import { encodeAddress } from '../../rules/address.js';
import { Permit } from '../../rules/permit.js';
import { IncomingDatagramStream } from '../../socket/incoming-datagram-stream.js';
import { OutgoingDatagramStream } from '../../socket/outgoing-datagram-stream.js';
import { UdpSocket } from '../../socket/udp-socket.js';
import { Distinct } from '../distinct.js';
import { cabiRep, type GuestContext } from '../guest.js';
import type { BlockingPoll } from '../guest-poll.js';
import { checkPollList } from '../limits.js';
import { monotonicClock } from '../monotonic-clock.js';
import { Network } from '../network.js';
import { TableOutgoing } from '../outgoing.js';
import type { Resource } from '../resource-table.js';
import { type Datetime, wallClock } from '../wall-clock.js';
import {
  ADDRESS_BYTES,
  FLAT_ADDRESS,
  liftFamily,
  liftFlatAddress,
  lowerFamily,
  writeAddress,
} from './address-layout.js';
import { lowerBatch, OutgoingList } from './datagram-lists.js';
import type { CoreFunction } from './glue.js';
import type { Handles, Type } from './handles.js';
import type { GuestMemory } from './memory.js';

/** Calls to receive within each other that are served, each of which takes a batch of 4 MB; the ABI would have none. */
const MOST_RECEIVES = 4;

/** What a core function works with: one of each a component instance and function. */
export interface Abi {
  readonly memory: GuestMemory;
  readonly handles: Handles;
}

/** The core form of a function, made for an instance; and the type of its handle table, where it has a single one. */
export interface CoreForm {
  readonly only?: Type<Disposable>;
  readonly lower: (abi: Abi) => CoreFunction;
}

/**
 * The core forms of the UDP interfaces and of poll, by their names in the WIT: they read and write the guest's memory, and
 * leave the rules to the very resources that the ordinary forms use.
 */
export function coreForms(context: Omit<GuestContext, 'pollable'>, blocking: BlockingPoll, isMixed: boolean) {
  const { table, outgoing, sockets, limits, behind } = context;

  /** Writes `result<T, error-code>` of so many bytes: `ok` writes T at `pointer + at`. Nothing is done where it has no room. */
  function result(memory: GuestMemory, pointer: number, size: number, at: number, ok: (value: number) => void): void {
    const area = memory.look().area(pointer, size, at);
    try {
      ok(area + at);
      memory.bytes[area] = 0;
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      memory.look().bytes[area] = 1;
      memory.bytes[area + at] = ERROR_CODES.indexOf(error.payload);
    }
  }

  /** A method that takes a resource and maybe one value, and returns `result<_, error-code>`. */
  const setter = <T extends Disposable, V = never>(type: Type<T>, act: (self: T, value: V) => void): CoreForm => ({
    only: type,
    lower:
      ({ memory, handles }) =>
      (...values: unknown[]) => {
        const self = handles.get(values[0] as number, type);
        result(memory, values.at(-1) as number, 2, 1, () => act(self, values[1] as V));
      },
  });

  /** A method of a socket that returns `result<T, error-code>`, of so many bytes: `write` writes T, aligned as it is, at its pointer. */
  const getter =
    <T>(size: number, alignment: number, write: (memory: GuestMemory, at: number, value: T) => void) =>
    (get: (self: UdpSocket) => T): CoreForm => ({
      only: UdpSocket,
      lower:
        ({ memory, handles }) =>
        (handle: number, pointer: number) => {
          const self = handles.get(handle, UdpSocket);
          result(memory, pointer, size, alignment, (at) => write(memory, at, get(self)));
        },
    });
  const byteGetter = getter<number>(2, 1, (memory, at, value) => {
    memory.bytes[at] = value;
  });
  const u64Getter = getter<bigint>(16, 8, (memory, at, value) => memory.setU64(at, value));
  const addressGetter = getter<IpSocketAddress>(4 + ADDRESS_BYTES, 4, (memory, at, value) =>
    writeAddress(encodeAddress(value), 0, memory, at),
  );

  const subscribe = <T extends Disposable & { subscribe(): Pollable }>(type: Type<T>): CoreForm => ({
    lower:
      ({ handles }) =>
      (handle: number) =>
        handles.own(handles.get(handle, type).subscribe(), Pollable),
  });

  const createUdpSocket: CoreForm = {
    only: UdpSocket,
    lower:
      ({ memory, handles }) =>
      (family: number, pointer: number) => {
        const name = liftFamily(family);
        result(memory, pointer, 8, 4, (at) => {
          table.demand(1);
          memory.words[at >>> 2] = handles.own(sockets.open(name), UdpSocket);
        });
      },
  };

  const startBind: CoreForm = {
    lower:
      ({ memory, handles }) =>
      (handle: number, network: number, ...rest: number[]) => {
        const self = handles.get(handle, UdpSocket);
        handles.live(network, Network);
        const address = liftFlatAddress(rest, 0);
        result(memory, rest[FLAT_ADDRESS]!, 2, 1, () => self.startBind(address));
      },
  };

  const stream: CoreForm = {
    lower:
      ({ memory, handles }) =>
      (handle: number, isSome: number, ...rest: number[]) => {
        const self = handles.get(handle, UdpSocket);
        if (isSome >>> 0 > 1) throw new Trap(`an option is case 0 or 1, the guest gave ${isSome}`);
        const remote = isSome === 1 ? liftFlatAddress(rest, 0) : undefined;
        result(memory, rest[FLAT_ADDRESS]!, 12, 4, (at) => {
          table.demand(2);
          const [incoming, outgoingStream] = self.stream(remote);
          memory.words[at >>> 2] = handles.own(incoming, IncomingDatagramStream);
          memory.words[(at >>> 2) + 1] = handles.own(outgoingStream, OutgoingDatagramStream);
        });
      },
  };

  /** Calls to receive that are going on: the guest's allocator may receive, too. */
  let receives = 0;
  const receive: CoreForm = {
    only: IncomingDatagramStream,
    lower: ({ memory, handles }) => {
      // Its own: the guest's allocator runs while the batch is passed on.
      let spare: IncomingBatch | undefined;
      return (handle: number, max: bigint, pointer: number) => {
        const self = handles.get(handle, IncomingDatagramStream);
        if (receives === MOST_RECEIVES) {
          throw new Trap(
            `cabi_realloc of the guest may not call imports, got ${MOST_RECEIVES} calls to receive within each other: ` +
              'only allocate there',
          );
        }
        const batch = spare ?? new IncomingBatch();
        spare = undefined;
        receives += 1;
        try {
          result(memory, pointer, 12, 4, (at) => {
            self.receiveInto(batch, BigInt.asUintN(64, max));
            const list = lowerBatch(batch, memory);
            memory.words[at >>> 2] = list;
            memory.words[(at >>> 2) + 1] = batch.count;
          });
        } finally {
          receives -= 1;
          spare = batch;
        }
      };
    },
  };

  // A host of one's own around the streams takes objects, of which no more are made than it permits; the table's streams
  // read the list where it lies.
  const isDirect = outgoing instanceof TableOutgoing;
  const permits = new WeakMap<OutgoingDatagramStream, Permit>();
  function permitOf(stream: OutgoingDatagramStream): Permit {
    const permit = permits.get(stream) ?? new Permit();
    permits.set(stream, permit);
    return permit;
  }

  const checkSend: CoreForm = {
    only: OutgoingDatagramStream,
    lower:
      ({ memory, handles }) =>
      (handle: number, pointer: number) => {
        const stream = handles.get(handle, OutgoingDatagramStream);
        result(memory, pointer, 16, 8, (at) =>
          memory.setU64(
            at,
            isDirect ? stream.checkSend() : checkOf(stream, handles.handle(handle, OutgoingDatagramStream)),
          ),
        );
      },
  };

  function checkOf(stream: OutgoingDatagramStream, self: Resource<OutgoingDatagramStream>): bigint {
    const permit = permitOf(stream);
    permit.revoke();
    const granted = outgoing.checkSend(self);
    permit.grant(Number(granted));
    return granted;
  }

  const send: CoreForm = {
    only: OutgoingDatagramStream,
    lower: ({ memory, handles }) => {
      const list = new OutgoingList(memory);
      return (handle: number, datagrams: number, length: number, pointer: number) => {
        const stream = handles.get(handle, OutgoingDatagramStream);
        result(memory, pointer, 16, 8, (at) => {
          list.at(datagrams, length);
          memory.setU64(
            at,
            isDirect ? stream.sendInPlace(list) : sendOf(stream, handles.handle(handle, OutgoingDatagramStream), list),
          );
        });
      };
    },
  };

  function sendOf(stream: OutgoingDatagramStream, self: Resource<OutgoingDatagramStream>, list: OutgoingList): bigint {
    if (list.length > 0) permitOf(stream).use('send', list.length);
    return outgoing.send(self, list.objects());
  }

  const outgoingSubscribe: CoreForm = {
    lower:
      ({ handles }) =>
      (handle: number) => {
        const pollable = outgoing.subscribe(handles.handle(handle, OutgoingDatagramStream));
        return handles.own(table.take(pollable, Pollable), Pollable);
      },
  };

  /** The pollable of a number; of another host's an object with its number, which is what that host's `poll` asks for. */
  function pollableOf(handles: Handles, number: number): object {
    if (isMixed) {
      const rep = handles.rep(number);
      if (!table.has(rep)) return { [cabiRep]: rep };
    }
    return handles.get(number, Pollable);
  }

  const pollList: CoreForm = {
    only: Pollable,
    lower:
      ({ memory, handles }) =>
      (list: number, length: number, pointer: number) => {
        const count = length >>> 0;
        const area = memory.look().area(pointer, 8, 4);
        const first = memory.area(list, count * 4, 4) >>> 2;
        checkPollList(count, limits);
        const distinct = new Distinct(memory.words.subarray(first, first + count));
        const ready = distinct.entries(blocking(distinct.values.map((number) => pollableOf(handles, number))));
        const block = memory.allocate(ready.length * 4, 4);
        memory.words.set(ready, block >>> 2);
        memory.words[area >>> 2] = block;
        memory.words[(area >>> 2) + 1] = ready.length;
      },
  };

  const ofPollable = (act: (self: Pollable) => unknown): CoreForm => ({
    only: Pollable,
    lower:
      ({ handles }) =>
      (handle: number) =>
        act(handles.get(handle, Pollable)),
  });

  const clock = (
    pick: (clock: ReturnType<typeof monotonicClock<number>>) => (value: bigint) => number | bigint,
  ): CoreForm => ({
    only: Pollable,
    lower: ({ handles }) => {
      const act = pick(monotonicClock((pollable) => handles.own(pollable, Pollable)));
      return (value: bigint) => act(BigInt.asUintN(64, value));
    },
  });

  /** A function that returns a `datetime`: 16 bytes. */
  const time = (get: () => Datetime): CoreForm => ({
    lower:
      ({ memory }) =>
      (pointer: number) => {
        const at = memory.look().area(pointer, 16, 8);
        const { seconds, nanoseconds } = get();
        memory.setU64(at, seconds);
        memory.words[(at + 8) >>> 2] = nanoseconds;
      },
  });
  const wall = wallClock();

  const dropper = <T extends Disposable>(
    type: Type<T>,
    drop = (handle: Resource<T>) => table.drop(handle),
  ): CoreForm => ({
    lower:
      ({ handles }) =>
      (handle: number) =>
        drop(handles.handle(handle, type)),
  });

  return {
    'wasi:sockets/udp-create-socket': { 'create-udp-socket': createUdpSocket },
    'wasi:sockets/instance-network': {
      'instance-network': {
        only: Network,
        lower:
          ({ handles }) =>
          () =>
            handles.own(new Network(), Network),
      } as CoreForm,
    },
    'wasi:sockets/udp': {
      '[method]udp-socket.start-bind': startBind,
      '[method]udp-socket.finish-bind': setter(UdpSocket, (self) => self.finishBind()),
      '[method]udp-socket.stream': stream,
      '[method]udp-socket.local-address': addressGetter((self) => self.localAddress()),
      '[method]udp-socket.remote-address': addressGetter((self) => self.remoteAddress()),
      '[method]udp-socket.address-family': {
        only: UdpSocket,
        lower:
          ({ handles }) =>
          (handle: number) =>
            lowerFamily(handles.get(handle, UdpSocket).addressFamily()),
      } as CoreForm,
      '[method]udp-socket.unicast-hop-limit': byteGetter((self) => self.unicastHopLimit()),
      '[method]udp-socket.set-unicast-hop-limit': setter(UdpSocket, (self, value: number) =>
        self.setUnicastHopLimit(value & 0xff),
      ),
      '[method]udp-socket.receive-buffer-size': u64Getter((self) => self.receiveBufferSize()),
      '[method]udp-socket.set-receive-buffer-size': setter(UdpSocket, (self, value: bigint) =>
        self.setReceiveBufferSize(BigInt.asUintN(64, value)),
      ),
      '[method]udp-socket.send-buffer-size': u64Getter((self) => self.sendBufferSize()),
      '[method]udp-socket.set-send-buffer-size': setter(UdpSocket, (self, value: bigint) =>
        self.setSendBufferSize(BigInt.asUintN(64, value)),
      ),
      '[method]incoming-datagram-stream.receive': receive,
      '[method]outgoing-datagram-stream.check-send': checkSend,
      '[method]outgoing-datagram-stream.send': send,
    },
    /** Of wasi:sockets/udp, what makes pollables. */
    subscribe: {
      '[method]udp-socket.subscribe': subscribe(UdpSocket),
      '[method]incoming-datagram-stream.subscribe': subscribe(IncomingDatagramStream),
      '[method]outgoing-datagram-stream.subscribe': outgoingSubscribe,
    },
    'wasi:io/poll': { poll: pollList },
    /** Of wasi:io/poll, what a single pollable does. */
    pollable: {
      '[method]pollable.ready': ofPollable((self) => {
        behind?.beforePoll([self]);
        return self.ready() ? 1 : 0;
      }),
      '[method]pollable.block': ofPollable((self) => {
        blocking([self]);
      }),
    },
    'wasi:clocks/monotonic-clock': {
      now: { lower: () => () => process.hrtime.bigint() } as CoreForm,
      resolution: { lower: () => () => 1n } as CoreForm,
      'subscribe-instant': clock(({ subscribeInstant }) => subscribeInstant),
      'subscribe-duration': clock(({ subscribeDuration }) => subscribeDuration),
    },
    'wasi:clocks/wall-clock': { now: time(wall.now), resolution: time(wall.resolution) },
    /** What jco does itself. */
    drops: {
      'wasi:sockets/network': { '[resource-drop]network': dropper(Network) },
      'wasi:sockets/udp': {
        '[resource-drop]udp-socket': dropper(UdpSocket),
        '[resource-drop]incoming-datagram-stream': dropper(IncomingDatagramStream),
        '[resource-drop]outgoing-datagram-stream': dropper(OutgoingDatagramStream, (handle) => outgoing.drop(handle)),
      },
      'wasi:io/poll': { '[resource-drop]pollable': dropper(Pollable) },
    },
  };
}
