/**
 * Installs the packed packages into an empty folder, as users do, with no cargo and no C compiler on PATH, and uses them
 * from there: the commands, the examples, ES modules, CommonJS, TypeScript, a bundler. Then the tools that look for
 * mistakes in packages. Each check is a line; exit code 1 where one failed.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pack } from './pack.mjs';
import { root } from './setup.mjs';

/** Sends a datagram to itself, and prints what both ways of loading have in common. */
const PROGRAM = `
const udp = openUdp({ local: '127.0.0.1:0' });
udp.outgoing.checkSend();
const sent = udp.outgoing.send([{ data: new Uint8Array(1), remoteAddress: udp.localAddress }]);
udp[Symbol.dispose]();
console.log('sent', sent);
`;

const tarballs = await pack();
for (const { path: file, size, count } of tarballs) {
  console.log(`${path.basename(file)}: ${(size / 1000).toFixed(0)} kB, ${count} files`);
}
const [main] = tarballs;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-udp-consumer-'));
const programs = path.join(folder, 'programs');
const at = (name) => path.join(folder, name);
const write = (name, text) => fs.writeFileSync(at(name), text);
const results = { passed: 0, failed: 0 };

try {
  makePath();
  write('package.json', '{ "private": true }');
  check('there is no cargo and no cc on PATH', () => {
    for (const program of ['cargo', 'rustc', 'cc', 'gcc', 'clang']) {
      if (spawnSync(program, ['--version'], { env: environment() }).error?.code !== 'ENOENT') throw new Error(program);
    }
  });
  check('npm install', () =>
    run('npm', 'install', '--no-audit', '--no-fund', ...tarballs.map(({ path: file }) => file)),
  );
  commands();
  modules();
  typescript();
  bundler();
  tools();
} finally {
  fs.rmSync(folder, { recursive: true });
}
console.log(`${results.passed} passed, ${results.failed} failed`);
process.exitCode = results.failed === 0 ? 0 : 1;

function commands() {
  const command = at('node_modules/.bin/wasi-udp');
  check('wasi-udp doctor', () =>
    expect(run(command, 'doctor'), /^binary .*node_modules.*\n(.*\n)*.* 4 of 4 .* 4 received/m),
  );
  check('wasi-udp compare', () => expect(run(command, 'compare'), /^lost +0$/m));
  check('examples/send.mjs', () => {
    fs.copyFileSync(path.join(root, 'examples/send.mjs'), at('send.mjs'));
    run('node', at('send.mjs'));
  });
}

function modules() {
  write('consumer.mjs', `import { openUdp } from 'wasi-udp';${PROGRAM}`);
  write('consumer.cjs', `const { openUdp } = require('wasi-udp');${PROGRAM}`);
  write(
    'both.cjs',
    "const { Trap } = require('wasi-udp'); import('wasi-udp').then((module) => console.log(module.Trap === Trap));",
  );
  check('ES module', () => expect(run('node', at('consumer.mjs')), /^sent 1n$/m));
  check('CommonJS', () => expect(run('node', at('consumer.cjs')), /^sent 1n$/m));
  check('no optional peer was installed', () => {
    if (fs.existsSync(at('node_modules/@bytecodealliance'))) throw new Error('@bytecodealliance is there');
  });
  // The optional peers that wasi-udp/jco needs, from this checkout: that for WASI 0.3 is none of them.
  fs.mkdirSync(at('node_modules/@bytecodealliance'));
  for (const name of ['jco', 'preview2-shim']) {
    const peer = path.join('node_modules/@bytecodealliance', name);
    fs.symlinkSync(path.join(root, peer), at(peer));
  }
  write('jco.mjs', "import { createHost } from 'wasi-udp/jco'; console.log(Object.keys(createHost().imports()));");
  write('jco.cjs', "const { createHost } = require('wasi-udp/jco'); console.log(Object.keys(createHost().imports()));");
  check('wasi-udp/jco, ES module', () => expect(run('node', at('jco.mjs')), /'wasi:sockets\/udp'/));
  check('wasi-udp/jco, CommonJS', () => expect(run('node', at('jco.cjs')), /'wasi:sockets\/udp'/));
  check('both in one process share their classes', () => expect(run('node', at('both.cjs')), /^true$/m));
}

