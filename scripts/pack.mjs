// Makes the packages as they are published: build/pack/*.tgz, the main one and one for each binary that is there.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { publishedTypes } from './compile/published-types.mjs';
import { root, setupOrExit } from './setup.mjs';

const USAGE = `node scripts/pack.mjs [FOLDER] [--complete]

Makes build/pack/*.tgz: the package, and one for each binary.

  FOLDER       where the binaries are, wasi-udp.PLATFORM.node; by default the one that this checkout has built
  --complete   for a release: every platform's binary must be there, and package.json's repository be the one that
               publishes (GITHUB_REPOSITORY, where it is set)
  --help       prints this

What must not be published, or is too large, is an error.`;

/** The owner in package.json's \`repository\` until there is one: the only place that is to be filled in. */
const PLACEHOLDER = 'OWNER';

const MAX_TARBALL_BYTES = 500_000;
const MAX_BINARY_BYTES = 1_500_000;
/** What no package holds: tests, sources of the build, lockfiles, settings. */
const FORBIDDEN =
  /(^|\/)(__test__|test|crates|scripts|bench|src|target|\.ci|\.github)\/|\.(rs|lock|tsbuildinfo|tgz)$|(package-lock|npm-shrinkwrap|tsconfig|biome|vitest\.config)\./;

const folder = path.join(root, 'build', 'pack');

/** What the reader can mend: its message says how. */
class PackError extends Error {}

/** Packs the JavaScript, and the binaries of the folder, of which `complete` wants all; the tarballs, the main one first. */
export async function pack({ binaries = root, complete = false } = {}) {
  await setupOrExit();
  const stage = path.join(folder, 'stage');
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.join(stage, 'artifacts'), { recursive: true });
  const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  if (complete) checkRepository(manifest);
  for (const name of manifest.files.filter((entry) => !entry.startsWith('!'))) {
    const file = name.replace(/\/\*.*/, '');
    fs.cpSync(path.join(root, file), path.join(stage, file), { recursive: true });
  }
  publishedTypes(root, path.join(stage, 'dist'));

  const targets = manifest.napi.targets.filter(
    (target) => complete || fs.existsSync(path.join(binaries, fileOf(target))),
  );
  if (targets.length === 0) throw new PackError(`${binaries} has no wasi-udp.PLATFORM.node: npm run setup builds one`);
  for (const target of targets) {
    const file = path.join(binaries, fileOf(target));
    const { size } = fs.statSync(file);
    if (size > MAX_BINARY_BYTES) throw new PackError(`${file} has ${size} bytes, more than ${MAX_BINARY_BYTES}`);
    fs.copyFileSync(file, path.join(stage, 'artifacts', fileOf(target)));
  }
  manifest.napi.targets = targets;
  Object.assign(manifest, pagesOf(manifest));
  // These are a checkout's.
  for (const key of ['scripts', 'devDependencies']) delete manifest[key];
  fs.writeFileSync(path.join(stage, 'package.json'), JSON.stringify(manifest, null, 2));

  napi(stage, 'create-npm-dirs');
  napi(stage, 'artifacts', '--output-dir', 'artifacts');
  const packages = fs.readdirSync(path.join(stage, 'npm')).map((name) => path.join(stage, 'npm', name));
  for (const home of packages) fs.copyFileSync(path.join(root, 'LICENSE'), path.join(home, 'LICENSE'));
  // Writes the optionalDependencies, one a platform, of this version.
  napi(stage, 'prepublish', '--tag-style', 'npm', '--skip-optional-publish', '--no-gh-release');

  const tarballs = [stage, ...packages].map(npmPack);
  if (tarballs[0].size > MAX_TARBALL_BYTES) {
    throw new PackError(`${tarballs[0].filename} has ${tarballs[0].size} bytes, more than ${MAX_TARBALL_BYTES}`);
  }
  for (const { files, filename } of tarballs) {
    const forbidden = files.map((file) => file.path).filter((file) => FORBIDDEN.test(file));
    if (forbidden.length > 0)
      throw new PackError(`${filename} holds what is not to be published: ${forbidden.join(', ')}`);
  }
  return tarballs.map(({ filename, size, files }) => ({
    path: path.join(folder, filename),
    size,
    count: files.length,
  }));
}

/** The repository on GitHub of package.json, such as OWNER/wasi-udp. */
function repositoryOf({ repository }) {
  return repository.url.match(/github\.com\/(.+)\.git$/)[1];
}

/** The pages that follow from the repository. */
function pagesOf(manifest) {
  const page = `https://github.com/${repositoryOf(manifest)}`;
  return { homepage: `${page}#readme`, bugs: { url: `${page}/issues` } };
}

/** A release carries its provenance only where package.json names the repository that publishes it. */
function checkRepository(manifest) {
  const named = repositoryOf(manifest);
  const mend = 'correct "repository" of package.json, which homepage and bugs follow';
  if (named.startsWith(`${PLACEHOLDER}/`)) throw new PackError(`package.json's repository has no owner yet: ${mend}`);
  const publishing = process.env.GITHUB_REPOSITORY;
  if (publishing !== undefined && publishing.toLowerCase() !== named.toLowerCase())
    throw new PackError(`package.json's repository is ${named}, and this is ${publishing}: ${mend}`);
}

/** The file of a target's binary, such as wasi-udp.linux-x64-gnu.node. */
function fileOf(target) {
  const [cpu, , system, abi] = target.split('-');
  const arch = cpu === 'x86_64' ? 'x64' : 'arm64';
  const platform = { linux: `linux-${arch}-${abi}`, darwin: `darwin-${arch}`, windows: `win32-${arch}-${abi}` }[system];
  return `wasi-udp.${platform}.node`;
}

function napi(cwd, ...args) {
  run(process.execPath, [path.join(root, 'node_modules/@napi-rs/cli/dist/cli.js'), ...args], cwd);
}

function npmPack(cwd) {
  const output = run('npm', ['pack', '--json', '--pack-destination', folder], cwd);
  return JSON.parse(output.slice(output.indexOf('[')))[0];
}

function run(command, args, cwd) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

function parse() {
  const options = { complete: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } };
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length > 1) throw new Error(`one FOLDER, not ${positionals.join(' ')}`);
    return { ...values, folder: positionals[0] };
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { help, complete, folder: given } = parse();
  if (help) {
    console.log(USAGE);
  } else {
    try {
      const binaries = given === undefined ? root : path.resolve(given);
      for (const { path: file, size, count } of await pack({ binaries, complete })) {
        console.log(`${path.relative(root, file)}: ${(size / 1000).toFixed(0)} kB, ${count} files`);
      }
    } catch (error) {
      if (!(error instanceof PackError)) throw error;
      console.error(error.message);
      process.exitCode = 1;
    }
  }
}
