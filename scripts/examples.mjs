/**
 * Runs the examples against real servers, which it starts on loopback: dnsmasq, rsyslogd, a UDP echo server. On Debian, as
 * root, it installs those that are missing; elsewhere an example without its server is left out, and the output says so.
 * Exit code 1 where an example does not do what it says.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { guests } from './guests.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-udp-examples-'));
const at = (...parts) => path.join(folder, ...parts);

/** The examples, by name. Each prepares a server, runs, and looks at what came of it. */
const EXAMPLES = { dns, syslog, ping };

/** 10,000 names, each of which dnsmasq makes an address of its own. */
async function dns() {
  install('dnsmasq', 'dnsmasq-base');
  const port = await freePort();
  const addresses = Array.from({ length: 10_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
  const names = addresses.map((address) => `host-${address.replaceAll('.', '-')}.example.test`);
  fs.writeFileSync(at('names.txt'), names.join('\n'));
  const server = await start('dnsmasq', [
    ...['--keep-in-foreground', '--conf-file=/dev/null', '--pid-file', '--no-resolv', '--no-hosts'],
    ...['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${port}`, '--user=root'],
    '--synth-domain=example.test,10.1.0.0/16,host-',
  ]);
  try {
    const { stdout, stderr } = await example('dns.mjs', [`127.0.0.1:${port}`, at('names.txt')]);
    const seen = new Map(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' ')),
    );
    assert.equal(seen.size, names.length);
    for (const [i, name] of names.entries()) assert.equal(seen.get(name), addresses[i]);
    return stderr.trimEnd();
  } finally {
    await stop(server);
  }
}

/** 20,000 lines, each of which rsyslogd must write to its file, in order. */
async function syslog() {
  install('rsyslogd', 'rsyslog');
  const port = await freePort();
  const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i} of the replay${' and more'.repeat(i % 7)}`);
  fs.writeFileSync(at('app.log'), `${lines.join('\n')}\n`);
  fs.writeFileSync(
    at('rsyslog.conf'),
    `module(load="imudp")
     input(type="imudp" address="127.0.0.1" port="${port}" rcvbufSize="4m")
     template(name="message" type="string" string="%msg%\\n")
     action(type="omfile" file="${at('received.log')}" template="message")
    `,
  );
  const server = await start('rsyslogd', ['-n', '-f', at('rsyslog.conf'), '-i', at('rsyslog.pid')]);
  try {
    const { stderr } = await example('syslog.mjs', [at('app.log'), `127.0.0.1:${port}`, '10000']);
    const received = () => (fs.existsSync(at('received.log')) ? fs.readFileSync(at('received.log'), 'utf8') : '');
    await until(() => received().length >= fs.statSync(at('app.log')).size);
    assert.deepEqual(received().trimEnd().split('\n'), lines);
    return stderr.trimEnd();
  } finally {
    await stop(server);
  }
}

/** A guest component, with the rules that it needs, asks an echo server; without them it gets nowhere. */
async function ping() {
  const components = await guests().catch((error) => {
    throw new Missing(error.message);
  });
  const component = components['ping'];
  const server = createSocket('udp4', (message, { port, address }) => server.send(message, port, address));
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  const main = path.join(root, 'dist/cli/main.js');
  const command = (...rules) =>
    run(process.execPath, [main, 'run', component, ...rules, '--', '127.0.0.1', String(port)]);
  try {
    const allowed = await command('--allow-bind', '0.0.0.0:0', '--allow-send', `127.0.0.1:${port}`);
    assert.equal(allowed.code, 0, allowed.stderr);
    assert.match(allowed.stdout, /^(ping \d, \d+ microseconds\n){5}5 of 5 answered\n$/);
    const denied = await command('--allow-bind', '0.0.0.0:0', '--allow-send', '10.0.0.0/8:*');
    assert.equal(denied.code, 1);
    assert.match(denied.stdout, /access-denied/);
    return allowed.stdout.trimEnd().split('\n').at(-1);
  } finally {
    server.close();
  }
}

async function example(file, args) {
  const finished = await run(process.execPath, [path.join(root, 'examples', file), ...args]);
  assert.equal(finished.code, 0, finished.stderr);
  return finished;
}

function run(file, args) {
  const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

/** Starts a server, and waits until it has had time to bind or to fail. */
async function start(file, args) {
  const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, PATH: PATHS } });
  await Promise.race([sleep(1000), once(child, 'exit')]);
  assert.equal(child.exitCode, null, `${file} did not start`);
  return child;
}

async function stop(child) {
  child.kill();
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/** A port of 127.0.0.1 that was free a moment ago. */
async function freePort() {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

async function until(condition) {
  for (let i = 0; i < 100 && !condition(); i++) await sleep(100);
}

/** What an example needs is not here, and cannot be installed: it is left out. */
class Missing extends Error {}

/** Servers are not on everybody's PATH. */
const PATHS = `${process.env.PATH}:/usr/sbin:/sbin`;

function install(command, packageName) {
  const isThere = () => spawnSync('sh', ['-c', `command -v ${command}`], { env: { PATH: PATHS } }).status === 0;
  if (isThere()) return;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['update', '-qq'], { env });
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', packageName], { env, stdio: 'inherit' });
  if (!isThere()) throw new Missing(`needs ${command}: install it (on Debian the package ${packageName})`);
}

try {
  for (const [name, check] of Object.entries(EXAMPLES)) {
    const outcome = await check().catch((error) => {
      if (error instanceof Missing) return `left out, ${error.message}`;
      throw error;
    });
    console.log(`${name}: ${outcome}`);
  }
} finally {
  fs.rmSync(folder, { recursive: true, force: true });
}
