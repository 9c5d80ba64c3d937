import { strict as assert } from 'node:assert';
import { setTimeout } from 'node:timers/promises';
import { createHost } from '../../dist/index.js';
import { AsyncGuest, CANCELLED_BEFORE_STARTED, EXIT, RETURNED, SUBTASK, WAIT, YIELD } from './async-guest.mjs';
import { Random } from './random.mjs';

/** How long what was sent may take to arrive, in milliseconds. */
const PATIENCE_MS = 8000;
/** Datagrams that a socket may have before it, so that none is dropped for want of room. */
const MOST_UNDERWAY = 80;
const MOST_CALLS = 300;
const NAMES = ['send', 'receive', 'clock'];

/** A socket of a guest: what was sent to it and what it has received, by the sender's and its own numbers. */
class Station {
  isClosed = false;
  /** Numbers of the next datagram, by receiver. */
  next = new Map();
  /** Sends that were not cancelled, by sender: their numbers in the order of their calls. */
  expected = new Map();
  /** [number of the receive, sender, number of the datagram]. */
  got = [];
  underway = 0;

  constructor(guest, number) {
    Object.assign(this, { guest, number, ...guest.core.open() });
  }
}

/** A guest with its calls that wait, which any of its tasks may join, cancel or see the end of. */
class Guest {
  /** By the handles of their subtasks. */
  calls = new Map();
  /** By their numbers: how many tasks wait. */
  sets = new Map();
  tasks = 0;

  constructor(host) {
    this.host = host;
    this.core = new AsyncGuest(host);
  }
}

/** Tasks of a few guests, of which each slice does what the seed has it do: one seed, one run but for the times. */
export class AsyncRound {
  trace = [];
  #random;
  #guests = [];
  #stations = [];
  #receives = 0;
  #left = 0;
  #running = [];
  #sendBuffer;
  #isBehind;

