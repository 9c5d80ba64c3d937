import { SocketError } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import { native, OPTION, systemFacts } from '../native/native.js';
import { show } from '../rules/address.js';
import { interfaceIndex } from '../rules/interface.js';
import { checkNames } from '../rules/names.js';

/** Options that only a socket that is about to be opened takes: what is bound keeps them. */
export interface FixedUdpOptions {
  /**
   * Whether the address may be bound though others are: on Linux each of several sockets with it may have the port, and the last
   * one hears what is sent to it alone; all of them hear multicasts. Default: false. SO_REUSEADDR.
   */
  reuseAddress?: boolean | undefined;
  /**
   * Whether other sockets of this user that say so too may be bound to the port. Linux spreads what arrives among them by flow;
   * macOS gives it to one; Windows has it not. Default: false. SO_REUSEPORT. See docs/cores.md.
   */
  reusePort?: boolean | undefined;
  /**
   * The processor, counted from 0, whose packets the socket takes, of those that share its port: for one socket a processor, where
   * the device spreads its packets over them. Default: any. Linux 6.2 or newer (SO_INCOMING_CPU).
   */
  incomingCpu?: number | undefined;
  /**
   * Whether an IPv6 socket speaks IPv6 alone. With false it speaks IPv4 as well (dual stack), and IPv4 peers are told, and taken,
   * as IPv4 addresses; it binds to `[::]` then, unless `local` names another address of either family. Named at all, it makes
   * the socket one of IPv6. Default: true. IPV6_V6ONLY.
   */
  ipv6Only?: boolean | undefined;
  /**
   * The interface that the socket hears and sends by: its name (`'eth0'`), an IP address that it has, or its index. Default: every
   * one. Linux (SO_BINDTODEVICE) and macOS (IP_BOUND_IF, IPV6_BOUND_IF); not Windows.
   */
  device?: string | number | undefined;
}

/** Options that may change while the socket is open. */
export interface ChangingUdpOptions {
  /** Whether the socket may send to a broadcast address; the system answers `access-denied` else. Default: false. SO_BROADCAST. */
  broadcast?: boolean | undefined;
  /** Routers that a unicast may pass, 1 to 255: IP_TTL, IPV6_UNICAST_HOPS. Default: the system's, mostly 64. */
  hopLimit?: number | undefined;
  /** Routers that a multicast may pass, 0 (it stays on this machine) to 255: IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS. Default: 1. */
  multicastHopLimit?: number | undefined;
  /**
   * Whether this machine hears the multicasts that the socket sends (on Windows: whether the socket hears those of this machine).
   * Default: true. IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP.
   */
  multicastLoopback?: boolean | undefined;
  /**
   * The interface by which multicasts leave: its name, an IP address that it has, or its index. Default: 0, which is the
   * system's choice. IP_MULTICAST_IF, IPV6_MULTICAST_IF.
   */
  multicastInterface?: string | number | undefined;
  /**
   * The traffic class of what is sent, 0 to 255: six bits of DSCP and two of ECN (RFC 2474, RFC 3168). Default: 0. IP_TOS,
   * IPV6_TCLASS; not Windows.
   */
  trafficClass?: number | undefined;
  /**
   * What becomes of datagrams that exceed the MTU of their path. False: the system fragments them. True: none is fragmented, and
   * the system refuses those that exceed the path's MTU as it knows it (`datagram-too-large`). 'probe': none is fragmented, and
   * whatever the device takes is sent, so that a protocol of its own finds the path's MTU out (RFC 8899); not macOS. Default:
   * false. IP_MTU_DISCOVER, IPV6_MTU_DISCOVER; on macOS IP_DONTFRAG, IPV6_DONTFRAG.
   */
  dontFragment?: boolean | 'probe' | undefined;
  /**
   * Whether received datagrams tell the address that they were sent to and the interface that they came by (`info`). Default: false.
   * IP_PKTINFO, IPV6_RECVPKTINFO.
   */
  packetInfo?: boolean | undefined;
  /** Whether received datagrams tell their traffic class, and ECN in it (`info`). Default: false. IP_RECVTOS, IPV6_RECVTCLASS. */
  receiveTrafficClass?: boolean | undefined;
  /**
   * Whether received datagrams tell when the kernel had them (`info`). Default: false. SO_TIMESTAMPNS; on macOS SO_TIMESTAMP; not
   * Windows.
   */
  timestamps?: boolean | undefined;
  /**
   * Bytes that the system keeps of what is to be sent, from 1 on; it takes what it likes of it (Linux: at most
   * net.core.wmem_max), and the property of the open socket tells what. Default: the system's. SO_SNDBUF.
   */
  sendBufferSize?: number | undefined;
  /** Bytes that the system keeps of what has arrived, likewise (net.core.rmem_max). Default: the system's. SO_RCVBUF. */
  receiveBufferSize?: number | undefined;
}

/** All options of the socket itself. */
export type UdpSocketSettings = FixedUdpOptions & ChangingUdpOptions;
type Name = keyof UdpSocketSettings;

