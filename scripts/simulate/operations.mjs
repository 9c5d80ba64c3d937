/** The operations of a simulation: each does something, and says what the model makes of it. */
import { CoreFront, ObjectFront } from './fronts.mjs';
import { ModelSocket } from './model.mjs';
import { ALLOWED, addon, PAYLOADS, TOO_LARGE } from './world.mjs';

const { AbortError, ClosedError, poll, SocketError, sendAll, Trap } = await import('../../dist/index.js');

/** The most that a check grants. */
const FULL = 1024;
/** The passes that a receive makes over datagrams that are for nobody. */
const PASSES = 16;
const NONE = -1;
/** The error numbers with which a watch is refused: ENOMEM, ENOSPC. */
const WATCH_REFUSALS = [12, 28];
const REFUSED_WATCHES = ['out-of-memory', 'unknown'];

/** The bytes of a datagram that must come next. */
const expected = Buffer.alloc(65_536);

const SIZES = [...PAYLOADS.keys()].filter((size) => size <= 1200);

/** What a simulation does, by its random numbers. */
export class Operations {
  #random;
  #model;
  #lastNumber = 0;
  /** The socket on which something was done from within, in this step. */
  #nested;
  #refusals = 0;

  constructor(random, model) {
    this.#random = random;
    this.#model = model;
  }

  // Sockets and streams.

  open() {
    const random = this.#random;
    const family = random.once(4) ? 6 : 4;
    const hasPolicy = random.once(3);
    const front = random.once(5) ? new CoreFront(family, hasPolicy) : new ObjectFront(family, hasPolicy);
    const socket = new ModelSocket(this.#model, front, family, hasPolicy);
    this.#model.note('open', socket.descriptor, family, hasPolicy ? 'with a policy' : '', front.constructor.name);
    this.#model.sockets.push(socket);
    this.#model.byDescriptor.set(socket.descriptor, socket);
    this.stream(socket);
  }

  /** Streams to some peer, or to anybody. */
  stream(socket, to) {
    const random = this.#random;
    const peer = to ?? (random.once(3) ? undefined : random.of(socket.peers));
    this.#drop(socket, 'incoming');
    this.#drop(socket, 'outgoing');
    const denied = socket.policy && peer !== undefined && peer.index >= ALLOWED;
    const error = this.#error(() => socket.front.stream(peer?.address));
    this.#model.look();
    this.#model.note('stream', socket.descriptor, peer?.port ?? 'to anybody', error?.payload ?? '');
    if (error === undefined) {
      if (denied) this.#model.fail('stream to a denied peer');
      socket.streamsTo(peer);
      socket.incoming = { kind: 'incoming' };
      socket.outgoing = { kind: 'outgoing', remote: peer, permit: NONE, unsure: false, pending: [], writer: undefined };
      return;
    }
    if (denied) this.#expectError(error, 'access-denied', 'stream');
    else {
      this.#expectError(error, 'remote-unreachable', 'stream');
      // A connect that failed leaves the socket without a peer.
      socket.streamsTo(undefined);
    }
  }

  #drop(socket, kind) {
    if (socket[kind] === undefined) return;
    this.#model.note('drop', socket.descriptor, kind);
    socket[kind] = undefined;
    socket.front.drop(kind);
    this.#model.dropped(socket, kind);
  }

  dropStream(socket) {
    this.#drop(socket, this.#random.of(['incoming', 'outgoing']));
  }

  close(socket) {
    this.#drop(socket, 'incoming');
    this.#drop(socket, 'outgoing');
    this.#model.note('drop', socket.descriptor, 'socket');
    this.#model.dropped(socket, 'socket');
    this.#model.sockets.splice(this.#model.sockets.indexOf(socket), 1);
    socket.front.drop('socket');
    this.#model.byDescriptor.delete(socket.descriptor);
    socket.closed = true;
    if (socket.state !== -1) this.#model.fail(`socket ${socket.descriptor} is open after its last owner was dropped`);
  }

  // Sending.

