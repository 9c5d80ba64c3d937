import { caseOf, ERROR_CASES, type ErrorCase } from '../../dist/errors.js';
import {
  ClosedError,
  createHost,
  type HostOptions,
  type IpAddressFamily,
  type IpSocketAddress,
  SocketError,
} from '../../dist/index.js';
import { policyOf } from '../../dist/rules/policy.js';
import { AsyncUdpSocket } from '../../dist/socket/async-udp-socket.js';
import { FAMILIES, flat, GuestBlocks, RESULT } from './guest-blocks.js';

/** `udp-socket` of wasi:sockets/types@0.3 as tests call it, however the calls get there. */
export type AsyncSocket = Pick<
  AsyncUdpSocket,
  | 'bind'
  | 'connect'
  | 'disconnect'
  | 'send'
  | 'receive'
  | 'getLocalAddress'
  | 'getRemoteAddress'
  | 'getAddressFamily'
  | 'getUnicastHopLimit'
  | 'setUnicastHopLimit'
  | 'getReceiveBufferSize'
  | 'setReceiveBufferSize'
  | 'getSendBufferSize'
  | 'setSendBufferSize'
> &
  Disposable;

export interface AsyncApi extends Disposable {
  create(family: IpAddressFamily): AsyncSocket;
  /** Datagrams that were dropped because the guest may not hear their source. */
  readonly refused: number;
}

type Options = Pick<HostOptions, 'allow' | 'limits'>;

/** A way to the sockets. */
export interface AsyncEntrance {
  title: string;
  /** Whether calls are those of objects, or of core functions. */
  byObjects: boolean;
  open(options?: Options): AsyncApi;
  /** The case of error-code that was thrown; undefined where it is no error result of this way. */
  caseOf(error: unknown): ErrorCase | undefined;
}

/** The ways: what passes here passes for guests. */
export const ASYNC_ENTRANCES: AsyncEntrance[] = [
  {
    title: 'the class',
    byObjects: true,
    open: openClass,
    caseOf: (error) => (error instanceof SocketError ? caseOf(error) : undefined),
  },
  { title: "jco's class", byObjects: true, open: openObjects, caseOf: caseOfVariant },
  { title: 'core functions', byObjects: false, open: openCore, caseOf: caseOfVariant },
];

/** The case of an error-code in jco's conventions; `other` has the text of the error. */
function caseOfVariant(error: unknown): ErrorCase | undefined {
  if (!(error instanceof Error && 'payload' in error)) return undefined;
  const { tag, val } = error.payload as { tag: ErrorCase; val?: string };
  return (tag === 'other') === (typeof val === 'string' && val.length > 0) ? tag : undefined;
}

/** The case of error-code that a call gives, be it at once or later, or 'trap', 'closed', or 'ok'. */
export async function outcomeOf(
  entrance: AsyncEntrance,
  call: () => unknown,
): Promise<ErrorCase | 'trap' | 'closed' | 'ok'> {
  try {
    await call();
    return 'ok';
  } catch (error) {
    const name = entrance.caseOf(error);
    if (name !== undefined) return name;
    if (error instanceof WebAssembly.RuntimeError) return 'trap';
    if (error instanceof ClosedError) return 'closed';
    throw error;
  }
}

function openClass({ allow = 'all' }: Options = {}): AsyncApi {
  const policy = policyOf(allow);
  const opened = new Set<AsyncUdpSocket>();
  return {
    create(family) {
      const socket = new AsyncUdpSocket(family, { policy });
      opened.add(socket);
      return socket;
    },
    get refused() {
      return policy?.refused ?? 0;
    },
    [Symbol.dispose]() {
      for (const socket of opened) socket[Symbol.dispose]();
    },
  };
}

type HostSocket = ReturnType<ReturnType<typeof createHost>['types']['UdpSocket']['create']>;

/** jco's spelling of a datagram, in that of the class. */
async function received(socket: HostSocket) {
  const [data, remoteAddress] = await socket.receive();
  return { data, remoteAddress };
}

function openObjects(options: Options = {}): AsyncApi {
  const host = createHost({ allow: 'all', ...options });
  return {
    create(family) {
      const socket = host.types.UdpSocket.create(family);
      const receive = () => received(socket);
      return new Proxy(socket, {
        get: (_, key) => {
          if (key === 'receive') return receive;
          const member = Reflect.get(socket, key);
          return typeof member === 'function' ? member.bind(socket) : member;
        },
      }) as unknown as unknown as AsyncSocket;
    },
    get refused() {
      return host.refused;
    },
    [Symbol.dispose]: () => host[Symbol.dispose](),
  };
}

const cabiLower = Symbol.for('cabiLower');
const cabiRep = Symbol.for('cabiRep');

type Core = (...values: (number | bigint)[]) => number;
type Lowered = { [cabiLower]?: (options: object) => Core };

/** By which jco marks what a guest owns, in the second number of a table's entry. */
const FLAG = 1 << 30;

