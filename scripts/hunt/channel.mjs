/**
 * What one way of sending has sent, and what has come of it: of each datagram that was accepted, where it goes to, and whether
 * it may be missing. Datagrams of one channel to one station arrive in order, each once.
 */

/** A rule of the hunt is broken. */
export class Broken extends Error {}

/** Bytes before the filling: the numbers of the channel, of the datagram and of the station that it is for. */
export const HEADER_BYTES = 12;

/** What became of a datagram, as far as is known. */
const QUEUED = 0;
const SENT = 1;
const REFUSED = 2;

export class Channel {
  #next = 0;
  /** Datagrams on their way, by the station that they are for. */
  #due = new Map();
  /** All that a queue was given, by their index. */
  given = [];

  constructor(number, station) {
    this.number = number;
    this.station = station;
  }

  /** A datagram for a station, which is on its way once `sent` or `queued` is called. */
  datagram(to, size) {
    const number = this.#next++;
    const data = new Uint8Array(HEADER_BYTES + size).fill(number);
    const view = new DataView(data.buffer);
    for (const [i, value] of [this.number, number, to.number].entries()) view.setUint32(4 * i, value);
    return { data, number, to, size, state: SENT, told: 0, mayMiss: false, isSkipped: false, hasCome: false };
  }

  /** The kernel has accepted it. */
  sent(datagram) {
    const { to } = datagram;
    // The kernel lets in only what the peer sent.
    datagram.mayMiss = to.isClosed || (to.peer !== undefined && to.peer !== this.station);
    datagram.data = undefined;
    to.backlog += 1;
    if (to.isClosed) return;
    const due = this.#due.get(to);
    if (due === undefined) this.#due.set(to, [datagram]);
    else due.push(datagram);
  }

  /** A queue has taken it, and refuses it, if at all, later. */
  queued(datagram) {
    this.given.push(datagram);
    this.sent(datagram);
    datagram.state = QUEUED;
  }

  /** The queue tells what became of a datagram. */
  told(datagram, error) {
    datagram.told += 1;
    if (datagram.told > 1) throw new Broken(`${this.nameOf(datagram)} was told twice`);
    if (error !== undefined && datagram.hasCome) throw new Broken(`${this.nameOf(datagram)} came, and was refused`);
    datagram.state = error === undefined ? SENT : REFUSED;
    if (datagram.isSkipped) this.#missing(datagram);
  }

  /** A datagram of this channel has come. */
  came(number, to, size) {
    const due = this.#due.get(to);
    for (let i = 0; i < (due?.length ?? 0); i++) {
      const datagram = due[i];
      if (datagram.number !== number) {
        if (datagram.number > number) break;
        datagram.isSkipped = true;
        if (datagram.state !== QUEUED) this.#missing(datagram);
        continue;
      }
      due.splice(0, i + 1);
      datagram.hasCome = true;
      if (datagram.state === REFUSED) throw new Broken(`${this.nameOf(datagram)} came, and was refused`);
      if (datagram.size !== size) throw new Broken(`${this.nameOf(datagram)} came with ${size} bytes`);
      return;
    }
    throw new Broken(`datagram ${number} of channel ${this.number} came to station ${to.number} twice, or late`);
  }

  /** The station hears none but this peer from now on: what others have sent it may be missing. */
  excuse(to) {
    for (const datagram of this.#due.get(to) ?? []) datagram.mayMiss = true;
  }

  /** Whether there is something on its way that must come. */
  get isDue() {
    for (const [to, due] of this.#due) if (!to.isClosed && due.some(mustCome)) return true;
    return false;
  }

  /** Names what is on its way and must come. */
  get missing() {
    return [...this.#due].flatMap(([to, due]) => (to.isClosed ? [] : due.filter(mustCome))).map(this.nameOf, this);
  }

  /** All is sent, and has come. Throws where a datagram of a queue was told otherwise than it is. */
  settled() {
    for (const datagram of this.given) {
      const { told, isCalledBack, isRefused, state } = datagram;
      if (isCalledBack && told !== 1)
        throw new Broken(`${this.nameOf(datagram)}: its callback was called ${told} times`);
      if (isRefused && state !== REFUSED) throw new Broken(`${this.nameOf(datagram)} was not refused`);
      if (datagram.isSkipped) this.#missing(datagram);
    }
  }

  nameOf({ number, to }) {
    return `datagram ${number} of channel ${this.number} (from station ${this.station.number}) to station ${to.number}`;
  }

  #missing(datagram) {
    if (datagram.mayMiss || datagram.state === REFUSED) return;
    throw new Broken(`${this.nameOf(datagram)} is missing: a later one came`);
  }
}

function mustCome({ mayMiss, state }) {
  return !mayMiss && state !== REFUSED;
}
