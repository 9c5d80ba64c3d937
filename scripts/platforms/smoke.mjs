// The smoke suite: one process, no test runner, so that it runs wherever a Node.js starts: under qemu, wine and musl too.
// NAPI_RS_NATIVE_LIBRARY_PATH names the binary. Ends with the number of cases that passed, or with the first failure.
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import os from 'node:os';
import { formatSocketAddress, openUdp, poll, Route, SocketError, sendAll, Trap } from '../../dist/index.js';
import { COUNT } from '../../dist/native/layout.js';
import { native } from '../../dist/native/native.js';

const payload = (text) => new TextEncoder().encode(text);
const cases = [];
const test = (name, run) => cases.push([name, run]);

/** A node:dgram receiver: `expect(n)` resolves with the next `n` datagrams as text. */
async function receiver(type = 'udp4', address = '127.0.0.1') {
  const socket = dgram.createSocket({ type, recvBufferSize: 1 << 20 });
  socket.bind(0, address);
  await once(socket, 'listening');
  const { port } = socket.address();
  const arrived = [];
  socket.on('message', (message) => arrived.push(message.toString('latin1')));
  return {
    remote: type === 'udp4' ? `127.0.0.1:${port}` : `[::1]:${port}`,
    async expect(count) {
      while (arrived.length < count) await once(socket, 'message', { signal: AbortSignal.timeout(20_000) });
      return arrived.splice(0, count);
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

for (const [type, address] of [
  ['udp4', '127.0.0.1'],
  ['udp6', '::1'],
]) {
  test(`send: a batch of unlike datagrams arrives whole and in order, ${type}`, async () => {
    const target = await receiver(type, address);
    const udp = openUdp({ remote: target.remote });
    const texts = Array.from({ length: 300 }, (_, i) => String(i).repeat(1 + (i % 7)));
    const list = texts.map((text) => ({ data: payload(text) }));
    for (let sent = 0; sent < list.length; sent += 50) {
      assert.equal(udp.outgoing.checkSend(), 1024n);
      assert.equal(udp.outgoing.send(list.slice(sent, sent + 50)), 50n);
      assert.deepEqual(await target.expect(50), texts.slice(sent, sent + 50));
    }
    udp[Symbol.dispose]();
    target[Symbol.dispose]();
  });
}

test('send: a run of equal datagrams arrives as the datagrams that it was', async () => {
  const target = await receiver();
  const udp = openUdp({ remote: target.remote });
  const texts = Array.from({ length: 60 }, (_, i) => String(i).padStart(400, '.'));
  udp.outgoing.checkSend();
  assert.equal(udp.outgoing.send(texts.map((text) => ({ data: payload(text) }))), 60n);
  assert.deepEqual(await target.expect(60), texts);
  udp[Symbol.dispose]();
  target[Symbol.dispose]();
});

test('send: the largest datagram of IPv4 arrives, one byte more is datagram-too-large', async () => {
  const target = await receiver();
  const udp = openUdp({ remote: target.remote });
  udp.outgoing.checkSend();
  assert.equal(udp.outgoing.send([{ data: new Uint8Array(65_507).fill(65) }]), 1n);
  assert.equal((await target.expect(1))[0].length, 65_507);
  udp.outgoing.checkSend();
  assert.throws(() => udp.outgoing.send([{ data: new Uint8Array(65_508) }]), { payload: 'datagram-too-large' });
  udp[Symbol.dispose]();
  target[Symbol.dispose]();
});

test('receive: what dgram sends is received, with its source', async () => {
  const udp = openUdp({ local: '127.0.0.1:0' });
  const sender = dgram.createSocket('udp4');
  const { port } = udp.localAddress.val;
  await new Promise((resolve) => sender.send('hello', port, '127.0.0.1', resolve));
  const { socket } = udp.socket.descriptor;
  const staging = new ArrayBuffer(65_536 * 4);
  const table = new ArrayBuffer(native.layout().at(-1));
  assert.equal(native.pollSync(Int32Array.of(socket, 1, 0), 1, 20_000), 1);
  assert.equal(native.receive(socket, staging, table, 4) & COUNT, 1);
  const [offset, length, address] = new Uint32Array(table, 0, 3);
  assert.equal(new TextDecoder().decode(new Uint8Array(staging, offset, length)), 'hello');
  const slot = new Uint32Array(table, native.layout()[3] + 32 * address, 2);
  assert.deepEqual([...slot], [4, sender.address().port]);
  assert.equal(native.receive(socket, staging, table, 4) & COUNT, 0);
  sender.close();
  udp[Symbol.dispose]();
});

test('packet info: a datagram tells the address that it was sent to, and an answer leaves from there', async () => {
  for (const host of ['127.0.0.1', '[::1]']) {
    const udp = openUdp({ local: host === '[::1]' ? '[::]:0' : '0.0.0.0:0', packetInfo: true });
    const client = openUdp({ remote: `${host}:${udp.localAddress.val.port}` });
    client.outgoing.checkSend();
    client.outgoing.send([{ data: payload('query') }]);
    await udp.incoming.subscribe().wait();
    const [query] = udp.incoming.receive();
    assert.equal(query.info.localAddress, host.replace(/[[\]]/g, ''));
    assert.ok(query.info.interface > 0);
    udp.outgoing.checkSend();
    assert.equal(udp.outgoing.send([{ data: query.data, remoteAddress: Route.replyTo(query) }]), 1n);
    await client.incoming.subscribe().wait();
    assert.equal(client.incoming.receive().length, 1);
    for (const one of [udp, client]) one[Symbol.dispose]();
  }
});

test('traffic class: ECN goes with a datagram and is told, or the system has it not', async () => {
  const sender = openUdp();
  let udp;
  try {
    udp = openUdp({ local: '127.0.0.1:0', receiveTrafficClass: true });
    sender.outgoing.checkSend();
    const remoteAddress = new Route(`127.0.0.1:${udp.localAddress.val.port}`, { trafficClass: 1 });
    assert.equal(sender.outgoing.send([{ data: payload('ecn'), remoteAddress }]), 1n);
  } catch (error) {
    // A system that has neither option.
    assert.equal(process.platform, 'win32');
    assert.ok(['not-supported', 'invalid-argument'].includes(error.payload), error.stack);
    return;
  }
  await udp.incoming.subscribe().wait();
  const { trafficClass } = udp.incoming.receive()[0].info;
  // wine takes IP_ECN, and sends without.
  assert.ok(trafficClass === 1 || (process.platform === 'win32' && trafficClass === 0), `class ${trafficClass}`);
  for (const one of [udp, sender]) one[Symbol.dispose]();
});

test('permit: none before check-send, 1024 after, used up by a send, kept by an empty list', () => {
  const udp = openUdp({ remote: '127.0.0.1:9' });
  const one = [{ data: payload('x') }];
  assert.throws(() => udp.outgoing.send(one), Trap);
  assert.equal(udp.outgoing.checkSend(), 1024n);
  assert.throws(() => udp.outgoing.send(Array(1025).fill(one[0])), Trap);
  assert.equal(udp.outgoing.send([]), 0n);
  assert.equal(udp.outgoing.send(one), 1n);
  assert.throws(() => udp.outgoing.send(one), Trap);
  udp[Symbol.dispose]();
});

test('partial count: a bad datagram cuts the batch where it stands; at the front it is the error', async () => {
  const target = await receiver();
  const udp = openUdp();
  const to = (text, remote) => ({ data: payload(text), remoteAddress: remote });
  const [ip, port] = target.remote.split(':');
  const good = { tag: 'ipv4', val: { port: Number(port), address: ip.split('.').map(Number) } };
  const nowhere = { tag: 'ipv4', val: { port: 0, address: [127, 0, 0, 1] } };
  udp.outgoing.checkSend();
  assert.equal(udp.outgoing.send([to('a', good), to('b', good), to('c', nowhere), to('d', good)]), 2n);
  udp.outgoing.checkSend();
  assert.throws(() => udp.outgoing.send([to('c', nowhere), to('e', good)]), { payload: 'invalid-argument' });
  udp.outgoing.checkSend();
  assert.equal(udp.outgoing.send([to('f', good)]), 1n);
  assert.deepEqual(await target.expect(3), ['a', 'b', 'f']);
  udp[Symbol.dispose]();
  target[Symbol.dispose]();
});

test('pollable: ready, block, poll and wait agree on a socket with room to send', async () => {
  const udp = openUdp({ local: '127.0.0.1:0' });
  const pollable = udp.outgoing.subscribe();
  assert.equal(pollable.ready(), true);
  pollable.block();
  assert.deepEqual([...poll.poll([pollable])], [0]);
  await pollable.wait({ signal: AbortSignal.timeout(20_000) });
  pollable[Symbol.dispose]();
  udp[Symbol.dispose]();
});

test('readiness: the event loop reports what arrives to whoever waits, and to nobody when nobody waits', async () => {
  const udp = openUdp({ local: '127.0.0.1:0' });
  const { socket } = udp.socket.descriptor;
  const { port } = udp.localAddress.val;
  const events = [];
  let heard;
  native.onReady(
    (handle, event) => {
      if (heard === undefined) return 0;
      events.push([handle, event]);
      heard();
      heard = undefined;
      return event;
    },
    () => (heard === undefined ? 0 : 1),
  );
  const sender = dgram.createSocket('udp4');
  const next = () =>
    new Promise((resolve) => {
      heard = resolve;
    });
  native.watch(socket, 1);
  const first = next();
  sender.send('x', port, '127.0.0.1');
  await first;
  assert.deepEqual(events.splice(0), [[socket, 1]]);
  const second = next();
  native.watch(socket, 1);
  await second;
  assert.deepEqual(events.splice(0), [[socket, 1]]);
  native.watch(socket, 1);
  native.watch(socket, 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(events, []);
  sender.close();
  udp[Symbol.dispose]();
});

test('errors: an address in use, a stale handle, a forged table', () => {
  const udp = openUdp({ local: '127.0.0.1:0' });
  const local = formatSocketAddress(udp.localAddress);
  assert.throws(
    () => openUdp({ local }),
    (error) => error instanceof SocketError && error.payload === 'address-in-use',
  );
  assert.throws(() => openUdp({ local: '192.0.2.1:0' }), { payload: 'address-not-bindable' });
  const { socket } = udp.socket.descriptor;
  const table = new ArrayBuffer(native.layout().at(-1));
  new Uint32Array(table, 0, 4).set([0, 100, 0xffff_ffff, 1]);
  assert.throws(() => native.send(socket, new ArrayBuffer(10), table, 1, 0), Error);
  udp[Symbol.dispose]();
  assert.throws(() => native.checkSend(socket), Error);
});

test('errors: the table names the codes of the system that this is', () => {
  const { EACCES, EADDRINUSE, EADDRNOTAVAIL, ECONNREFUSED, EHOSTUNREACH, EMFILE, EMSGSIZE, ENETUNREACH } =
    os.constants.errno;
  const windows = os.constants.errno;
  const number = (name, unix) => (process.platform === 'win32' ? windows[`WSA${name}`] : unix);
  const rows = [
    ['access-denied', 'EACCES', EACCES],
    ['address-in-use', 'EADDRINUSE', EADDRINUSE],
    ['address-not-bindable', 'EADDRNOTAVAIL', EADDRNOTAVAIL],
    ['connection-refused', 'ECONNREFUSED', ECONNREFUSED],
    ['remote-unreachable', 'EHOSTUNREACH', EHOSTUNREACH],
    ['remote-unreachable', 'ENETUNREACH', ENETUNREACH],
    ['new-socket-limit', 'EMFILE', EMFILE],
    ['datagram-too-large', 'EMSGSIZE', EMSGSIZE],
  ];
  for (const [code, name, unix] of rows) {
    const info = native.errorInfo(number(name, unix));
    assert.deepEqual([info.code, info.name], [code, name]);
    assert.ok(info.message.length > 0);
  }
  assert.equal(native.errorInfo(12_345).code, 'unknown');
});

test('reconnect: the port survives', async () => {
  // A port that is named: wine's sockets are Linux's, which give up a port of their own choice.
  const other = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address();
  await new Promise((resolve) => other.close(resolve));
  const udp = openUdp({ local: `127.0.0.1:${port}`, remote: '127.0.0.1:9' });
  const before = formatSocketAddress(udp.socket.localAddress());
  const { descriptor } = udp.socket;
  descriptor.connect(slotOf(9, 10));
  assert.equal(formatSocketAddress(udp.socket.localAddress()), before);
  assert.equal(native.disconnect(descriptor.socket), 0);
  assert.equal(formatSocketAddress(udp.socket.localAddress()), before);
  udp[Symbol.dispose]();
});

/** The slot of 127.0.0.1 with that port. */
function slotOf(port) {
  const slot = new Uint8Array(32);
  new Uint32Array(slot.buffer, 0, 2).set([4, port]);
  slot.set([127, 0, 0, 1], 8);
  return slot;
}

test('sendAll: sends an iterable to its end', async () => {
  const target = await receiver();
  const udp = openUdp({ remote: target.remote });
  const arrived = target.expect(100);
  const sent = sendAll(
    udp.outgoing,
    (function* () {
      for (let i = 0; i < 100; i++) yield { data: payload(`n${i}`) };
    })(),
  );
  assert.equal(await sent, 100n);
  assert.deepEqual(
    await arrived,
    Array.from({ length: 100 }, (_, i) => `n${i}`),
  );
  udp[Symbol.dispose]();
  target[Symbol.dispose]();
});

for (const [name, run] of cases) {
  try {
    await run();
    console.log(`ok - ${name}`);
  } catch (error) {
    console.log(`not ok - ${name}\n${error.stack}`);
    process.exit(1);
  }
}
const { platform, backend, segmentation, receiveCoalescing, poller } = native.features();
console.log(
  JSON.stringify({
    passed: cases.length,
    platform,
    backend,
    segmentation,
    receiveCoalescing,
    poller,
    node: process.version,
  }),
);
