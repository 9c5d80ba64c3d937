/** Counts the system calls of a running process with strace(1). */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const hasStrace = () => spawnSync('strace', ['-V']).status === 0;

/** How many calls all threads of the process make while `work` runs; and what `work` resolved to. */
export async function countCalls(pid, work) {
  const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-strace-'));
  const file = path.join(folder, 'calls');
  const strace = spawn('strace', ['-c', '-f', '-o', file, '-p', String(pid)], { stdio: 'ignore' });
  const ended = once(strace, 'exit');
  try {
    while (!isTraced(pid)) {
      if (strace.exitCode !== null)
        throw new Error(`strace ended with ${strace.exitCode}: it needs the right to trace`);
      await sleep(10);
    }
    const result = await work();
    strace.kill('SIGINT');
    await ended;
    // The columns of the last line: share, seconds, microseconds a call, calls, perhaps errors, 'total'.
    const total = readFileSync(file, 'utf8').trim().split('\n').at(-1).trim().split(/\s+/);
    return [Number(total[3]), result];
  } finally {
    strace.kill('SIGINT');
    rmSync(folder, { recursive: true });
  }
}

/** Whether each thread of the process has a tracer. */
function isTraced(pid) {
  const status = (thread) => readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
  return readdirSync(`/proc/${pid}/task`).every((thread) => !status(thread).includes('TracerPid:\t0\n'));
}
