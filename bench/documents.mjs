/**
 * The figures in the documents: each table between `<!-- figures: NAME -->` and `<!-- /figures -->` is made of bench/results/.
 * `node bench/documents.mjs` writes them anew; a test tells where one is not what was measured.
 */
import fs from 'node:fs';
import { pathToFileURL } from 'node:url';
import { CHARTED } from './cases.mjs';
import { chart, overview } from './chart.mjs';

const results = new URL('./results/', import.meta.url);
const root = new URL('../', import.meta.url);

const report = (name) => JSON.parse(fs.readFileSync(new URL(`${name}.json`, results), 'utf8'));
const quick = report('quick');
const full = report('full');

/** Nanoseconds, as people read them. */
const ns = (value) => (value === undefined ? '' : Math.round(value).toLocaleString('en'));
const times = (value) => (value >= 10 ? value.toFixed(0) : value.toFixed(1));
/** Datagrams a second. */
const rate = (value) => (value < 1000 ? `${(1000 / value).toFixed(1)} million` : `${Math.round(1e6 / value)},000`);

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** What was measured on which machine. */
function machineOf({ machine }, name) {
  const kernel = machine.kernel.split('-')[0];
  return `${machine.cores} cores of an ${machine.cpu}, Linux ${kernel}, Node.js ${machine.node.slice(1)}, commit ${machine.commit}: \`bench/results/${name}.json\``;
}

const single = quick.measured['one at a time, 64 B, 256 a turn, plain'];
const singleGro = quick.measured['one at a time, 64 B, 256 a turn, GRO'];
const idle = quick.measured['one at a time, 64 B, idle, p50'];
const lists = quick.measured[CHARTED.plain64.name];
const random = quick.measured['1-1200 B, batch 256, random, plain, IPv4, lo'];
const sixteen = quick.measured['64 B, batch 256, sixteen, plain, IPv4, lo'];
const alone = quick.measured['64 B, batch 1, one, plain, IPv4, lo'];
const receivedRuns = quick.measured['receive 64 B, burst 128, sent as runs'];
const receivedSingly = quick.measured['receive 64 B, burst 128, sent one by one'];
const echo = (name) => quick.measured[`echo, ${name}`];
const async = (name) => quick.measured[`async guest${name}`];

/** A row of the ways of sending: nanoseconds, datagrams a second, and how many times what node:dgram sends. */
const way = (what, ours, dgram) => [what, ns(ours), rate(ours), `${times(dgram / ours)}x`];

