/** The benchmark's tables for a terminal. */

const RAW = ['sendto', 'sendmmsg', 'segment'];

/** A row a case: nanoseconds a datagram of each sender, then how many times faster `send` is than its peers. */
export function caseTable({ measured, failures }) {
  const names = Object.keys(measured);
  if (names.length === 0) return '';
  const senders = [...new Set(names.flatMap((name) => Object.keys(measured[name])))];
  const rows = names.map((name) => {
    const of = measured[name];
    const raw = Math.min(...RAW.map((sender) => of[sender] ?? Number.POSITIVE_INFINITY));
    const ratios = [of.dgram, raw, of.quinn].map((peer) => (Number.isFinite(peer) ? times(peer / of.send) : '-'));
    return [name, ...senders.map((sender) => (of[sender] === undefined ? '-' : digits(of[sender]))), ...ratios];
  });
  const head = ['nanoseconds a datagram', ...senders, 'send: x dgram', 'x best raw', 'x quinn'];
  const notes = Object.entries(failures).flatMap(([name, of]) =>
    Object.entries(of).map(([sender, why]) => `${name}: ${sender} ${why}`),
  );
  return [align([head, ...rows]), ...notes].join('\n');
}

/** A row a target: the ratio, what it must be, and whether it is. */
export function targetTable({ targets }) {
  if (targets.length === 0) return '';
  const rows = targets.map(({ case: name, ours, peer, ratio, least, met }) => [
    name,
    `${ours} / ${peer}`,
    times(ratio),
    times(least),
    met ? 'met' : 'MISSED',
  ]);
  return align([['target: times faster', 'than', 'measured', 'at least', ''], ...rows]);
}

/** Heap and resident memory on the way to ten million datagrams. */
export function memoryTable({ memory }) {
  if (memory === undefined) return '';
  const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
  const row = ({ datagrams, heapUsed, external, rss }) => [
    datagrams.toLocaleString('en'),
    mib(heapUsed),
    mib(external),
    mib(rss),
  ];
  return align([['datagrams', 'heap', 'external', 'resident'], ...memory.map(row)]);
}

function align(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

function digits(value) {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

function times(value) {
  return `${value >= 10 ? value.toFixed(0) : value.toFixed(2)}x`;
}
