/** Servers that examples and packages are run against. On Debian, as root, those that are missing are installed. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** dnsmasq, which answers from these options alone. */
export async function startDnsmasq(...options) {
  install('dnsmasq', 'dnsmasq-base');
  const port = await freePort();
  const child = await start(port, 'dnsmasq', [
    ...['--keep-in-foreground', '--conf-file=/dev/null', '--pid-file', '--no-resolv', '--no-hosts'],
    ...['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${port}`, '--user=root'],
    ...options,
  ]);
  return { child, address: `127.0.0.1:${port}` };
}

/** rsyslogd, which writes each message to a file of the folder as a line; `received(lines)` waits until that many are there. */
export async function startSyslog(folder) {
  const at = (name) => path.join(folder, name);
  install('rsyslogd', 'rsyslog');
  const port = await freePort();
  const log = at(`received-${port}.log`);
  fs.writeFileSync(
    at('rsyslog.conf'),
    `module(load="imudp")
     input(type="imudp" address="127.0.0.1" port="${port}" rcvbufSize="4m")
     template(name="message" type="string" string="%msg%\\n")
     action(type="omfile" file="${log}" template="message")
    `,
  );
  const child = await start(port, 'rsyslogd', ['-n', '-f', at('rsyslog.conf'), '-i', at('rsyslog.pid')]);
  const seen = () => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8').split('\n').slice(0, -1) : []);
  const received = async ({ length }) => {
    await until(() => seen().length >= length);
    return seen();
  };
  return { child, port, address: `127.0.0.1:${port}`, received };
}

/** Starts a server, and waits until it is bound to its port. */
async function start(port, file, args) {
  const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, PATH: PATHS } });
  await until(() => isBound(port) || child.exitCode !== null);
  assert.equal(child.exitCode, null, `${file} did not start`);
  return child;
}

/** Whether a socket of IPv4 has the port. See proc(5), /proc/net/udp. */
function isBound(port) {
  const hexadecimal = port.toString(16).toUpperCase().padStart(4, '0');
  return new RegExp(`^ *\\d+: \\w+:${hexadecimal} `, 'm').test(fs.readFileSync('/proc/net/udp', 'utf8'));
}

export async function stop(child) {
  child.kill();
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort() {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

export async function until(condition) {
  for (let i = 0; i < 600 && !condition(); i++) await sleep(100);
}

/** What a run needs is not here, and cannot be installed: it is left out. */
export class Missing extends Error {}

/** Servers are not on everybody's PATH. */
export const PATHS = `${process.env.PATH}:/usr/sbin:/sbin`;

export function install(command, packageName) {
  const isThere = () => spawnSync('sh', ['-c', `command -v ${command}`], { env: { PATH: PATHS } }).status === 0;
  if (isThere()) return;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['update', '-qq'], { env });
  spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', packageName], { env, stdio: 'inherit' });
  if (!isThere()) throw new Missing(`needs ${command}: install it (on Debian the package ${packageName})`);
}
