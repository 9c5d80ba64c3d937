// Charts of a report: datagrams a second of each sender, as bars from zero, so that twice as long is twice as many.
import { CHARTED } from './cases.mjs';

const LABELS = {
  dgram: 'node:dgram',
  'dgram-quiet': 'node:dgram',
  sendto: 'Rust: sendto, one by one',
  sendmmsg: 'Rust: sendmmsg',
  segment: 'Rust: UDP_SEGMENT',
  quinn: 'Rust: quinn-udp',
  'bun-sendMany': 'Bun: sendMany',
  'deno-datagram': 'Deno: send',
  send: 'wasi-udp: send, lists',
  writer: 'wasi-udp: writer',
  queue: 'wasi-udp: queue',
  'own-dgram': 'wasi-udp/dgram',
};
const OURS = ['send', 'writer', 'queue'];

const WIDTH = 640;
const RIGHT = 100;
const BAR = 17;
const STEP = 24;
/** Wider than any letter of the fonts that `system-ui` stands for, of 14 pixels, on average. */
const LETTER = 8.6;

/** The chart of a report: batches of 256 to one destination, by size and by what the receiver can. Each panel has a scale of its own. */
export function chart({ machine, measured }) {
  const titles = ['64 bytes', '1200 bytes', '64 bytes, receiver with GRO', '1200 bytes, receiver with GRO'];
  const wanted = ['deno-datagram', 'dgram', 'bun-sendMany', 'sendto', 'sendmmsg', 'quinn', 'segment', 'send', 'writer'];
  const panels = Object.values(CHARTED).map(({ name }, i) => panelOf(titles[i], measured[name], wanted));
  return draw('Datagrams a second, lists of 256 to one destination', machine, panels);
}

/** What matters most, in one scale: single datagrams by the queue, and lists. */
export function overview({ machine, measured }) {
  const lists = ['deno-datagram', 'dgram', 'bun-sendMany', 'sendmmsg', 'quinn', 'send'];
  const panels = [
    panelOf('One at a time', measured['one at a time, 64 B, 256 a turn, plain'], ['dgram-quiet', 'sendto', 'queue']),
    panelOf('In lists of 256', measured[CHARTED.plain64.name], lists),
  ];
  const most = Math.max(...panels.flatMap(({ rows }) => rows.map(({ rate }) => rate)));
  const scaled = panels.map((panel) => ({ ...panel, most }));
  return draw('Datagrams a second that one thread sends, 64 bytes', machine, scaled);
}

/** A panel: its rows from the slowest to the fastest, each with its datagrams a second. */
function panelOf(title, values = {}, senders) {
  const rows = senders
    .filter((sender) => values[sender] !== undefined)
    .map((sender) => ({ sender, rate: 1e9 / values[sender] }))
    .sort((a, b) => a.rate - b.rate);
  return { title, rows, most: Math.max(...rows.map(({ rate }) => rate)) };
}

/** Panels below each other, as the text of an SVG that reads on light and on dark pages. */
function draw(heading, machine, panels) {
  const left = 12 + LETTER * Math.max(...panels.flatMap(({ rows }) => rows.map(({ sender }) => LABELS[sender].length)));
  const parts = [];
  let y = 70;
  for (const { title, rows, most } of panels.filter((panel) => panel.rows.length > 0)) {
    parts.push(`<text class="title" x="${left}" y="${y}">${title}</text>`);
    y += 10;
    for (const { sender, rate } of rows) {
      const width = (rate / most) * (WIDTH - left - RIGHT);
      parts.push(
        `<text class="label" x="${left - 10}" y="${y + 13}">${LABELS[sender]}</text>`,
        `<rect class="${OURS.includes(sender) ? 'ours' : 'peer'}" x="${left}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2"/>`,
        `<text class="value" x="${(left + width + 6).toFixed(1)}" y="${y + 13}">${inWords(rate)}</text>`,
      );
      y += STEP;
    }
    y += 28;
  }
  const source = `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel.split('-')[0]}, Node.js ${machine.node.slice(1)}, loopback, commit ${machine.commit}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y - 24}" width="${WIDTH}" height="${y - 24}" role="img" aria-label="${heading}">
<style>
  text { font: 14px system-ui, sans-serif; fill: #1f2328; }
  .head { font-size: 17px; font-weight: 600; } .note { font-size: 12px; fill: #59636e; }
  .title { font-weight: 600; } .label { text-anchor: end; } .value { fill: #59636e; font-size: 13px; }
  .ours { fill: #1f883d; } .peer { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .note, .value { fill: #9198a1; } .ours { fill: #3fb950; } .peer { fill: #6e7681; }
  }
</style>
<text class="head" x="12" y="24">${heading}</text>
<text class="note" x="12" y="43">longer is faster; ${source}</text>
${parts.join('\n')}
</svg>
`;
}

function inWords(rate) {
  return rate >= 1e6 ? `${(rate / 1e6).toFixed(1)} million` : `${(rate / 1e3).toFixed(0)},000`;
}
