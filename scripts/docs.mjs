/**
 * `npm run docs [-- serve [PORT]]`: the site of the documents, in build/site/dist: README.md and docs/ as they are, and the reference
 * of the API, from its comments. It is read by any browser from the files alone, or from any static host. Ends with 1 where a tool
 * warns, or a link leads nowhere. With `serve`, over HTTP on 127.0.0.1 afterwards.
 *
 * What builds it is in site/, with packages of its own: a clone needs them for nothing else.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { documentFiles } from './consumers/blocks.mjs';
import { fromFiles } from './docs/from-files.mjs';
import { packages, root, setupOrExit, sitePackages } from './setup.mjs';

const build = path.join(root, 'build', 'site');
const source = path.join(build, 'src');
const site = path.join(root, 'site');

/** Pages beside docs/, at the places where links find them. */
const OTHERS = ['ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'];

await setupOrExit([packages, sitePackages]);
fs.rmSync(build, { recursive: true, force: true });
stage();
// Pages are modules: they find their packages from where they lie.
fs.symlinkSync(path.join(site, 'node_modules'), path.join(build, 'node_modules'), 'junction');
tool('typedoc', ['typedoc/bin/typedoc', '--options', 'typedoc.json', ...entryPoints()]);
tool('vitepress', ['vitepress/bin/vitepress.js', 'build', '.']);
const wrong = fromFiles(path.join(build, 'dist'));
if (wrong.length > 0) {
  console.error(wrong.join('\n'));
  process.exit(1);
}
console.log('built: build/site/dist/index.html');
if (process.argv[2] === 'serve') serve(Number(process.argv[3] ?? 4173));

/** The sources, laid as in the checkout, so that every link holds in both. */
function stage() {
  for (const file of [...documentFiles(), ...OTHERS]) copy(file, file === 'README.md' ? 'index.md' : file);
  for (const file of fs.readdirSync(path.join(root, 'bench/results'))) {
    if (file.endsWith('.svg')) copy(`bench/results/${file}`);
    // Documents name what was measured.
    else copy(`bench/results/${file}`, `public/bench/results/${file}`);
  }
  copy('LICENSE', 'public/LICENSE');
  copy('site/icon.svg', 'public/icon.svg');
  fs.cpSync(path.join(root, 'examples'), path.join(source, 'public/examples'), {
    recursive: true,
    filter: (file) => path.basename(file) !== '__pycache__',
  });
}

function copy(from, to = from) {
  fs.mkdirSync(path.dirname(path.join(source, to)), { recursive: true });
  fs.copyFileSync(path.join(root, from), path.join(source, to));
}

/** The sources of the package's entries, which have the comments. */
function entryPoints() {
  const { exports } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  const types = Object.values(exports).flatMap((entry) => entry.import?.types ?? []);
  return types.map((file) => file.replace(/^\.\/dist\/(.*)\.d\.ts$/, '../ts/$1.ts'));
}

/** Runs a tool of site/; what it warns of ends the build. */
function tool(name, [script, ...args]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join('node_modules', script), ...args], {
    cwd: site,
    encoding: 'utf8',
    // VitePress takes a link to a file of a kind that it does not know for one to a page.
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, VITE_EXTRA_EXTENSIONS: 'c,py,wit,log' },
  });
  const output = `${stdout}${stderr}`;
  process.stderr.write(output);
  const warning = output.match(/^.*\b(warning|warn|deprecated)\b.*$/im)?.[0];
  if (status !== 0 || warning !== undefined) {
    console.error(`${name} ${status === 0 ? `warns: ${warning}` : `ended with ${status}`}`);
    process.exit(1);
  }
}

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

/** Serves the files as they are, as any static host does. */
function serve(port) {
  const dist = path.join(build, 'dist');
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const file = path.join(dist, decodeURIComponent(pathname), pathname.endsWith('/') ? 'index.html' : '');
    if (!file.startsWith(dist) || !fs.existsSync(file) || !fs.statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
    fs.createReadStream(file).pipe(response);
  });
  server.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
}
