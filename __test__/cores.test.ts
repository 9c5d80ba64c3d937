import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { ClosedError, type OpenUdp, openUdp, Route, SocketError } from '../dist/index.js';
import { open } from './support/opened.js';
import { bytes } from './support/outcomes.js';
import { fixture, ROUNDS, RUNTIME, run } from './support/runtime.js';

const EXAMPLE = fileURLToPath(new URL('../examples/workers.mjs', import.meta.url));
const isLinux = process.platform === 'linux';

/** So many sockets of one port. */
function group(host: string, count: number, options = {}): OpenUdp[] {
  const first = open({ local: `${host}:0`, reusePort: true, ...options });
  const local = first.localAddress;
  return [first, ...Array.from({ length: count - 1 }, () => open({ local, reusePort: true, ...options }))];
}

function send({ outgoing }: OpenUdp, text: string): void {
  outgoing.checkSend();
  expect(outgoing.send([{ data: bytes(text) }])).toBe(1n);
}

/** All that a socket has. */
function received({ incoming }: OpenUdp) {
  const all = [];
  for (let batch = incoming.receive(); batch.length > 0; batch = incoming.receive()) all.push(...batch);
  return all;
}

/** How many datagrams each has. */
const counts = (sockets: OpenUdp[]) => sockets.map((socket) => received(socket).length);
const sum = (numbers: number[]) => numbers.reduce((all, one) => all + one, 0);
/** Flows: few enough that each socket has room, and so many that each gets some. */
const FLOWS = 64;

describe.skipIf(!isLinux)('sockets of one port', () => {
  it.each(['127.0.0.1', '[::1]'])('share what comes to %s by flow: each flow has one of them', (host) => {
    const sockets = group(host, 3);
    const clients = Array.from({ length: FLOWS }, () => open({ remote: sockets[0]!.localAddress }));
    for (const client of clients) send(client, 'first');
    const first = counts(sockets);
    expect(sum(first)).toBe(FLOWS);
    for (const count of first) expect(count).toBeGreaterThan(0);
    for (const client of clients) send(client, 'second');
    expect(counts(sockets)).toEqual(first);
  });

  it.each(['127.0.0.1', '[::1]'])(
    'of %s, one that retires has what came before, and nothing of what comes',
    async (host) => {
      const sockets = group(host, 3);
      const leaving = sockets[1]!;
      const clients = Array.from({ length: FLOWS }, () => open({ remote: sockets[0]!.localAddress }));
      for (const client of clients) send(client, 'first');
      let isRetired = false;
      const retired = leaving.retire().then(() => {
        isRetired = true;
      });
      for (const client of clients) send(client, 'second');
      await setTimeout(20);
      // It has not been received.
      expect(isRetired).toBe(false);
      const left = received(leaving);
      expect(left.length).toBeGreaterThan(0);
      expect(new Set(left.map(({ data }) => String(data)))).toEqual(new Set(['first']));
      // They are answered.
      const queue = leaving.outgoing.queue();
      for (const { data, remoteAddress } of left) queue.send(data, remoteAddress);
      await retired;
      await queue.close();
      leaving.close();
      const answered = clients.flatMap(({ incoming }) => incoming.receive());
      expect(answered.map(({ data, remoteAddress }) => [String(data), String(remoteAddress)])).toEqual(
        Array(left.length).fill(['first', String(sockets[0]!.localAddress)]),
      );
      expect(sum(counts([sockets[0]!, sockets[2]!]))).toBe(2 * FLOWS - left.length);
      for (const client of clients) send(client, 'third');
      expect(sum(counts([sockets[0]!, sockets[2]!]))).toBe(FLOWS);
    },
  );

  it('the other flows stay where they are while one retires', () => {
    const sockets = group('127.0.0.1', 3);
    const clients = Array.from({ length: FLOWS }, () => open({ remote: sockets[0]!.localAddress }));
    const flows = () => {
      for (const client of clients) send(client, 'x');
      return sockets.map((socket) => received(socket).map(({ remoteAddress }) => String(remoteAddress)));
    };
    const [first, second, third] = flows();
    sockets[1]!.retire().catch(() => {});
    const [firstLater, secondLater, thirdLater] = flows();
    expect(firstLater).toEqual(expect.arrayContaining(first!));
    expect(thirdLater).toEqual(expect.arrayContaining(third!));
    expect(secondLater).toEqual([]);
    expect(first!.length + second!.length + third!.length).toBe(FLOWS);
  });

  it('of every address, it answers by the address that it was asked at', async () => {
    const [leaving, other] = group('0.0.0.0', 2, { packetInfo: true }) as [OpenUdp, OpenUdp];
    const { port } = leaving.localAddress.val;
    // 127.0.0.2 is this machine's, too.
    const clients = Array.from({ length: FLOWS }, () => open({ remote: `127.0.0.2:${port}` }));
    for (const client of clients) send(client, 'query');
    const retired = leaving.retire();
    const left = received(leaving);
    expect(left.length).toBeGreaterThan(0);
    const queue = leaving.outgoing.queue();
    for (const { data, remoteAddress, info } of left)
      queue.send(data, new Route(remoteAddress, { localAddress: info!.localAddress }));
    await queue.close();
    await retired;
    leaving.close();
    // A client hears its peer alone.
    expect(clients.flatMap(({ incoming }) => incoming.receive())).toHaveLength(left.length);
    expect(counts([other])).toEqual([FLOWS - left.length]);
  });

  it('what cannot retire says why', async () => {
    await expect(open({ local: '0.0.0.0:0' }).retire()).rejects.toMatchObject({
      payload: 'not-supported',
      message: expect.stringMatching(/bind it to one, or open it with packetInfo/),
    });
    await expect(open({ remote: '127.0.0.1:9' }).retire()).rejects.toMatchObject({ code: 'EISCONN' });
    const [udp] = group('127.0.0.1', 1) as [OpenUdp];
    send(open({ remote: udp.localAddress }), 'x');
    const retired = udp.retire();
    udp.close();
    await expect(retired).rejects.toBeInstanceOf(ClosedError);
  });
});

