/** Writes docs/faults.md: what was refused, and what the caller saw of it. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import process from 'node:process';
import { ERRORS } from './errors.mjs';
import { PROGRAMS } from './programs.mjs';
import { SCENARIOS } from './scenarios.mjs';

const DRIVERS = { libuv: "libuv's poll handles", thread: 'the polling thread' };

const INTRODUCTION = `# System calls that fail

\`npm run faults\` has strace refuse the system calls that the addon makes, below the shipped binary, while a program opens sockets,
sends, receives and waits: the k-th call, for each k, with each error that its man page names; the first and all later
ones too. Afterwards nothing is refused any more, and the program goes on. Each time these must hold:

- What was accepted is what is delivered: byte by byte, in order, none twice.
- Nobody hangs, nothing crashes, no descriptor stays open.
- The caller gets a \`SocketError\` with the code of the error that was made, or none where the call can be made again: EINTR is
  never seen, nor is \`would-block\`. Errors that the kernel tells once (\`ECONNREFUSED\`, say) are told.
- The same socket works on.

\`npm run faults -- --quick\` takes each error at the first call and one error at some later calls, in about a minute.
\`npm run faults -- --full --write\` takes all, and writes this page. \`--only TEXT\` takes the scenarios of that name, \`--verbose\` tells each
refusal. It needs Linux and strace, and root for the slow links.
`;

const WHY = `## Where nothing is seen

- \`EINTR\`: the call is made again. \`EAGAIN\`, \`ENOBUFS\`: a send accepts 0, a receive gives none; the wait that follows ends at once.
- \`sendmmsg\`, not the first of a batch: the count says how far it went. An error that recurs does so at the next send; one that is told
  once is kept for it. A queue tries a refused datagram once more before it believes.
- \`sendmmsg\` of a run, refused with \`EINVAL\`, \`EMSGSIZE\`, \`EIO\`, \`EOPNOTSUPP\`, \`ENOPROTOOPT\` or \`ENOSYS\`: its datagrams go plainly.
- \`sendto\`, \`sendmmsg\`, \`sendmsg\`, \`recvmmsg\` and \`recvmsg\`, the first and all later ones, with \`ENOSYS\` or \`EPERM\`, as a container's filter
  refuses them: another of these calls, or \`recvfrom\`, does the work, message by message. Whether a call is refused as such, or has told
  the error of its datagram (a firewall says \`EPERM\` too), the same call on no descriptor (-1) tells: where it is allowed, it answers
  \`EBADF\`. The first is remembered for the thread, which no filter ever leaves; the second is told, and nothing is remembered.
- \`getsockopt\` and \`setsockopt\` for UDP_SEGMENT, UDP_GRO and IP_RECVERR: datagrams go and come one by one. Without IP_RECVERR, or where
  its queue must not be read, a connected socket sends each datagram, or run of them, by a call of its own, which tells what it meets.
  \`getsockopt\` for SO_ERROR and \`recvmsg\` of the queue of errors, which ask for an error that a call may have consumed: the
  next check asks again.
- \`bind\` to a port that the system chose: another one is chosen.
- \`epoll_ctl\` that takes a descriptor out, \`close\`: nothing follows from their answer.
- The polling thread tells whoever waits then, and waits again; without an eventfd it takes a pipe, and it needs no timer.

## What is not refused

- Calls of libuv's own loop: \`epoll_ctl\` where the loop arms a descriptor, and where its check of one ends. libuv ends the process there,
  with any program.
- Memory: what needs it ends the process, as everywhere in Rust and Node.js.
- Errors that the man pages name for streams, files or other families.
`;

/** The results of the last run whose page was written. */
const KEPT = new URL('../../build/faults/results.json', import.meta.url);

