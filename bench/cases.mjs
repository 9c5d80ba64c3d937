// The cases of the benchmark: what is sent, where to, over what.

/** 256 sizes from 1 to 1200, the same in every run. */
const RANDOM_SIZES = (() => {
  let state = 42;
  return Array.from({ length: 256 }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return 1 + (state % 1200);
  });
})();

/**
 * A case of sending. `sizes`: bytes of the datagrams in turn; `destinations`: how many in turn; `gro`: whether the receiver takes
 * runs whole; `link`: 'lo' or 'veth'.
 */
function sending({ size, batch, mode = 'one', family = 4, gro = false, link = 'lo' }) {
  const sizes = mode === 'random' ? RANDOM_SIZES : [size];
  const what = mode === 'random' ? '1-1200 B' : `${size} B`;
  const name = [what, `batch ${batch}`, mode, gro ? 'GRO' : 'plain', `IPv${family}`, link].join(', ');
  const connected = mode === 'connected';
  const destinations = mode === 'sixteen' ? 16 : 1;
  const senders = sendersOf({ mode });
  return { kind: 'send', name, senders, sizes, batch, connected, destinations, family, gro, link };
}

/** The senders of a case, ours first. */
function sendersOf({ mode }) {
  const ours = mode === 'one' ? ['send', 'send-own', 'writer'] : ['send', 'writer'];
  const peers = ['dgram', 'sendto', 'sendmmsg', 'segment', 'quinn', 'bun-sendMany', 'deno-datagram'];
  // These two name the destination of each datagram.
  return mode === 'connected' ? [...ours, ...peers.filter((peer) => !/quinn|deno/.test(peer))] : [...ours, ...peers];
}

/** A case of single datagrams, 256 in each turn of the event loop; `send` is the same as a list, once a turn. */
function single({ size, gro = false, destinations = 1 }) {
  const where = destinations === 1 ? [] : [`${destinations} destinations`];
  const name = ['one at a time', `${size} B`, '256 a turn', ...where, gro ? 'GRO' : 'plain'].join(', ');
  const senders = ['send-one', 'queue', 'own-dgram', 'dgram-quiet', 'send', 'sendto', 'segment'];
  const load = {
    sizes: [size],
    batch: 256,
    connected: false,
    destinations,
    family: 4,
    gro,
    link: 'lo',
    turns: true,
  };
  return { kind: 'send', name, senders, ...load };
}

/** The case of one datagram where nothing else is to do: how long until it arrives. */
function idle({ size }) {
  const load = { sizes: [size], batch: 1, connected: false, link: 'lo' };
  return {
    kind: 'idle',
    name: `one at a time, ${size} B, idle`,
    senders: ['send-one', 'queue', 'own-dgram', 'dgram-quiet'],
    load,
  };
}

const SERVERS = ['list', 'queue', 'own-dgram', 'dgram', 'bun', 'epoll'];

/** A case of request and response: `rate` queries a second, or `depth` at a time, of 64 bytes from eight sockets. */
function echo({ rate, depth }) {
  const what = rate === undefined ? `depth ${depth}` : `${rate.toLocaleString('en')} a second`;
  const load = rate === undefined ? `depth ${depth}` : `rate ${rate}`;
  return { kind: 'echo', name: `echo, ${what}`, servers: SERVERS, load };
}

/**
 * Workers with a socket each of one port, and 64 clients whose load has whatever cores the scheduler gives it: on a machine of two,
 * two workers and the load share them.
 */
const SHARED = { clients: 64, apart: false };
const coresEcho = {
  kind: 'echo',
  name: 'cores, echo, depth 256',
  servers: ['echo-1', 'echo-2'],
  load: 'depth 256',
  shape: SHARED,
};
const coresSink = { kind: 'sink', name: 'cores, sink of 64 B', servers: ['sink-1', 'sink-2'], run: 64, shape: SHARED };

/** A case of receiving: how a burst, which fits into the default limit of a receive buffer, is sent, and read. */
function receiving({ size, runs }) {
  const name = `receive ${size} B, burst 128, ${runs ? 'sent as runs' : 'sent one by one'}`;
  const receivers = ['receive', 'receiveInto', 'dgram', 'recvmmsg', 'recvmmsg-gro'];
  return { kind: 'receive', name, receivers, size, burst: 128, sender: runs ? 'segment' : 'sendmmsg' };
}

/** Bursts that were sent as runs, received by the events of node:dgram's interface. */
function heard({ size }) {
  const name = `receive ${size} B by events, burst 128, sent as runs`;
  return { kind: 'receive', name, receivers: ['own-dgram', 'dgram'], size, burst: 128, sender: 'segment' };
}

