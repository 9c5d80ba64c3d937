import { setImmediate, setTimeout } from 'node:timers/promises';
import { IncomingBatch, poll, SocketError } from '../../dist/index.js';
import { Broken } from './channel.mjs';
import { Random } from './random.mjs';
import { World } from './station.mjs';
import { Waits } from './waits.mjs';

/** How long what was sent may take to arrive, in milliseconds. */
const PATIENCE_MS = 3000;

const MOST_TASKS = 3;
const MOST_WAITS = 24;

/** A few stations that send to each other, wait and receive, as the seed has it: one seed, one run. */
export class Round {
  /** What was done, the oldest first. */
  trace = [];
  #random;
  #world;
  #waits = new Waits();
  #batch = new IncomingBatch();
  #host;
  /** A station whose port nobody answers at. */
  #nobody;

  /** `sendBuffer`: bytes of each station's send buffer; the system's own where undefined. */
  constructor(seed, sendBuffer) {
    this.#random = new Random(seed);
    this.#world = new World(sendBuffer);
    this.#host = this.#random.oneIn(3) ? '[::1]' : '127.0.0.1';
    this.#nobody = this.#world.open(this.#host);
    this.#nobody.connect(this.#nobody);
    this.#nobody.isClosed = true;
    for (let i = this.#random.below(3); i >= 0; i--) this.#world.open(this.#host);
    this.#world.open(this.#host);
  }

  /** So many steps, and the end: all must have arrived, and whoever waits hears of the drop. */
  async run(steps) {
    for (let left = steps; left > 0; ) {
      for (let i = Math.min(left, 1 + this.#random.below(40)); i > 0; i--, left--) {
        this.#step();
        if (this.#random.oneIn(8)) await null;
      }
      await setImmediate();
      if (this.#random.oneIn(4)) await this.#waits.check();
    }
    await this.#end();
  }

  #note(station, what, detail = '') {
    this.trace.push([station.number, what, detail]);
    if (this.trace.length > 200) this.trace.splice(0, 100);
  }

  get #open() {
    return this.#world.stations.filter((station) => !station.isClosed);
  }

  /** Whom the station may send to now; undefined is an address that is refused. */
  #targets(station, count) {
    const random = this.#random;
    if (station.peer !== undefined) {
      const { peer } = station;
      return peer.hasRoom || peer === this.#nobody ? Array(peer === this.#nobody ? 1 : count).fill(peer) : [];
    }
    const others = this.#open.filter(({ hasRoom }) => hasRoom);
    if (others.length === 0) return [];
    const one = random.pick(others);
    const mixed = random.oneIn(3);
    const refusedOnes = random.oneIn(6) ? 6 : 0;
    return Array.from({ length: count }, () => {
      if (refusedOnes > 0 && random.oneIn(refusedOnes)) return undefined;
      return mixed ? random.pick(others) : one;
    });
  }

  #step() {
    const random = this.#random;
    const station = random.pick(this.#open);
    const dice = random.below(1000);
    if (dice < 220) this.#send(station);
    else if (dice < 330) this.#enqueue(station);
    else if (dice < 480) this.#receive(station, 1);
    else if (dice < 560) this.#receive(station, random.pick([0, 2, 3, 17, 1024]));
    else if (dice < 600) this.#receive(station, random.pick([1, 5, 64, 1024]), this.#batch);
    else if (dice < 740) this.#wait(station);
    else if (dice < 780) this.#waitForAny();
    else if (dice < 820) this.#startTask(station);
    else if (dice < 880) this.#ask(station);
    else if (dice < 940) {
      this.#note(station, 'abort');
      this.#waits.abort(random);
    } else if (dice < 965) this.#leave(station);
    else if (dice < 985) this.#connect(station);
    else if (dice < 992) this.#replace(station);
    else this.#useQueue(station);
  }

  #send(station) {
    const count = this.#random.pick([1, 1, 1, 2, 5, 30, 64]);
    const targets = this.#targets(station, count);
    if (targets.length === 0) return;
    this.#note(station, 'send', targets.map((to) => to?.number ?? 'refused').join(' '));
    station.send(targets, this.#size(), this.#refusedAddress(station));
  }

  #enqueue(station) {
    // A queue has buffers of its own, which cost more than hundreds of steps.
    if (station.queue === undefined && !this.#random.oneIn(6)) return;
    const targets = this.#targets(station, this.#random.pick([1, 1, 2, 20]));
    if (targets.length === 0) return;
    this.#note(station, 'queue.send', targets.map((to) => to?.number ?? 'refused').join(' '));
    station.enqueue(targets, this.#size(), this.#refusedAddress(station), this.#random.oneIn(2));
  }

  #size() {
    return this.#random.pick([0, 1, 20, 20, 20, 150]);
  }

  #refusedAddress({ refused }) {
    return this.#random.oneIn(2) ? refused.rule : refused.system;
  }