/** Writes the page from the results of a run, and those kept of scenarios that it left out. */
export function write(run) {
  const names = new Set(run.map(({ name }) => name));
  const kept = fs.existsSync(KEPT) ? JSON.parse(fs.readFileSync(KEPT, 'utf8')) : [];
  const order = [...Object.keys(SCENARIOS), ...Object.keys(PROGRAMS)];
  const results = [...kept.filter(({ name }) => order.includes(name) && !names.has(name)), ...run];
  results.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  fs.mkdirSync(new URL('.', KEPT), { recursive: true });
  fs.writeFileSync(KEPT, JSON.stringify(results));
  const rows = new Map();
  for (const result of results.filter(({ hits }) => hits > 0)) {
    const { title } = SCENARIOS[result.name] ?? PROGRAMS[result.name];
    const key = `${title}\n${result.fault.call}`;
    rows.set(key, [...(rows.get(key) ?? []), result]);
  }
  const total = results.filter(({ hits }) => hits > 0).length;
  const found = results.filter(({ problems }) => problems.length > 0);
  const [strace] = String(spawnSync('strace', ['-V']).stdout).match(/\d+(\.\d+)+/) ?? [];
  const text = `${INTRODUCTION}
## The last full run

${total} refusals; ${found.length === 0 ? 'none' : found.length} showed a fault of ours. (Node.js ${process.versions.node}, Linux ${os.release()}, strace ${strace}.)
${found.length === 0 ? '' : `\n${found.map(faultLine).join('\n')}\n`}
"All" are all errors of the table below. An error that stands on both sides is told at some of the calls.

| scenario | call | refusals | told | nothing is seen of |
| --- | --- | --- | --- | --- |
${[...rows].map(([key, list]) => row(key, list)).join('\n')}

## What each call is refused with

| call | errors |
| --- | --- |
${refusedWith(results)}

## What each error is told as

| error | code |
| --- | --- |
${codes(results)}

${WHY}`;
  fs.writeFileSync(new URL('../../docs/faults.md', import.meta.url), text);
}

/** A fault that was found, as an item of a list. */
function faultLine({ name, fault: { call, errno, k, sticky }, problems }) {
  return `- ${name}: \`${call}\` no. ${k}${sticky ? ' and later' : ''}, ${errno}: ${problems.join('; ')}`;
}

function row(key, list) {
  const [title, call] = key.split('\n');
  const told = list.filter(({ seen }) => seen !== 'nothing');
  const silent = unique(list.filter(({ seen }) => seen === 'nothing'));
  const by = unique(told.flatMap(({ seen }) => [...seen.matchAll(/ from (\w+)/g)].map(([, name]) => name)));
  const calls = call.split(',').map((name) => `\`${name}\``);
  const drivers = unique(list.map(({ lane }) => DRIVERS[lane.driver]));
  const where = drivers.length > 1 ? ` (${drivers.join('; ')})` : '';
  const errors = ERRORS[call] ?? ['EINTR'];
  const cells = [
    `${title}${where}`,
    `${calls.join(', ')}${calls.length > 1 ? ', every second' : ''}`,
    list.length,
    [by.length > 0 ? `by ${by.join(', ')}:` : '', shown(unique(told), errors)].join(' ').trim(),
    shown(silent, errors),
  ];
  return `| ${cells.join(' | ')} |`;
}

/** Errors as a cell shows them, among all of the call. */
function shown(some, all) {
  const missing = all.filter((errno) => !some.includes(errno));
  if (all.length === 1 || missing.length >= some.length) return some.join(' ');
  return missing.length === 0 ? 'all' : `all but ${missing.join(' ')}`;
}

/** The errors of each call that was refused. */
function refusedWith(results) {
  const calls = unique(results.map(({ fault }) => fault.call)).filter((call) => call in ERRORS);
  return calls.map((call) => `| \`${call}\` | ${[...ERRORS[call]].sort().join(' ')} |`).join('\n');
}

/** The texts, or the errors of results, each once. */
function unique(list) {
  return [...new Set(list.map((one) => one.fault?.errno ?? one))].sort();
}

/** The codes that each error was told as. */
function codes(results) {
  const by = new Map();
  for (const { seen, fault } of results) {
    for (const [, code] of seen.matchAll(/`([a-z-]+)`/g))
      by.set(fault.errno, (by.get(fault.errno) ?? new Set()).add(code));
  }
  const lines = [...by].sort(([a], [b]) => (a < b ? -1 : 1));
  return lines
    .map(([errno, names]) => `| ${errno} | ${[...names].map((name) => `\`${name}\``).join(', ')} |`)
    .join('\n');
}