  checkSend(socket, passes = false) {
    const { outgoing } = socket;
    if (outgoing === undefined) return 0;
    return this.#model.operation(() => {
      const { news, state } = socket;
      outgoing.permit = NONE;
      let granted = 0;
      const error = this.#error(() => {
        granted = socket.front.checkSend();
      });
      this.#model.look();
      this.#model.note('checkSend', socket.descriptor, error?.payload ?? granted);
      if (error !== undefined) {
        socket.told(this.#code(error, 'check-send'), 'check-send');
        outgoing.unsure = true;
        if (passes) throw error;
        return 0;
      }
      if (outgoing.unsure && news) this.#model.fail('check-send, which asked the kernel, told nothing of an error');
      if (granted !== 0 && granted !== FULL) this.#model.fail(`check-send granted ${granted}`);
      if (granted === 0 && (!outgoing.unsure || (state & 2) !== 0))
        this.#model.fail('check-send granted nothing, and there is room');
      if (granted > 0 && outgoing.unsure && (state & 2) === 0)
        this.#model.fail('check-send granted, and there is no room');
      outgoing.unsure = granted === 0;
      outgoing.permit = granted;
      return granted;
    });
  }

  /** Sends a list: of equal datagrams, or of many kinds; now and then one whose getter does something else. */
  send(socket) {
    const random = this.#random;
    const { outgoing } = socket;
    if (outgoing === undefined) return;
    if (!random.once(20)) this.checkSend(socket);
    if (socket.outgoing !== outgoing) return;
    const items = this.#items(socket);
    const list = [...items];
    if (socket.front.waits && items.length > 0 && this.#nested === undefined && random.once(8)) {
      const at = random.below(items.length);
      list[at] = this.#tricky(socket, items[at]);
    }
    this.sendItems(socket, items, list);
  }

  /** Sends these; how many were accepted. Throws what `send` threw, where it `passes`. */
  sendItems(socket, items, list = items, passes = false) {
    const { outgoing } = socket;
    const valid = this.#valid(outgoing, socket, items);
    return this.#sends(socket, 'send', items, valid, () => socket.front.send(list), passes);
  }

  /** What becomes of a batch of which the first are valid. */
  #sends(socket, method, items, valid, call, passes = false) {
    const { outgoing } = socket;
    return this.#model.operation(() => {
      const isUnknown = Number.isNaN(outgoing.permit);
      const isPermitted = isUnknown || items.length <= outgoing.permit;
      const isWithin = this.#nested !== undefined;
      if (items.length > 0 && isPermitted) outgoing.permit = NONE;
      let accepted = 0;
      const error = this.#error(() => {
        accepted = call();
      });
      const { news } = socket;
      for (let i = 0; i < accepted; i++) this.#model.expect(socket, items[i].peer ?? outgoing.remote, items[i].hash);
      this.#model.look();
      const kind = `${items.length} datagrams of ${items[0]?.data.length}`;
      this.#model.note(method, socket.descriptor, kind, error?.payload ?? error?.name ?? accepted);
      const isDropped = socket.outgoing !== outgoing;
      if (accepted < valid && (error === undefined || error instanceof SocketError)) outgoing.unsure = true;
      if (accepted > valid) this.#model.fail(`${method} accepted ${accepted}, of which ${valid} are valid`);
      if (error !== undefined && !(error instanceof SocketError)) {
        // What is refused because it comes from within may have used the permit up, or not.
        if (isWithin) outgoing.permit = NaN;
        const isRight = items.length === 0 || !isPermitted || isDropped || isUnknown || isWithin;
        if (!isRight) this.#model.fail(`${method} trapped: ${error.message}`);
      } else if (items.length > 0 && !isPermitted) this.#model.fail(`${method} took more than was permitted`);
      else if (error !== undefined && valid === 0) this.#expectError(error, items[0].refusal, method);
      else if (error !== undefined) {
        if (isDropped) this.#model.fail(`${method} of a stream that was dropped told an error of the system`);
        socket.told(this.#code(error, method), method);
      } else if (valid > 0 && news && !isDropped) this.#model.fail(`${method} told nothing of an error that was there`);
      if (passes && error !== undefined) throw error;
      return accepted;
    });
  }

  /** A datagram, or an address, with a getter that does something else, once. */
  #tricky(socket, { data, remoteAddress }) {
    const act = () => this.#act(socket);
    const kind = remoteAddress === undefined ? 0 : this.#random.below(3);
    if (kind === 2) return { data, remoteAddress: this.#trickyAddress(socket, remoteAddress) };
    return {
      get data() {
        if (kind === 0) act();
        return data;
      },
      get remoteAddress() {
        if (kind === 1) act();
        return remoteAddress;
      },
    };
  }

  #trickyAddress(socket, { tag, val }) {
    const act = () => this.#act(socket);
    return {
      get tag() {
        act();
        return tag;
      },
      val,
    };
  }

  /** Does something with a socket from within another operation on it; nothing the second time. */
  #act(socket) {
    if (this.#nested === socket) return;
    this.#nested = socket;
    const name = this.#random.of([
      'send',
      'commit',
      'commit',
      'flush',
      'stream',
      'dropStream',
      'receive',
      'wait',
      'checkSend',
      'close',
    ]);
    this.#model.note('within', socket.descriptor, name);
    if (!socket.closed) this[name](socket);
  }

  /** Writes a datagram in place; now and then with an address whose getter does something else. */
  commit(socket) {
    const random = this.#random;
    const { outgoing } = socket;
    if (outgoing === undefined || !socket.front.waits) return;
    // A writer has a large buffer of its own, so few streams have one.
    if (outgoing.writer === undefined && !random.once(20)) return;
    outgoing.writer ??= socket.front.outgoing.writer();
    const { writer, pending } = outgoing;
    if (pending.length > 500) return;
    const [item] = this.#items(socket, 1);
    if (item.data === TOO_LARGE.data) return;
    const isTricky = item.remoteAddress !== undefined && this.#nested === undefined && random.once(8);
    const address = isTricky ? this.#trickyAddress(socket, item.remoteAddress) : item.remoteAddress;
    writer.bytes.set(item.data, writer.position);
    const refusal = this.#refusal(outgoing, socket, item);
    const error = this.#error(() => writer.commit(item.data.length, address));
    this.#model.note(
      'commit',
      socket.descriptor,
      item.data.length,
      item.peer?.port ?? '',
      error?.payload ?? error?.name ?? '',
    );
    if (error === undefined) {
      if (refusal !== undefined) this.#model.fail(`commit took what breaks a rule: ${refusal}`);
      // What was written from within took the place of its bytes.
      outgoing.pending.push(isTricky ? { ...item, hash: undefined } : item);
    } else if (!isTricky && this.#nested === undefined) this.#expectError(error, refusal, 'commit');
    if (writer.pending !== outgoing.pending.length)
      this.#model.fail(`a writer has ${writer.pending} pending, not ${outgoing.pending.length}`);
  }

  /** Sends what was written, or gives it up. */
  flush(socket) {
    const { outgoing } = socket;
    if (outgoing?.writer === undefined) return;
    if (this.#random.once(10)) {
      outgoing.writer.clear();
      outgoing.pending.length = 0;
      return;
    }
    this.checkSend(socket);
    const { pending, writer } = outgoing;
    const accepted = this.#sends(socket, 'flush', pending, pending.length, () => Number(writer.flush()));
    pending.splice(0, accepted);
  }

  /** Sends all of a list, by and by. */
  sendAll(socket) {
    const random = this.#random;
    const { outgoing } = socket;
    if (outgoing === undefined || !socket.front.waits || outgoing.isBusy) return;
    outgoing.isBusy = true;
    const object = socket.front.outgoing;
    const controller = new AbortController();
    const items = Array.from({ length: random.from(1, 4) }, () => this.#items(socket)).flat();
    const isOpen = () => socket.outgoing === outgoing;
    let accepted = 0;
    const stream = {
      checkSend: () => (isOpen() ? BigInt(this.checkSend(socket, true)) : object.checkSend()),
      send: (list) => {
        if (!isOpen()) return object.send(list);
        const count = this.sendItems(socket, list, list, true);
        accepted += count;
        return BigInt(count);
      },
      subscribe: () => ({
        wait: (options) => this.#track(socket, 'outgoing', object.subscribe().wait(options), controller),
      }),
      doubt: () => {
        object.doubt();
        if (outgoing.remote !== undefined) outgoing.unsure = true;
      },
    };
    async function* slowly() {
      for (const item of items) yield item;
    }
    this.#model.note('sendAll', socket.descriptor, items.length);
    this.#model.loops += 1;
    sendAll(stream, random.once(2) ? items : slowly(), { signal: controller.signal })
      .then(
        (count) => {
          this.#model.note('sent all', socket.descriptor, items.length);
          if (count !== BigInt(accepted) || accepted !== items.length)
            this.#model.fail(`sendAll resolved with ${count}, ${accepted} of ${items.length} were accepted`);
        },
        (error) => {
          this.#model.note('sent some', socket.descriptor, accepted, error?.payload ?? error?.name);
          if (error.accepted !== BigInt(accepted))
            this.#model.fail(`sendAll rejected with ${error.accepted} accepted, not ${accepted}`);
        },
      )
      .catch((error) => this.unexpected(error))
      .then(() => {
        outgoing.isBusy = false;
        this.#model.loops -= 1;
      });
  }

  /** How many of the first ones break no rule. */
  #valid(outgoing, socket, items) {
    const index = items.findIndex((item) => {
      item.refusal = this.#refusal(outgoing, socket, item);
      return item.refusal !== undefined;
    });
    return index < 0 ? items.length : index;
  }

  #refusal({ remote }, { policy }, { data, peer }) {
    if (data === TOO_LARGE.data) return 'datagram-too-large';
    if (peer === undefined) return remote === undefined ? 'invalid-argument' : undefined;
    if (remote !== undefined) return peer === remote ? undefined : 'invalid-argument';
    return policy && peer.index >= ALLOWED ? 'access-denied' : undefined;
  }

  /** Datagrams for a stream. */
  #items(socket, most) {
    const random = this.#random;
    const { remote } = socket.outgoing;
    const count = most ?? (random.once(30) ? random.from(65, 400) : random.once(40) ? 0 : random.from(1, 6));
    const isRun = count > 64 || random.once(2);
    let payloads = PAYLOADS.get(random.of(SIZES));
    let peer = this.#destination(socket);
    const items = [];
    for (let i = 0; i < count; i++) {
      if (!isRun && random.once(2)) payloads = PAYLOADS.get(random.of(SIZES));
      if ((!isRun && random.once(3)) || random.once(50)) peer = this.#destination(socket);
      const { data, hash } = random.once(300) ? TOO_LARGE : random.of(payloads);
      const named = remote !== undefined && peer === remote && !random.once(4) ? undefined : peer;
      items.push({ data, remoteAddress: named?.address, peer: named, hash });
    }
    return items;
  }

  /** A peer that a stream may name, mostly. */
  #destination(socket) {
    const random = this.#random;
    const { remote } = socket.outgoing;
    if (remote !== undefined && !random.once(40)) return remote;
    return socket.policy && !random.once(20) ? socket.peers[random.below(ALLOWED)] : random.of(socket.peers);
  }

  // Receiving.

  arrive(socket) {
    const random = this.#random;
    const peer = socket.remote !== undefined && !random.once(4) ? socket.remote : random.of(socket.peers);
    const length = random.of(SIZES);
    const count = random.once(4) ? random.from(1, 90) : random.from(1, 4);
    const first = this.#lastNumber + 1;
    this.#lastNumber += count;
    const { descriptor, family } = socket;
    const taken = addon.simulateArrivals(descriptor, family, peer.host, peer.port, first, length, count);
    this.#model.note('arrive', descriptor, `${taken} of ${count} datagrams of ${length} from ${peer.port}`);
    for (let i = 0; i < taken; i++) socket.arrived.push({ number: first + i, length, peer });
  }

  /** Receives batch after batch, until the stream is dropped or an error is told. */
  iterate(socket) {
    const { incoming } = socket;
    if (incoming === undefined || !socket.front.waits || incoming.isBusy) return;
    incoming.isBusy = true;
    const object = socket.front.incoming;
    const { receive, subscribe } = object;
    const loop = { parts: [{ socket, kind: 'incoming' }], receives: 0, missed: 0 };
    object.receive = () => {
      loop.receives += 1;
      return socket.incoming === incoming ? this.receive(socket, FULL, true) : receive.call(object);
    };
    object.subscribe = () => ({ wait: () => this.#track(socket, 'incoming', subscribe.call(object).wait()) });
    const consume = async () => {
      try {
        for await (const batch of object) if (batch.length === 0) this.#model.fail('an empty batch');
      } catch (error) {
        if (!(error instanceof SocketError)) throw error;
      } finally {
        incoming.isBusy = false;
        this.#model.loops -= 1;
        this.#model.readers.delete(loop);
        delete object.receive;
        delete object.subscribe;
      }
    };
    this.#model.note('iterate', socket.descriptor);
    this.#model.loops += 1;
    this.#model.readers.add(loop);
    consume().catch((error) => this.unexpected(error));
  }

  receive(
    socket,
    max = this.#random.once(2) ? 1 : this.#random.once(20) ? 0 : this.#random.from(2, 100),
    passes = false,
  ) {
    if (socket.incoming === undefined) return undefined;
    return this.#model.operation(() => {
      const { news } = socket;
      const refused = socket.front.refused;
      const method = this.#random.once(3) && !passes ? 'receiveInto' : 'receive';
      let received = [];
      const error = this.#error(() => {
        received = socket.front[method](max);
      });
      this.#model.look();
      this.#model.note(method, socket.descriptor, max, error?.payload ?? received.length);
      if (received.length > max) this.#model.fail(`receive(${max}) gave ${received.length} datagrams`);
      const seen = this.#take(socket, received, socket.front.refused - refused);
      if (error !== undefined) {
        socket.told(this.#code(error, 'receive'), 'receive');
        if (passes) throw error;
        return received;
      }
      if (received.length > 0 || max === 0 || seen >= PASSES) return received;
      if (socket.firstHeard() >= 0) this.#model.fail('receive gave nothing, and a datagram is there');
      if (news) this.#model.fail('receive gave nothing, and an error is there');
      return received;
    });
  }

  /** Datagrams were received, and others refused: they must be the next ones, each whole. How many that is. */
  #take(socket, received, refused) {
    const count = received.length + refused;
    const heard = socket.arrived.splice(0, count).filter(({ peer }) => socket.hearsOf(peer));
    if (heard.length !== received.length)
      this.#model.fail(`received ${received.length} and refused ${refused}, next are ${heard.length} to be received`);
    for (const [i, { number, length, peer }] of heard.entries()) {
      const { data, remoteAddress } = received[i];
      expected.fill(number & 0xff, 0, length);
      for (let at = 0; at < length && at < 4; at++) expected[at] = number >> (8 * at);
      const isWhole = expected.compare(data, 0, data.length, 0, length) === 0;
      if (isWhole && remoteAddress.val.port === peer.port) continue;
      this.#model.fail(
        `received ${data.length} bytes from ${remoteAddress.val.port}, next is number ${number}, ${length} bytes from ${peer.port}`,
      );
    }
    return count;
  }

  // Readiness.

  /** Waits by the event loop, and then goes on with something. */
  wait(socket) {
    const random = this.#random;
    const kind = random.of(['incoming', 'incoming', 'outgoing', 'socket']);
    if (!socket.front.waits || (kind !== 'socket' && socket[kind] === undefined) || this.#model.waits.size > 20) return;
    const controller = random.once(3) ? new AbortController() : undefined;
    this.#begin(socket, kind, controller, random.of([undefined, 'receive', 'send', 'again', 'receiveOne']));
  }

  #begin(socket, kind, controller, then) {
    this.#model.note('wait', socket.descriptor, kind, then ?? '');
    const pending = socket.front.subscribe(kind).wait({ signal: controller?.signal });
    const goOn = () => {
      if (socket.closed) return;
      if (then === 'receive') this.receive(socket);
      else if (then === 'receiveOne') this.receive(socket, 1);
      else if (then === 'send') this.send(socket);
      else if (then === 'again' && (kind === 'socket' || socket[kind] !== undefined)) this.#begin(socket, kind);
    };
    this.#track(socket, kind, pending, controller)
      .then(goOn, () => {})
      .catch((error) => this.unexpected(error));
  }

  /** Waits for several at once. */
  waitForAny() {
    const { sockets, waits } = this.#model;
    if (waits.size > 20) return;
    const parts = sockets
      .flatMap((socket) =>
        socket.front.waits
          ? ['incoming', 'outgoing', 'socket']
              .filter((kind) => kind === 'socket' || socket[kind] !== undefined)
              .map((kind) => ({ socket, kind }))
          : [],
      )
      .filter(() => this.#random.once(2));
    if (parts.length === 0) return;
    this.#model.note('wait for any', ...parts.map(({ socket, kind }) => `${socket.descriptor} ${kind}`));
    const pending = poll.wait(parts.map(({ socket, kind }) => socket.front.subscribe(kind)));
    this.#trackAny(parts, pending).then(
      () => {},
      () => {},
    );
  }

  #track(socket, kind, pending, controller) {
    return this.#trackAny([{ socket, kind }], pending, controller);
  }

  /** Has the model know of a wait until it settles. */
  #trackAny(parts, pending, controller) {
    const wait = { parts, controller, dropped: false, settled: false };
    this.#model.waits.add(wait);
    const settle = (error) => {
      wait.settled = true;
      this.#model.waits.delete(wait);
      this.#model.note('woke', ...parts.map(({ socket, kind }) => `${socket.descriptor} ${kind}`), error?.name ?? '');
      if (error !== undefined) this.#woke(wait, error);
    };
    return pending.then(
      (value) => {
        settle();
        return value;
      },
      (error) => {
        settle(error);
        throw error;
      },
    );
  }

  /** Whether a wait may have ended with that error. */
  #woke(wait, error) {
    if (error instanceof AbortError && wait.controller?.signal.aborted) return;
    if ((error instanceof ClosedError || error instanceof Trap) && wait.dropped) return;
    if (error instanceof SocketError && REFUSED_WATCHES.includes(error.payload) && this.#refusals > 0) return;
    this.unexpected(new Error(`a wait ended with ${error.stack}`));
  }

  abort() {
    for (const { controller, parts } of this.#model.waits) {
      if (controller === undefined || controller.signal.aborted) continue;
      this.#model.note('abort', parts[0].socket.descriptor, parts[0].kind);
      controller.abort();
      return;
    }
  }

  /** A step is over. */
  settled() {
    this.#nested = undefined;
  }

  /** Asks a pollable whether it is ready. */
  poll(socket) {
    const kind = this.#random.of(['incoming', 'outgoing', 'socket']);
    if (kind !== 'socket' && socket[kind] === undefined) return;
    if (kind === 'socket' && !socket.front.waits && socket.outgoing === undefined) return;
    const expected = kind === 'socket' ? undefined : socket.isReady(kind);
    const pollable = socket.front.subscribe(kind);
    const ready = pollable.ready();
    this.#model.note('ready', socket.descriptor, kind, ready);
    if (expected !== undefined && ready !== expected) this.#model.fail(`${kind}: ready() is ${ready}, not ${expected}`);
    if (ready) pollable.block();
    pollable[Symbol.dispose]();
  }

  refuseWatch() {
    this.#refusals += 1;
    this.#model.note('the next watch is refused');
    addon.simulateWatchRefusal(this.#random.of(WATCH_REFUSALS));
  }

  // Errors of the network.

  icmp(socket) {
    const random = this.#random;
    const peer = socket.remote !== undefined && !random.once(3) ? socket.remote : random.of(socket.peers);
    const errno = random.once(4) ? 113 : 111;
    const delay = random.once(2) ? 0 : random.from(1, 30);
    this.#model.note('icmp', socket.descriptor, errno, peer.port, `after ${delay}`);
    addon.simulateIcmp(socket.descriptor, socket.family, peer.host, peer.port, errno, delay);
    this.#model.look();
  }

  refusePeer(socket) {
    const random = this.#random;
    const peer = random.of(socket.peers);
    const delay = random.once(2) ? NONE : random.of([0, 0, 5, 20]);
    this.#model.note('peer', peer.port, delay < 0 ? 'takes' : `refuses after ${delay}`);
    addon.simulateRefusing(socket.family, peer.host, peer.port, delay);
  }

  // Errors of a call.

  /** The error that a call threw, if it did. A rule that was broken within is passed on. */
  #error(call) {
    try {
      call();
      return undefined;
    } catch (error) {
      if (this.#model.broken !== undefined) throw this.#model.broken;
      if (error instanceof SocketError || error instanceof Trap || this.#nested !== undefined) return error;
      throw error;
    }
  }

  #code(error, where) {
    if (!(error instanceof SocketError)) this.#model.fail(`${where} threw ${error.stack}`);
    return error.payload;
  }

  #expectError(error, code, where) {
    if (error.payload !== code) this.#model.fail(`${where} threw ${error.stack}, not ${code}`);
  }

  /** Something was thrown where nobody catches it. */
  unexpected(error) {
    this.#model.broken ??= error;
  }
}