function typescript() {
  const types = path.join(root, 'node_modules/@types');
  const program = `import { type OutgoingDatagram, openUdp, SocketError } from 'wasi-udp';
const udp = openUdp({ remote: '127.0.0.1:9' });
const datagram: OutgoingDatagram = { data: new Uint8Array(1) };
const granted: bigint = udp.outgoing.checkSend();
export const sent: bigint = granted > 0n ? udp.outgoing.send([datagram]) : 0n;
export const isRefused = (error: unknown): boolean => error instanceof SocketError && error.code === 'connection-refused';
// @ts-expect-error: not a WIT error-code
new SocketError('no-such-code', '');
udp[Symbol.dispose]();
`;
  for (const [name, file, module, moduleResolution] of [
    ['TypeScript, node16, ES module', 'consumer.mts', 'node16', 'node16'],
    ['TypeScript, node16, CommonJS', 'consumer.cts', 'node16', 'node16'],
    ['TypeScript, nodenext', 'next.mts', 'nodenext', 'nodenext'],
    ['TypeScript, bundler', 'bundled.ts', 'esnext', 'bundler'],
  ]) {
    write(file, program);
    const options = [
      '--strict',
      '--noEmit',
      '--skipLibCheck',
      'false',
      '--target',
      'es2022',
      '--lib',
      'es2023,esnext.disposable',
    ];
    const typeRoots = ['--typeRoots', types, '--types', 'node'];
    const compiler = path.join(root, 'node_modules/typescript/bin/tsc');
    check(name, () =>
      run(
        'node',
        compiler,
        ...options,
        ...typeRoots,
        '--module',
        module,
        '--moduleResolution',
        moduleResolution,
        at(file),
      ),
    );
  }
}

function bundler() {
  const esbuild = path.join(root, 'node_modules/esbuild/bin/esbuild');
  for (const [format, extension] of [
    ['esm', 'mjs'],
    ['cjs', 'cjs'],
  ]) {
    const bundle = at(`bundle.${extension}`);
    check(`esbuild, ${format}`, () => {
      const options = ['--bundle', '--platform=node', `--format=${format}`, '--log-override:empty-import-meta=silent'];
      run(esbuild, at('consumer.mjs'), ...options, `--outfile=${bundle}`);
      expect(run('node', bundle), /^sent 1n$/m);
      if (!fs.readFileSync(bundle, 'utf8').includes('OutgoingDatagramStream'))
        throw new Error('the package is not in it');
    });
  }
}

function tools() {
  const tool = (name) => path.join(root, 'node_modules/.bin', name);
  check('publint', () => run(tool('publint'), main.path, '--strict'));
  // Node.js 20 and later resolve by `exports`: TypeScript's node10 resolution, which does not, is left out.
  check('are the types wrong', () => run(tool('attw'), main.path, '--profile', 'node16'));
}

/** A folder with the programs that a machine with Node.js alone has. */
function makePath() {
  fs.mkdirSync(programs);
  for (const program of ['node', 'npm', 'sh', 'env', 'tar', 'uname']) {
    const found = process.env.PATH.split(':')
      .map((entry) => path.join(entry, program))
      .find((file) => fs.existsSync(file));
    if (found) fs.symlinkSync(fs.realpathSync(found), path.join(programs, program));
  }
}

function environment() {
  const { NAPI_RS_NATIVE_LIBRARY_PATH, NODE_PATH, ...env } = process.env;
  return { ...env, PATH: programs };
}

function run(program, ...args) {
  const { status, error, stdout, stderr } = spawnSync(program, args, {
    cwd: folder,
    env: environment(),
    encoding: 'utf8',
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${path.basename(program)} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

function expect(text, pattern) {
  if (!pattern.test(text)) throw new Error(`expected ${pattern}, got:\n${text}`);
}

function check(name, action) {
  try {
    action();
    results.passed += 1;
    console.log(`ok - ${name}`);
  } catch (error) {
    results.failed += 1;
    console.log(`not ok - ${name}\n${error.message}`);
  }
}