/**
 * The core forms as jco's hybrid bindings call them, with a memory and a handle table; what has no core form is called by an
 * object that is made of the handle, as those bindings do.
 */
function openCore(options: Options = {}): AsyncApi {
  const host = createHost({ allow: 'all', ...options });
  const { UdpSocket } = host.types;
  const guest = new GuestBlocks();
  /** Entry 0 heads the list of free entries; each is two numbers. */
  const table = [FLAG, 0];
  const lowered = (member: object): Core | undefined =>
    (member as Lowered)[cabiLower]?.({ memory: guest.memory, realloc: guest.realloc, resourceTables: [table] });

  /** Calls a core function whose result is `result<T, error-code>` in memory; where T stands. */
  const attempt = (form: Core, at: number, ...values: (number | bigint)[]): number => {
    guest.bytes.fill(0xee, RESULT, RESULT + 64);
    form(...values, RESULT);
    guest.free();
    if (guest.bytes[RESULT] === 0) return RESULT + at;
    if (guest.bytes[RESULT] !== 1) throw new Error(`a result begins with 0 or 1, got ${guest.bytes[RESULT]}`);
    const tag = ERROR_CASES[guest.bytes[RESULT + at]!];
    if (tag === undefined) throw new Error('the error-code has no such case');
    const view = guest.view;
    const [pointer, length] = [view.getUint32(RESULT + at + 8, true), view.getUint32(RESULT + at + 12, true)];
    const hasText = tag === 'other' && guest.bytes[RESULT + at + 4] === 1;
    const val = hasText ? new TextDecoder().decode(guest.bytes.slice(pointer, pointer + length)) : undefined;
    throw Object.assign(new Error(`the core function returned ${tag}`), { payload: { tag, val } });
  };
  const create = lowered(UdpSocket.create)!;
  const { prototype } = UdpSocket;

  class CoreSocket {
    constructor(readonly handle: number) {}

    #attempt(name: keyof typeof prototype, at: number, ...values: (number | bigint)[]): number {
      return attempt(lowered(prototype[name])!, at, this.handle, ...values);
    }
    /** The object that jco makes of the handle. */
    get #object(): HostSocket {
      return Object.create(prototype, { [cabiRep]: { value: table[2 * this.handle + 1]! & ~FLAG } }) as HostSocket;
    }

    bind(local: IpSocketAddress): void {
      this.#attempt('bind', 4, ...flat(local));
    }
    connect(remote: IpSocketAddress): void {
      this.#attempt('connect', 4, ...flat(remote));
    }
    disconnect(): void {
      this.#attempt('disconnect', 4);
    }
    send(data: Uint8Array, remoteAddress?: IpSocketAddress): Promise<void> {
      return this.#object.send(data, remoteAddress);
    }
    receive() {
      return received(this.#object);
    }
    getLocalAddress(): IpSocketAddress {
      return guest.readAddress(this.#attempt('getLocalAddress', 4));
    }
    getRemoteAddress(): IpSocketAddress {
      return guest.readAddress(this.#attempt('getRemoteAddress', 4));
    }
    getAddressFamily(): IpAddressFamily {
      return FAMILIES[lowered(prototype.getAddressFamily)!(this.handle)]!;
    }
    getUnicastHopLimit(): number {
      return guest.bytes[this.#attempt('getUnicastHopLimit', 4)]!;
    }
    setUnicastHopLimit(value: number): void {
      this.#attempt('setUnicastHopLimit', 4, value);
    }
    getReceiveBufferSize(): bigint {
      return guest.view.getBigUint64(this.#attempt('getReceiveBufferSize', 8), true);
    }
    setReceiveBufferSize(value: bigint): void {
      this.#attempt('setReceiveBufferSize', 4, BigInt.asIntN(64, value));
    }
    getSendBufferSize(): bigint {
      return guest.view.getBigUint64(this.#attempt('getSendBufferSize', 8), true);
    }
    setSendBufferSize(value: bigint): void {
      this.#attempt('setSendBufferSize', 4, BigInt.asIntN(64, value));
    }
    /** As jco drops what a guest owns: the entry is free, and the number's class hears of it. */
    [Symbol.dispose](): void {
      const rep = table[2 * this.handle + 1]! & ~FLAG;
      if ((table[2 * this.handle]! & FLAG) !== 0) return;
      table[2 * this.handle] = table[0]! | FLAG;
      table[0] = this.handle | FLAG;
      (UdpSocket as unknown as Record<symbol, (rep: number) => void>)[Symbol.for('cabiDispose')]!(rep);
    }
  }

  return {
    create(family) {
      const at = attempt(create, 4, FAMILIES.indexOf(family));
      return new CoreSocket(guest.view.getUint32(at, true)) as unknown as AsyncSocket;
    },
    get refused() {
      return host.refused;
    },
    [Symbol.dispose]: () => host[Symbol.dispose](),
  };
}
