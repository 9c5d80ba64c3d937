// One SVG: ns a datagram of each sender, on a logarithmic axis, for the headline cases to one destination.
import { CHARTED } from './cases.mjs';

const LABELS = {
  dgram: 'node:dgram',
  sendto: 'sendto, one by one',
  sendmmsg: 'raw sendmmsg',
  segment: 'raw sendmmsg + UDP_SEGMENT',
  quinn: 'quinn-udp (Rust)',
  'bun-sendMany': 'Bun sendMany',
  'deno-datagram': 'Deno datagram',
  send: 'wasi-udp send',
  writer: 'wasi-udp writer',
};
const TITLES = ['64 bytes', '1200 bytes', '64 bytes, receiver with GRO', '1200 bytes, receiver with GRO'];
const WIDTH = 860;
const LEFT = 210;
const RIGHT = 90;
const BAR = 16;
const STEP = 22;

/** The chart of a report, as the text of an SVG that reads on light and on dark pages. */
export function chart({ machine, measured }) {
  const panels = Object.values(CHARTED).map(({ name }, i) => ({ title: TITLES[i], values: measured[name] ?? {} }));
  const all = panels.flatMap(({ values }) => Object.values(values));
  if (all.length === 0) return '<svg xmlns="http://www.w3.org/2000/svg"/>\n';
  const [low, high] = [Math.log10(Math.min(...all) / 1.6), Math.log10(Math.max(...all))];
  const width = (value) => ((Math.log10(value) - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
  const parts = [];
  let y = 64;
  for (const { title, values } of panels) {
    parts.push(`<text class="title" x="${LEFT}" y="${y}">${title}</text>`);
    y += 12;
    const rows = Object.keys(LABELS).filter((sender) => values[sender] !== undefined);
    for (const sender of rows.sort((a, b) => values[b] - values[a])) {
      const kind = sender === 'send' || sender === 'writer' ? 'ours' : 'peer';
      const value = values[sender];
      parts.push(
        `<text class="label" x="${LEFT - 10}" y="${y + 12}">${LABELS[sender]}</text>`,
        `<rect class="${kind}" x="${LEFT}" y="${y}" width="${width(value).toFixed(1)}" height="${BAR}" rx="2"/>`,
        `<text class="value" x="${(LEFT + width(value) + 6).toFixed(1)}" y="${y + 12}">${
          value >= 100 ? value.toFixed(0) : value.toFixed(1)
        } ns</text>`,
      );
      y += STEP;
    }
    y += 26;
  }
  const height = y + 4;
  const source = `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}, commit ${machine.commit}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Nanoseconds a datagram of each sender">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .head { font-size: 17px; font-weight: 600; } .note { font-size: 11px; fill: #656d76; }
  .title { font-weight: 600; } .label { text-anchor: end; } .value { fill: #656d76; font-size: 12px; }
  .ours { fill: #1f883d; } .peer { fill: #afb8c1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .note, .value { fill: #9198a1; } .ours { fill: #3fb950; } .peer { fill: #57606a; }
  }
</style>
<text class="head" x="${LEFT}" y="24">Nanoseconds a datagram, batches of 256, one destination</text>
<text class="note" x="${LEFT}" y="42">logarithmic; shorter is faster; ${source}</text>
${parts.join('\n')}
</svg>
`;
}
