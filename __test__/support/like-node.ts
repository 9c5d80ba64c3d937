import nodeDgram from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import ownDgram, { type Socket } from '../../dist/dgram/index.js';

/*
 * Each scenario runs on node:dgram and on wasi-udp/dgram, and tells what it saw: events, arguments, errors, in their order. What
 * node:dgram does is the specification.
 */

export type Dgram = typeof ownDgram;
export type Log = unknown[];

export const isNode = !('Deno' in globalThis) && !('Bun' in globalThis);
export const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

/** An error as it is compared: with all that it has of its own, but numbers of ports that the system chose. */
export function shown(error: unknown, port?: number): unknown {
  if (!(error instanceof Error)) return error;
  const hide = (text: string) => (port === undefined ? text : text.replaceAll(String(port), 'PORT'));
  const fields = Object.fromEntries(
    Object.entries(error).map(([key, value]) => [key, value === port ? 'PORT' : inspect(value)]),
  );
  return {
    name: error.name,
    kind: Object.prototype.toString.call(error),
    message: hide(error.message),
    text: hide(String(error)),
    keys: Object.keys(error),
    ...fields,
  };
}

/** What a call throws, or returns. */
export function outcome(call: () => unknown): unknown {
  try {
    const value = call();
    return { returned: value instanceof EventEmitter ? 'the socket' : value };
  } catch (error) {
    return { thrown: shown(error) };
  }
}

const open = new Set<nodeDgram.Socket>();

/** The module, with sockets that are closed at the end of the scenario. */
function kept(dgram: Dgram): Dgram {
  const keep = (socket: nodeDgram.Socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    return socket;
  };
  const create = dgram.createSocket as (...args: unknown[]) => Socket;
  return { ...dgram, createSocket: ((...args: unknown[]) => keep(create(...args))) as Dgram['createSocket'] };
}

async function play(dgram: Dgram, scenario: (dgram: Dgram, log: Log) => unknown): Promise<Log> {
  const log: Log = [];
  await scenario(kept(dgram), log);
  for (const socket of open) socket.close();
  await new Promise((resolve) => setImmediate(resolve));
  return log;
}

/** A scenario that must tell the same of both; some interfaces are not of every version of Node.js. */
export function same(title: string, scenario: (dgram: Dgram, log: Log) => unknown, isThere = true): void {
  it.skipIf(!isNode || !isThere)(title, async () => {
    const theirs = await play(nodeDgram as unknown as Dgram, scenario);
    const ours = await play(ownDgram, scenario);
    expect(ours).toEqual(theirs);
    expect(theirs.length).toBeGreaterThan(0);
  });
}

/** Notes every event of a socket. */
export function watch(socket: nodeDgram.Socket, log: Log, name = ''): void {
  const { emit } = socket;
  socket.emit = function (this: EventEmitter, event: string, ...args: unknown[]) {
    if (!['newListener', 'removeListener'].includes(event))
      log.push([`${name}${event}`, ...args.map((arg) => (arg instanceof Error ? shown(arg) : String(arg)))]);
    return (emit as EventEmitter['emit']).call(socket, event, ...args);
  } as typeof socket.emit;
}

export async function bound(
  dgram: Dgram,
  options: nodeDgram.SocketOptions | 'udp4' = 'udp4',
): Promise<nodeDgram.Socket> {
  const socket = dgram.createSocket(options as nodeDgram.SocketOptions);
  socket.bind(0, (typeof options === 'object' ? options.type : options) === 'udp6' ? '::1' : '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

export const portOf = (socket: nodeDgram.Socket) => socket.address().port;
/** A moment, and turns of the event loop behind it: where a machine is busy, timers are over before what is there has been read. */
export const quiet = async () => {
  await sleep(100);
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
};
