import { SocketError } from '../errors.js';
import { Descriptor } from '../native/descriptor.js';
import {
  familyOf,
  formatSocketAddress,
  type IpAddressFamily,
  type IpSocketAddress,
  parseSocketAddress,
  plainAddress,
  type SocketAddressLike,
  show,
} from '../rules/address.js';
import { type Allow, type Policy, policyOf } from '../rules/policy.js';
import { OpenUdp } from './opened-udp.js';
import { hearPeerErrors, type PeerError } from './peer-errors.js';
import { candidatesOf, type ResolveOptions } from './resolve.js';
import { applySettings, checkOptionNames, encodeSettings, type UdpSocketSettings } from './udp-options.js';
import { UdpSocket } from './udp-socket.js';

/** What `openUdp` takes: addresses, what the socket may be used for, and its options. All may be left out. */
export interface OpenUdpOptions extends UdpSocketSettings {
  /**
   * The address to bind: '127.0.0.1:53', '[::1]:53', { address: '::1', port: 53 } or an IpSocketAddress. Default: the unspecified
   * address, port 0, of the remote's family or of both; of IPv4 without either.
   */
  local?: SocketAddressLike | undefined;
  /** The address to connect to. Then datagrams carry no address of their own, and only this peer is heard. */
  remote?: SocketAddressLike | undefined;
  /**
   * The descriptor of a UDP socket that the process has open already, such as one that systemd or a parent passed (3 is the first
   * of LISTEN_FDS). It is taken over: closed with the socket, or where `openUdp` throws; what is no UDP socket of IPv4 or IPv6
   * stays the caller's. One that is bound takes no `local`. One that is connected stays so, with its port and what has come, unless
   * `remote` names another peer. Other processes may have the socket too, which is nonblocking then: datagrams are received one by
   * one, as they would. Not on Windows.
   */
  fd?: number | undefined;
  /**
   * Whether runs of equal datagrams may leave as one UDP_SEGMENT message. Default: true, unless WASI_UDP_GSO=0 is set.
   * Turn it off where a device loses segmented packets (vxlan, geneve and PPPoE devices have).
   */
  segmentation?: boolean | undefined;
  /** What the socket may be used for, as for a guest. Default: everything. */
  allow?: Allow | undefined;
  /**
   * Hears of each error that a datagram met, with the datagram's destination: nobody listens there, a router knows no way, it
   * exceeds the MTU of its path. Such errors fail no call then, and a socket without a remote address hears of them too. They are told
   * by the next call on the socket, or at once while somebody waits for it. Default: none are told but to sockets with a remote
   * address, whose next call fails. Linux (IP_RECVERR, IPV6_RECVERR).
   */
  onPeerError?: ((error: PeerError) => void) | undefined;
}

/** The options beside those of the socket itself. */
const OWN_OPTIONS = ['local', 'remote', 'fd', 'segmentation', 'allow', 'onPeerError'];

/**
 * Opens a UDP socket: gives it the options, binds it, connects it where `remote` is given, and returns it with its streams.
 * `close()` closes them all, as the end of a block does after `using`. `openUdpAsync` takes names as well.
 *
 * @param options see `OpenUdpOptions`; by default a socket of IPv4 on a port that the system chooses, to and from anybody.
 * @returns the socket, open and bound.
 * @throws SocketError: `invalid-argument` for an address that is none or of two families, `address-in-use`,
 * `address-not-bindable`, `access-denied`, `remote-unreachable` or `new-socket-limit` from the system, `not-supported` for an option
 * that it has not. TypeError for an unknown option or a value that is none.
 * @example
 * const udp = openUdp({ remote: '127.0.0.1:8125' });
 * const queue = udp.outgoing.queue();
 * queue.send('requests:1|c');
 * await queue.close();
 * udp.close();
 */
export function openUdp(options: OpenUdpOptions = {}): OpenUdp {
  checkOptions('openUdp()', options, OWN_OPTIONS);
  const { allow, fd, segmentation, onPeerError } = options;
  if (onPeerError !== undefined && typeof onPeerError !== 'function')
    throw new TypeError(`openUdp(), onPeerError: it takes a function, got ${show(onPeerError)}: leave it out`);
  if (segmentation !== undefined && typeof segmentation !== 'boolean')
    throw new TypeError(`openUdp(), segmentation: it takes true or false, got ${show(segmentation)}`);
  const settings = encodeSettings('openUdp()', options);
  const isIpv6 = settings.has('ipv6Only');
  const remote = toAddress(options.remote);
  const givenLocal = toAddress(options.local);
  const local = givenLocal ?? unspecified(isIpv6 ? 'ipv6' : remote?.tag);
  const policy = allow === undefined ? undefined : policyOf(allow);
  if (fd !== undefined)
    return openAdopted(fd, { local: givenLocal, remote, segmentation, policy, onPeerError }, settings);
  const socket = new UdpSocket(isIpv6 ? 'ipv6' : local.tag, { policy, segmentation });
  const resources: Disposable[] = [socket];
  try {
    applySettings('openUdp()', socket.descriptor, settings);
    if (onPeerError !== undefined) hearPeerErrors('openUdp(), onPeerError', socket.descriptor, onPeerError);
    socket.startBind(local);
    socket.finishBind();
    const streams = socket.stream(remote);
    resources.unshift(...streams);
    return new OpenUdp(socket, streams, settings.get('multicastInterface') ?? 0);
  } catch (error) {
    for (const resource of resources) resource[Symbol.dispose]();
    throw error;
  }
}

