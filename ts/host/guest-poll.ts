import { asTrap, Trap } from '../errors.js';
import { Pollable, poll } from '../readiness/pollable.js';
import type { WriteBehind } from '../socket/write-behind.js';
import { Distinct } from './distinct.js';
import { cabiRep, dropOf, type GuestContext, type GuestResource, guestResources } from './guest.js';
import { checkPollList } from './limits.js';
import type { Resource } from './resource-table.js';

/** Waits on our pollables and another host's together, as `poll.poll` does. */
export type MixedPoll = (list: readonly object[]) => Uint32Array;

/** Blocks until one of the pollables is ready; the indexes of those that are. */
export type BlockingPoll = (list: readonly object[]) => Uint32Array;

/** Waits on pollables of ours, and by `mixed` on those of another host with them; and meanwhile sends what stays `behind`. */
export function blockingPoll(behind: WriteBehind | undefined, mixed?: MixedPoll): BlockingPoll {
  const wait: BlockingPoll = (list) => {
    if (list.every((one) => one instanceof Pollable)) return poll.poll(list);
    if (mixed === undefined)
      throw new Trap('poll() got a pollable of another host: take createHost from wasi-udp/jco, which waits on both');
    return mixed(list);
  };
  if (behind === undefined) return wait;
  return (list) => {
    behind.beforePoll(list);
    for (;;) {
      const obstacles = list.length === 0 ? [] : behind.obstacles;
      const ready = wait([...list, ...obstacles]).filter((index) => index < list.length);
      if (ready.length > 0) return ready;
      behind.leave();
    }
  };
}

function trap(error: unknown): never {
  throw asTrap(error);
}

/** `wasi:io/poll` for a guest: blocking, or with promises where the guest's stack can be suspended (`async`). */
export function guestPoll(
  context: Pick<GuestContext, 'table' | 'outgoing' | 'limits' | 'behind'>,
  async: boolean,
  blocking: BlockingPoll,
) {
  const { table, limits, behind } = context;
  const Guest = guestResources(dropOf(context));
  const pollableOf = (self: GuestResource) => table.get(self[cabiRep] as Resource<Pollable>, Pollable);

  class GuestPollable extends Guest {
    ready(): boolean {
      const self = pollableOf(this);
      behind?.beforePoll([self]);
      return self.ready();
    }
    block(): void | Promise<void> {
      const self = pollableOf(this);
      if (!async) {
        blocking([self]);
        return;
      }
      behind?.beforePoll([self]);
      return self.wait().catch(trap);
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
    if (async && values.every(isOurs)) {
      const ours = values.map(pollableOf);
      behind?.beforePoll(ours);
      return poll.wait(ours).then((ready) => distinct.entries(ready), trap);
    }
    return distinct.entries(blocking(values.map((one) => (isOurs(one) ? pollableOf(one) : one))));
  }

  return { Pollable: GuestPollable, poll: pollList };
}
