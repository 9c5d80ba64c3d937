import { isIP } from 'node:net';
import { SocketError } from '../errors.js';
import { RECORD, RECORD_WORDS, type Slot } from '../native/layout.js';
import {
  decodeAddress,
  encodeAddress,
  familyOf,
  type IpSocketAddress,
  parseSocketAddress,
  type SocketAddressLike,
  show,
} from './address.js';
import { interfaceIndex } from './interface.js';
import { checkNames } from './names.js';

/** By which way datagrams are to leave. */
export interface RouteOptions {
  /**
   * The source address: an IP address of this machine, such as `'192.0.2.7'`; the port is the socket's. Default: the address that the
   * socket is bound to, or else the system's choice. On a socket with a policy a `bind` rule must cover it, or the socket be bound to
   * all addresses. IP_PKTINFO, IPV6_PKTINFO.
   */
  localAddress?: string | undefined;
  /** The interface: its name, an IP address that it has, or its index. Default: the zone of `localAddress`, or the system's choice. IP_PKTINFO, IPV6_PKTINFO; on macOS of IPv4 beside a source it is not looked at. */
  interface?: string | number | undefined;
  /**
   * The traffic class, 0 to 255: six bits of DSCP and two of ECN (RFC 2474, RFC 3168). Default: the socket's `trafficClass`. IP_TOS,
   * IPV6_TCLASS; Windows takes the two bits of ECN alone.
   */
  trafficClass?: number | undefined;
}

/**
 * Where a datagram goes, and how: in place of the address of `send`, a queue or a writer. Datagrams of the same route that follow
 * each other leave as one message, as those of the same address do, so make one and use it again.
 *
 * @example
 * const route = new Route('192.0.2.1:53', { localAddress: '192.0.2.7', trafficClass: 0xb8 });
 * queue.send(data, route);
 */
export class Route {
  /** The destination; none where the connection names it. */
  readonly #slot: Slot | undefined;
  /** What goes beside, as a record of a table. */
  readonly #record: Slot;
  /** The source in it, if there is one. */
  readonly #source: IpSocketAddress | undefined;

  /**
   * @param remoteAddress the destination; none on a socket that is connected.
   * @param options the source, the interface and the traffic class.
   * @throws SocketError `invalid-argument` for an address that is none, or a source of another family than the destination.
   * @throws TypeError for another value that is none.
   */
  constructor(remoteAddress?: SocketAddressLike | undefined, options: RouteOptions = {}) {
    checkNames('Route', options, ['localAddress', 'interface', 'trafficClass'], ALIASES);
    const { localAddress, interface: device, trafficClass } = options;
    this.#slot = remoteAddress === undefined || remoteAddress === null ? undefined : encodeAddress(remoteAddress);
    const record: Slot = new Uint32Array(RECORD_WORDS);
    if (localAddress !== undefined) {
      const source = sourceOf(localAddress);
      if (this.#slot !== undefined && this.#slot[0] !== familyOf(source)) {
        throw new SocketError(
          'invalid-argument',
          `a source is of the family of the destination, got ${show(localAddress)}: name an IPv${this.#slot[0]} address`,
        );
      }
      record.set(encodeAddress(source).subarray(2, 6), 2);
      record[0] = familyOf(source);
      this.#source = source;
      if (source.tag === 'ipv6') record[1] = source.val.scopeId;
    }
    if (device !== undefined) record[1] = interfaceIndex('Route, interface', device);
    if (trafficClass !== undefined) {
      if (!(Number.isInteger(trafficClass) && trafficClass >= 0 && trafficClass <= 255))
        throw new TypeError(`Route, trafficClass: it takes a whole number from 0 to 255, got ${show(trafficClass)}`);
      record[0]! |= (trafficClass << RECORD.classShift) | RECORD.hasClass;
    }
    this.#record = record;
  }

  /** The destination; undefined where the connection names it. */
  get remoteAddress(): IpSocketAddress | undefined {
    return this.#slot && decodeAddress(this.#slot);
  }

  /**
   * The route by which an answer to a datagram goes: back to its source, from the address that it was sent to, by the interface
   * that it came by. Of a datagram to a group or a broadcast address, the system chooses the source.
   *
   * @param datagram what was received. Without `info` (see `packetInfo`), the route is that of the source alone.
   * @param options the traffic class of the answer.
   * @returns the route.
   * @throws TypeError for what is no datagram.
   */
  static replyTo(
    datagram: {
      remoteAddress: IpSocketAddress;
      info?: { localAddress?: string | undefined; isShared: boolean; interface?: number | undefined } | undefined;
    },
    options: Pick<RouteOptions, 'trafficClass'> = {},
  ): Route {
    checkNames('Route.replyTo()', options, ['trafficClass'], ALIASES);
    const { trafficClass } = options;
    if (typeof datagram !== 'object' || datagram === null)
      throw new TypeError(`Route.replyTo() takes a datagram that was received, got ${show(datagram)}`);
    const { remoteAddress, info } = datagram;
    const localAddress = info?.isShared ? undefined : info?.localAddress;
    return new Route(remoteAddress, { trafficClass, localAddress, interface: info?.interface });
  }

  /** @internal Whether a value is a route, whatever it says of itself. */
  static is(value: unknown): value is Route {
    // V8 knows at once of most objects that they are of no such class; the other question it must look up.
    return value instanceof Route && #record in value;
  }

  /** @internal The destination, if it names one. */
  static slotOf(route: Route): Slot | undefined {
    return route.#slot;
  }

  /** @internal The source, if it names one. */
  static sourceOf(route: Route): IpSocketAddress | undefined {
    return route.#source;
  }

  /** @internal What goes beside. */
  static recordOf(route: Route): Slot {
    return route.#record;
  }
}

/** Names of other interfaces for the options. */
const ALIASES = {
  address: 'localAddress',
  device: 'interface',
  dscp: 'trafficClass',
  ecn: 'trafficClass',
  local: 'localAddress',
  source: 'localAddress',
  tos: 'trafficClass',
};

/** A source as an address without port. */
function sourceOf(text: unknown): IpSocketAddress {
  if (typeof text === 'string') {
    const family = isIP(text);
    if (family !== 0) return parseSocketAddress({ address: text, port: 0 });
  }
  throw new SocketError(
    'invalid-argument',
    `a source is an IP address of this machine, got ${show(text)}: write '192.0.2.7' or '2001:db8::7'`,
  );
}