  #receive(station, max, batch) {
    this.#note(station, batch === undefined ? 'receive' : 'receiveInto', max);
    station.receive(max, batch);
  }

  /** One of a station's resources, by what it waits for. */
  #resource(station) {
    const name = this.#random.pick(['incoming', 'incoming', 'incoming', 'outgoing', 'socket']);
    return [name, station[name]];
  }

  #wait(station) {
    if (this.#waits.size >= MOST_WAITS) return;
    const [name, resource] = this.#resource(station);
    // Who knows that there is room does not wait for it.
    if (name === 'outgoing') station.outgoing.doubt();
    this.#note(station, 'wait', name);
    const controller = this.#random.oneIn(2) ? new AbortController() : undefined;
    const promise = resource.subscribe().wait({ signal: controller?.signal });
    this.#waits.add({
      name: `wait for ${name} of station ${station.number}`,
      resources: [resource],
      promise,
      controller,
    });
  }

  #waitForAny() {
    if (this.#waits.size >= MOST_WAITS) return;
    const picked = Array.from({ length: 1 + this.#random.below(4) }, () => this.#random.pick(this.#open));
    const named = picked.map((station) => this.#resource(station));
    const name = `poll.wait for ${named.map(([half], i) => `${half} of station ${picked[i].number}`).join(', ')}`;
    this.#note(picked[0], name);
    const resources = named.map(([, resource]) => resource);
    this.#waits.add({ name, resources, promise: poll.wait(resources.map((resource) => resource.subscribe())) });
  }

  /** A loop that receives what comes until the stream is dropped. */
  #startTask(station) {
    const { incoming } = station;
    if (this.#waits.tasksOf(incoming) >= MOST_TASKS || !this.#random.oneIn(4)) return;
    const kind = this.#random.below(3);
    this.#note(station, 'task', ['for await', 'wait, receive(1)', 'poll.wait, receiveInto'][kind]);
    const task = [() => this.#iterate(station), () => this.#oneByOne(station), () => this.#byBatch(station)][kind];
    this.#waits.addTask(`task ${kind} of station ${station.number}`, incoming, task());
  }

  async #iterate(station) {
    const { incoming } = station;
    while (!incoming.closed) {
      try {
        for await (const batch of incoming) if (batch.length === 0) throw new Broken('a batch of none');
      } catch (error) {
        if (!(error instanceof SocketError && error.payload === 'connection-refused')) throw error;
      }
    }
  }

  async #oneByOne(station) {
    const { incoming } = station;
    for (;;) {
      await incoming.subscribe().wait();
      if (incoming.closed) return;
      station.receive(1);
    }
  }

  async #byBatch(station) {
    const { incoming } = station;
    for (;;) {
      await poll.wait([incoming.subscribe()]);
      if (incoming.closed) return;
      station.receive(3, this.#batch);
    }
  }

  /** What asks, and changes nothing but what is known. */
  #ask(station) {
    const kind = this.#random.pick(['ready', 'ready', 'checkSend', 'doubt']);
    this.#note(station, kind);
    if (kind === 'ready') this.#resource(station)[1].subscribe().ready();
    else if (kind === 'doubt') station.outgoing.doubt();
    else station.attempt(() => station.outgoing.checkSend());
  }

  /** The queue is flushed, or closed, or holds the process no longer. */
  #leave(station) {
    const { queue } = station;
    if (queue === undefined) return;
    const kind = this.#random.pick(['flush', 'flush', 'close', 'ref', 'unref']);
    this.#note(station, `queue.${kind}`);
    if (kind === 'close') station.queue = undefined;
    const promise = queue[kind]();
    if (kind === 'flush' || kind === 'close')
      this.#waits.add({ name: `queue.${kind}`, resources: [], promise, owners: [station.outgoing] });
  }

  #useQueue(station) {
    this.#note(station, 'queue of its own');
    station.queue = undefined;
    this.#enqueue(station);
  }

  #connect(station) {
    const others = this.#open.filter((other) => other !== station);
    const peer = this.#random.pick([undefined, undefined, ...others, ...(this.#random.oneIn(3) ? [this.#nobody] : [])]);
    this.#note(station, 'connect', peer?.number ?? 'nowhere');
    station.connect(peer);
  }

  #replace(station) {
    this.#note(station, 'close');
    station.close();
    this.#world.open(this.#host);
  }

  async #end() {
    this.#note(this.#nobody, 'the end');
    const world = this.#world;
    await this.#waits.check();
    const deadline = performance.now() + PATIENCE_MS;
    while (world.isDue || world.queues.some(({ pending }) => pending > 0)) {
      for (const station of this.#open) while (station.receive(64) > 0);
      if (performance.now() > deadline) this.#tellLost();
      await (performance.now() > deadline - PATIENCE_MS + 50 ? setTimeout(1) : setImmediate());
    }
    for (const channel of world.channels) channel.settled();
    if (this.#random.oneIn(2)) this.#waits.abortAll();
    for (const station of [this.#nobody, ...this.#open]) station.close();
    await this.#waits.check();
    await setImmediate();
    await this.#waits.check();
    if (this.#waits.size > 0) throw new Broken(`${this.#waits.size} waits are pending, and all is dropped`);
  }

  #tellLost() {
    const pending = this.#world.queues.filter((queue) => queue.pending > 0).length;
    const lost = this.#world.channels.flatMap((channel) => channel.missing);
    throw new Broken(`${pending} queues hold on; missing: ${lost.slice(0, 5).join('; ')}`);
  }
}