/** Sending with a source and an ECN chosen for each datagram, beside sending without. */
function routed({ gro }) {
  const load = { sizes: [64], batch: 256, connected: false, destinations: 1, family: 4, gro, link: 'lo' };
  const name = `64 B, batch 256, with source and ECN, ${gro ? 'GRO' : 'plain'}`;
  return { kind: 'send', name, senders: ['send-route', 'send'], ...load };
}

/** Receiving with packet info and traffic classes told, beside receiving without. */
function told({ runs }) {
  const name = `receive 64 B with packet info and class, burst 128, ${runs ? 'sent as runs' : 'sent one by one'}`;
  const receivers = ['receive-info', 'receive', 'receiveInto-info', 'receiveInto', 'recvmmsg-gro-info', 'recvmmsg-gro'];
  return { kind: 'receive', name, receivers, size: 64, burst: 128, sender: runs ? 'segment' : 'sendmmsg' };
}

/**
 * A case of a guest component that sends, one datagram after the other where its payloads lie in its memory. Batches of one are
 * what wasi-libc's sendto makes: a permit and a list of one for each.
 */
function guest({ size, batch = 256, gro = false }) {
  const name = `guest, ${size} B, batch ${batch}, ${gro ? 'GRO' : 'plain'}`;
  const senders = [
    'guest',
    ...(batch === 1 ? ['guest-write-behind'] : []),
    'guest-js',
    'guest-shim',
    'wasmtime',
    'guest-alone',
    batch === 1 ? 'sendto' : 'segment',
    'quinn',
  ];
  const load = { sizes: [size], batch, connected: false, destinations: 1, family: 4, gro, link: 'lo' };
  return { kind: 'send', name, senders, ...load };
}

/** A case of a guest component that receives. */
function guestReceiving({ size }) {
  const name = `guest receives ${size} B, burst 128, sent as runs`;
  return { kind: 'receive', name, receivers: ['guest', 'guest-js', 'guest-shim'], size, burst: 128, sender: 'segment' };
}

/** A case of a guest that receives one at a time, as wasi-libc's recvfrom does. */
function guestReceivingSingly({ size, runs }) {
  const name = `guest receives ${size} B one by one, burst 128, sent ${runs ? 'as runs' : 'one by one'}`;
  const receivers = ['guest-by-1', 'guest-js-by-1', 'guest-shim-by-1', 'guest', 'recvfrom'];
  return { kind: 'receive', name, receivers, size, burst: 128, sender: runs ? 'segment' : 'sendmmsg' };
}

/**
 * A case of a guest of 0.3, which sends a datagram a call, and has `inFlight` calls in flight. By `bindings` that wit-bindgen
 * generated it is in Rust, otherwise in C.
 */
function asyncGuest({ inFlight, gro = false, connected = false, bindings = false }) {
  const what = bindings ? 'async guest by generated bindings' : 'async guest';
  const name = [what, '64 B', `${inFlight} in flight`, ...(connected ? ['connected'] : []), gro ? 'GRO' : 'plain'].join(
    ', ',
  );
  const senders = bindings
    ? ['async-rust', 'async-rust-js', 'async-rust-wasmtime']
    : ['async', ...(inFlight === 1 ? ['async-write-behind'] : []), 'async-js', 'async-shim', 'async-wasmtime'];
  const raw = inFlight === 1 ? 'sendto' : 'segment';
  const load = { sizes: [64], batch: inFlight, connected, destinations: 1, family: 4, gro, link: 'lo' };
  return { kind: 'send', name, senders: [...senders, raw], ...load };
}

/** A case of a guest of 0.3 that receives one after the other. */
function asyncReceiving({ runs }) {
  const name = `async guest receives 64 B, burst 128, sent ${runs ? 'as runs' : 'one by one'}`;
  const receivers = ['async', 'async-js', 'async-shim', 'async-wasmtime', 'recvfrom'];
  return { kind: 'receive', name, receivers, size: 64, burst: 128, sender: runs ? 'segment' : 'sendmmsg' };
}

const echoAt = Object.fromEntries([500, 3000, 10_000, 20_000, 60_000].map((rate) => [rate, echo({ rate })]));
const echoDeep = Object.fromEntries([1, 16, 64].map((depth) => [depth, echo({ depth })]));
const echoCalls = { ...echo({ rate: 500 }), kind: 'calls', name: 'echo, system calls a query at 500 a second' };

const single64 = single({ size: 64 });
const singleGro64 = single({ size: 64, gro: true });
const singleSixteen64 = single({ size: 64, destinations: 16 });
const idle64 = idle({ size: 64 });

