/**
 * Does what docs/guests.md says: writes the files of each section into a folder, runs its commands there, and compares what the
 * last one prints. `node scripts/guests-page.mjs SECTION...` does those alone. What it installs, it installs into build/guests-page.
 * A section without its tools is left out, and the output says so. Exit code 1 where one does not do what the page says.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { guests } from './guests.mjs';
import { runtime } from './runtimes.mjs';
import { root } from './setup.mjs';

const home = path.join(root, 'build', 'guests-page');
const venv = path.join(home, 'python');

/** What each section needs beside Node.js; its commands install the rest. */
const NEEDS = {
  Rust: () => requireProgram('rustup', '--version'),
  // It installs clang and wasi-libc.
  C: async () => {
    await guests();
    requireVenv();
  },
  Python: requireVenv,
  JavaScript: () => {},
};

/** The sections with commands: their title, files by name, commands and what they print. */
function sections() {
  const page = fs.readFileSync(path.join(root, 'docs', 'guests.md'), 'utf8');
  return page
    .split(/^## /m)
    .slice(1)
    .map((text) => {
      const blocks = Array.from(text.matchAll(/^```(\w+)(?: \[([^\]]+)\])?\n([\s\S]*?)^```$/gm));
      const of = (language) =>
        blocks.filter((block) => block[1] === language && block[2] === undefined).map((block) => block[3]);
      const files = blocks.filter(([, , file]) => file !== undefined).map(([, , file, content]) => [file, content]);
      return {
        title: text.slice(0, text.indexOf('\n')),
        files,
        commands: of('sh').join(''),
        printed: of('text').join(''),
      };
    });
}

/** Does what a section says; throws where something else is printed. */
async function follow({ title, files, commands, printed }, port) {
  const folder = path.join(home, title);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  install(path.join(folder, 'node_modules'));
  const here = (text) => text.replaceAll('5514', String(port));
  for (const [file, content] of files) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), here(content));
  }
  const options = { cwd: folder, env: { ...process.env, PATH: PATHS.join(path.delimiter), VIRTUAL_ENV: venv } };
  const child = spawn('bash', ['-euo', 'pipefail', '-c', here(commands)], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const [code] = await once(child, 'close');
  if (code !== 0 || !stdout.endsWith(printed))
    throw new Error(`exit code ${code}, and it printed:\n${stdout}${stderr}`);
}

/** The packages that the page installs: this one from here, the others as they are here. */
function install(modules) {
  fs.mkdirSync(path.join(modules, '.bin'), { recursive: true });
  const own = path.join(modules, 'wasi-udp');
  fs.mkdirSync(own);
  for (const name of ['examples', 'guests']) fs.symlinkSync(path.join(root, name), path.join(own, name));
  fs.symlinkSync(path.join(root, 'node_modules/@bytecodealliance'), path.join(modules, '@bytecodealliance'));
  const programs = {
    'wasi-udp': path.join(root, 'dist/cli/main.js'),
    jco: path.join(root, 'node_modules/.bin/jco'),
  };
  for (const [name, file] of Object.entries(programs)) {
    fs.writeFileSync(path.join(modules, '.bin', name), `#!/bin/sh\nexec node ${file} "$@"\n`, { mode: 0o755 });
  }
}

function requireProgram(program, ...args) {
  const { status, error } = spawnSync(program, args);
  if (status !== 0) throw new Missing(`${program} (${error?.code ?? `exit code ${status}`})`);
}

/** An environment of Python, so that `pip install` installs into it. */
function requireVenv() {
  if (fs.existsSync(path.join(venv, 'bin', 'pip'))) return;
  requireProgram('python3', '-m', 'venv', venv);
}

/** What a section needs is not here, and it is left out. */
class Missing extends Error {}

/** Where programs are: a Node.js of the page's, and that environment, first. */
const [node] = Number.parseInt(process.versions.node, 10) >= 22 ? [process.execPath] : runtime('node22');
const PATHS = [path.join(venv, 'bin'), path.dirname(node), ...process.env.PATH.split(path.delimiter)];

const asked = process.argv.slice(2);
const server = createSocket('udp4', (message, { port, address }) => server.send(message, port, address));
server.bind(0, '127.0.0.1');
await once(server, 'listening');
try {
  for (const section of sections()) {
    if (asked.length > 0 && !asked.includes(section.title)) continue;
    try {
      await NEEDS[section.title]();
    } catch (error) {
      console.log(`${section.title}: left out, it needs ${error.message}`);
      continue;
    }
    try {
      await follow(section, server.address().port);
      console.log(`${section.title}: as the page says`);
    } catch (error) {
      console.log(`${section.title}: not as the page says: ${error.message}`);
      process.exitCode = 1;
    }
  }
} finally {
  server.close();
}
