/**
 * `npm run mutants`: changes the code one operator, one constant, one condition at a time, and names the changes that no test
 * notices. Exit code 1 where there are any.
 *
 *     node scripts/mutants.mjs [rust|typescript] [--file NAME] [--every N]
 *
 * `--file` names some of the files, `--every` tries one of so many changes, for machines with no time.
 *
 * Of the engine cargo-mutants does it, which is installed into build/tools; `.cargo/mutants.toml` says which changes are equal.
 * Of the TypeScript `scripts/mutants/typescript.mjs` does.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { mutateTypeScript } from './mutants/typescript.mjs';
import { requireRust, root, setupOrExit } from './setup.mjs';
import { cargoTool } from './tools.mjs';

/** A change that has a loop run on allocates without end: the compiler and the tests need less than this, in kB. */
const MEMORY = 8_000_000;

/** What is mutated of the engine: what decides, not what calls the system. */
const ENGINE = ['outgoing.rs', 'runs.rs', 'socket.rs', 'table.rs'];

/** Mutates the engine, one of `every` changes; those that live on, and how many there were. */
function mutateRust(files, every) {
  requireRust();
  const tool = cargoTool('cargo-mutants', '27.1.0');
  const output = path.join(root, 'build/mutants/rust');
  fs.mkdirSync(output, { recursive: true });
  const options = [
    ...['--package', 'wasi-udp-engine', '--output', output, '--gitignore=true', '--colors', 'never'],
    ...['--minimum-test-timeout', '60'],
  ];
  const chosen = (files.length > 0 ? files : ENGINE).flatMap((file) => ['--file', `**/${file}`]);
  if (every > 1) chosen.push('--shard', `0/${every}`, '--sharding', 'round-robin');
  // The model of runs is tried often enough by the properties beside it.
  const tests = ['--', '--', '--skip', 'ten_million'];
  const shell = ['-c', `ulimit -v ${MEMORY} && exec "$@"`, 'sh', tool, 'mutants', ...options, ...chosen, ...tests];
  const { status } = spawnSync('sh', shell, { cwd: root, stdio: 'inherit' });
  const list = (name) => {
    const file = path.join(output, 'mutants.out', `${name}.txt`);
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  };
  const [missed, caught, late] = ['missed', 'caught', 'timeout'].map(list);
  // 0: all caught; 2: some missed; 3: some tests ran on, as a changed loop may.
  if (![0, 2, 3].includes(status)) throw new Error(`cargo mutants ended with ${status}`);
  return { survivors: missed, total: missed.length + caught.length + late.length };
}

const { values, positionals } = parseArgs({
  options: { file: { type: 'string', multiple: true, default: [] }, every: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const languages = { rust: mutateRust, typescript: mutateTypeScript };
const names = positionals.length > 0 ? positionals : Object.keys(languages);
if (names.some((name) => !(name in languages))) {
  console.error('usage: node scripts/mutants.mjs [rust|typescript] [--file NAME] [--every N]');
  process.exit(2);
}
await setupOrExit();
const lines = [];
let failed = false;
for (const name of names) {
  const { survivors, total } = await languages[name](values.file, Number(values.every));
  failed ||= survivors.length > 0 || total === 0;
  lines.push(...survivors.map((survivor) => `SURVIVES: ${survivor}`));
  lines.push(`${name}: ${total - survivors.length} of ${total} changes are noticed`);
}
console.log(lines.join('\n'));
process.exitCode = failed ? 1 : 0;
