/**
 * The scenarios of faults.mjs: what a program does with sockets, in a way that shows every wrong count. Each goes on after an
 * error, as a program may: `run` a bounded number of times, `verify` to the end, when nothing is refused any more. Datagrams are
 * numbered, so that one lost, doubled, altered or out of order shows.
 */
import fs from 'node:fs';
import { setTimeout } from 'node:timers/promises';

/** The package, where the scenario is not about loading it. */
let api;

/** How often a scenario goes on after an error, or after nothing came. */
const PATIENCE = 40;

/** The errors that operations ended with. */
export class Log {
  errors = [];

  /** Does an operation; its result, or undefined where it failed. */
  attempt(operation, body) {
    try {
      return body();
    } catch (error) {
      this.note(operation, error);
    }
  }

  /** As `attempt`, of what is waited for. */
  async attemptAsync(operation, body) {
    try {
      return await body();
    } catch (error) {
      this.note(operation, error);
    }
  }

  note(operation, error) {
    const { name, message, payload, code } = error;
    this.errors.push({
      operation,
      name,
      message,
      code: payload,
      errno: code,
      isSocketError: error instanceof api.SocketError,
    });
  }
}

/** How many descriptors the process has open. */
export function openDescriptors() {
  return fs.readdirSync('/proc/self/fd').length;
}

/** Datagram `i`: its number, and as many bytes as said, which tell it apart. */
function payload(i, bytes) {
  const data = Buffer.alloc(bytes, i & 0xff);
  data.writeUInt32LE(i);
  return data;
}

/** What differs between two lists of payloads; undefined where they are equal. */
function difference(received, sent) {
  const numbers = (list) => list.map((data) => (data.length < 4 ? '?' : data.readUInt32LE())).join(' ');
  if (received.length !== sent.length || received.some((data, i) => !data.equals(sent[i])))
    return `accepted ${sent.length}: ${numbers(sent)}; delivered ${received.length}: ${numbers(received)}`;
}

/** A socket that takes what comes. */
class Sink {
  #udp;
  #received = [];

  constructor(host, port = 0) {
    this.#udp = api.openUdp({ local: `${host}:${port}` });
  }

  get address() {
    return this.#udp.localAddress;
  }

