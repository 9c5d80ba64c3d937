// Replays a log file to a syslog server, each line a message of RFC 5424, at a steady rate.
//
//     node examples/syslog.mjs /var/log/app.log 192.0.2.1:514 20000
import { createReadStream } from 'node:fs';
import { hostname } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { openUdp, sendAll } from 'wasi-udp';

const [file, server, rate = '10000'] = process.argv.slice(2);
const PRIORITY = 16 * 8 + 6; // Facility local0, severity informational.
const HEADER = `<${PRIORITY}>1 ${new Date().toISOString()} ${hostname()} replay ${process.pid} - - `;

/** The lines as datagrams, no more of them a second than the rate. */
async function* messages() {
  const started = performance.now();
  let sent = 0;
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const early = (sent / Number(rate)) * 1000 - (performance.now() - started);
    if (early > 1) await setTimeout(early);
    sent += 1;
    yield { data: Buffer.from(HEADER + line) };
  }
}

const udp = openUdp({ remote: server });
const accepted = await sendAll(udp.outgoing, messages());
udp.close();
console.error(`${accepted} messages sent`);
