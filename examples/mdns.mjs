// Announces a service by multicast DNS (RFC 6762, RFC 6763) on one interface, and answers who asks for it, until Control-C.
//
//     npm install dns-packet
//     node examples/mdns.mjs eth0 'Front desk' _http._tcp 8080 path=/start
//
// Others find it by `avahi-browse -r _http._tcp` or `dns-sd -B _http._tcp`, beside which it runs on the same port.
import { BlockList } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import dns from 'dns-packet';
import { openUdp } from 'wasi-udp';

const [device, name, type, port, ...text] = process.argv.slice(2);
const addresses = networkInterfaces()[device] ?? [];
if (!addresses.some(({ family }) => family === 'IPv4')) throw new Error(`no interface of IPv4 is named ${device}`);
if (name.includes('.')) throw new Error(`a name without dots is needed, got ${name}`);

const GROUP = '224.0.0.251';
const PORT = 5353;
const PROBES = 3;
const PROBE_MS = 250;
const ANNOUNCEMENT_MS = 1000;
const LEGACY_TTL_S = 10;

const service = `${type}.local`;
const instance = `${name}.${service}`;
const host = `${hostname().split('.')[0]}.local`;

/** What is told. Where `flush` is set, nobody else may tell another for that name. In the form in which they are received. */
const { answers: records } = dns.decode(
  dns.encode({
    type: 'response',
    answers: [
      { name: '_services._dns-sd._udp.local', type: 'PTR', ttl: 4500, data: service },
      { name: service, type: 'PTR', ttl: 4500, data: instance },
      { name: instance, type: 'SRV', ttl: 120, flush: true, data: { port: Number(port), target: host } },
      { name: instance, type: 'TXT', ttl: 4500, flush: true, data: text.length > 0 ? text : [''] },
      ...addresses.map(({ family, address }) => {
        return { name: host, type: family === 'IPv4' ? 'A' : 'AAAA', ttl: 120, flush: true, data: address };
      }),
    ],
  }),
);

/** The neighbours: nobody else is answered, since an answer is longer than its question. */
const link = new BlockList();
for (const { family, address, cidr } of addresses)
  if (family === 'IPv4') link.addSubnet(address, Number(cidr.split('/')[1]));

const udp = openUdp({
  local: `0.0.0.0:${PORT}`,
  reuseAddress: true,
  multicastInterface: device,
  multicastHopLimit: 255,
});
udp.joinGroup(GROUP, { interface: device });
const queue = udp.outgoing.queue({ onError: (error) => console.error(error.message) });

function send(message, to = `${GROUP}:${PORT}`) {
  queue.send(dns.encode({ flags: dns.AUTHORITATIVE_ANSWER, ...message }), to);
}

const isNamed = (a, b) => a.name.toLowerCase() === b.name.toLowerCase();
const isOf = (a, b) => isNamed(a, b) && a.type === b.type;
const isSame = (a, b) => isOf(a, b) && isDeepStrictEqual(a.data, b.data);

/** Answers what is asked and not known yet. */
async function answer({ id, questions, answers: known }, { val: { port: from, address } }) {
  const answers = records
    .filter((record) => questions.some((asked) => isNamed(asked, record) && [record.type, 'ANY'].includes(asked.type)))
    .filter((record) => !known.some((other) => isSame(other, record) && other.ttl >= record.ttl / 2));
  if (answers.length === 0) return;
  if (from !== PORT) {
    // A client of plain DNS, such as `dig -p 5353`.
    const plain = answers.map((record) => ({ ...record, ttl: Math.min(record.ttl, LEGACY_TTL_S), flush: false }));
    send({ type: 'response', id, questions, answers: plain }, `${address.join('.')}:${from}`);
    return;
  }
  // Others may answer too where a record is not ours alone: not all at once.
  if (!answers.every(({ flush }) => flush)) await setTimeout(20 + 100 * Math.random());
  // The other records are so few that they come along.
  send({ type: 'response', answers, additionals: records.filter((other) => other.flush && !answers.includes(other)) });
}

/** Whether somebody else tells something else for a name that is ours alone. */
function isTaken({ answers, additionals }) {
  const foreign = [...answers, ...additionals].filter((other) => other.ttl > 0);
  return foreign.some((other) => {
    const own = records.filter((record) => record.flush && isOf(record, other));
    return own.length > 0 && !own.some((record) => isSame(record, other));
  });
}

/** Whether the names were found free. */
let isOurs = false;

async function listen() {
  for await (const batch of udp.incoming) {
    for (const { data, remoteAddress } of batch) {
      if (!link.check(remoteAddress.val.address.join('.'))) continue;
      let message;
      try {
        message = dns.decode(Buffer.from(data));
      } catch {
        continue; // Anybody may send anything here.
      }
      if (message.type === 'query') {
        if (isOurs) answer(message, remoteAddress);
      } else if (isTaken(message)) {
        console.error(`${instance} or ${host} is taken by ${remoteAddress.val.address.join('.')}`);
        process.exit(1);
      }
    }
  }
}

/** Tells that the records are no more. */
async function leave() {
  if (isOurs) send({ type: 'response', answers: records.map((record) => ({ ...record, ttl: 0 })) });
  await queue.close();
  process.exit();
}

process.once('SIGINT', leave);
process.once('SIGTERM', leave);
listen();

const questions = [instance, host].map((name) => ({ name, type: 'ANY' }));
for (let i = 0; i < PROBES; i++) {
  send({ type: 'query', flags: 0, questions, authorities: records.filter(({ flush }) => flush) });
  await setTimeout(PROBE_MS);
}
isOurs = true;
send({ type: 'response', answers: records });
console.log(`${instance} is ${host}:${port} on ${device}`);
await setTimeout(ANNOUNCEMENT_MS);
send({ type: 'response', answers: records });
