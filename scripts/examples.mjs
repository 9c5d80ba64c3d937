/**
 * Runs the examples against real servers, which it starts: dnsmasq, rsyslogd, a UDP echo server, avahi. On Debian, as
 * root, it installs those that are missing; elsewhere an example without its server is left out, and the output says so.
 * Exit code 1 where an example does not do what it says.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { guests } from './guests.mjs';
import { componentize, MINIMUM_NODE, pythonGuests } from './python.mjs';
import { programOf, runtime } from './runtimes.mjs';
import { install, Missing, PATHS, startDnsmasq, startSyslog, stop, until } from './servers.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-udp-examples-'));
const at = (...parts) => path.join(folder, ...parts);

const MAIN = path.join(root, 'dist/cli/main.js');

/** The examples, by name. Each prepares a server, runs, and looks at what came of it. */
const EXAMPLES = { dns, syslog, mdns, ping, log, 'core-async': coreAsync, python };

/** A core module of WASI 0.3, with no component around it, is its own server. */
async function coreAsync() {
  await guest('core-async');
  const { stdout } = await example('core-async.mjs', []);
  assert.equal(stdout, '1000 of 1000 datagrams came back\n');
  return stdout.trimEnd();
}

/** 10,000 names, each of which dnsmasq makes an address of its own. */
async function dns() {
  const addresses = Array.from({ length: 10_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
  const names = addresses.map((address) => `host-${address.replaceAll('.', '-')}.example.test`);
  fs.writeFileSync(at('names.txt'), names.join('\n'));
  const server = await startDnsmasq('--synth-domain=example.test,10.1.0.0/16,host-');
  try {
    const { stdout, stderr } = await example('dns.mjs', [server.address, at('names.txt')]);
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
    await stop(server.child);
  }
}

/** 20,000 lines, each of which rsyslogd must write to its file, in order. */
async function syslog() {
  const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i} of the replay${' and more'.repeat(i % 7)}`);
  fs.writeFileSync(at('app.log'), `${lines.join('\n')}\n`);
  const server = await startSyslog(folder);
  try {
    const { stderr } = await example('syslog.mjs', [at('app.log'), server.address, '10000']);
    assert.deepEqual(await server.received(lines), lines);
    return stderr.trimEnd();
  } finally {
    await stop(server.child);
  }
}

/** A service that avahi, multicast-dns and a plain resolver find from another machine, and that nobody else may have. */
async function mdns() {
  if (process.platform !== 'linux' || process.getuid() !== 0) throw new Missing('needs root, on Linux');
  install('ip', 'iproute2');
  install('dbus-daemon', 'dbus-daemon');
  install('avahi-daemon', 'avahi-daemon');
  install('avahi-browse', 'avahi-utils');
  const children = [];
  const command = (...line) => ['examples/mdns.mjs', line[0], 'Front desk', '_wasi-udp._tcp', ...line.slice(1)];
  try {
    const desk = await startMachine('desk', children);
    const client = await startMachine('client', children);
    await desk.run('ip', `link add link0 type veth peer name link0 netns ${client.pid}`.split(' '));
    for (const [{ shell }, address] of [
      [desk, '10.3.0.1'],
      [client, '10.3.0.2'],
    ]) {
      await shell(`ip link set lo up; ip addr add ${address}/24 dev link0; ip link set link0 up`);
    }
    const responder = desk.spawn(process.execPath, command('link0', '8080', 'path=/start', 'note=a b'));
    assert.equal(await firstLine(responder), 'Front desk._wasi-udp._tcp.local is desk.local:8080 on link0');
    const bus = await startAvahi(client);

    const seen = await bus.browse('_wasi-udp._tcp', (services) => services.length > 0);
    assert.deepEqual(seen, [
      {
        by: ['link0', 'IPv4'],
        name: 'Front\\032desk',
        host: 'desk.local',
        address: '10.3.0.1',
        port: '8080',
        text: ['note=a b', 'path=/start'],
      },
    ]);
    assert.equal((await bus.run('avahi-resolve', ['-4', '-n', 'desk.local'])).stdout, 'desk.local\t10.3.0.1\n');

    const found = {
      name: 'Front desk._wasi-udp._tcp.local',
      target: 'desk.local',
      port: 8080,
      text: ['path=/start', 'note=a b'],
      address: '10.3.0.1',
    };
    const script = 'scripts/examples/mdns-client.mjs';
    const { stdout } = await client.run(process.execPath, [script, '10.3.0.2', '10.3.0.1', '_wasi-udp._tcp.local']);
    assert.deepEqual(JSON.parse(stdout), [found, { services: ['_wasi-udp._tcp.local'], addresses: ['10.3.0.1'] }]);

    const rival = await client.run(process.execPath, command('link0', '9090'), 1);
    assert.match(rival.stderr, /is taken by 10\.3\.0\.1\n/);

    await stop(responder);
    assert.deepEqual(await bus.browse('_wasi-udp._tcp', (services) => services.length === 0), []);
    return 'found by avahi, multicast-dns and a resolver, kept from a rival, and taken back';
  } finally {
    for (const child of children.reverse()) await stop(child);
  }
}

/** A guest component, with the rules that it needs, asks an echo server; without them it gets nowhere. */
async function ping() {
  const component = await guest('ping');
  const server = createSocket('udp4', (message, { port, address }) => server.send(message, port, address));
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  const command = (...rules) =>
    run(process.execPath, [MAIN, 'run', component, ...rules, '--', '127.0.0.1', String(port)]);
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

/** A guest component of WASI 0.3 sends 2000 lines of its standard input, each of which rsyslogd must write, in order. */
async function log() {
  const node = suspendingNode();
  const component = await guest('log');
  const lines = Array.from({ length: 2000 }, (_, i) => `line ${i} of 0.3${' and more'.repeat(i % 7)}`);
  fs.writeFileSync(at('guest.log'), lines.map((line) => `${line}\n`).join(''));
  const server = await startSyslog(folder);
  const command = (...rules) =>
    run(node, [MAIN, 'run', component, '--allow-bind', '0.0.0.0:0', ...rules, '--', '127.0.0.1', String(server.port)], {
      input: at('guest.log'),
    });
  try {
    const denied = await command();
    assert.deepEqual([denied.code, denied.stdout], [1, 'connect: access-denied\n0 messages sent\n'], denied.stderr);
    const allowed = await command('--allow-send', server.address);
    assert.equal(allowed.code, 0, allowed.stderr);
    assert.deepEqual(await server.received(lines), lines);
    return allowed.stdout.trimEnd();
  } finally {
    await stop(server.child);
  }
}

/** The component of that name, built from C. */
async function guest(name) {
  const components = await guests().catch((error) => {
    throw new Missing(error.message);
  });
  return components[name];
}

/** A Node.js that suspends stacks (JSPI), as components of WASI 0.3 need: this one, or one that was fetched. */
function suspendingNode() {
  if ('Suspending' in WebAssembly) return process.execPath;
  const fetched = programOf('node24');
  if (fs.existsSync(fetched)) return fetched;
  throw new Missing('needs Node.js 24.21 or newer');
}

/** CPython and a program for it: asks dnsmasq where rsyslogd is, and sends it 10,000 lines, one at a time and in order. */
async function python() {
  const { node, component } = pythonGuest();
  const lines = Array.from({ length: 10_000 }, (_, i) => `line ${i} of Python${' and more'.repeat(i % 7)}`);
  fs.writeFileSync(at('python.log'), `${lines.join('\n')}\n`);
  const names = await startDnsmasq('--address=/log.example.test/127.0.0.1');
  const server = await startSyslog(folder).catch(async (error) => {
    await stop(names.child);
    throw error;
  });
  const command = (...rules) =>
    run(node, [MAIN, 'run', component, ...rules, '--', names.address, `log.example.test:${server.port}`, '10000'], {
      input: at('python.log'),
    });
  const asks = ['--allow-bind', '0.0.0.0:0', '--allow-send', names.address];
  try {
    const denied = await command(...asks);
    assert.match(denied.stderr, /PermissionError/);
    const allowed = await command(...asks, '--allow-send', server.address);
    assert.equal(allowed.code, 0, allowed.stderr);
    assert.deepEqual(await server.received(lines), lines);
    return allowed.stderr.trimEnd();
  } finally {
    await stop(names.child);
    await stop(server.child);
  }
}

/** The component of the example, and a Node.js that runs it. */
function pythonGuest() {
  try {
    const program = componentize();
    const isNew = Number.parseInt(process.versions.node, 10) >= MINIMUM_NODE;
    const [node] = isNew ? [process.execPath] : runtime(`node${MINIMUM_NODE}`);
    return { node, component: pythonGuests(program).syslog };
  } catch (error) {
    throw new Missing(error.message);
  }
}

/** Namespaces of a network and of a host's name, as if they were another machine. What runs there is among `children`. */
async function startMachine(name, children) {
  const keeper = spawn('unshare', [
    ...['--net', '--uts', 'sh', '-ec'],
    `echo ${name} >/proc/sys/kernel/hostname; echo ready; exec sleep 600`,
  ]);
  children.push(keeper);
  if ((await firstLine(keeper)) !== 'ready') throw new Missing('needs network namespaces');
  const within = (file, args) => ['-t', String(keeper.pid), '-n', '-u', file, ...args];
  const machine = {
    pid: keeper.pid,
    spawn(file, args, options) {
      const child = spawn('nsenter', within(file, args), {
        cwd: root,
        stdio: ['ignore', 'pipe', 'inherit'],
        ...options,
      });
      children.push(child);
      return child;
    },
    async run(file, args, code = 0) {
      const finished = await run('nsenter', within(file, args));
      assert.equal(finished.code, code, finished.stderr);
      return finished;
    },
    shell: (script) => machine.run('sh', ['-ec', script]),
  };
  return machine;
}

/** avahi-daemon on a machine, with a message bus of its own; `browse` asks for services until there are such. */
async function startAvahi(machine) {
  const socket = at('bus');
  fs.writeFileSync(
    at('bus.conf'),
    `<busconfig>
       <type>session</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
       <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
     </busconfig>`,
  );
  fs.writeFileSync(at('avahi.conf'), '[server]\nhost-name=client\nuse-ipv6=no\nallow-interfaces=link0\n');
  const bus = { PATH: PATHS, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${socket}` };
  const env = Object.entries(bus).map(([name, value]) => `${name}=${value}`);
  machine.spawn('dbus-daemon', [`--config-file=${at('bus.conf')}`, '--nofork', '--nopidfile'], { stdio: 'ignore' });
  await until(() => fs.existsSync(socket));
  // Its /run is its own, as another avahi-daemon may run here.
  const daemon = `mount -t tmpfs none /run; exec avahi-daemon --no-drop-root --no-chroot -f ${at('avahi.conf')} 2>&1`;
  const child = machine.spawn('unshare', ['--mount', 'env', ...env, 'sh', '-ec', daemon]);
  let log = '';
  child.stdout.on('data', (chunk) => (log += chunk));
  await until(() => log.includes('Server startup complete') || child.exitCode !== null);
  assert.match(log, /Server startup complete/);
  const runThere = (file, args) => machine.run('env', [...env, file, ...args]);
  const list = async (type) => {
    const { stdout } = await runThere('avahi-browse', ['--resolve', '--parsable', '--terminate', type]);
    const lines = stdout.split('\n').filter((line) => line.startsWith('='));
    return lines.map((line) => {
      const [, by, protocol, name, , , host, address, port, text] = line.split(';');
      return { by: [by, protocol], name, host, address, port, text: text.match(/[^"]+(?="( |$))/g).sort() };
    });
  };
  return {
    run: runThere,
    async browse(type, isEnough) {
      for (let i = 0; i < 10; i++) {
        const services = await list(type);
        if (isEnough(services)) return services;
        await sleep(500);
      }
      return list(type);
    },
  };
}

/** The first line that a program prints; undefined where it ends before. */
async function firstLine(child) {
  for await (const line of createInterface({ input: child.stdout })) return line;
  return undefined;
}

async function example(file, args) {
  const finished = await run(process.execPath, [path.join(root, 'examples', file), ...args]);
  assert.equal(finished.code, 0, finished.stderr);
  return finished;
}

/** Runs a program to its end, with a file or nothing as its standard input. */
function run(file, args, { input = '/dev/null' } = {}) {
  const stdin = fs.openSync(input);
  const child = spawn(file, args, { cwd: root, stdio: [stdin, 'pipe', 'pipe'] });
  fs.closeSync(stdin);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
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
