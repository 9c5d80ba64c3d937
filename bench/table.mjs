/** The benchmark's tables for a terminal. */

const RAW = ['sendto', 'sendmmsg', 'segment'];

/** The rows of request and response, and how many times less than node:dgram the list and the queue take. */
export function echoTable(report) {
  return caseTable(report, isOf('echo'), (of) => ({
    'list: x dgram': of.dgram / of.list,
    'queue: x dgram': of.dgram / of.queue,
    'queue: x epoll': of.epoll / of.queue,
  }));
}

/** The rows of one and two workers: how many times as much two do in the same time. */
export function coresTable(report) {
  return caseTable(report, isOf('cores'), (of) => ({
    'echo: two x one': of['echo-1'] / of['echo-2'],
    'sink: two x one': of['sink-1'] / of['sink-2'],
  }));
}

/** The rows of single datagrams, likewise. */
export function singleTable(report) {
  return caseTable(report, isOf('one at a time'), (of) => ({
    'send-one: x dgram': of['dgram-quiet'] / of['send-one'],
    'queue: x dgram': of['dgram-quiet'] / of.queue,
    'queue: x send': of.send / of.queue,
  }));
}

/** A row a case of sending: nanoseconds a datagram of each sender, then how many times faster `send` is than its peers. */
export function sendTable(report) {
  return caseTable(report, isBy('send'), (of) => {
    const raw = Math.min(...RAW.map((sender) => of[sender] ?? Number.POSITIVE_INFINITY));
    return {
      'send: x dgram': of.dgram / of.send,
      'x best raw': Number.isFinite(raw) ? raw / of.send : Number.NaN,
      'x quinn': of.quinn / of.send,
    };
  });
}

/** A row a case of receiving, likewise. */
export function receiveTable(report) {
  return caseTable(report, isBy('receive'), (of) => ({
    'receive: x dgram': of.dgram / of.receive,
    'receiveInto: x dgram': of.dgram / of.receiveInto,
  }));
}

/** A row a case of a guest that sends, likewise. */
export function guestTable(report) {
  return caseTable(report, isOf('guest,'), (of) => ({
    'guest: x ordinary bindings': of['guest-js'] / of.guest,
    'x shim': of['guest-shim'] / of.guest,
    'x raw': (of.segment ?? of.sendto) / of.guest,
    'x quinn': of.quinn / of.guest,
    'write-behind: x guest': of.guest / of['guest-write-behind'],
  }));
}

/** A row a case of a guest that receives, likewise. */
export function guestReceiveTable(report) {
  return caseTable(report, isOf('guest receives'), (of) => ({
    'guest: x ordinary bindings': of['guest-js'] / of.guest,
    'by-1: x ordinary bindings': of['guest-js-by-1'] / of['guest-by-1'],
    'by-1: x recvfrom': of.recvfrom / of['guest-by-1'],
  }));
}

/** A row a case of a guest of 0.3, likewise. */
export function asyncTable(report) {
  return caseTable(report, isOf('async guest'), (of) => ({
    'async: x shim': of['async-shim'] / of.async,
    'x wasmtime': of['async-wasmtime'] / of.async,
    'rust: x wasmtime': of['async-rust-wasmtime'] / of['async-rust'],
    'write-behind: x async': of.async / of['async-write-behind'],
  }));
}

/** Whether a row is of a case whose name begins so. */
const isOf = (beginning) => (name) => name.startsWith(beginning);
/** Whether a row is of no such case, and has who it is about. */
const isBy = (ours) => (name, of) => ours in of && !isOf('one at a time')(name);

function caseTable({ measured, failures }, isHere, ratiosOf) {
  const names = Object.keys(measured).filter((name) => isHere(name, measured[name]));
  if (names.length === 0) return '';
  const columns = [...new Set(names.flatMap((name) => Object.keys(measured[name])))];
  const rows = names.map((name) => {
    const of = measured[name];
    const ratios = Object.values(ratiosOf(of)).map((ratio) => (ratio > 0 ? times(ratio) : '-'));
    return [name, ...columns.map((column) => (of[column] === undefined ? '-' : digits(of[column]))), ...ratios];
  });
  const head = ['nanoseconds a datagram', ...columns, ...Object.keys(ratiosOf({}))];
  const notes = Object.entries(failures)
    .filter(([name]) => names.some(isOf(name)))
    .flatMap(([name, of]) => Object.entries(of).map(([who, why]) => `${name}: ${who}: ${why}`));
  return [align([head, ...rows]), ...notes].join('\n');
}

/** A row a target: the ratio, what it must be, and whether it is. */
export function targetTable({ targets, limits }) {
  if (targets.length === 0 && limits.length === 0) return '';
  const verdict = (met) => (met ? 'met' : 'MISSED');
  const rows = targets.map(({ case: name, ours, peer, ratio, least, met }) => {
    return [name, `${ours} / ${peer}`, times(ratio), `at least ${times(least)}`, verdict(met)];
  });
  const others = limits.map(({ case: name, ours, value, most, unit, met }) => {
    return [name, ours, `${digits(value)}${unit}`, `at most ${most}${unit}`, verdict(met)];
  });
  return align([['target', 'who is how much faster', 'measured', 'wanted', ''], ...rows, ...others]);
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
