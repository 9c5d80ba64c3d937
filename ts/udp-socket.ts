import { encodeAddress, familyOf, type IpAddressFamily, type IpSocketAddress } from './address.js';
import { Descriptor } from './descriptor.js';

/** A bound UDP socket. Its streams own shares of it. */
export class UdpSocket {
  /** @internal */
  readonly descriptor: Descriptor;
  #dropped = false;

  /** @internal Opens a socket and binds it. */
  constructor(local: IpSocketAddress) {
    const slot = encodeAddress(local);
    this.descriptor = new Descriptor(familyOf(local));
    try {
      this.descriptor.bind(slot);
    } catch (error) {
      this.descriptor.release();
      throw error;
    }
  }

  /** The bound address, with the port that the system chose where 0 was asked for. */
  localAddress(): IpSocketAddress {
    return this.descriptor.localAddress();
  }

  addressFamily(): IpAddressFamily {
    return this.descriptor.family === 4 ? 'ipv4' : 'ipv6';
  }

  /** Drops the socket; streams that live on keep it open. May be called again. */
  [Symbol.dispose](): void {
    if (!this.#dropped) this.descriptor.release();
    this.#dropped = true;
  }
}
