import { formatSocketAddress, openUdp, parseSocketAddress, SocketError } from '../../dist/index.js';
import { Broken, Channel, HEADER_BYTES } from './channel.mjs';
import { noteDropped } from './waits.mjs';

/** Datagrams that may wait in one station's socket: far fewer than its buffer holds, so that none is dropped. */
const MOST_WAITING = 150;

/** A socket with its streams, which sends to the other stations and hears them. */
export class Station {
  /** The station, or the closed port's holder, that it streams to. */
  peer;
  /** Datagrams that may wait in the socket. */
  backlog = 0;
  isClosed = false;
  queue;
  /** The channel of `queue`. */
  queueChannel;

  constructor(world, number, host) {
    this.world = world;
    this.number = number;
    Object.assign(this, openUdp({ local: `${host}:0` }));
    this.#observe();
    this.socket.setReceiveBufferSize(1 << 20);
    if (world.sendBuffer !== undefined) this.socket.setSendBufferSize(world.sendBuffer);
    this.text = formatSocketAddress(this.localAddress);
    this.channel = world.channelOf(this);
    this.refused = { rule: parseSocketAddress(`${host}:0`), system: parseSocketAddress('255.255.255.255:9') };
  }

  get hasRoom() {
    return this.backlog < MOST_WAITING && !this.isClosed;
  }

  /** Runs a call that may tell that the peer refuses, where there is one. Whether it did not. */
  attempt(call, codes = []) {
    try {
      call();
      return true;
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      const isRefusal = error.payload === 'connection-refused' && this.peer !== undefined;
      if (!isRefusal && !codes.includes(error.payload)) throw new Broken(`station ${this.number}: ${error.message}`);
      return false;
    }
  }

  /** Sends a list: of datagrams to one station each, or (undefined) to an address that is refused. */
  send(targets, size, refused) {
    this.attempt(() => {
      if (this.outgoing.checkSend() === 0n) return;
      const list = targets.map((to) => this.channel.datagram(to ?? this, size));
      const addresses = targets.map((to) => (to === undefined ? refused : to.localAddress));
      const entries = list.map(({ data }, i) => (this.peer ? { data } : { data, remoteAddress: addresses[i] }));
      const sent = Number(this.outgoing.send(entries));
      for (let i = 0; i < sent; i++) {
        if (targets[i] === undefined) throw new Broken(`a datagram to ${formatSocketAddress(refused)} was accepted`);
        this.channel.sent(list[i]);
      }
    }, ['invalid-argument', 'access-denied']);
  }

  /** Gives datagrams to the queue, which is made where there is none. */
  enqueue(targets, size, refused, isCalledBack) {
    if (this.queue === undefined) this.#openQueue();
    const { queue, queueChannel: channel } = this;
    for (const to of targets) {
      const datagram = channel.datagram(to ?? this, size);
      const address = to === undefined ? refused : to.localAddress;
      const callback = isCalledBack ? (error) => channel.told(datagram, error) : undefined;
      const { data } = datagram;
      // Before, since a full batch leaves, and is told, within the call.
      channel.queued(datagram);
      datagram.isRefused = to === undefined;
      datagram.isCalledBack = isCalledBack;
      if (!queue.send(data, this.peer ? undefined : address, callback)) throw new Broken('the queue is full');
    }
  }

  #openQueue() {
    const channel = this.world.channelOf(this);
    const onError = (error, refused) => {
      if (refused !== undefined) channel.told(channel.given[refused.index], error);
      else if (error.payload !== 'connection-refused') throw new Broken(`a queue tells ${error.message}`);
    };
    this.queueChannel = channel;
    this.queue = this.outgoing.queue({ onError });
    this.world.queues.push(this.queue);
  }

  /** Receives at most so many, into a batch where there is one. How many came. */
  receive(max, batch) {
    let count = 0;
    this.attempt(() => {
      count = batch === undefined ? this.incoming.receive(max).length : this.incoming.receiveInto(batch, max);
    });
    return count;
  }

  /**
   * Has whatever the stream receives looked at, whoever asks for it: an asynchronous iterator hands over what it received
   * later, when others have received what came behind it.
   */
  #observe() {
    const { incoming } = this;
    const receiveInto = incoming.receiveInto.bind(incoming);
    incoming.receiveInto = (batch, max) => {
      const before = incoming.refused;
      const count = receiveInto(batch, max);
      for (let i = 0; i < count; i++) this.#came(batch.data(i), batch.remoteAddress(i));
      this.backlog -= count + incoming.refused - before;
      if (count > max) throw new Broken(`${count} datagrams where at most ${max} were asked for`);
      if (count === 0 && max !== 0) this.backlog = this.queuedFor();
      return count;
    };
  }

  /** What queues hold for this station, at most. */
  queuedFor() {
    return this.world.queues.reduce((sum, queue) => sum + queue.pending, 0);
  }

  /** A datagram has come, from that address. */
  #came(data, remoteAddress) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const [channelNumber, number, to] = [0, 4, 8].map((at) => view.getUint32(at));
    // The port of a station that is closed may be given to another.
    if (to !== this.number && this.world.stations[to]?.text === this.text) return;
    const channel = this.world.channels[channelNumber];
    if (to !== this.number || channel === undefined)
      throw new Broken(`station ${this.number} got a datagram of channel ${channelNumber} to station ${to}`);
    const from = formatSocketAddress(remoteAddress);
    if (from !== channel.station.text) throw new Broken(`${channel.station.text} sent, ${from} is told`);
    if (this.peer !== undefined && from !== this.peer.text)
      throw new Broken(`station ${this.number} streams to ${this.peer.text}, and hears ${from}`);
    const size = data.length - HEADER_BYTES;
    if (size > 0 && (data[HEADER_BYTES] !== (number & 0xff) || data[data.length - 1] !== (number & 0xff)))
      throw new Broken(`${channel.nameOf({ number, to: this })} came altered`);
    channel.came(number, this, size);
  }

  /** Drops the streams. */
  dropStreams() {
    this.queue = undefined;
    this.incoming[Symbol.dispose]();
    this.outgoing[Symbol.dispose]();
  }

  /** Streams to another peer, or none. */
  connect(peer) {
    this.dropStreams();
    const [incoming, outgoing] = this.socket.stream(peer?.localAddress);
    Object.assign(this, { incoming, outgoing, peer });
    this.#observe();
    if (peer === undefined) return;
    for (const channel of this.world.channels) if (channel.station !== peer) channel.excuse(this);
  }

  close() {
    this.isClosed = true;
    this.dropStreams();
    this.socket[Symbol.dispose]();
    noteDropped(this.socket);
  }
}

/** What stations share: their channels and queues, all of one round. */
export class World {
  stations = [];
  channels = [];
  queues = [];

  /** `sendBuffer`: bytes of each station's send buffer; the system's own where undefined. */
  constructor(sendBuffer) {
    this.sendBuffer = sendBuffer;
  }

  channelOf(station) {
    const channel = new Channel(this.channels.length, station);
    this.channels.push(channel);
    return channel;
  }

  open(host) {
    const station = new Station(this, this.stations.length, host);
    this.stations.push(station);
    return station;
  }

  get isDue() {
    return this.channels.some((channel) => channel.isDue);
  }
}
