/** Words of the counts that a receiver shares with its sender. */
export const RECEIVED = 0;
/** The buffer cost of all that was received. */
export const FREED = 1;
/** The value of FREED that the sender waits for; 0 while it waits for none. */
export const WANTED = 2;
export const COUNTS = 3;

/**
 * The most that a datagram of so many bytes takes of a receive buffer. Linux charges a datagram the memory that holds it
 * (`skb->truesize`): its descriptor, and its bytes with room for headers, rounded up to a power of two.
 */
export function bufferCost(bytes: number): number {
  return 320 + 2 ** Math.ceil(Math.log2(bytes + 512));
}
