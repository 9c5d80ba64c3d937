import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { programOf, runtime } from '../runtimes.mjs';
import { root } from '../setup.mjs';
import { ES_MODULE, PRINTED } from './programs.mjs';

/** The file that is the binary of this platform, as its package has it. */
const binaryOf = (consumer) => {
  const name = fs.readdirSync(consumer.at('node_modules')).find((entry) => entry.startsWith('wasi-udp-'));
  return consumer.at('node_modules', name, `${name.replace('wasi-udp-', 'wasi-udp.')}.node`);
};

/** By bundler: what it makes of a program, in a folder; then the command that runs it. */
const BUNDLERS = {
  'esbuild, ES module': esbuild('esm', 'mjs'),
  'esbuild, CommonJS': esbuild('cjs', 'cjs'),
  webpack(consumer, entry, folder) {
    // Its API: the command would be a package more.
    const script = consumer.write(
      'webpack.cjs',
      `require(${JSON.stringify(webpackFolder())})({ entry: ${JSON.stringify(entry)}, target: 'node', mode: 'production',
        output: { path: ${JSON.stringify(folder)}, filename: 'main.js' } }, (error, stats) => {
          if (error || stats.hasErrors() || stats.hasWarnings()) throw error ?? new Error(stats.toString());
        });`,
    );
    consumer.run('node', script);
    return ['node', path.join(folder, 'main.js')];
  },
  'bun build --compile'(consumer, entry, folder) {
    runtime('bun');
    const executable = path.join(folder, 'program');
    consumer.run(programOf('bun'), 'build', '--compile', entry, '--outfile', executable);
    return [executable];
  },
};

function esbuild(format, extension) {
  return (consumer, entry, folder) => {
    const bundle = path.join(folder, `bundle.${extension}`);
    const options = ['--bundle', '--platform=node', `--format=${format}`, '--log-override:empty-import-meta=silent'];
    consumer.run(path.join(root, 'node_modules/esbuild/bin/esbuild'), entry, ...options, `--outfile=${bundle}`);
    return ['node', bundle];
  };
}

/** Bundles of one file: beside the packages, elsewhere with the binary beside it, or named; and what is said without one. */
export function bundlers(consumer) {
  const entry = consumer.write('bundled.mjs', ES_MODULE);
  const elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), 'wasi-udp-bundle-'));
  try {
    for (const [name, bundle] of Object.entries(BUNDLERS)) {
      consumer.check(name, () => oneBundle(consumer, bundle, entry, path.join(elsewhere, name)));
    }
  } finally {
    fs.rmSync(elsewhere, { recursive: true });
  }
}

function oneBundle(consumer, bundle, entry, folder) {
  const binary = binaryOf(consumer);
  const here = consumer.at('bundle');
  fs.rmSync(here, { recursive: true, force: true });
  fs.mkdirSync(here);
  const [program, ...args] = bundle(consumer, entry, here);
  // An executable of Bun finds no packages.
  if (program === 'node') consumer.expect(consumer.run(program, ...args), PRINTED);

  fs.cpSync(here, folder, { recursive: true });
  const moved = [program, ...args].map((part) => part.replace(here, folder));
  const run = (env) => consumer.outcome(moved[0], moved.slice(1), { cwd: folder, env });
  // webpack notes where the sources were: they are there no longer on the machine that runs it.
  fs.renameSync(consumer.at('node_modules'), consumer.at('gone'));
  try {
    consumer.expect(run({}).stderr, /This is a bundle, which cannot hold the binary: put wasi-udp\./);
    consumer.expect(run({ NAPI_RS_NATIVE_LIBRARY_PATH: binary.replace('node_modules', 'gone') }).stdout, PRINTED);
    fs.copyFileSync(binary.replace('node_modules', 'gone'), path.join(folder, path.basename(binary)));
    consumer.expect(run({}).stdout, PRINTED);
  } finally {
    fs.renameSync(consumer.at('gone'), consumer.at('node_modules'));
  }
}

/** Where webpack is, with the packages that it needs: installed where it is not there yet. */
function webpackFolder() {
  const home = path.join(root, 'build', 'webpack');
  const folder = path.join(home, 'node_modules', 'webpack');
  if (!fs.existsSync(folder)) {
    fs.mkdirSync(home, { recursive: true });
    fs.writeFileSync(path.join(home, 'package.json'), '{ "private": true }');
    const install = ['install', '--no-audit', '--no-fund', '--no-package-lock', 'webpack@5'];
    const { status, stderr } = spawnSync('npm', install, { cwd: home, encoding: 'utf8' });
    if (status !== 0) throw new Error(`webpack could not be installed:\n${stderr}`);
  }
  return folder;
}
