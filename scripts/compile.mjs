/** Compiles ts/ to dist/, and makes of it what else is published: CommonJS in dist/cjs/, the command's packages in dist/cli/. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { commonJs } from './compile/common-js.mjs';
import { ownPackages } from './compile/own-packages.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

const compiler = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (compiler.status !== 0) process.exit(compiler.status ?? 1);
await commonJs(root);
await ownPackages(root);