/** A kind of value: how it crosses to the addon and back. */
interface Kind {
  /** What a value is, for people. */
  readonly rule: string;
  /** The number for a value; undefined where it is none of this kind. */
  encode(value: unknown, where: string): number | undefined;
  decode(number: number): unknown;
}

const FLAG: Kind = {
  rule: 'true or false',
  encode: (value) => (typeof value === 'boolean' ? Number(value) : undefined),
  decode: (number) => number === 1,
};

const FRAGMENTING: readonly unknown[] = [false, true, 'probe'];

const FRAGMENTATION: Kind = {
  rule: "true, false or 'probe'",
  encode: (value) => (FRAGMENTING.includes(value) ? FRAGMENTING.indexOf(value) : undefined),
  decode: (number) => FRAGMENTING[number],
};

const INTERFACE: Kind = {
  rule: 'the name of an interface, an IP address that it has, or its index',
  encode: (value, where) => interfaceIndex(where, value as string),
  decode: (number) => number,
};

/** The largest value of an `int`, which is what the options take. */
const INT_MAX = 2 ** 31 - 1;

function integer(least: number, most: number, unit: string): Kind {
  return {
    rule: `a whole number of ${unit} from ${least} to ${most}`,
    encode: (value) =>
      Number.isInteger(value) && (value as number) >= least && (value as number) <= most
        ? (value as number)
        : undefined,
    decode: (number) => number,
  };
}

/**
 * socket(7): "The kernel doubles this value (to allow space for bookkeeping overhead) when it is set using setsockopt(2), and this
 * doubled value is returned by getsockopt(2)." What is told is what could have been asked for.
 */
const BUFFER_FACTOR = process.platform === 'linux' || process.platform === 'android' ? 2 : 1;
const SIZE: Kind = {
  ...integer(1, INT_MAX, 'bytes'),
  decode: (number) => number / BUFFER_FACTOR,
};

/** An option: its number, its kind, and the system's names of it. */
interface Row {
  readonly option: number;
  readonly kind: Kind;
  readonly system: string;
}

/** The options, in the order in which a socket takes them: which protocols it speaks comes first. */
const ROWS: Record<Name, Row> = {
  ipv6Only: { option: OPTION.ipv6Only, kind: FLAG, system: 'IPV6_V6ONLY' },
  reuseAddress: { option: OPTION.reuseAddress, kind: FLAG, system: 'SO_REUSEADDR' },
  reusePort: { option: OPTION.reusePort, kind: FLAG, system: 'SO_REUSEPORT' },
  incomingCpu: { option: OPTION.incomingCpu, kind: integer(0, INT_MAX, 'the processor'), system: 'SO_INCOMING_CPU' },
  device: { option: OPTION.device, kind: INTERFACE, system: 'SO_BINDTODEVICE' },
  broadcast: { option: OPTION.broadcast, kind: FLAG, system: 'SO_BROADCAST' },
  hopLimit: { option: OPTION.hopLimit, kind: integer(1, 255, 'hops'), system: 'IP_TTL, IPV6_UNICAST_HOPS' },
  multicastHopLimit: {
    option: OPTION.multicastHopLimit,
    kind: integer(0, 255, 'hops'),
    system: 'IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS',
  },
  multicastLoopback: {
    option: OPTION.multicastLoopback,
    kind: FLAG,
    system: 'IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP',
  },
  multicastInterface: {
    option: OPTION.multicastInterface,
    kind: INTERFACE,
    system: 'IP_MULTICAST_IF, IPV6_MULTICAST_IF',
  },
  trafficClass: { option: OPTION.trafficClass, kind: integer(0, 255, 'class bits'), system: 'IP_TOS, IPV6_TCLASS' },
  dontFragment: { option: OPTION.dontFragment, kind: FRAGMENTATION, system: 'IP_MTU_DISCOVER, IPV6_MTU_DISCOVER' },
  packetInfo: { option: OPTION.packetInfo, kind: FLAG, system: 'IP_PKTINFO, IPV6_RECVPKTINFO' },
  receiveTrafficClass: { option: OPTION.receiveTrafficClass, kind: FLAG, system: 'IP_RECVTOS, IPV6_RECVTCLASS' },
  timestamps: { option: OPTION.timestamps, kind: FLAG, system: 'SO_TIMESTAMPNS' },
  sendBufferSize: { option: OPTION.sendBuffer, kind: SIZE, system: 'SO_SNDBUF' },
  receiveBufferSize: { option: OPTION.receiveBuffer, kind: SIZE, system: 'SO_RCVBUF' },
};

const NAMES = Object.keys(ROWS) as Name[];

/** Names of other interfaces for the same. */
const ALIASES: Record<string, string> = {
  address: 'local',
  bind: 'local',
  dscp: 'trafficClass',
  port: 'local',
  tos: 'trafficClass',
  ttl: 'hopLimit',
  multicastttl: 'multicastHopLimit',
  recvbuffersize: 'receiveBufferSize',
  interface: 'device',
  type: 'ipv6Only',
};