export const TABLES = {
  'ways to send': () =>
    table(
      ['64 bytes over loopback', 'ns a datagram', 'datagrams a second', 'of what node:dgram sends'],
      [
        way('node:dgram, `send` of one', single['dgram-quiet'], single['dgram-quiet']),
        way('`queue.send`, 256 a turn', single.queue, single['dgram-quiet']),
        way('`outgoing.send`, lists of 256', lists.send, lists.dgram),
        way('`outgoing.writer()`, batches of 256', lists.writer, lists.dgram),
        way('the same list to 16 destinations in turn', sixteen.send, sixteen.dgram),
        way('the same, sizes of 1 to 1200 bytes at random', random.send, random.dgram),
        way('`outgoing.send`, lists of one', alone.send, alone.dgram),
      ],
    ),
  'ways to receive': () =>
    table(
      ['64 bytes over loopback, ns a datagram', '`receive`', '`receiveInto`', 'node:dgram'],
      [
        ['sent as runs', ns(receivedRuns.receive), ns(receivedRuns.receiveInto), ns(receivedRuns.dgram)],
        ['sent one by one', ns(receivedSingly.receive), ns(receivedSingly.receiveInto), ns(receivedSingly.dgram)],
      ],
    ),
  single: () =>
    table(
      ['', 'here', 'node:dgram', 'native'],
      [
        [
          '256 single sends a turn, by a queue',
          ns(single.queue),
          ns(single['dgram-quiet']),
          `${ns(single.sendto)} (\`sendto\`)`,
        ],
        ['the same, to a receiver with GRO', ns(singleGro.queue), ns(singleGro['dgram-quiet']), ns(singleGro.sendto)],
        [
          'one send in an idle process, by a queue: median until it is sent',
          ns(idle.queue),
          ns(idle['dgram-quiet']),
          '',
        ],
        [
          'an echo server, 64 queries in flight, by a queue: time a query',
          ns(echo('depth 64, time').queue),
          ns(echo('depth 64, time').dgram),
          `${ns(echo('depth 64, time').epoll)} (an epoll loop)`,
        ],
        ['the same: processor time', ...['queue', 'dgram', 'epoll'].map((who) => ns(echo('depth 64, CPU')[who]))],
        [
          'an echo server at 10,000 queries a second: processor time',
          ...['queue', 'dgram', 'epoll'].map((who) => ns(echo('10,000 a second, CPU')[who])),
        ],
        [
          'the same: median latency',
          ...['queue', 'dgram', 'epoll'].map((who) => ns(echo('10,000 a second, p50')[who])),
        ],
        [
          'an echo server at 500 queries a second: processor time',
          ...['queue', 'dgram', 'epoll'].map((who) => ns(echo('500 a second, CPU')[who])),
        ],
      ],
    ),
  guests: () => {
    const one = quick.measured['guest, 64 B, batch 1, plain'];
    const many = quick.measured['guest, 64 B, batch 256, plain'];
    return table(
      ['a guest in C of WASI 0.2, ns a datagram', 'here', '`js` bindings', "jco's shim", 'wasmtime', 'Rust, natively'],
      [
        ['lists of one', ...['guest', 'guest-js', 'guest-shim', 'wasmtime', 'sendto'].map((who) => ns(one[who]))],
        ['the same with `writeBehind`', ns(one['guest-write-behind']), '', '', '', ''],
        ['lists of 256', ...['guest', 'guest-js', 'guest-shim', 'wasmtime', 'segment'].map((who) => ns(many[who]))],
      ],
    );
  },
  'guests of 0.3': () => {
    const row = (what, of, who = ['async', 'async-wasmtime', 'async-shim']) => [
      what,
      ...who.map((name) => ns(of[name])),
    ];
    const generated = async(' by generated bindings, 64 B, 64 in flight, GRO');
    return table(
      ['in Node.js 24.21', 'here', 'wasmtime', 'preview3-shim'],
      [
        row('in C, one send in flight', async(', 64 B, 1 in flight, plain')),
        row('64 in flight, to a receiver with GRO', async(', 64 B, 64 in flight, GRO')),
        row('the same in Rust, by generated bindings', generated, ['async-rust', 'async-rust-wasmtime', 'none']),
        row('one in flight with `writeBehind`, receiver with GRO', async(', 64 B, 1 in flight, GRO'), [
          'async-write-behind',
          'none',
          'none',
        ]),
        row('receiving a flood of runs', async(' receives 64 B, burst 128, sent as runs')),
        row('an answer to a query that a receive waited for: median', async(' answers, one query at a time, p50')),
      ],
    );
  },
  batches: () => {
    const cases = Object.values(CHARTED).map(({ name }) => full.measured[name]);
    const row = (what, who) => [what, ...cases.map((of) => ns(of[who]))];
    return table(
      ['', '64 B', '1200 B', '64 B, receiver with GRO', '1200 B, receiver with GRO'],
      [
        row('`send`', 'send'),
        row('`writer`', 'writer'),
        row('node:dgram', 'dgram'),
        row('Bun `sendMany`', 'bun-sendMany'),
        row('Deno datagram', 'deno-datagram'),
        row('Rust: `sendmmsg`', 'sendmmsg'),
        row('Rust: `sendmmsg` + UDP_SEGMENT', 'segment'),
        row('Rust: quinn-udp', 'quinn'),
      ],
    );
  },
  /** How many times what node:dgram sends a queue sends. */
  times: () => String(Math.floor(single['dgram-quiet'] / single.queue)),
  'quick machine': () => machineOf(quick, 'quick'),
  'full machine': () => machineOf(full, 'full'),
};

/** The charts in the documents, by their files in bench/results/. */
export const CHARTS = {
  'full.svg': () => chart(full),
  'quick.svg': () => chart(quick),
  'overview.svg': () => overview(quick),
};

const BLOCK = /(<!-- figures: (.+?) -->)(\n?)(?:.*?)\n?(<!-- \/figures -->)/gs;

/** A document with its figures as they were measured. */
export function withFigures(text) {
  return text.replace(BLOCK, (_, begin, name, line, end) => {
    if (!(name in TABLES))
      throw new Error(`there are no figures ${name}: name some of ${Object.keys(TABLES).join(', ')}`);
    return `${begin}${line}${TABLES[name]()}${line}${end}`;
  });
}

/** The documents that may have figures. */
export function documents() {
  const docs = fs.readdirSync(new URL('docs/', root)).filter((file) => file.endsWith('.md'));
  return ['README.md', ...docs.map((file) => `docs/${file}`)];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const file of documents()) {
    const url = new URL(file, root);
    fs.writeFileSync(url, withFigures(fs.readFileSync(url, 'utf8')));
  }
  for (const [file, make] of Object.entries(CHARTS)) fs.writeFileSync(new URL(file, results), make());
}
