// Asks a DNS server for the IPv4 addresses of many names, 128 questions a batch, and asks again what is not answered.
//
//     node examples/dns.mjs 192.0.2.53:53 names.txt
//
// Prints a line for each name: the name and its address, or what the server answered instead.
import { readFileSync } from 'node:fs';
import { AbortError, openUdp } from 'wasi-udp';

const [server, file] = process.argv.slice(2);
const names = readFileSync(file, 'utf8').split('\n').filter(Boolean);

const BATCH = 128;
const PATIENCE_MS = 1000;
const TRIES = 5;

/** A question for the A record of a name (RFC 1035, 4.1). */
function question(id, name) {
  const labels = name.split('.').map((label) => Buffer.from(label));
  const size = labels.reduce((sum, label) => sum + 1 + label.length, 0);
  const data = Buffer.alloc(12 + size + 5);
  data.writeUInt16BE(id, 0);
  data.writeUInt16BE(0x0100, 2); // Recursion desired.
  data.writeUInt16BE(1, 4); // One question.
  let at = 12;
  for (const label of labels) {
    data[at] = label.length;
    label.copy(data, at + 1);
    at += 1 + label.length;
  }
  data.writeUInt16BE(1, at + 1); // Type A.
  data.writeUInt16BE(1, at + 3); // Class IN.
  return data;
}

/** The first A record of an answer, or why there is none. */
function answer(data) {
  const view = Buffer.from(data.buffer, data.byteOffset, data.length);
  const code = view[3] & 15;
  if (code !== 0) return `error ${code}`;
  const skipName = (at) => {
    while (view[at] !== 0) {
      if (view[at] >= 0xc0) return at + 2;
      at += 1 + view[at];
    }
    return at + 1;
  };
  let at = skipName(12) + 4;
  for (let i = 0; i < view.readUInt16BE(6); i++) {
    at = skipName(at);
    const length = view.readUInt16BE(at + 8);
    if (view.readUInt16BE(at) === 1) return view.subarray(at + 10, at + 14).join('.');
    at += 10 + length;
  }
  return 'no address';
}

const udp = openUdp({ remote: server });
const addresses = new Map();
const statistics = { batches: 0, again: 0 };

/** Asks for names, whose index is the question's id, until all are answered. */
async function ask(batch) {
  const open = new Map(batch.map((name, id) => [id, name]));
  for (let tries = 0; open.size > 0 && tries < TRIES; tries++) {
    statistics.again += tries > 0 ? open.size : 0;
    statistics.batches += 1;
    let list = [...open].map(([id, name]) => ({ data: question(id, name) }));
    while (list.length > 0) {
      if (udp.outgoing.checkSend() === 0n) await udp.outgoing.subscribe().wait();
      else list = list.slice(Number(udp.outgoing.send(list)));
    }
    await collect(open);
  }
  for (const name of open.values()) addresses.set(name, 'no answer');
}

/** Takes answers until none is open, or nothing comes for a while. */
async function collect(open) {
  while (open.size > 0) {
    for (const { data } of udp.incoming.receive()) {
      const id = (data[0] << 8) | data[1];
      if (open.has(id)) addresses.set(open.get(id), answer(data));
      open.delete(id);
    }
    if (open.size === 0) return;
    try {
      await udp.incoming.subscribe().wait({ signal: AbortSignal.timeout(PATIENCE_MS) });
    } catch (error) {
      if (!(error instanceof AbortError)) throw error;
      return;
    }
  }
}

const started = performance.now();
for (let i = 0; i < names.length; i += BATCH) await ask(names.slice(i, i + BATCH));
udp.close();
for (const [name, address] of addresses) console.log(name, address);
const { batches, again } = statistics;
console.error(
  `${names.length} names in ${batches} batches, ${again} asked again, ${Math.round(performance.now() - started)} ms`,
);