  /** `sendBuffer`: bytes of each socket's send buffer; the system's own where undefined. */
  constructor(seed, sendBuffer, writeBehind) {
    this.#random = new Random(seed);
    this.#isBehind = writeBehind;
    this.#sendBuffer = sendBuffer;
    const count = 1 + this.#random.below(3);
    for (let i = 0; i < count; i++) {
      this.#guests.push(new Guest(createHost({ allow: 'all', writeBehind })));
      for (let sockets = 1 + this.#random.below(3); sockets > 0; sockets--) this.#open(this.#guests[i]);
    }
  }

  async run(steps) {
    this.#left = steps;
    for (const guest of this.#guests) for (let i = 1 + this.#random.below(4); i > 0; i--) this.#begin(guest);
    for (const running of this.#running) await running;
    await this.#end();
  }

  #note(guest, what, detail = '') {
    this.trace.push([this.#guests.indexOf(guest), what, detail]);
    if (this.trace.length > 200) this.trace.splice(0, 100);
  }

  #open(guest) {
    const station = new Station(guest, this.#stations.length);
    if (this.#sendBuffer !== undefined) {
      const call = guest.core.take();
      guest.core.exports.set_send_buffer(station.handle, BigInt(this.#sendBuffer), call + 64);
      guest.core.give(call);
    }
    this.#stations.push(station);
    return station;
  }

  #begin(guest) {
    guest.tasks += 1;
    let context;
    const slice = (event, waitable, state) => {
      if (context !== undefined) {
        if (context.set !== undefined) guest.sets.set(context.set, guest.sets.get(context.set) - 1);
        assert.equal(guest.core.exports.context_get_1(), context.value, 'the context of another task');
      }
      const value = this.#random.below(2 ** 30);
      guest.core.exports.context_set_1(value);
      context = { value };
      if (event === SUBTASK) this.#ended(guest, waitable, state);
      for (let i = this.#random.below(20); i > 0 && this.#left > 0; i--, this.#left--) this.#act(guest);
      // Somebody must go on whenever a task waits on a set that others have emptied.
      for (const [set, waiters] of guest.sets) if (waiters > 0) this.#clock(guest, set);
      if (this.#left === 0) {
        guest.tasks -= 1;
        return EXIT;
      }
      if (this.#random.oneIn(20)) {
        guest.tasks -= 1;
        this.#running.push(Promise.resolve().then(() => this.#begin(guest)));
        return EXIT;
      }
      if (this.#random.oneIn(6)) return YIELD;
      const set = this.#setOf(guest);
      this.#clock(guest, set);
      guest.sets.set(set, guest.sets.get(set) + 1);
      context.set = set;
      return (set << 4) | WAIT;
    };
    const running = guest.core.run(slice);
    this.#running.push(running);
    return running;
  }

  #setOf(guest) {
    if (guest.sets.size > 0 && !this.#random.oneIn(12)) return this.#random.pick([...guest.sets.keys()]);
    const set = guest.core.exports.set_new();
    guest.sets.set(set, 0);
    return set;
  }

  #clock(guest, set) {
    const status = guest.core.exports.wait_for(BigInt(this.#random.below(2_000_000)));
    if ((status & 15) === RETURNED) return;
    const subtask = status >>> 4;
    guest.calls.set(subtask, { kind: 2, set });
    guest.core.exports.join(subtask, set);
  }

  #act(guest) {
    const mine = this.#stations.filter((station) => station.guest === guest && !station.isClosed);
    const what = this.#random.below(100);
    if (what < 40) this.#send(guest, mine);
    else if (what < 75) this.#receive(guest, mine);
    else if (what < 82) this.#cancel(guest);
    else if (what < 90) this.#join(guest);
    else if (what < 96) this.#poll(guest);
    else if (what < 98) this.#dropSet(guest);
    else if (what < 99) this.#drop(guest, mine);
    else if (mine.length < 4) this.#open(guest);
  }

  #send(guest, mine) {
    const targets = this.#stations.filter(({ isClosed, underway }) => !isClosed && underway < MOST_UNDERWAY);
    const call = guest.core.take();
    if (targets.length === 0 || mine.length === 0 || guest.calls.size > MOST_CALLS) return guest.core.give(call);
    const [from, to] = [this.#random.pick(mine), this.#random.pick(targets)];
    const number = from.next.get(to.number) ?? 0;
    from.next.set(to.number, number + 1);
    if (!to.expected.has(from.number)) to.expected.set(from.number, []);
    const expected = to.expected.get(from.number);
    expected.push(number);
    to.underway += 1;
    const words = [from.number, to.number, number];
    const length = 12 + this.#random.below(100);
    if (this.#random.oneIn(12)) {
      this.#note(guest, 'send, blocking', words.join());
      guest.core.sendSync(call, from.handle, to.port, words, length);
      assert.equal(guest.core.errorOf(call), undefined, 'a blocking send failed');
      return guest.core.give(call);
    }
    const status = guest.core.send(call, from.handle, to.port, words, length);
    this.#note(guest, 'send', `${words.join()} -> ${status & 15}`);
    if ((status & 15) === RETURNED) {
      assert.equal(guest.core.errorOf(call), undefined, 'a send failed');
      return guest.core.give(call);
    }
    guest.calls.set(status >>> 4, { kind: 0, call, from, to, number });
    if (!this.#random.oneIn(8)) this.#join(guest, status >>> 4);
  }

  #receive(guest, mine) {
    const call = guest.core.take();
    if (mine.length === 0 || guest.calls.size > MOST_CALLS) return guest.core.give(call);
    const at = this.#random.pick(mine);
    const turn = this.#receives++;
    const status = guest.core.receive(call, at.handle);
    this.#note(guest, 'receive', `${at.number}, ${turn} -> ${status & 15}`);
    if ((status & 15) === RETURNED) {
      this.#took(guest, { call, at, turn });
      return guest.core.give(call);
    }
    guest.calls.set(status >>> 4, { kind: 1, call, at, turn });
    if (!this.#random.oneIn(8)) this.#join(guest, status >>> 4);
  }

  #took(guest, { call, at, turn }) {
    assert.equal(guest.core.errorOf(call), undefined, 'a receive failed');
    const [from, to, number] = guest.core.received(call, 3);
    // The port may have been a closed socket's.
    if (to !== at.number) return;
    at.underway -= 1;
    at.got.push([turn, from, number]);
  }

  /** A subtask has ended, by an event or by its cancel. */
  #ended(guest, subtask, state) {
    const its = guest.calls.get(subtask);
    assert(its !== undefined, `an event of a subtask that is none: ${subtask}`);
    this.#note(guest, 'ended', `${NAMES[its.kind]} ${its.turn ?? its.number ?? ''}: ${state}`);
    guest.calls.delete(subtask);
    if (its.kind === 0) {
      if (state === RETURNED) assert.equal(guest.core.errorOf(its.call), undefined, 'a send failed');
      else {
        assert.equal(state, CANCELLED_BEFORE_STARTED);
        const expected = its.to.expected.get(its.from.number);
        expected.splice(expected.indexOf(its.number), 1);
        its.to.underway -= 1;
      }
    } else if (its.kind === 1 && state === RETURNED) this.#took(guest, its);
    guest.core.exports.subtask_drop(subtask);
    if (its.call !== undefined) guest.core.give(its.call);
  }

  #cancel(guest) {
    const subtasks = [...guest.calls.keys()].filter((subtask) => guest.calls.get(subtask).kind !== 2);
    if (subtasks.length === 0) return;
    const subtask = this.#random.pick(subtasks);
    this.#ended(guest, subtask, guest.core.exports.subtask_cancel(subtask));
  }

  #join(guest, subtask) {
    const subtasks = [...guest.calls.keys()].filter((subtask) => guest.calls.get(subtask).kind !== 2);
    if (subtasks.length === 0) return;
    const chosen = subtask ?? this.#random.pick(subtasks);
    const set = this.#random.oneIn(10) ? 0 : this.#setOf(guest);
    guest.core.exports.join(chosen, set);
    guest.calls.get(chosen).set = set;
  }

  #poll(guest) {
    const call = guest.core.take();
    const event = guest.core.exports.set_poll(this.#setOf(guest), call);
    if (event === SUBTASK) this.#ended(guest, ...[0, 4].map((at) => guest.core.view.getUint32(call + at, true)));
    guest.core.give(call);
  }

  #dropSet(guest) {
    const unused = [...guest.sets].filter(
      ([set, waiters]) => waiters === 0 && ![...guest.calls.values()].some((call) => call.set === set),
    );
    if (unused.length === 0) return;
    const [set] = this.#random.pick(unused);
    guest.core.exports.set_drop(set);
    guest.sets.delete(set);
  }

  #drop(guest, mine) {
    // What is left behind ends with its socket where the system has no room for it.
    if (mine.length < 2 || this.#isBehind) return;
    const station = this.#random.pick(mine);
    for (const { at, from } of guest.calls.values()) if (at === station || from === station) return;
    station.isClosed = true;
    this.#note(guest, 'drop', station.number);
    guest.core.exports.drop(station.handle);
  }

  /** All that was sent must arrive, at receives that wait for it. */
  async #end() {
    for (let i = 0; i < this.#running.length; i++) await this.#running[i];
    const deadline = performance.now() + PATIENCE_MS;
    for (const guest of this.#guests) {
      await guest.core.run((event, waitable, state) => {
        if (event === SUBTASK) this.#ended(guest, waitable, state);
        if (guest.set === undefined) guest.set = guest.core.exports.set_new();
        const open = [...guest.calls].filter(([, { kind }]) => kind === 0);
        for (const [subtask] of open) guest.core.exports.join(subtask, guest.set);
        return open.length > 0 ? (guest.set << 4) | WAIT : EXIT;
      });
      for (const [subtask, { kind }] of [...guest.calls])
        if (kind !== 0) this.#ended(guest, subtask, guest.core.exports.subtask_cancel(subtask));
    }
    for (const guest of this.#guests) await guest.host.flush();
    const missing = () => this.#stations.filter(({ isClosed, underway }) => !isClosed && underway > 0);
    for (let left = missing(); left.length > 0; left = missing()) {
      assert(performance.now() < deadline, `never arrived: ${left.map(({ number, underway }) => [number, underway])}`);
      for (const station of left) {
        await station.guest.core.run(() => {
          this.#receive(station.guest, [station]);
          return EXIT;
        });
        for (const [subtask] of station.guest.calls)
          this.#ended(station.guest, subtask, station.guest.core.exports.subtask_cancel(subtask));
      }
      await setTimeout(1);
    }
    this.#compare();
    for (const { host } of this.#guests) host[Symbol.dispose]();
  }

  #compare() {
    for (const { number, expected, got, isClosed } of this.#stations) {
      got.sort(([one], [another]) => one - another);
      for (const [from, numbers] of expected) {
        const theirs = got.filter(([, sender]) => sender === from).map(([, , number]) => number);
        const wanted = isClosed ? numbers.slice(0, theirs.length) : numbers;
        assert.deepEqual(theirs, wanted, `from ${from} to ${number}`);
      }
    }
  }
}
