/** The processes of the benchmark: senders that answer slices, receivers that hold their ports, the namespaces between. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { programOf, RUNTIMES } from '../scripts/runtimes.mjs';
import { WASMTIME } from '../scripts/wasmtime.mjs';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const PEERS = path('../target/release/wasi-udp-peers');
const SENDER = path('sender.mjs');
const RECEIVER = path('receiver.mjs');
const SERVER = path('server.mjs');
const GUEST = path('guest.mjs');
const GUEST_SENDER = path('../build/guests/bench-sender.wasm');
const GUEST_RECEIVER = path('../build/guests/bench-receiver.wasm');
const ASYNC_GUEST = path('async-guest.mjs');
const ASYNC_COMPONENTS = {
  c: path('../build/guests/bench-async.wasm'),
  rust: path('../build/guests/bench-async-rust.wasm'),
};
const WASMTIME_0_3 = ['-W', 'component-model-async=y', '-S', 'p3=y'];

/** Milliseconds after which a child that owes an answer is ended. */
const PATIENCE = 60_000;

/** A runtime: where scripts/runtimes.mjs keeps it, or from PATH; undefined where it is in neither. */
function runtime(name) {
  const found = name in RUNTIMES && existsSync(programOf(name)) ? programOf(name) : name;
  return spawnSync(found, ['--version']).status === 0 ? found : undefined;
}

const bun = runtime('bun');
const deno = runtime('deno');
const wasmtime = existsSync(WASMTIME) ? WASMTIME : runtime('wasmtime');

/**
 * The command of a guest of 0.3 that sends, receives or echoes: `async` and `async-HOST`, or `async-rust` and `async-rust-HOST` for
 * the guest in Rust. Undefined where its runtime or its component is not here.
 */
function asyncGuest(name, role) {
  const [, rust, host = ''] = /^async(-rust)?(-.+)?$/.exec(name);
  const component = ASYNC_COMPONENTS[rust ? 'rust' : 'c'];
  if (!existsSync(component)) return undefined;
  // The shim adds a listener for each receive that waits, of which Node.js warns.
  const quietly = host === '-shim' ? ['--no-warnings'] : [];
  if (host !== '-wasmtime') return [programOf('node24'), ...quietly, ASYNC_GUEST, `async${host}`, component, role];
  return wasmtime && [wasmtime, 'run', ...WASMTIME_0_3, '-S', 'inherit-network', component, role];
}

/** The command of a sender; undefined where its runtime is not here. */
function command(sender) {
  if (sender.startsWith('async')) return asyncGuest(sender, 'send');
  if (sender === 'bun-sendMany') return bun && [bun, SENDER, sender];
  if (sender === 'deno-datagram') return deno && [deno, 'run', '-A', '--unstable-net', SENDER, sender];
  if (sender === 'wasmtime') return wasmtime && [wasmtime, 'run', '-S', 'inherit-network', GUEST_SENDER];
  if (sender.startsWith('guest')) return [process.execPath, GUEST, sender, GUEST_SENDER];
  if (['sendto', 'sendmmsg', 'segment', 'quinn'].includes(sender)) return [PEERS, sender];
  return [process.execPath, SENDER, sender];
}

/** A child that answers each line with a line. It ends with its standard input, and so with this process. */
export class Child {
  #process;
  #lines;

  constructor([file, ...args]) {
    this.#process = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
    // Its next line tells that it is gone.
    this.#process.on('error', () => {});
    this.#process.stdin.on('error', () => {});
  }

  async line() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.#process.spawnargs.slice(0, 3).join(' ')} ended`);
    return value;
  }

  /** The first line. Rejects where it says why there will be no others. */
  async firstLine() {
    const line = await this.line();
    if (!line.startsWith('failed: ')) return line;
    this.end();
    throw new Error(line.slice('failed: '.length));
  }

  /** The answer to a line. Rejects where there is none, or none in time. */
  async ask(line) {
    this.#process.stdin.write(`${line}\n`);
    const timer = setTimeout(() => this.end(), PATIENCE);
    try {
      return await this.line();
    } finally {
      clearTimeout(timer);
    }
  }

  get pid() {
    return this.#process.pid;
  }

  end() {
    this.#process.stdin.end();
    this.#process.kill();
  }
}

