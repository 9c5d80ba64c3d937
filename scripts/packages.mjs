/**
 * Runs packages that stand on node:dgram, unmodified, on wasi-udp/dgram: each exchanges something with a real partner on this
 * machine (dnsmasq, rsyslogd, itself), once with node:dgram replaced by `--import wasi-udp/dgram/register`, and once with our
 * module or socket given to it, where it takes one. They are installed in build/packages, as scripts/packages/package-lock.json
 * names them. Exit code 1 where one does not do what it should.
 */
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort, Missing, startDnsmasq, startSyslog, stop } from './servers.mjs';
import { root, setupOrExit } from './setup.mjs';

/** By package, the ways that it takes our module. */
const PACKAGES = {
  'hot-shots': ['register'],
  'multicast-dns': ['register', 'passed'],
  'dns-socket': ['register', 'passed'],
  dns2: ['register'],
  'bittorrent-dht': ['register', 'passed'],
  coap: ['register', 'passed'],
  'net-snmp': ['register', 'passed'],
  'winston-syslog': ['register'],
};

/** What a package needs of a network of its own: its multicasts go to nobody else. */
const NETWORK = `
  ip link set lo up
  ip link add link0 type veth peer name link1
  ip address add 10.9.9.1/24 dev link0
  ip link set link1 up
  ip link set link0 up multicast on
  exec "$@"`;

/** How long an exchange may take, in milliseconds. */
const PATIENCE_MS = 60_000;

await setupOrExit();
const folder = install();
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-udp-packages-'));
const servers = [];
let failed = 0;
let passed = 0;
try {
  const facts = { root, folder, address: '10.9.9.1', snmp: await freePort() };
  const syslog = await attempt(() => startSyslog(scratch));
  const dnsmasq = await attempt(() => startDnsmasq('--synth-domain=example.test,10.1.0.0/16,host-'));
  facts.syslog = syslog.port;
  facts.dns = Number(dnsmasq.address?.split(':')[1]);
  const network =
    spawnSync('unshare', ['--net', 'ip', 'link']).status === 0 ? {} : { missing: 'needs network namespaces' };
  const needs = { 'multicast-dns': network, 'winston-syslog': syslog, 'dns-socket': dnsmasq, dns2: dnsmasq };
  for (const [name, ways] of Object.entries(PACKAGES)) {
    for (const way of ways) await report(name, way, facts, needs[name]);
  }
  if (syslog.received !== undefined) await checkLines(syslog);
} finally {
  await Promise.all(servers.map(stop));
  fs.rmSync(scratch, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

async function report(name, way, facts, server) {
  if (server?.missing !== undefined) {
    console.log(`left out - ${name}, ${way}: ${server.missing}`);
    return;
  }
  const { code, output } = await exchange(name, way, facts);
  if (code === 0) passed += 1;
  else failed += 1;
  console.log(`${code === 0 ? 'ok' : 'FAILED'} - ${name}, ${way}: ${output.trim()}`);
}

/** rsyslogd has all lines, in their order. */
async function checkLines(syslog) {
  const lines = await syslog.received({ length: 500 });
  const texts = lines.map((line) => /line \d+/.exec(line)?.[0]);
  const isWhole = texts.length === 500 && texts.every((text, i) => text === `line ${i}`);
  if (isWhole) passed += 1;
  else failed += 1;
  console.log(`${isWhole ? 'ok' : 'FAILED'} - winston-syslog: rsyslogd has ${texts.length} lines`);
}

/** Starts a server, or tells why it cannot be. */
async function attempt(start) {
  try {
    const server = await start();
    servers.push(server.child);
    return server;
  } catch (error) {
    if (error instanceof Missing) return { missing: error.message };
    throw error;
  }
}

/** Runs one exchange in a process of its own. */
function exchange(name, way, facts) {
  const register = way === 'register' ? ['--import', path.join(root, 'dist/dgram/register-now.js')] : [];
  const program = path.join(root, 'scripts/packages/exchanges.cjs');
  const node = [process.execPath, ...register, program, name, way, JSON.stringify(facts)];
  const [file, ...args] = name === 'multicast-dns' ? ['unshare', '--net', 'sh', '-ec', NETWORK, 'sh', ...node] : node;
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  return new Promise((resolve) => {
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

/** Installs the packages, where that has not been done yet; their folder. */
function install() {
  const from = path.join(root, 'scripts/packages');
  const to = path.join(root, 'build/packages');
  const lock = 'package-lock.json';
  const isDone =
    fs.existsSync(path.join(to, 'node_modules')) &&
    fs.readFileSync(path.join(to, lock), 'utf8') === fs.readFileSync(path.join(from, lock), 'utf8');
  if (isDone) return to;
  fs.rmSync(to, { recursive: true, force: true });
  fs.mkdirSync(to, { recursive: true });
  for (const file of ['package.json', lock]) fs.copyFileSync(path.join(from, file), path.join(to, file));
  // What they would build is for other sockets than UDP's.
  const options = ['ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
  const { status } = spawnSync('npm', options, { cwd: to, stdio: 'inherit' });
  if (status !== 0) throw new Error(`npm ci ended with ${status}`);
  return to;
}
