/**
 * Installs the packed packages into an empty folder, as users do, with no cargo and no C compiler on PATH, and uses them
 * from there: the commands, the examples, every block of the documents, ES modules and CommonJS of old and new runtimes,
 * TypeScript, bundlers, permissions. Then the tools that look for mistakes in packages. Each check is a line; exit code 1
 * where one failed. `node scripts/consumers.mjs NAME...` makes those alone.
 */
import path from 'node:path';
import { bundlers } from './consumers/bundlers.mjs';
import { commands } from './consumers/commands.mjs';
import { Consumer } from './consumers/consumer.mjs';
import { documented } from './consumers/documented.mjs';
import { documents } from './consumers/documents.mjs';
import { modules } from './consumers/modules.mjs';
import { permissions } from './consumers/permissions.mjs';
import { tools } from './consumers/tools.mjs';
import { typescript } from './consumers/typescript.mjs';
import { pack } from './pack.mjs';

/** What is looked at, in turn. `modules` comes first, since the others have the optional packages beside ours. */
const PARTS = { modules, commands, typescript, documented, documents, bundlers, permissions, tools };

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(PARTS);
const unknown = names.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  console.error(`there is no ${unknown.join(', ')}: name some of ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}

const tarballs = await pack();
for (const { path: file, size, count } of tarballs) {
  console.log(`${path.basename(file)}: ${(size / 1000).toFixed(0)} kB, ${count} files`);
}
const consumer = new Consumer(tarballs.map(({ path: file }) => file));
try {
  consumer.install();
  for (const name of names) await PARTS[name](consumer);
} finally {
  consumer.remove();
}
console.log(`${consumer.passed} passed, ${consumer.failed} failed`);
process.exitCode = consumer.failed === 0 ? 0 : 1;
