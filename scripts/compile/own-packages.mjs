import fs from 'node:fs';
import path from 'node:path';
import esbuild from 'esbuild';

/** What the command takes of packages, by their names. */
const PACKAGES = {
  commander: ['Argument', 'Command', 'CommanderError', 'InvalidArgumentError', 'Option'],
  'cli-progress': ['SingleBar'],
};

/**
 * Puts the packages of the command into dist/cli/packages/, with their licenses, and has the command take them from there: who
 * installs the library installs no other package.
 */
export async function ownPackages(root) {
  const cli = path.join(root, 'dist', 'cli');
  const folder = path.join(cli, 'packages');
  fs.rmSync(folder, { recursive: true, force: true });
  const homes = new Set();
  for (const [name, names] of Object.entries(PACKAGES)) {
    const { metafile } = await esbuild.build({
      stdin: { contents: `export { ${names.join(', ')} } from '${name}';`, resolveDir: root },
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'cjs',
      logLevel: 'error',
      absWorkingDir: root,
      outfile: path.join(folder, `${name}.cjs`),
      metafile: true,
    });
    for (const input of Object.keys(metafile.inputs)) {
      const home = input.match(/^.*node_modules\/(@[^/]+\/)?[^/]+/)?.[0];
      if (home !== undefined) homes.add(home);
    }
  }
  fs.writeFileSync(path.join(folder, 'LICENSES'), [...homes].map((home) => license(path.join(root, home))).join('\n'));
  for (const file of fs.readdirSync(cli).filter((name) => name.endsWith('.js'))) takeOwn(path.join(cli, file));
}

/** Has a module take its packages from beside it. */
function takeOwn(file) {
  const text = fs.readFileSync(file, 'utf8');
  const own = text.replace(/ from '([\w-]+)';/g, (whole, name) =>
    name in PACKAGES ? ` from './packages/${name}.cjs';` : whole,
  );
  if (own !== text) fs.writeFileSync(file, own);
}

/** The name, the version and the license of a package. */
function license(home) {
  const { name, version } = JSON.parse(fs.readFileSync(path.join(home, 'package.json'), 'utf8'));
  const file = fs.readdirSync(home).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${version}\n\n${fs.readFileSync(path.join(home, file), 'utf8').trim()}\n`;
}
