import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from '../setup.mjs';

/** A folder that has our packages installed, and what is tried there. */
export class Consumer {
  passed = 0;
  failed = 0;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-udp-consumer-'));
  /** The packages: the main one first. */
  tarballs;
  #programs = path.join(this.folder, 'programs');

  constructor(tarballs) {
    this.tarballs = tarballs;
    fs.mkdirSync(this.#programs);
    for (const program of ['node', 'npm', 'sh', 'env', 'tar', 'uname']) {
      const found = process.env.PATH.split(':')
        .map((entry) => path.join(entry, program))
        .find((file) => fs.existsSync(file));
      if (found) fs.symlinkSync(fs.realpathSync(found), path.join(this.#programs, program));
    }
  }

  at(...names) {
    return path.join(this.folder, ...names);
  }

  write(name, text) {
    fs.mkdirSync(path.dirname(this.at(name)), { recursive: true });
    fs.writeFileSync(this.at(name), text);
    return this.at(name);
  }

  /** Installs the packages, and nothing else; then puts the optional ones of this checkout beside them. */
  install() {
    this.write('package.json', '{ "private": true }');
    this.check('there is no cargo and no cc on PATH', () => {
      for (const program of ['cargo', 'rustc', 'cc', 'gcc', 'clang']) {
        if (spawnSync(program, ['--version'], { env: this.environment }).error?.code !== 'ENOENT')
          throw new Error(program);
      }
    });
    this.check('npm install: our packages, and no other', () => {
      this.run('npm', 'install', '--no-audit', '--no-fund', ...this.tarballs);
      const installed = fs.readdirSync(this.at('node_modules')).filter((name) => !name.startsWith('.'));
      const others = installed.filter((name) => !/^wasi-udp(-|$)/.test(name));
      if (others.length > 0) throw new Error(`installed too: ${others.join(', ')}`);
    });
    // The optional peers that wasi-udp/jco needs, from this checkout: that for WASI 0.3 is none of them.
    fs.mkdirSync(this.at('node_modules/@bytecodealliance'));
    for (const name of ['jco', 'preview2-shim']) {
      const peer = path.join('node_modules/@bytecodealliance', name);
      fs.symlinkSync(path.join(root, peer), this.at(peer));
    }
  }

  remove() {
    fs.rmSync(this.folder, { recursive: true });
  }

  get environment() {
    const { NAPI_RS_NATIVE_LIBRARY_PATH, NODE_PATH, ...env } = process.env;
    return { ...env, PATH: this.#programs, NO_COLOR: '1' };
  }

  /** How a program ends: its exit code, what it prints, and what it complains about. */
  outcome(program, args, { cwd = this.folder, env = {}, input = '' } = {}) {
    const { status, signal, error, stdout, stderr } = spawnSync(program, args, {
      cwd,
      env: { ...this.environment, ...env },
      encoding: 'utf8',
      input,
      timeout: 120_000,
    });
    if (error) throw error;
    return { code: status ?? signal, stdout, stderr };
  }

  /** The output of a program, which must end well. */
  run(program, ...args) {
    const { code, stdout, stderr } = this.outcome(program, args);
    if (code !== 0) throw new Error(`${path.basename(program)} ended with ${code}:\n${stdout}${stderr}`);
    return stdout;
  }

  /** As `outcome`, of a program beside which others run. One that is still there after `milliseconds` is ended. */
  later(program, args, milliseconds) {
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, { cwd: this.folder, env: this.environment, timeout: milliseconds });
      const outcome = { stdout: '', stderr: '' };
      for (const name of ['stdout', 'stderr']) child[name].on('data', (chunk) => (outcome[name] += chunk));
      child.on('error', reject);
      child.on('close', (status, signal) => resolve({ code: status ?? signal, ...outcome }));
    });
  }

  expect(text, pattern) {
    if (!pattern.test(text)) throw new Error(`expected ${pattern}, got:\n${text}`);
  }

  check(name, action) {
    try {
      action();
      this.tell(name);
    } catch (error) {
      this.tell(name, error);
    }
  }

  /** Counts a check, and prints how it went. */
  tell(name, error) {
    if (error === undefined) this.passed += 1;
    else this.failed += 1;
    console.log(error === undefined ? `ok - ${name}` : `not ok - ${name}\n${error.message}`);
  }
}