/** Throws TypeError for an option that is none of `others` or of the above: it names the nearest that is one. */
export function checkOptionNames(where: string, options: object, others: readonly string[]): void {
  checkNames(where, options, [...others, ...NAMES], ALIASES);
}

/** The options as the addon takes them. Throws TypeError or SocketError `invalid-argument` for a value that is none. */
export function encodeSettings(where: string, settings: UdpSocketSettings): Map<Name, number> {
  const encoded = new Map<Name, number>();
  for (const name of NAMES) {
    const value = settings[name];
    if (value !== undefined) encoded.set(name, encode(`${where}, ${name}`, name, value));
  }
  return encoded;
}

function encode(where: string, name: Name, value: unknown): number {
  const { kind } = ROWS[name];
  const number = kind.encode(value, where);
  if (number === undefined) throw new TypeError(`${where}: it takes ${kind.rule}, got ${show(value)}`);
  return number;
}

/** Gives a socket the options. */
export function applySettings(where: string, descriptor: Descriptor, settings: ReadonlyMap<Name, number>): void {
  for (const [name, value] of settings) set(`${where}, ${name}`, descriptor, name, value);
}

/** Sets an option of an open socket; the number that the value stands for. */
export function setOption(descriptor: Descriptor, name: Name, value: unknown): number {
  const number = encode(name, name, value);
  set(name, descriptor, name, number);
  return number;
}

function set(where: string, descriptor: Descriptor, name: Name, value: number): void {
  const result = native.setOption(descriptor.socket, ROWS[name].option, value);
  if (result < 0) throw optionError(where, ROWS[name].system, 'setsockopt', -result);
  if (name === 'ipv6Only') descriptor.dualStack = value === 0;
  if (TELLING.includes(name)) descriptor.tells = TELLING.some((other) => getOption(descriptor, other) === true);
}

/** Options that have receives tell more. */
const TELLING: readonly Name[] = ['packetInfo', 'receiveTrafficClass', 'timestamps'];

/** Reads an option of an open socket. */
export function getOption(descriptor: Descriptor, name: Name): unknown {
  const { option, kind, system } = ROWS[name];
  const result = native.getOption(descriptor.socket, option);
  if (result < 0) throw optionError(name, system, 'getsockopt', -result);
  return kind.decode(result);
}

/** What to do about an error number that an option met. */
const REMEDIES: Record<string, string> = {
  EACCES: 'the process may not: it takes a privilege, such as CAP_NET_RAW',
  EADDRINUSE: 'the socket has joined the group already',
  EADDRNOTAVAIL: 'there is no such interface',
  EINVAL: 'the value does not fit the socket, its state or its family',
  ENOBUFS: 'the socket has joined as many groups as the system lets it (Linux: net.ipv4.igmp_max_memberships)',
  ENODEV: 'there is no such interface, or no route to the group: name another interface',
  ENOTCONN: 'only a socket that has a remote address knows: open it with `remote`',
  ENXIO: 'there is no such interface',
  EPERM: 'the process may not: it takes a privilege, such as CAP_NET_RAW, or a filter (seccomp) that allows the call',
};

/** What systems answer to a leave that nothing was joined for: Linux EINVAL of a source. */
const NOT_JOINED: readonly string[] = ['EADDRNOTAVAIL', 'EINVAL'];

/** The system's names of what comes as control messages. */
const TOLD = ['IP_RECVERR', ...TELLING.map((name) => ROWS[name].system)];

/** Whether a filter refuses a call that reads control messages. */
function isReadRefused(): boolean {
  return native.features().notes.some((note) => /refuses recvm?msg/.test(note));
}

/** The error for an error number of the system, from that call; `system` is its name of the option. */
export function optionError(
  where: string,
  system: string,
  syscall: 'getsockopt' | 'setsockopt',
  errno: number,
): SocketError {
  const { payload, text, facts } = systemFacts(syscall, errno);
  // The options themselves take no privilege: what reads their control messages is refused.
  if ((facts.code === 'EPERM' || facts.code === 'ENOSYS') && TOLD.includes(system) && isReadRefused()) {
    const filtered = `what it tells comes by recvmsg(2) or recvmmsg(2), which a filter refuses (${facts.code}, seccomp): allow them`;
    return new SocketError(payload, `${where}: ${system}: ${filtered}; "wasi-udp doctor" names what is refused`, facts);
  }
  if (payload === 'not-supported') {
    const lack = `${process.platform} has no ${system} for such a socket (${facts.code}): leave it out here`;
    return new SocketError(payload, `${where}: ${lack}`, facts);
  }
  const isLeave = system.startsWith('MCAST_LEAVE') && NOT_JOINED.includes(facts.code);
  const remedy = isLeave ? 'the socket has not joined the group of this source and interface' : REMEDIES[facts.code];
  return new SocketError(payload, `${where}: ${system}: ${text}${remedy === undefined ? '' : `: ${remedy}`}`, facts);
}