  /** What has come, as soon as it is so much, or nothing comes any more. */
  async received(count) {
    for (let waited = 0; waited < 200; waited++) {
      for (let list = [null]; list.length > 0; ) {
        list = this.#udp.incoming.receive();
        this.#received.push(...list.map(({ data }) => Buffer.from(data)));
      }
      if (this.#received.length >= count) break;
      await setTimeout(5);
    }
    return this.#received;
  }

  [Symbol.dispose]() {
    this.#udp[Symbol.dispose]();
  }
}

/** Disposes of all, once. */
function disposer(...resources) {
  return () => {
    for (const resource of resources) resource?.[Symbol.dispose]();
  };
}

/** Opens, asks and changes options, connects, reconnects, disconnects, and sends in each state. */
function opening(host) {
  return (log) => {
    const sinks = [new Sink(host), new Sink(host)];
    const sent = [[], []];
    let udp;
    /** The steps in order; each is done again until it succeeds, which `false` is not. */
    const steps = [
      ['openUdp', () => (udp = api.openUdp({ remote: sinks[0].address, segmentation: false }))],
      ['send', () => send(udp.outgoing, 0, undefined)],
      ['receiveBufferSize', () => udp.socket.receiveBufferSize()],
      ['setReceiveBufferSize', () => udp.socket.setReceiveBufferSize(100_000)],
      ['sendBufferSize', () => udp.socket.sendBufferSize()],
      ['setSendBufferSize', () => udp.socket.setSendBufferSize(100_000)],
      ['unicastHopLimit', () => udp.socket.unicastHopLimit()],
      ['setUnicastHopLimit', () => udp.socket.setUnicastHopLimit(7)],
      ['localAddress', () => udp.socket.localAddress()],
      ['stream', () => stream(sinks[1].address)],
      ['send', () => send(udp.outgoing, 1, undefined)],
      ['stream', () => stream(undefined)],
      ['send', () => send(udp.outgoing, 0, sinks[0].address)],
    ];
    const send = (outgoing, to, remoteAddress) => {
      const data = payload(sent[to].length, 20 + to);
      outgoing.checkSend();
      const accepted = outgoing.send([{ data, remoteAddress }]) === 1n;
      if (accepted) sent[to].push(data);
      return accepted;
    };
    const stream = (remote) => {
      udp.incoming[Symbol.dispose]();
      udp.outgoing[Symbol.dispose]();
      const [incoming, outgoing] = udp.socket.stream(remote);
      const { socket, localAddress } = udp;
      udp = { socket, localAddress, incoming, outgoing, [Symbol.dispose]: disposer(incoming, outgoing, socket) };
    };
    let step = 0;
    const go = () => {
      for (let tries = 0; step < steps.length && tries < steps.length + 5; tries++) {
        const errors = log.errors.length;
        const [operation, body] = steps[step];
        if (log.attempt(operation, body) !== false && log.errors.length === errors) step += 1;
      }
    };
    const port = () => udp?.localAddress.val.port;
    return {
      run: go,
      async verify() {
        go();
        if (step < steps.length) return `${steps[step][0]} never succeeds`;
        const now = udp.socket.localAddress().val.port;
        if (now !== port()) return `the port was ${port()}, is ${now}`;
        for (const [i, sink] of sinks.entries()) {
          const problem = difference(await sink.received(sent[i].length), sent[i]);
          if (problem !== undefined) return problem;
        }
      },
      dispose: () => disposer(udp, ...sinks)(),
    };
  };
}

/** Sends datagrams of those sizes, at most `together` in a call, to one receiver or to several in turn. */
function sending({ host, connected, sizes, together, receivers = 1 }) {
  return (log) => {
    const sinks = Array.from({ length: receivers }, () => new Sink(host));
    const udp = api.openUdp(connected ? { remote: sinks[0].address } : { local: `${host}:0` });
    const list = sizes.map((bytes, i) => ({
      data: payload(i, bytes),
      remoteAddress: connected ? undefined : sinks[i % receivers].address,
    }));
    let sent = 0;
    const go = (end) => {
      for (let tries = 0; sent < end && tries < PATIENCE; tries++) {
        const permit = log.attempt('checkSend', () => udp.outgoing.checkSend());
        if (permit === 0n) log.attempt('block', () => udp.outgoing.subscribe().block());
        if (permit === undefined || permit === 0n) continue;
        const part = list.slice(sent, Math.min(end, sent + together));
        sent += Number(log.attempt('send', () => udp.outgoing.send(part)) ?? 0);
      }
    };
    return {
      // The last is for afterwards.
      run: () => go(list.length - 1),
      async verify() {
        go(list.length);
        if (sent < list.length) return `sent ${sent} of ${list.length}, and no more are accepted`;
        for (const [i, sink] of sinks.entries()) {
          const due = list.filter((_, at) => at % receivers === i).map(({ data }) => data);
          const problem = difference(await sink.received(due.length), due);
          if (problem !== undefined) return problem;
        }
      },
      dispose: disposer(udp, ...sinks),
    };
  };
}

/** Sends to a port where nobody listens until that is told, and then to somebody who listens there. */
function refusing(host) {
  return (log) => {
    let sink = new Sink(host);
    const { address } = sink;
    sink[Symbol.dispose]();
    const udp = api.openUdp({ remote: address });
    const list = Array.from({ length: 8 }, (_, i) => ({ data: payload(i, 40 + 10 * (i >> 1)) }));
    let told = 0;
    /** Does an operation; an error of the port that nobody listens at is counted, not noted. */
    const attempt = (operation, body) =>
      log.attempt(operation, () => {
        try {
          return body();
        } catch (error) {
          if (error.payload !== 'connection-refused') throw error;
          told += 1;
        }
      });
    /** Sends some, and looks what came of it. */
    const send = (datagrams) => {
      const permit = attempt('checkSend', () => udp.outgoing.checkSend());
      if (permit === undefined || permit === 0n) return 0;
      return Number(attempt('send', () => udp.outgoing.send(datagrams)) ?? 0);
    };
    const go = () => {
      for (let tries = 0; told < 3 && tries < PATIENCE; tries++) {
        send(tries % 2 === 0 ? list : list.slice(0, 1));
        if (tries % 3 === 2) attempt('receive', () => udp.incoming.receive());
      }
    };
    return {
      run: go,
      async verify() {
        told = 0;
        go();
        if (told < 3) return 'nobody is told of the port that nobody listens at';
        sink = new Sink(host, address.val.port);
        let sent = 0;
        for (let tries = 0; sent < list.length && tries < PATIENCE; tries++) sent += send(list.slice(sent));
        return difference(
          await sink.received(list.length),
          list.slice(0, sent).map(({ data }) => data),
        );
      },
      dispose: () => disposer(udp, sink)(),
    };
  };
}

/** Receives datagrams of those sizes, which are there, at most `most` in a call. */
function receiving({ host, connected, sizes, most, segmentation }) {
  return (log) => {
    const sender = api.openUdp({ local: `${host}:0`, segmentation });
    const udp = api.openUdp(connected ? { remote: sender.localAddress } : { local: `${host}:0` });
    const list = sizes.map((bytes, i) => payload(i, bytes));
    const remoteAddress = { ...udp.localAddress };
    remoteAddress.val = { ...remoteAddress.val, address: sender.localAddress.val.address };
    const send = (datagrams) => {
      if (sender.outgoing.checkSend() < 1n || sender.outgoing.send(datagrams) !== BigInt(datagrams.length))
        throw new Error('the datagrams to receive are not sent');
    };
    send(list.slice(0, -1).map((data) => ({ data, remoteAddress })));
    const received = [];
    const go = (end) => {
      for (let tries = 0; received.length < end && tries < PATIENCE; tries++) {
        const datagrams = log.attempt('receive', () => udp.incoming.receive(most)) ?? [];
        for (const { data } of datagrams) received.push(Buffer.from(data));
      }
    };
    return {
      run: () => go(list.length - 1),
      verify() {
        send([{ data: list.at(-1), remoteAddress }]);
        go(list.length);
        return difference(received, list);
      },
      dispose: disposer(udp, sender),
    };
  };
}

/** Asks and waits for readiness, the thread blocked: of one pollable, of two, and of a socket that may be written. */
function blocking(host) {
  return (log) => {
    const udp = api.openUdp({ local: `${host}:0` });
    const quiet = new Sink(host);
    const other = api.openUdp({ local: `${host}:0` });
    const sender = api.openUdp({ remote: udp.localAddress });
    const readable = udp.incoming.subscribe();
    const list = Array.from({ length: 4 }, (_, i) => payload(i, 30 + i));
    const received = [];
    let sent = 0;
    const problems = [];
    const means = [
      ['ready', () => readable.ready()],
      ['block', () => readable.block()],
      ['poll', () => api.poll.poll([other.incoming.subscribe(), readable])],
      ['block', () => udp.socket.subscribe().block()],
    ];
    const go = (end) => {
      for (let tries = 0; received.length < end && tries < PATIENCE; tries++) {
        if (sent === received.length) {
          sender.outgoing.checkSend();
          sent += Number(sender.outgoing.send([{ data: list[sent] }]));
        }
        const [operation, body] = means[(sent - 1) % means.length];
        const errors = log.errors.length;
        log.attempt(operation, body);
        if (log.errors.length > errors) continue;
        for (const { data } of udp.incoming.receive()) received.push(Buffer.from(data));
      }
    };
    return {
      run: () => go(list.length - 1),
      verify() {
        go(list.length);
        if (readable.ready()) problems.push('ready, with nothing there');
        return problems[0] ?? difference(received, list);
      },
      dispose: disposer(readable, udp, other, sender, quiet),
    };
  };
}

/** Waits by the event loop for datagrams that come later: on one pollable, on two, on a socket; and calls one wait off. */
function waiting(host) {
  return (log) => {
    const udp = api.openUdp({ local: `${host}:0` });
    const other = api.openUdp({ local: `${host}:0` });
    const sender = api.openUdp({ remote: udp.localAddress });
    const list = Array.from({ length: 5 }, (_, i) => payload(i, 30 + i));
    const received = [];
    let sent = 0;
    const means = [
      () => udp.incoming.subscribe().wait(),
      () => api.poll.wait([other.incoming.subscribe(), udp.incoming.subscribe()]),
      () => Promise.all([udp.incoming.subscribe().wait(), udp.incoming.subscribe().wait()]),
      () => udp.incoming.subscribe().wait(),
    ];
    const go = async (end) => {
      for (let tries = 0; received.length < end && tries < PATIENCE; tries++) {
        const wait = log.attemptAsync('wait', means[Math.max(0, received.length) % means.length]);
        if (sent === received.length) {
          await setTimeout(1);
          sender.outgoing.checkSend();
          sent += Number(sender.outgoing.send([{ data: list[sent] }]));
        }
        await wait;
        for (const { data } of udp.incoming.receive()) received.push(Buffer.from(data));
      }
      await log.attemptAsync('wait', () => other.socket.subscribe().wait());
      const calledOff = AbortSignal.timeout(1);
      await log.attemptAsync('wait', () =>
        other.incoming
          .subscribe()
          .wait({ signal: calledOff })
          .then(
            () => Promise.reject(new Error('ready, with nothing there')),
            (error) => (error instanceof api.AbortError ? undefined : Promise.reject(error)),
          ),
      );
    };
    return {
      async run() {
        await go(list.length - 1);
      },
      async verify() {
        await go(list.length);
        return difference(received, list);
      },
      dispose: disposer(udp, other, sender),
    };
  };
}

/** Sends more than the send buffer holds, on a slow link: the loop of `sendAll`, and the same with a blocked thread. */
function loaded({ host, blocked, sizes }) {
  return (log) => {
    const sink = new Sink(host);
    const udp = api.openUdp({ remote: sink.address });
    udp.socket.setSendBufferSize(4096);
    const list = sizes.map((bytes, i) => ({ data: payload(i, bytes) }));
    let sent = 0;
    const goBlocked = (end) => {
      for (let tries = 0; sent < end && tries < 10 * PATIENCE; tries++) {
        const permit = log.attempt('checkSend', () => udp.outgoing.checkSend());
        if (permit === undefined) continue;
        if (permit === 0n) log.attempt('block', () => udp.outgoing.subscribe().block());
        else sent += Number(log.attempt('send', () => udp.outgoing.send(list.slice(sent, end))) ?? 0);
      }
    };
    const goAsync = async (end) => {
      for (let tries = 0; sent < end && tries < PATIENCE; tries++) {
        try {
          sent += Number(await api.sendAll(udp.outgoing, list.slice(sent, end)));
        } catch (error) {
          log.note('sendAll', error);
          sent += Number(error.accepted ?? 0);
        }
      }
    };
    const go = blocked ? goBlocked : goAsync;
    return {
      run: () => go(list.length - 1),
      async verify() {
        await go(list.length);
        if (sent < list.length) return `sent ${sent} of ${list.length}, and no more are accepted`;
        return difference(
          await sink.received(list.length),
          list.map(({ data }) => data),
        );
      },
      dispose: disposer(udp, sink),
    };
  };
}

/** Loads the package, and has readiness start, which each thread does once; `fresh` leaves that to the scenario. */
export async function load(fresh) {
  api ??= await import('../../dist/index.js');
  if (fresh) return;
  const udp = api.openUdp();
  await udp.incoming
    .subscribe()
    .wait({ signal: AbortSignal.timeout(1) })
    .catch(() => {});
  udp[Symbol.dispose]();
}

/** Sends one datagram at a time by a queue. What it refuses it names; the rest follows in order. */
function queueing({ host, connected, sizes }) {
  return (log) => {
    const sink = new Sink(host);
    const udp = api.openUdp(connected ? { remote: sink.address } : { local: `${host}:0` });
    udp.socket.setSendBufferSize(4096);
    // Where the system cannot be asked, the queue says so and asks again, for ever: a program that has heard enough goes on.
    let heardEnough = () => {};
    const onError = (error) => {
      log.note('queue', error);
      if (log.errors.length > 3 * sizes.length) heardEnough();
    };
    const queue = udp.outgoing.queue({ onError });
    const accepted = [];
    let given = 0;
    let settled = 0;
    const go = async (end) => {
      for (; given < end; given++) {
        const data = payload(given, sizes[given]);
        queue.send(data, connected ? undefined : sink.address, (error) => {
          settled += 1;
          if (error === undefined) accepted.push(data);
          else log.note('queue', error);
        });
      }
      const enough = new Promise((resolve) => {
        heardEnough = resolve;
      });
      await Promise.race([enough, log.attemptAsync('flush', () => queue.flush())]);
      // Callbacks come in ticks of their own.
      await setTimeout(1);
    };
    return {
      run: () => go(sizes.length - 1),
      async verify() {
        await go(sizes.length);
        await log.attemptAsync('close', () => queue.close());
        if (settled !== sizes.length) return `of ${sizes.length} datagrams ${settled} were told of`;
        return difference(await sink.received(accepted.length), accepted);
      },
      dispose: disposer(udp, sink),
    };
  };
}

const SENDS = ['sendto', 'sendmmsg', 'sendmsg', 'poll', 'getsockopt'];
const RECEIVES = ['recvmmsg', 'recvmsg', 'recvfrom'];
const WAITS = ['poll', 'epoll_ctl', 'ioctl', 'fcntl'];
const OPENS = ['socket', 'fcntl', 'ioctl', 'bind', 'connect', 'getsockname', 'getsockopt', 'setsockopt', 'close'];
const POLLING = ['epoll_pwait', 'epoll_wait', 'epoll_ctl', 'timerfd_settime'];

/** Sizes of which no two neighbours are equal. */
const differing = (count) => Array.from({ length: count }, (_, i) => 20 + ((i * 37) % 101));
/** Runs of one size, apart by a datagram of another, and two that are alone. All of them fit a receive buffer one by one. */
const runs = [...Array(20).fill(64), 10, ...Array(20).fill(200), 11, ...Array(20).fill(64), 12, 13];

/** More than the send buffer holds on a slow link, each a message; and as runs. */
const slow = Array.from({ length: 50 }, (_, i) => 700 + (i % 3));
const slowRuns = Array(60).fill([300, 300, 300, 300, 300, 20]).flat().slice(0, 120);

/** Each scenario: its title, the calls that it makes, what it needs, and what prepares it. */
export const SCENARIOS = {};

function add(name, { title, calls, make, needs = [], sendsAll = false, isRefused = false }) {
  SCENARIOS[name] = { title, calls, make, needs, sendsAll, isRefused };
}

for (const [family, host] of [
  ['IPv4', '127.0.0.1'],
  ['IPv6', '[::1]'],
]) {
  const on = `-${family.toLowerCase()}`;
  add(`open${on}`, { title: 'open, bind, connect, reconnect', calls: [...OPENS, 'sendto'], make: opening(host) });
  for (const connected of [true, false]) {
    const how = connected ? 'connected' : 'unconnected';
    const common = { host, connected };
    add(`send-single-${how}${on}`, {
      title: `send, one datagram a call, ${how}`,
      calls: SENDS,
      make: sending({ ...common, sizes: differing(4), together: 1 }),
    });
    add(`send-plain-${how}${on}`, {
      title: `send, a batch of differing sizes, ${how}`,
      calls: SENDS,
      make: sending({ ...common, sizes: differing(41), together: 20, receivers: connected ? 1 : 2 }),
    });
    add(`send-runs-${how}${on}`, {
      title: `send, a batch of runs, ${how}`,
      calls: SENDS,
      make: sending({ ...common, sizes: [...runs, ...runs, 14], together: runs.length }),
    });
    add(`receive-plain-${how}${on}`, {
      title: `receive, differing sizes, ${how}`,
      calls: RECEIVES,
      make: receiving({ ...common, sizes: differing(21), most: 8, segmentation: false }),
    });
    add(`receive-runs-${how}${on}`, {
      title: `receive, runs, ${how}`,
      calls: RECEIVES,
      make: receiving({ ...common, sizes: [...runs, 14], most: 20 }),
    });
  }
  add(`queue${on}`, {
    title: 'a queue',
    calls: SENDS,
    make: queueing({ host, connected: true, sizes: [...differing(10), ...runs, 14] }),
  });
  add(`load-queue${on}`, {
    title: 'a queue on a slow link',
    calls: [...SENDS, 'epoll_ctl'],
    make: queueing({ host, connected: false, sizes: [...slow.slice(20), ...slowRuns.slice(60)] }),
    needs: ['slow'],
  });
  add(`refused${on}`, {
    title: 'send, to a port where nobody listens',
    calls: [...SENDS, ...RECEIVES],
    make: refusing(host),
    isRefused: true,
  });
  add(`block${on}`, { title: 'ready, block, poll', calls: WAITS, make: blocking(host) });
  add(`wait${on}`, { title: 'wait by the event loop', calls: WAITS, make: waiting(host) });
  add(`wait-polling${on}`, {
    title: "wait by the event loop: the polling thread's own calls",
    calls: POLLING,
    make: waiting(host),
    needs: ['polling'],
  });
  for (const [kind, sizes] of [
    ['plain', slow],
    ['runs', slowRuns],
  ]) {
    add(`load-${kind}${on}`, {
      title: `sendAll on a slow link, ${kind === 'runs' ? 'runs' : 'differing sizes'}`,
      calls: [...SENDS, 'epoll_ctl'],
      make: loaded({ host, blocked: false, sizes }),
      sendsAll: true,
      needs: ['slow'],
    });
  }
  add(`load-polling${on}`, {
    title: "sendAll on a slow link: the polling thread's own calls",
    calls: POLLING,
    make: loaded({ host, blocked: false, sizes: slow }),
    needs: ['slow', 'polling'],
  });
  add(`load-blocked${on}`, {
    title: 'send and block on a slow link',
    calls: SENDS,
    make: loaded({ host, blocked: true, sizes: slow }),
    needs: ['slow'],
  });
}
add('start', {
  title: 'the first wait: the polling thread starts',
  calls: ['epoll_create1', 'eventfd2', 'timerfd_create', 'epoll_ctl', 'clone3', 'clone'],
  make: waiting('127.0.0.1'),
  needs: ['fresh'],
});