const plain64 = sending({ size: 64, batch: 256 });
const plain1200 = sending({ size: 1200, batch: 256 });
const gro64 = sending({ size: 64, batch: 256, gro: true });
const gro1200 = sending({ size: 1200, batch: 256, gro: true });
const sixteen64 = sending({ size: 64, batch: 256, mode: 'sixteen' });
const sixteen1200 = sending({ size: 1200, batch: 256, mode: 'sixteen' });
const random = sending({ batch: 256, mode: 'random' });
const batchOfOne = sending({ size: 64, batch: 1 });
const runs64 = receiving({ size: 64, runs: true });
const runs1200 = receiving({ size: 1200, runs: true });
const heard64 = heard({ size: 64 });
const heard1200 = heard({ size: 1200 });
const plainly64 = receiving({ size: 64, runs: false });
const plainly1200 = receiving({ size: 1200, runs: false });

const routedPlain = routed({ gro: false });
const routedGro = routed({ gro: true });
const toldRuns = told({ runs: true });
const toldPlainly = told({ runs: false });

const guest64 = guest({ size: 64 });
const guest1200 = guest({ size: 1200 });
const guestGro64 = guest({ size: 64, gro: true });
const guestGro1200 = guest({ size: 1200, gro: true });
const guestSingle = guest({ size: 64, batch: 1 });
const guestSingleGro = guest({ size: 64, batch: 1, gro: true });
const guestRuns64 = guestReceiving({ size: 64 });
const guestRuns1200 = guestReceiving({ size: 1200 });
const guestRunsSingly = guestReceivingSingly({ size: 64, runs: true });
const guestPlainlySingly = guestReceivingSingly({ size: 64, runs: false });

const async1 = asyncGuest({ inFlight: 1 });
const asyncGro1 = asyncGuest({ inFlight: 1, gro: true });
const async64 = asyncGuest({ inFlight: 64 });
const asyncGro64 = asyncGuest({ inFlight: 64, gro: true });
const asyncBindings64 = asyncGuest({ inFlight: 64, gro: true, bindings: true });
const asyncRuns = asyncReceiving({ runs: true });
/** The round trip to a receive that waits: one query at a time. */
const asyncEcho = {
  kind: 'echo',
  name: 'async guest answers, one query at a time',
  servers: ['async', 'async-js', 'async-shim', 'async-wasmtime', 'epoll'],
  load: 'depth 1',
};

/** The cases that have targets, those of one datagram at a time first: they are what programs mostly do. */
export const HEADLINE = [
  ...Object.values(echoAt),
  ...Object.values(echoDeep),
  ...[coresEcho, coresSink],
  ...[
    echoCalls,
    single64,
    singleGro64,
    singleSixteen64,
    idle64,
    guestSingle,
    guestSingleGro,
    guestRunsSingly,
    guestPlainlySingly,
  ],
  ...[plain64, plain1200, gro64, gro1200, sixteen64, sixteen1200, random, batchOfOne],
  ...[runs64, runs1200, plainly64, plainly1200, heard64, heard1200],
  ...[routedPlain, routedGro, toldRuns, toldPlainly],
  ...[guest64, guest1200, guestGro64, guestGro1200, guestRuns64, guestRuns1200],
  ...[async1, asyncGro1, async64, asyncGro64, asyncBindings64, asyncRuns, asyncEcho],
];

/** What matters most: without the loads between the least and the most. */
export const QUICK = HEADLINE.filter(
  (one) => ![echoAt[3000], echoAt[20_000], echoAt[60_000], echoDeep[1], echoDeep[16]].includes(one),
);

/** The cases of the chart. */
export const CHARTED = { plain64, plain1200, gro64, gro1200 };

function* matrix() {
  for (const inFlight of [1, 64]) yield asyncGuest({ inFlight, gro: inFlight > 1, connected: true });
  for (const inFlight of [8, 1000]) yield asyncGuest({ inFlight, gro: true });
  yield asyncReceiving({ runs: false });
  for (const family of [4, 6]) {
    for (const gro of [false, true]) {
      for (const mode of ['connected', 'one', 'sixteen', 'random']) {
        for (const size of mode === 'random' ? [0] : [64, 512, 1200, 8192]) {
          for (const batch of [1, 16, 256, 1024]) yield sending({ size, batch, mode, family, gro });
        }
      }
    }
  }
  for (const gro of [false, true]) {
    for (const size of [64, 512, 1200, 8192]) yield sending({ size, batch: 256, gro, link: 'veth' });
  }
}

/** Every case, those with targets first. */
export const ALL = [...HEADLINE, ...[...matrix()].filter(({ name }) => !HEADLINE.some((other) => other.name === name))];

/** A row of a case that has several. */
const row = ({ name }, what) => ({ name: `${name}, ${what}` });

