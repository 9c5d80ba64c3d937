/**
 * One exchange of each package that stands on node:dgram, checked by content and count. Runs in a process of its own:
 * `node exchanges.cjs NAME WAY FACTS`, where WAY is `register` (node:dgram was replaced) or `passed` (the package is given ours).
 */
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { createRequire } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const [name, way, text] = process.argv.slice(2);
const facts = JSON.parse(text);
/** wasi-udp/dgram, as the process has it. */
let ours;
const load = createRequire(path.join(facts.folder, 'package.json'));
const isPassed = way === 'passed';

/** What sockets were made by whom: a package that took node:dgram's own would pass unseen. */
const isOurs = (socket) =>
  Object.getOwnPropertySymbols(socket).some(({ description }) => description === 'wasi-udp dgram');

const HOST = '127.0.0.1';

async function bound(options = 'udp4') {
  const socket = ours.createSocket(options);
  socket.bind(0, HOST);
  await once(socket, 'listening');
  return socket;
}

/** Waits for so many messages of a socket. */
async function messages(socket, count) {
  const heard = [];
  const all = new Promise((resolve) => {
    socket.on('message', (message) => {
      if (heard.push(String(message)) === count) resolve();
    });
  });
  return [heard, all];
}

const EXCHANGES = {
  /** Each metric is a datagram, in order. */
  async 'hot-shots'() {
    const COUNT = 1000;
    const agent = await bound({ type: 'udp4', recvBufferSize: 4 << 20 });
    const [heard, all] = await messages(agent, COUNT);
    const StatsD = load('hot-shots');
    const client = new StatsD({ host: HOST, port: agent.address().port, prefix: 'app.', cacheDns: true });
    const sent = await Promise.all(
      Array.from({ length: COUNT }, (_, i) => new Promise((done) => client.gauge(`n${i}`, i, (error) => done(error)))),
    );
    assert.equal(sent.filter(Boolean).length, 0);
    await all;
    assert.deepEqual([...heard].sort(), Array.from({ length: COUNT }, (_, i) => `app.n${i}:${i}|g`).sort());
    await new Promise((resolve) => client.close(resolve));
    agent.close();
    return `${COUNT} metrics`;
  },

  /** A responder and a querier of one network. */
  async 'multicast-dns'() {
    const mdns = load('multicast-dns');
    const make = () => {
      const socket = isPassed ? ours.createSocket({ type: 'udp4', reuseAddr: true }) : undefined;
      return mdns({ interface: facts.address, bind: '0.0.0.0', ...(socket && { socket }) });
    };
    const [responder, querier] = [make(), make()];
    await Promise.all([once(responder, 'ready'), once(querier, 'ready')]);
    responder.on('query', ({ questions }) => {
      for (const question of questions)
        if (/^host-\d+\.local$/.test(question.name))
          responder.respond({
            answers: [{ name: question.name, type: 'A', ttl: 120, data: `10.9.0.${question.name.match(/\d+/)[0]}` }],
          });
    });
    const found = new Map();
    querier.on('response', ({ answers }) => {
      for (const { name: host, data } of answers) found.set(host, data);
    });
    for (let i = 1; i <= 20; i++) {
      querier.query({ questions: [{ name: `host-${i}.local`, type: 'A' }] });
      while (found.size < i) await once(querier, 'response');
    }
    for (let i = 1; i <= 20; i++) assert.equal(found.get(`host-${i}.local`), `10.9.0.${i}`);
    await Promise.all([responder, querier].map((one) => new Promise((resolve) => one.destroy(resolve))));
    return '20 names';
  },

  async 'dns-socket'() {
    const socket = load('dns-socket')(isPassed ? { socket: ours.createSocket('udp4') } : {});
    assert.ok(isOurs(socket.socket));
    const ask = (host) =>
      new Promise((resolve, reject) => {
        const done = (error, { answers } = {}) => (error ? reject(error) : resolve(answers[0].data));
        socket.query({ questions: [{ type: 'A', name: host }] }, facts.dns, HOST, done);
      });
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(`host-10-1-0-${i}.example.test`)));
    assert.deepEqual(
      answers,
      Array.from({ length: 200 }, (_, i) => `10.1.0.${i}`),
    );
    await new Promise((resolve) => socket.destroy(resolve));
    return '200 answers';
  },

  async dns2() {
    const { UDPClient } = load('dns2');
    const resolve = UDPClient({ dns: HOST, port: facts.dns });
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => (await resolve(`host-10-1-1-${i}.example.test`)).answers[0].address),
    );
    assert.deepEqual(
      answers,
      Array.from({ length: 100 }, (_, i) => `10.1.1.${i}`),
    );
    return '100 answers';
  },

  /** One node announces, the other finds it, by their own table alone. */
  async 'bittorrent-dht'() {
    const { Client } = await import(
      pathToFileURL(path.join(facts.folder, 'node_modules/bittorrent-dht/index.js')).href
    );
    const make = (options) =>
      new Client({ ...options, host: false, ...(isPassed && { socket: ours.createSocket('udp4') }) });
    const first = make({ bootstrap: false });
    await new Promise((resolve) => first.listen(0, HOST, resolve));
    const second = make({ bootstrap: [`${HOST}:${first.address().port}`] });
    await new Promise((resolve) => second.listen(0, HOST, resolve));
    await once(second, 'ready');
    const hash = Buffer.alloc(20, 7).toString('hex');
    await new Promise((resolve, reject) => second.announce(hash, 6881, (error) => (error ? reject(error) : resolve())));
    const peer = once(first, 'peer');
    first.addNode({ host: HOST, port: second.address().port });
    first.lookup(hash);
    const [{ port }, infoHash] = await peer;
    assert.equal(port, 6881);
    assert.equal(infoHash.toString('hex'), hash);
    await Promise.all([first, second].map((one) => new Promise((resolve) => one.destroy(resolve))));
    return 'a peer';
  },

  async coap() {
    const coap = load('coap');
    const server = coap.createServer((request, response) => {
      response.setOption('Content-Format', 'text/plain');
      response.end(`${request.url} ${request.payload}`);
    });
    if (isPassed) server.listen(await bound());
    else await new Promise((resolve) => server.listen(0, HOST, resolve));
    const { port } = server._sock.address();
    assert.ok(isOurs(server._sock));
    const agent = new coap.Agent({ type: 'udp4' }, isPassed ? ours.createSocket('udp4') : undefined);
    const ask = async (i) => {
      const request = coap.request({ host: HOST, port, pathname: `/item/${i}`, method: 'POST', agent });
      request.end(`payload ${i}`);
      const [response] = await once(request, 'response');
      return String(response.payload);
    };
    for (let i = 0; i < 50; i++) assert.equal(await ask(i), `/item/${i} payload ${i}`);
    const many = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(100 + i)));
    assert.deepEqual(
      many,
      Array.from({ length: 20 }, (_, i) => `/item/${100 + i} payload ${100 + i}`),
    );
    server.close();
    agent.close();
    return '70 requests';
  },

  async 'net-snmp'() {
    const snmp = load('net-snmp');
    const module = isPassed ? { dgramModule: ours } : {};
    const agent = snmp.createAgent(
      { port: facts.snmp, address: HOST, disableAuthorization: true, ...module },
      () => {},
    );
    const provider = {
      name: 'text',
      type: snmp.MibProviderType.Scalar,
      oid: '1.3.6.1.4.1.8072.9999',
      scalarType: snmp.ObjectType.OctetString,
      maxAccess: snmp.MaxAccess['read-write'],
    };
    agent.getMib().registerProvider(provider);
    agent.getMib().setScalarValue('text', 'first');
    const session = snmp.createSession(HOST, 'public', { port: facts.snmp, ...module });
    const oid = `${provider.oid}.0`;
    const call = (method, value) =>
      new Promise((resolve, reject) => {
        session[method]([value], (error, bindings) => (error ? reject(error) : resolve(String(bindings[0].value))));
      });
    for (let i = 0; i < 50; i++) {
      const value = `value ${i}`;
      assert.equal(await call('set', { oid, type: snmp.ObjectType.OctetString, value }), value);
      assert.equal(await call('get', oid), value);
    }
    session.close();
    agent.close();
    return '100 requests';
  },

  async 'winston-syslog'() {
    const winston = load('winston');
    const { Syslog } = load('winston-syslog');
    const transport = new Syslog({ host: HOST, port: facts.syslog, protocol: 'udp4', type: '5424', localhost: 'here' });
    const logger = winston.createLogger({ format: winston.format.simple(), transports: [transport] });
    for (let i = 0; i < 500; i++) {
      logger.info(`line ${i}`);
      await new Promise(setImmediate);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    transport.close();
    return '500 lines';
  },
};

async function main() {
  ({ default: ours } = await import(pathToFileURL(path.join(facts.root, 'dist/dgram/index.js')).href));
  assert.equal(require('node:dgram').createSocket === ours.createSocket, !isPassed);
  return EXCHANGES[name]();
}

main().then(
  (outcome) => {
    console.log(outcome);
    // Packages leave timers and sockets behind.
    process.exit();
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
