import { openUdp, SocketError } from '../../dist/index.js';
import type { Receiver } from './receiver.js';

export const bytes = (text: string) => new TextEncoder().encode(text);

/** What a call throws. */
export function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** The error-code of what was thrown; undefined where it has none. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof SocketError ? error.payload : undefined;
}

/** What a call returns, or the error-code that it throws; other errors fly on. */
export function outcome<T>(call: () => T): T | string {
  try {
    return call();
  } catch (error) {
    if (error instanceof SocketError) return error.payload;
    throw error;
  }
}

/** What has arrived at a receiver by the time that a datagram which is sent now has. */
export async function textsAt(receiver: Receiver): Promise<string[]> {
  using udp = openUdp({ remote: receiver.text });
  udp.outgoing.checkSend();
  udp.outgoing.send([{ data: bytes('last') }]);
  while (receiver.texts.at(-1) !== 'last') await receiver.until(receiver.received.length + 1);
  return receiver.texts.slice(0, -1);
}
