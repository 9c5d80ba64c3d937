import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { system } from '../dist/native/binary.js';
import { binaryPath, native } from '../dist/native/native.js';
import { RUNTIME } from './support/runtime.js';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

const [runtime, ...args] = RUNTIME;

function doctor(env: NodeJS.ProcessEnv = {}, ...options: string[]) {
  return spawnSync(runtime!, [...args, main, 'doctor', ...options], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
}

describe('wasi-udp doctor', () => {
  test('tells platform, runtime, binary, what is in use, and sends to itself', () => {
    const { stdout, status } = doctor();
    expect(status).toBe(0);
    expect(stdout).toContain(system());
    expect(stdout).toContain(binaryPath);
    expect(stdout).toMatch(new RegExp(`^sends +${native.features().backend}, `, 'm'));
    expect(stdout).toMatch(/^receives +\w+, with/m);
    expect(stdout).toContain('127.0.0.1: 4 of 4 datagrams sent, 4 received');
    expect(stdout).toContain('[::1]: 4 of 4 datagrams sent, 4 received');
  });

  test('what is not in use, and why not', () => {
    const { stdout, status } = doctor({ WASI_UDP_GSO: '0', WASI_UDP_POLLER: 'thread' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^sends .*, without /m);
    expect(stdout).toMatch(/^readiness +a polling thread$/m);
    expect(stdout).toMatch(/^note .*WASI_UDP_GSO=0/m);
    expect(stdout).toMatch(/^note .*WASI_UDP_POLLER=thread/m);
  });

  test('--json: the same as an object', () => {
    const { stdout, status } = doctor({ WASI_UDP_GSO: '0', XDG_CACHE_HOME: '/somewhere' }, '--json');
    expect(status).toBe(0);
    const { backend, receiveCoalescing } = native.features();
    expect(JSON.parse(stdout)).toEqual({
      version: native.version(),
      platform: system(),
      release: expect.any(String),
      cache: path.join('/somewhere', 'wasi-udp', 'components'),
      binary: { path: binaryPath, version: native.version() },
      sends: { call: backend, segmentation: false, option: expect.any(String) },
      receives: { call: expect.any(String), coalescing: receiveCoalescing, option: expect.any(String) },
      readiness: native.features().poller === 'libuv' ? 'libuv' : 'thread',
      notes: expect.arrayContaining([expect.stringContaining('WASI_UDP_GSO=0')]),
      loopback: ['127.0.0.1', '[::1]'].map((host) => ({ host, sent: 4, received: 4 })),
    });
    const without = doctor({ NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere.node' }, '--json');
    expect(without.status).toBe(1);
    expect(JSON.parse(without.stdout).error).toContain('/nowhere.node: ');
  });

  test('without a binary: exit code 1, what was tried, the remedy', () => {
    const { stdout, status } = doctor({ NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere.node' });
    expect(status).toBe(1);
    expect(stdout).toMatch(/^binary +none$/m);
    expect(stdout).toContain('/nowhere.node: ');
    expect(stdout).toContain('correct or unset it');
  });
});
