import { SocketError } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import type { IpAddressFamily } from '../rules/address.js';
import { AsyncUdpSocket } from '../socket/async-udp-socket.js';
import { UdpSocket, type UdpSocketOptions } from '../socket/udp-socket.js';

/** Opens the sockets of one guest, and counts those that are open. */
export class GuestSockets {
  readonly #options: UdpSocketOptions;
  readonly #limit: number;
  readonly #isWrapped: boolean;
  #isNextHidden = false;
  /** Those that are open, and some that are closed. */
  readonly #descriptors = new Set<Descriptor>();

  /** `isWrapped`: whether the host watches over the streams of 0.2 itself. */
  constructor(options: UdpSocketOptions, limit: number, isWrapped: boolean) {
    this.#options = options;
    this.#limit = limit;
    this.#isWrapped = isWrapped;
  }

  /** A socket of 0.2. WIT, create-udp-socket: "`new-socket-limit`: The new socket resource could not be created because of a system limit." */
  open(family: IpAddressFamily): UdpSocket {
    return this.#counted(() => new UdpSocket(family, this.#options));
  }

  /** A socket of 0.3. A host that has put an implementation of its own around the streams of 0.2 is not passed by through it. */
  openAsync(family: IpAddressFamily): AsyncUdpSocket {
    if (this.#isNextHidden) {
      this.#isNextHidden = false;
      return new AsyncUdpSocket(family, this.#options);
    }
    if (this.#isWrapped) {
      throw new SocketError(
        'not-supported',
        'create: this host has an outgoing stream of its own (the option `outgoing`), which 0.3 has not: use 0.2, or leave it out',
      );
    }
    return this.#counted(() => new AsyncUdpSocket(family, this.#options));
  }

  /** The next socket is one that the guest does not know of: no limit is about it, and no watch over streams. */
  hideNext(): void {
    this.#isNextHidden = true;
  }

  #counted<T extends { readonly descriptor: Descriptor }>(open: () => T): T {
    if (this.#descriptors.size >= this.#limit) this.#makeRoom();
    const socket = open();
    this.#descriptors.add(socket.descriptor);
    return socket;
  }

  #makeRoom(): void {
    for (const descriptor of this.#descriptors) if (descriptor.isClosed) this.#descriptors.delete(descriptor);
    const open = this.#descriptors.size;
    if (open < this.#limit) return;
    throw new SocketError(
      'new-socket-limit',
      `create-udp-socket: the guest may have ${this.#limit} sockets open, ${open} are: ` +
        'drop sockets with their streams, or raise limits.sockets',
    );
  }
}
