import { readFileSync, readlinkSync } from 'node:fs';
import type { Descriptor } from '../native/descriptor.js';
import { native } from '../native/native.js';

/** The columns of /proc/net/udp and udp6 (proc(5)) that name a socket, and count what it had no room for. */
const INODE = 9;
const DROPS = 12;

/** Datagrams that the system dropped because the socket's receive buffer was full; undefined where it does not tell. */
export function droppedBySystem(descriptor: Descriptor): number | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return dropsOf(descriptor);
  } catch {
    return undefined; // No /proc is mounted.
  }
}

function dropsOf(descriptor: Descriptor): number | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${native.descriptor(descriptor.socket)}`))?.[1];
  const table = readFileSync(descriptor.family === 4 ? '/proc/net/udp' : '/proc/net/udp6', 'utf8');
  const row = table
    .split('\n')
    .map((text) => text.trim().split(/\s+/))
    .find((columns) => columns[INODE] === inode);
  return row === undefined ? undefined : Number(row[DROPS]);
}
