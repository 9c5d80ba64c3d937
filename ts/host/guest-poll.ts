import { Trap } from '../errors.js';
import { Pollable, poll } from '../readiness/pollable.js';
import { Distinct } from './distinct.js';
import { cabiRep, dropOf, type GuestContext, type GuestResource, guestResources } from './guest.js';
import { checkPollList } from './limits.js';
import type { Resource } from './resource-table.js';

/** Waits on our pollables and another host's together, as `poll.poll` does. */
export type MixedPoll = (list: readonly object[]) => Uint32Array;

/** `wasi:io/poll` for a guest: blocking, or with promises where the guest's stack can be suspended (`async`). */
export function guestPoll(
  context: Pick<GuestContext, 'table' | 'outgoing' | 'limits'>,
  async: boolean,
  mixed?: MixedPoll,
) {
  const { table, limits } = context;
  const Guest = guestResources(dropOf(context));
  const pollableOf = (self: GuestResource) => table.get(self[cabiRep] as Resource<Pollable>, Pollable);

  class GuestPollable extends Guest {
    ready(): boolean {
      return pollableOf(this).ready();
    }
    block(): void | Promise<void> {
      return async ? pollableOf(this).wait() : pollableOf(this).block();
    }
    /** jco asks this of every pollable that a host returns: those of other hosts pass, as long as they are pollables. */
    static override [Symbol.hasInstance](value: unknown): boolean {
      const { ready, block } = (value ?? {}) as Record<string, unknown>;
      return typeof ready === 'function' && typeof block === 'function';
    }
  }

  const isOurs = (value: object): value is GuestPollable =>
    Object.prototype.isPrototypeOf.call(GuestPollable.prototype, value);

  function pollList(list: readonly object[]): Uint32Array | Promise<Uint32Array> {
    checkPollList(list.length, limits);
    const distinct = new Distinct(list);
    const { values } = distinct;
    if (values.every(isOurs)) {
      const ours = values.map(pollableOf);
      if (!async) return distinct.entries(poll.poll(ours));
      return poll.wait(ours).then((ready) => distinct.entries(ready));
    }
    if (mixed === undefined) {
      throw new Trap('poll() got a pollable of another host: take createHost from wasi-udp/jco, which waits on both');
    }
    return distinct.entries(mixed(values.map((one) => (isOurs(one) ? pollableOf(one) : one))));
  }

  return { Pollable: GuestPollable, poll: pollList };
}
