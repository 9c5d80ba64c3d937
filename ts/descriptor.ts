import { decodeAddress, type IpSocketAddress, newSlot, type Slot, slotBytes } from './address.js';
import { Trap } from './errors.js';
import { type Family, native, systemError } from './native.js';

/** Closes what JavaScript forgot: a descriptor that was collected with owners left. */
const forgotten = new FinalizationRegistry<number>((socket) => native.close(socket));

/** One native socket, shared by the resources that own it; it closes with the last of them. */
export class Descriptor {
  /** The handle of the addon; 0 once closed. */
  #socket: number;
  #owners = 1;
  readonly family: Family;

  /** Opens a socket, with its maker as the first owner. */
  constructor(family: Family) {
    const socket = native.open(family);
    if (socket < 0) throw systemError('create-udp-socket', -socket);
    this.#socket = socket;
    this.family = family;
    forgotten.register(this, socket, this);
  }

  /** The addon's handle. Traps once the last owner is gone, so that a stale handle never crosses. */
  get socket(): number {
    if (this.#socket === 0) throw new Trap('the socket is closed: a dropped resource cannot be used, open another');
    return this.#socket;
  }

  /** Takes a share. */
  share(): this {
    this.#owners += 1;
    return this;
  }

  /** Gives a share back; the last one closes the socket. */
  release(): void {
    this.#owners -= 1;
    if (this.#owners > 0) return;
    const socket = this.#socket;
    this.#socket = 0;
    forgotten.unregister(this);
    native.close(socket);
  }

  /** The bound address, from the system. */
  localAddress(): IpSocketAddress {
    const slot = newSlot();
    this.check('local-address', native.localAddress(this.socket, slotBytes(slot)));
    return decodeAddress(slot);
  }

  bind(slot: Slot): void {
    this.check('bind', native.bind(this.socket, slotBytes(slot)));
  }

  connect(slot: Slot): void {
    this.check('connect', native.connect(this.socket, slotBytes(slot)));
  }

  /** Passes a native result on, an error number as the error result of `operation`. */
  check(operation: string, result: number): number {
    if (result < 0) throw systemError(operation, -result);
    return result;
  }
}
