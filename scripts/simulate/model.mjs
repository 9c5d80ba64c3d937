/**
 * The plain model of the interface beside a simulation: what was accepted, from whom to whom, which errors came about and
 * were told, who waits and for what. Each check names the rule that was broken.
 */
import { ALLOWED, addon, HEARD, PEERS } from './world.mjs';

/** A rule of the model was broken. */
export class Broken extends Error {
  constructor(rule) {
    Error.stackTraceLimit = 20;
    super(rule);
  }
}

/** The kinds of events of the simulated kernel. */
const SENT = 1;

const EVENT_WORDS = 5;
const events = new Int32Array(EVENT_WORDS * 4096);

/** The error-codes of the error numbers that ICMP messages carry. */
export const ERRORS = new Map([
  [111, 'connection-refused'],
  [113, 'remote-unreachable'],
]);

/** What the model knows of all sockets. */
export class Model {
  /** The sockets that are open, in order, and by their descriptors. */
  sockets = [];
  byDescriptor = new Map();
  /** The waits that have not settled. */
  waits = new Set();
  /** The loops (sendAll, a stream's batches) that have not ended. */
  loops = 0;
  /** Those of them that read a stream, with how often they have received. */
  readers = new Set();
  /** What must have left, and what has: descriptor, peer's port, hash; in order. */
  #expected = [];
  #sent = [];
  #depth = 0;
  /** The first rule that was broken. */
  broken;
  /** The last operations, the newest last. */
  history = [];
  step = 0;

  note(...what) {
    if (this.history.length >= 80) this.history.splice(0, 40);
    this.history.push([this.step, ...what]);
  }

  /** Notes that a rule is broken, and ends the operation. */
  fail(rule) {
    this.broken ??= new Broken(rule);
    throw this.broken;
  }

  /** One operation, maybe within another: what left must be what it says. */
  operation(body) {
    this.#depth += 1;
    try {
      return body();
    } finally {
      this.#depth -= 1;
      if (this.#depth === 0) this.#compare();
    }
  }

  /** A resource was dropped: whoever waits for it hears of that. */
  dropped(socket, kind) {
    for (const wait of this.waits) {
      if (wait.parts.some((part) => part.socket === socket && part.kind === kind)) wait.dropped = true;
    }
  }

  /** The waits for what is there, which may not sleep on. */
  due() {
    const due = [];
    for (const wait of this.waits) {
      if (!wait.dropped && wait.parts.some(({ socket, kind }) => socket.isReady(kind) === true)) due.push(wait);
    }
    return due;
  }

  /** A datagram was accepted: it leaves for that peer. No hash: its bytes are nobody's promise. */
  expect(socket, peer, hash) {
    this.#expected.push(socket.descriptor, peer.port, hash);
  }

  /** Takes in what the kernel did. */
  look() {
    for (;;) {
      const count = addon.simulateEvents(events);
      for (let at = 0; at < count * EVENT_WORDS; at += EVENT_WORDS) {
        const socket = this.byDescriptor.get(events[at + 1]);
        if (events[at] === SENT) this.#sent.push(events[at + 1], events[at + 3], events[at + 4]);
        else socket?.hears(ERRORS.get(events[at + 2]));
      }
      if (count * EVENT_WORDS < events.length) return;
    }
  }

  #compare() {
    this.look();
    const expected = this.#expected;
    const sent = this.#sent;
    const words = Math.max(expected.length, sent.length);
    for (let at = 0; at < words; at += 3) {
      const same =
        expected[at] === sent[at] &&
        expected[at + 1] === sent[at + 1] &&
        (expected[at + 2] === sent[at + 2] || expected[at + 2] === undefined);
      const socket = this.byDescriptor.get(sent[at]);
      const denied = socket?.policy && sent[at + 1] % 1000 >= ALLOWED;
      if (same && at < expected.length && !denied) continue;
      const show = (list) =>
        at < list.length ? `socket ${list[at]}, port ${list[at + 1]}, ${list[at + 2]}` : 'nothing';
      this.#expected = [];
      this.#sent = [];
      this.fail(
        denied
          ? `a datagram went to a denied address: ${show(sent)}`
          : `datagram ${at / 3}: accepted ${show(expected)}; left ${show(sent)}`,
      );
    }
    if (words > 0) {
      expected.length = 0;
      sent.length = 0;
    }
  }
}

/** A socket as the model knows it. */
export class ModelSocket {
  /** Datagrams that arrived and were not received: their number, length and peer. */
  arrived = [];
  /** The peer of the last stream(). */
  remote;
  incoming;
  outgoing;
  /** Whether an error came about since one was last told. */
  news = false;
  /** How often each error came about under this connection, and was not told. */
  untold = new Map();
  constructor(model, front, family, policy) {
    this.model = model;
    this.front = front;
    this.family = family;
    this.policy = policy;
    this.descriptor = front.descriptor;
    this.peers = PEERS[family];
  }

  /** What poll(2) would tell. */
  get state() {
    return addon.simulateState(this.descriptor);
  }

  /** An ICMP error came about. */
  hears(code) {
    this.news = true;
    this.untold.set(code, (this.untold.get(code) ?? 0) + 1);
  }

  /** An error was told to a stream of this connection. */
  told(code, where) {
    const count = this.untold.get(code) ?? 0;
    if (count === 0)
      this.model.fail(`${where} told ${code}, which no ICMP message of this peer has said, or was told already`);
    this.untold.set(code, count - 1);
    this.news = false;
  }

  /** The socket has another peer, or none. */
  streamsTo(remote) {
    this.remote = remote;
    this.news = false;
    this.untold.clear();
  }

  /** Whether a datagram of that peer is for the stream. */
  hearsOf(peer) {
    return (this.remote === undefined || this.remote === peer) && (!this.policy || peer.index < HEARD);
  }

  /** The index of the first datagram that is for the stream; -1 for none. */
  firstHeard() {
    return this.arrived.findIndex(({ peer }) => this.hearsOf(peer));
  }

  /** Whether a receive tells something; undefined where the model cannot know. */
  get readable() {
    if (this.news || this.firstHeard() >= 0) return true;
    return this.arrived.length > 0 || this.untold.size > 0 || (this.state & 5) !== 0 ? undefined : false;
  }

  /** Whether a check grants or tells an error; undefined where the model cannot know. */
  get writable() {
    const { state } = this;
    if (this.news || (state & 2) !== 0) return true;
    return this.untold.size > 0 || (state & 4) !== 0 ? undefined : false;
  }

  /** Whether what a wait of a kind waits for is there; undefined where the model cannot know. */
  isReady(kind) {
    const events = [];
    if (kind !== 'outgoing') events.push(this.readable);
    if (kind !== 'incoming') events.push(this.writable);
    if (kind === 'outgoing' && this.outgoing?.unsure === false) events.push(true);
    return events.includes(true) || (events.includes(undefined) ? undefined : false);
  }
}
