/**
 * What the children of faults.mjs have in common: lines to and from it on descriptor 3, read without the event loop, so that a
 * child that waits makes no system call of the kinds that are refused. As a preload (`--import`), it holds a program back until
 * strace is attached to it.
 */
import fs from 'node:fs';
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';

const CHANNEL = 3;
const idle = new Int32Array(new SharedArrayBuffer(4));
const byte = Buffer.alloc(1);

/** The next line of the harness; undefined where it is gone. */
export function hear() {
  let line = '';
  for (;;) {
    try {
      if (fs.readSync(CHANNEL, byte) === 0) return undefined;
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(idle, 0, 0, 1);
      continue;
    }
    if (byte[0] === 10) return line;
    line += byte.toString('latin1');
  }
}

/** Tells the harness something. */
export function tell(value) {
  const text = Buffer.from(`${JSON.stringify(value)}\n`);
  for (let sent = 0; sent < text.length; ) {
    try {
      sent += fs.writeSync(CHANNEL, text, sent);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(idle, 0, 0, 1);
    }
  }
}

/** The thread that polls the sockets. It names itself when it starts. */
export function pollingThread() {
  const folder = '/proc/self/task';
  for (;;) {
    for (const id of fs.readdirSync(folder)) {
      try {
        if (fs.readFileSync(`${folder}/${id}/comm`, 'utf8').trim() === 'wasi-udp-poller') return Number(id);
      } catch (error) {
        // A thread that has ended meanwhile.
        if (!['ENOENT', 'ESRCH'].includes(error.code)) throw error;
      }
    }
    Atomics.wait(idle, 0, 0, 1);
  }
}

// Workers run preloads too.
if (process.env.WASI_UDP_FAULTS_GATE === '1' && isMainThread) {
  tell({ thread: process.pid });
  hear();
}
