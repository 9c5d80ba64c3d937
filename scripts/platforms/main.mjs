// `npm run platforms`: builds the addon for every platform, runs the smoke suite where this machine can, prints a table.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setupOrExit } from '../setup.mjs';
import { build, check, needs } from './build.mjs';
import { glibcFloor } from './glibc.mjs';
import { noRoot, prepareRoot, repository, timed } from './root.mjs';
import { runtimes } from './runtimes.mjs';
import { targets } from './targets.mjs';

const MAX_BYTES = 1_500_000;
const HELP = `npm run platforms [-- --build NAME,... --check NAME,... --quick]

Builds, and runs where this machine can, the platforms of --build; type-checks those of --check. Without either, all are
built but for those that can only be type-checked. --quick builds without optimizations: sizes are not those of releases.

Platforms: ${targets.map(({ name }) => name).join(', ')}`;

const { values } = parseArgs({
  options: {
    build: { type: 'string' },
    check: { type: 'string' },
    quick: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const isWhole = values.build === undefined && values.check === undefined;
const toBuild = isWhole ? targets.filter((target) => !target.typesOnly) : named(values.build);
const toCheck = isWhole ? targets.filter((target) => target.typesOnly) : named(values.check);

const impossible = noRoot();
if (impossible !== undefined) {
  console.error(`npm run platforms cannot run here: ${impossible}`);
  console.log(`all suites: 0 passed, 0 failed, ${toBuild.length + toCheck.length} skipped`);
  process.exit(1);
}
await setupOrExit();
const { packages, wheels } = needs(toBuild);
const emulators = toBuild.flatMap(({ name }) => runtimes[name]?.packages ?? []);
prepareRoot({ packages: [...new Set([...packages, ...emulators])], wheels });

const rows = [...toBuild.map((target) => row(target, buildAndRun)), ...typeCheck(toCheck)];
console.log(table(rows));
const failures = rows.filter(({ failure }) => failure !== undefined);
for (const { platform, failure } of failures) console.error(`\n${platform}: ${failure}`);
for (const { platform } of failures) console.log(`FAILED: ${platform}`);
console.log(`all suites: ${rows.length - failures.length} passed, ${failures.length} failed, 0 skipped`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** The targets of a list of names. */
function named(list = '') {
  const names = list.split(',').filter(Boolean);
  const unknown = names.filter((name) => !targets.some((target) => target.name === name));
  if (unknown.length > 0) {
    console.error(`there is no platform ${unknown.join(', ')}: npm run platforms -- --help lists them`);
    process.exit(2);
  }
  return targets.filter(({ name }) => names.includes(name));
}

/** A row of the table: what `action` finds out about a target, or why it failed. */
function row(target, action) {
  const result = { platform: target.name, built: 'no', size: '', glibc: '', ran: 'no', passed: '' };
  try {
    timed(target.name, () => action(target, result));
  } catch (error) {
    result.failure = error.message;
    result.passed = 'FAILED';
  }
  return result;
}

function buildAndRun(target, result) {
  const start = Date.now();
  const { binary, bytes } = build(target, values);
  result.built = `${Math.round((Date.now() - start) / 1000)} s`;
  result.size = `${(bytes / 1000).toFixed(0)} kB`;
  if (!values.quick && bytes > MAX_BYTES) throw new Error(`the binary has ${bytes} bytes, more than ${MAX_BYTES}`);
  if (target.glibc !== undefined) result.glibc = glibcFloor(binary, target.glibc);
  const runtime = runtimes[target.name];
  if (runtime === undefined) return;
  const output = runtime.run([...runtime.node(), join(repository, 'scripts/platforms/smoke.mjs')], {
    NAPI_RS_NATIVE_LIBRARY_PATH: binary,
  });
  const summary = JSON.parse(output.trimEnd().split('\n').at(-1));
  result.ran = `${runtime.where}, Node ${summary.node}`;
  result.passed = `${summary.passed} (${summary.backend}${summary.segmentation ? ' + segmentation' : ''}, ${summary.poller})`;
}

/** The rows of what is type-checked: all at once, or, where that fails, each alone. */
function typeCheck(targets) {
  let together = false;
  try {
    if (targets.length > 0) timed('type checks', () => check(targets));
    together = true;
  } catch {}
  return targets.map((target) =>
    row(target, (_, result) => {
      if (!together) check([target]);
      result.built = 'type-checked only';
    }),
  );
}

function table(rows) {
  const heads = {
    platform: 'target',
    built: 'built',
    size: 'size',
    glibc: 'glibc',
    ran: 'ran where',
    passed: 'passed',
  };
  const keys = Object.keys(heads);
  const widths = keys.map((key) => Math.max(...[heads, ...rows].map((line) => line[key].length)));
  const line = (values) => `| ${values.map((value, i) => value.padEnd(widths[i])).join(' | ')} |`;
  return [
    line(Object.values(heads)),
    line(widths.map((width) => '-'.repeat(width))),
    ...rows.map((one) => line(keys.map((key) => one[key]))),
  ].join('\n');
}