const NAMESPACES = { sender: `wasi-udp-bench-${process.pid}-a`, receiver: `wasi-udp-bench-${process.pid}-b` };
const LINKS = {
  lo: { 4: '127.0.0.1', 6: '[::1]', enter: () => [] },
  veth: { 4: '10.77.0.2', 6: '[fd77::2]', enter: (end) => ['ip', 'netns', 'exec', NAMESPACES[end]] },
};

/** Makes two namespaces joined by a veth pair; false where this user may not, or there is no iproute2. */
export function openVeth() {
  const { sender: a, receiver: b } = NAMESPACES;
  const script = `set -e
    ip netns add ${a}; ip netns add ${b}
    ip link add veth-a netns ${a} type veth peer name veth-b netns ${b}
    ip -n ${a} addr add 10.77.0.1/24 dev veth-a; ip -n ${b} addr add 10.77.0.2/24 dev veth-b
    ip -n ${a} addr add fd77::1/64 dev veth-a nodad; ip -n ${b} addr add fd77::2/64 dev veth-b nodad
    ip -n ${a} link set veth-a up; ip -n ${b} link set veth-b up`;
  return spawnSync('sh', ['-c', script]).status === 0;
}

export function closeVeth() {
  for (const name of Object.values(NAMESPACES)) spawnSync('ip', ['netns', 'del', name]);
}

/** Starts the receiver of a case, which reads nothing unasked; and the addresses to send to. */
export async function openReceiver({ family, gro, destinations, link }) {
  const { [family]: host, enter } = LINKS[link];
  const args = [`local=${host}:0`, `sockets=${destinations}`, `gro=${gro}`];
  const receiver = new Child([...enter('receiver'), PEERS, 'receiver', ...args]);
  const ports = (await receiver.line()).split(',');
  return { receiver, to: ports.map((port) => `${host}:${port}`).join(',') };
}

/**
 * Starts a receiver that reads when it is asked; and its address. A guest's name may end in how many it asks for at most. Undefined
 * where its runtime is not here.
 */
export async function openReader(name) {
  const words = readerCommand(name);
  if (words === undefined) return undefined;
  const reader = new Child(words);
  return { reader, to: `127.0.0.1:${await reader.firstLine()}` };
}

function readerCommand(name) {
  if (name.startsWith('async')) return asyncGuest(name, 'receive');
  const [peer, ...flags] = name.split('-');
  const raw = [PEERS, peer, 'local=127.0.0.1:0', ...['gro', 'info'].map((flag) => `${flag}=${flags.includes(flag)}`)];
  const [, guest, most = '1024'] = /^(guest.*?)(?:-by-(\d+))?$/.exec(name) ?? [];
  const node = guest ? [GUEST, guest, GUEST_RECEIVER, `most=${most}`] : [RECEIVER, name];
  return name.startsWith('recv') ? raw : [process.execPath, ...node];
}

/** Starts the peer that tells how long datagrams take to arrive; and its address. */
export async function openArrivals() {
  const arrivals = new Child([PEERS, 'arrivals', 'local=127.0.0.1:0']);
  return { arrivals, to: `127.0.0.1:${await arrivals.firstLine()}` };
}

/**
 * Starts a server and the load for it, of so many clients, on cores of their own or, where they are not to be apart, on whatever
 * the scheduler gives each; undefined where its runtime is not here.
 */
export async function openServer(server, { clients = 8, apart = true } = {}) {
  const words = serverCommand(server);
  if (words === undefined) return undefined;
  const child = new Child(words);
  const port = await child.firstLine();
  const queries = new Child([
    PEERS,
    'queries',
    `to=127.0.0.1:${port}`,
    `pid=${child.pid}`,
    `clients=${clients}`,
    `apart=${apart}`,
  ]);
  await queries.firstLine();
  return { server, child, queries };
}

function serverCommand(server) {
  if (server === 'epoll') return [PEERS, 'epoll', 'local=127.0.0.1:0'];
  if (server === 'bun') return bun && [bun, SERVER, server];
  if (server.startsWith('async')) return asyncGuest(server, 'echo');
  return [process.execPath, SERVER, server];
}

/** Starts a sender of a case; undefined where its runtime is not here. */
export async function openSender(sender, { sizes, batch, connected, link, turns = false }, to) {
  const words = command(sender);
  if (words === undefined) return undefined;
  const options = [
    `to=${to}`,
    `sizes=${sizes.join(',')}`,
    `batch=${batch}`,
    `connected=${connected}`,
    `turns=${turns}`,
  ];
  const child = new Child([...LINKS[link].enter('sender'), ...words, ...options]);
  await child.firstLine();
  return child;
}
