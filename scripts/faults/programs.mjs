/** Commands, each in a process of its own, which strace is attached to before its first line of JavaScript. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { guests } from '../guests.mjs';
import { Child, Fate } from './child-process.mjs';
import { codesOf } from './errors.mjs';
import { Tracer } from './strace.mjs';

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const main = path.join(root, 'dist/cli/main.js');
const gate = new URL('gate.mjs', import.meta.url).href;
const cache = path.join(root, 'build/faults');

/** What strace was told to refuse, and all other calls of a socket or of readiness that a command makes. */
const CALLS = [
  ...['socket', 'fcntl', 'ioctl', 'bind', 'connect', 'getsockname', 'getsockopt', 'setsockopt', 'close', 'poll'],
  ...['sendto', 'sendmmsg', 'sendmsg', 'recvmmsg', 'recvmsg', 'epoll_ctl'],
];

/** Runs `wasi-udp ARGUMENTS`, traced with those options from its start, with `during` done beside it; the child, at its end. */
async function command(args, options, during = async () => {}) {
  const env = { WASI_UDP_FAULTS_GATE: '1', WASI_UDP_POLLER: '', XDG_CACHE_HOME: cache };
  const child = new Child(['--import', gate, main, ...args], { env });
  const { thread } = await child.hear();
  const tracer = await Tracer.attach(thread, options);
  child.say('go');
  let fate;
  try {
    await during(child);
    await child.untilEnd();
  } catch (error) {
    if (!(error instanceof Fate)) throw error;
    fate = error.message;
    await child.end();
  }
  return { child, fate, text: await tracer.detach() };
}

/** What is wrong with how a command ended, where it did not do its work: it is to exit with code 1, and tell the error's code. */
function unclear({ child, fate }, fault) {
  if (fate !== undefined) return [fate];
  const told = `${child.stdout}\n${child.stderr}`;
  const codes = fault === undefined ? [] : codesOf(fault.errno);
  if (child.code === 1 && codes.some((code) => told.includes(code))) return [];
  return [`${child.fate}, without ${codes.join(' or ') || 'reason'}: ${told.trim().split('\n').at(-1)}`];
}

/** `wasi-udp run` of a guest that asks an echo server five times. */
async function runPing(options, fault) {
  const { ping } = await guests();
  fs.mkdirSync(cache, { recursive: true });
  const echo = createSocket('udp4');
  let questions = 0;
  echo.on('message', (message, { port, address }) => {
    questions += 1;
    echo.send(message, port, address);
  });
  echo.bind(0, '127.0.0.1');
  await once(echo, 'listening');
  const { port } = echo.address();
  const result = await command(['run', ping, '--allow-all', '--', '127.0.0.1', String(port)], options);
  echo.close();
  const { child, text } = result;
  const works = child.code === 0 && child.stdout.includes('5 of 5 answered') && questions === 5;
  // The guest asks once whether an answer is there, and takes no for an answer.
  const isPatient = fault?.call.startsWith('recv') && fault.errno === 'EAGAIN' && child.code === 1;
  const problems = works || isPatient ? [] : unclear(result, fault);
  return { text, problems, seen: seen(works, child, fault) };
}

const COUNT = 20;

/** `wasi-udp listen` until 20 datagrams have come. */
async function listen(options, fault) {
  const sender = createSocket('udp4');
  const texts = Array.from({ length: COUNT }, (_, i) => `datagram ${i}`);
  const result = await command(['listen', '127.0.0.1:0', '--count', String(COUNT)], options, async (child) => {
    await child.until(() => child.fate !== undefined || /^listening .*\n/m.test(child.stderr));
    const [, port] = /^listening +\S+:(\d+)$/m.exec(child.stderr) ?? [];
    if (port === undefined) return;
    for (const [i, text] of texts.entries()) {
      sender.send(text, Number(port), '127.0.0.1');
      if (i % 7 === 6) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  sender.close();
  const { child, text } = result;
  const printed = child.stdout.split('\n').filter(Boolean);
  const inOrder = printed.every((line, i) => line.endsWith(`  ${texts[i]}`));
  const works = child.code === 0 && printed.length === COUNT;
  const problems = works ? [] : unclear(result, fault);
  if (!inOrder) problems.push(`printed ${printed.join()}`);
  return { text, problems, seen: seen(works, child, fault) };
}

/** What the user sees: nothing where the command did its work. */
function seen(works, { stderr, stdout, fate }, fault) {
  if (works) return 'nothing';
  const code = fault && codesOf(fault.errno).find((code) => `${stderr}\n${stdout}`.includes(code));
  return code === undefined ? fate : `\`${code}\`, ${fate}`;
}

/** Why there is no guest; undefined where there is. */
function noGuest() {
  return guests().then(
    () => undefined,
    (error) => error.message,
  );
}

/** Each program: its title, the calls that it makes, what it lacks here, and how it is run. */
export const PROGRAMS = {
  'wasi-udp run': { title: '`wasi-udp run` of a guest', calls: CALLS, missing: noGuest, run: runPing },
  'wasi-udp listen': { title: '`wasi-udp listen`', calls: CALLS, missing: async () => undefined, run: listen },
};
