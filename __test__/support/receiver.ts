import { once } from 'node:events';
import { type IpSocketAddress, parseSocketAddress } from '../../dist/index.js';
import { createSocket, type RemoteInfo, type Socket } from './dgram.mjs';

/** The two families, for `describe.each`. */
export const FAMILIES = [
  { family: 'ipv4', loopback: '127.0.0.1', unspecified: '0.0.0.0', largest: 65_507, other: '[::1]:9' },
  { family: 'ipv6', loopback: '[::1]', unspecified: '[::]', largest: 65_527, other: '127.0.0.1:9' },
] as const;

export type FamilyCase = (typeof FAMILIES)[number];

/** A node:dgram socket on loopback that keeps what it receives. */
export class Receiver {
  readonly received: Buffer[] = [];
  readonly sources: RemoteInfo[] = [];
  #changed = () => {};

  private constructor(
    readonly socket: Socket,
    readonly text: string,
  ) {
    socket.on('message', (message, source) => {
      this.received.push(Buffer.from(message));
      this.sources.push(source);
      this.#changed();
    });
  }

  static async open({ family, loopback }: FamilyCase): Promise<Receiver> {
    const socket = createSocket({ type: family === 'ipv4' ? 'udp4' : 'udp6', recvBufferSize: 4 << 20 });
    socket.bind(0, loopback.replace(/[[\]]/g, ''));
    await once(socket, 'listening');
    return new Receiver(socket, `${loopback}:${socket.address().port}`);
  }

  get address(): IpSocketAddress {
    return parseSocketAddress(this.text);
  }

  get texts(): string[] {
    return this.received.map(String);
  }

  /** Resolves when so many datagrams have arrived; rejects when they do not within half a minute. */
  async until(count: number): Promise<void> {
    const deadline = Date.now() + 30_000;
    while (this.received.length < count) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`expected ${count} datagrams, ${this.received.length} arrived`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close();
    await once(this.socket, 'close');
  }
}

/** A loopback address where nothing listens: no system gives port 1 to a socket that asks for any. */
export function closedPort({ loopback }: FamilyCase): string {
  return `${loopback}:1`;
}
