import type { SocketError } from '../errors.js';

/**
 * Tells an error of the first datagram of a send from one that the peer has left (an ICMP message's, which the system tells once,
 * to whatever call comes next): the datagram is tried again, and what was not its own does not come again.
 */
export class Suspicion {
  #error: SocketError | undefined;
  readonly #hear: (error: SocketError) => void;

  /** `hear` is told of the errors that the peer has left. */
  constructor(hear: (error: SocketError) => void) {
    this.#hear = hear;
  }

  /** Whether the error that a send met is certain to be its first datagram's. If not, the datagram is to be tried again. */
  confirms(error: SocketError): boolean {
    // A rule's refusal comes from no system.
    if (error.syscall === undefined) return true;
    const former = this.#error;
    this.#error = former === undefined ? error : undefined;
    if (former !== undefined && former.code !== error.code) this.#hear(former);
    return former !== undefined;
  }

  /** A send took its first datagram. */
  passed(): void {
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) this.#hear(error);
  }
}
