import { SocketError } from '../errors.js';
import type { Descriptor } from '../native/descriptor.js';
import type { IpAddressFamily } from '../rules/address.js';
import { AsyncUdpSocket } from '../socket/async-udp-socket.js';
import { UdpSocket, type UdpSocketOptions } from '../socket/udp-socket.js';

/** Opens the sockets of one guest, and counts those that are open. */
export class GuestSockets {
  readonly #options: UdpSocketOptions;
  readonly #limit: number;
  /** Those that are open, and some that are closed. */
  readonly #descriptors = new Set<Descriptor>();

  constructor(options: UdpSocketOptions, limit: number) {
    this.#options = options;
    this.#limit = limit;
  }

  /** A socket of 0.2. WIT, create-udp-socket: "`new-socket-limit`: The new socket resource could not be created because of a system limit." */
  open(family: IpAddressFamily): UdpSocket {
    return this.#counted(() => new UdpSocket(family, this.#options));
  }

  /** A socket of 0.3. */
  openAsync(family: IpAddressFamily): AsyncUdpSocket {
    return this.#counted(() => new AsyncUdpSocket(family, this.#options));
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