/** The ratios that the project promises: case, which of ours, which peer, how many times faster at least. */
export const TARGETS = [
  [row(echoAt[500], 'CPU'), 'queue', 'dgram', 1],
  [row(echoAt[3000], 'CPU'), 'queue', 'dgram', 1],
  [row(echoAt[10_000], 'CPU'), 'queue', 'dgram', 1],
  [row(echoAt[20_000], 'CPU'), 'queue', 'dgram', 1 / 0.9],
  [row(echoAt[60_000], 'CPU'), 'queue', 'dgram', 1 / 0.9],
  ...Object.values(echoAt).map((one) => [row(one, 'p50'), 'queue', 'dgram', 1]),
  [row(echoDeep[64], 'time'), 'queue', 'dgram', 1.8],
  [row(echoDeep[64], 'time'), 'queue', 'epoll', 0.9],
  [single64, 'queue', 'dgram-quiet', 5],
  [single64, 'queue', 'send', 0.85],
  [singleGro64, 'queue', 'dgram-quiet', 40],
  [singleGro64, 'queue', 'send', 0.85],
  ...Object.values(echoAt).map((one) => [row(one, 'CPU'), 'own-dgram', 'dgram', 1]),
  [single64, 'own-dgram', 'dgram-quiet', 5],
  [singleSixteen64, 'own-dgram', 'dgram-quiet', 1.5],
  [heard64, 'own-dgram', 'dgram', 3],
  [heard1200, 'own-dgram', 'dgram', 3],
  [guestSingle, 'guest', 'sendto', 1 / 1.15],
  [guestSingle, 'guest-write-behind', 'guest', 5],
  [plain64, 'send', 'dgram', 10],
  [plain64, 'send', 'segment', 0.95],
  [plain1200, 'send', 'dgram', 10],
  [plain1200, 'send', 'segment', 0.95],
  [gro64, 'send', 'dgram', 50],
  [gro64, 'send', 'quinn', 0.85],
  [gro64, 'writer', 'quinn', 0.95],
  [gro1200, 'send', 'dgram', 25],
  [gro1200, 'send', 'quinn', 0.75],
  [gro1200, 'writer', 'quinn', 0.95],
  [sixteen64, 'send', 'dgram', 1.5],
  [sixteen64, 'send', 'sendmmsg', 0.95],
  [sixteen1200, 'send', 'dgram', 1.5],
  [sixteen1200, 'send', 'sendmmsg', 0.95],
  [random, 'send', 'dgram', 1.5],
  [random, 'send', 'sendmmsg', 0.95],
  // In time no more than 1.15 times what sendto(2) takes in a loop; that loop is Rust, and makes the calls that C would.
  [batchOfOne, 'send', 'sendto', 1 / 1.15],
  [batchOfOne, 'send', 'dgram', 1],
  [runs64, 'receive', 'dgram', 8],
  [runs1200, 'receive', 'dgram', 8],
  [plainly64, 'receive', 'dgram', 2],
  [plainly1200, 'receive', 'dgram', 2],
  [routedPlain, 'send-route', 'send', 1 / 1.05],
  [routedGro, 'send-route', 'send', 1 / 1.05],
  [toldRuns, 'receive-info', 'receive', 1 / 1.15],
  [toldPlainly, 'receive-info', 'receive', 1 / 1.15],
  [guest64, 'guest', 'segment', 0.95],
  [guest64, 'guest', 'guest-shim', 20],
  [guest64, 'guest', 'wasmtime', 9],
  [guest1200, 'guest', 'segment', 0.95],
  [guest1200, 'guest', 'guest-shim', 20],
  [guest1200, 'guest', 'wasmtime', 9],
  [guestGro64, 'guest', 'quinn', 0.8],
  [guestGro1200, 'guest', 'quinn', 0.8],
  [guestRuns64, 'guest', 'guest-js', 3],
  [guestRuns1200, 'guest', 'guest-js', 3],
  [async1, 'async', 'async-wasmtime', 1.7],
  [async1, 'async', 'async-shim', 300],
  [asyncGro64, 'async', 'async-wasmtime', 15],
  [asyncBindings64, 'async-rust', 'async-rust-wasmtime', 6],
  [asyncRuns, 'async', 'async-wasmtime', 3.5],
  [row(asyncEcho, 'p50'), 'async', 'async-shim', 30],
].map(([{ name }, ours, peer, least]) => ({ case: name, ours, peer, least }));

/** What something may take at most, in nanoseconds, or in system calls; `guest-alone` is a guest's send without its system call. */
export const LIMITS = [
  [echoCalls, 'queue', 4],
  [row(idle64, 'p99'), 'queue', 50_000],
  [guestSingleGro, 'guest-write-behind', 200],
  [guestRunsSingly, 'guest-by-1', 400],
  [guest64, 'guest-alone', 20],
  [guest1200, 'guest-alone', 20],
  [guestSingle, 'guest-alone', 1000],
  [asyncGro64, 'async', 300],
  [asyncGro1, 'async-write-behind', 400],
  [row(asyncEcho, 'p50'), 'async', 200_000],
].map(([{ name }, ours, most]) => ({ case: name, ours, most, unit: name === echoCalls.name ? '' : ' ns' }));