/** The options beside those of the system, read and checked. */
interface Given extends Pick<OpenUdpOptions, 'segmentation' | 'onPeerError'> {
  local: IpSocketAddress | undefined;
  remote: IpSocketAddress | undefined;
  policy: Policy | undefined;
}

/** As `openUdp`, of a descriptor that is open. */
function openAdopted(fd: number, given: Given, settings: ReturnType<typeof encodeSettings>): OpenUdp {
  const { local, remote, segmentation, policy, onPeerError } = given;
  if (!(Number.isInteger(fd) && fd >= 0 && fd < 2 ** 31))
    throw new TypeError(`openUdp(), fd: it takes the number of an open descriptor, got ${show(fd)}`);
  const adopted = Descriptor.adopt('openUdp(), fd', fd);
  try {
    const family = adopted.family === 4 ? 'ipv4' : 'ipv6';
    const socket = new UdpSocket(family, { policy, segmentation, adopted });
    if (socket.isBound && local !== undefined) {
      throw new SocketError(
        'invalid-state',
        `openUdp(): the socket of fd ${fd} is bound to ${formatSocketAddress(socket.localAddress())}: leave \`local\` out`,
      );
    }
    applySettings('openUdp()', adopted, settings);
    if (onPeerError !== undefined) hearPeerErrors('openUdp(), onPeerError', adopted, onPeerError);
    if (!socket.isBound) {
      socket.startBind(local ?? unspecified(family));
      socket.finishBind();
    }
    const streams = socket.stream(remote ?? socket.peer);
    return new OpenUdp(socket, streams, settings.get('multicastInterface') ?? 0);
  } catch (error) {
    adopted.release();
    throw error;
  }
}

/** What `openUdpAsync` takes: the options of `openUdp`, with names, and how they are looked up. */
export interface OpenUdpAsyncOptions extends OpenUdpOptions, ResolveOptions {
  /** As of `openUdp`; the host may be a name. */
  local?: SocketAddressLike | undefined;
  /** As of `openUdp`; the host may be a name: 'localhost:8125', { address: 'localhost', port: 8125 }. */
  remote?: SocketAddressLike | undefined;
}

/**
 * As `openUdp`, with names that are looked up. Of several addresses the first that can be bound and connected to is taken, with
 * `local` and `remote` of one family, unless `ipv6Only: false` has both; that somebody listens there, UDP does not tell.
 *
 * @param options see `OpenUdpAsyncOptions`.
 * @returns the socket, open and bound.
 * @throws (rejects) as `openUdp` does, with the error of the first addresses; and as `resolveSocketAddress` does.
 * @example const udp = await openUdpAsync({ remote: 'localhost:8125' });
 */
export async function openUdpAsync(options: OpenUdpAsyncOptions = {}): Promise<OpenUdp> {
  checkOptions('openUdpAsync()', options, [...OWN_OPTIONS, 'family', 'lookup']);
  const { family, lookup, local, remote, ...others } = options;
  const addresses = (address: SocketAddressLike | undefined) =>
    address === undefined ? [undefined] : candidatesOf(address, { family, lookup });
  const [locals, remotes] = await Promise.all([addresses(local), addresses(remote)]);
  const isDual = others.ipv6Only === false;
  const pairs = remotes.flatMap((remote) => locals.map((local) => ({ local, remote })));
  const fitting = pairs.filter(
    ({ local, remote }) =>
      isDual || local === undefined || remote === undefined || familyOf(local) === familyOf(remote),
  );
  let first: unknown;
  for (const pair of fitting.length > 0 ? fitting : pairs) {
    try {
      return openUdp({ ...others, ...pair });
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      first ??= error;
    }
  }
  throw first;
}

function checkOptions(where: string, options: unknown, others: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${where} takes options, got ${show(options)}: write { remote: '127.0.0.1:53' }`);
  }
  checkOptionNames(where, options, others);
}

/** The address as plain data, which answers the same each time. */
function toAddress(address: SocketAddressLike | undefined): IpSocketAddress | undefined {
  return address === undefined ? undefined : plainAddress(address);
}

/** The unspecified address, port 0, of a family; IPv4 without one. */
function unspecified(family: IpAddressFamily | undefined): IpSocketAddress {
  return parseSocketAddress(family === 'ipv6' ? '[::]:0' : '0.0.0.0:0');
}