describe.skipIf(isLinux)('elsewhere', () => {
  it('a socket cannot retire', async () => {
    const refused = open({ local: '127.0.0.1:0' }).retire();
    await expect(refused).rejects.toBeInstanceOf(SocketError);
    await expect(refused).rejects.toMatchObject({ payload: 'not-supported' });
  });
});

/** Processors that this process may run on, and that the kernel's option speaks of; none where it is too old. */
function processors(): number[] {
  if (!isLinux) return [];
  const [major, minor] = release().split('.').map(Number) as [number, number];
  if (major < 6 || (major === 6 && minor < 2)) return [];
  const list = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
  return list.split(',').flatMap((part) => {
    const [from, to = from] = part.split('-').map(Number) as [number, number?];
    return Array.from({ length: to! - from + 1 }, (_, i) => from + i);
  });
}

describe('incomingCpu', () => {
  const [one, other] = processors();

  it.skipIf(other === undefined)('a socket of each processor takes what that one receives, of any flow', async () => {
    for (const [cpu, expected] of [
      [one, [FLOWS, 0]],
      [other, [0, FLOWS]],
    ] as const) {
      // What goes over loopback is received by the processor that sends.
      const command = ['taskset', '-c', `${cpu}`, ...RUNTIME, fixture('incoming-cpu.mjs'), `${one}`, `${other}`];
      const { stdout, stderr } = await run(command);
      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toEqual(expected);
    }
  });

  it('a processor is a whole number', () => {
    expect(() => openUdp({ incomingCpu: -1 })).toThrow(/it takes a whole number of the processor from 0/);
  });
});

describe.skipIf(!isLinux)('examples/workers.mjs', () => {
  let server: ChildProcess;

  async function start(...args: string[]) {
    const [file, ...rest] = [...RUNTIME, EXAMPLE, ...args];
    server = spawn(file!, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: server.stdout! })[Symbol.asyncIterator]();
    const line = async () => (await lines.next()).value as string;
    const address = /^listening on (\S+) with/.exec(await line())![1]!;
    return { address, line };
  }
  afterEach(() => {
    server.kill('SIGKILL');
  });

  it('every datagram is answered once, while all workers are replaced again and again', async () => {
    const { address, line } = await start('127.0.0.1:0', '3');
    const IN_FLIGHT = 8;
    let isOver = false;
    let asked = 0;
    const wrong: string[] = [];
    /** Asks so many questions at once, and the next ones when all are answered: one that is lost is never asked again. */
    async function client(number: number) {
      const udp = open({ remote: address });
      for (let round = 0; !isOver; round++) {
        const questions = Array.from({ length: IN_FLIGHT }, (_, i) => `${number}/${round}/${i}`);
        udp.outgoing.checkSend();
        udp.outgoing.send(questions.map((text) => ({ data: bytes(text) })));
        asked += IN_FLIGHT;
        const answers: string[] = [];
        while (answers.length < IN_FLIGHT) {
          const signal = AbortSignal.timeout(50_000);
          await udp.incoming.subscribe().wait({ signal });
          answers.push(...udp.incoming.receive().map(({ data }) => String(data)));
        }
        if (answers.sort().join() !== questions.sort().join()) wrong.push(`${questions}: ${answers}`);
      }
      // An answer that comes twice comes by now.
      await setTimeout(50);
      wrong.push(...udp.incoming.receive().map(({ data }) => `${data} once more`));
    }
    const clients = Promise.all(Array.from({ length: 32 }, (_, i) => client(i)));
    for (let i = 0; i < Math.max(5, ROUNDS / 20); i++) {
      process.kill(server.pid!, 'SIGHUP');
      expect(await Promise.race([line(), clients.then(() => 'clients ended')])).toBe('replaced 3 workers');
    }
    isOver = true;
    await clients;
    expect(wrong).toEqual([]);
    expect(asked).toBeGreaterThan(1000);
    process.kill(server.pid!, 'SIGTERM');
    expect(await once(server, 'exit')).toEqual([0, null]);
  });
});
