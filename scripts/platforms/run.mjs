import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Runs a command to its end; throws with the last lines of its output where it fails. The output goes to a regular
 * file: Windows' Node.js under wine cannot write to a Unix pipe.
 * @param {string[]} command
 * @returns {string} what it wrote to standard output and standard error
 */
export function run([program, ...parameters], { env = process.env, cwd } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'wasi-udp-platforms-'));
  const file = openSync(join(folder, 'output'), 'w+');
  try {
    const { status, signal, error } = spawnSync(program, parameters, { env, cwd, stdio: ['ignore', file, file] });
    const output = readFileSync(join(folder, 'output'), 'utf8');
    if (error) throw error;
    if (status !== 0) {
      const tail = output.trimEnd().split('\n').slice(-40).join('\n');
      throw new Error(`${parameters.at(-1)} (${program}) ended with ${signal ?? status}:\n${tail}`);
    }
    return output;
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true });
  }
}
