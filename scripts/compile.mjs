/**
 * Compiles ts/ to dist/, and makes dist/cjs/: what `require` gets. That is the same modules, through the require() of ES
 * modules of Node.js 20.19 and 22.12, so that a process has them once; its declarations are copies, which TypeScript reads
 * as those of CommonJS modules.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const dist = path.join(root, 'dist');

const compiler = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (compiler.status !== 0) process.exit(compiler.status ?? 1);

const cjs = path.join(dist, 'cjs');
fs.rmSync(cjs, { recursive: true, force: true });
fs.mkdirSync(cjs, { recursive: true });
fs.writeFileSync(path.join(cjs, 'package.json'), '{ "type": "commonjs" }\n');
for (const file of fs.readdirSync(dist, { recursive: true })) {
  if (!file.endsWith('.d.ts') || /^(cjs|cli)[\\/]/.test(file)) continue;
  fs.mkdirSync(path.dirname(path.join(cjs, file)), { recursive: true });
  fs.copyFileSync(path.join(dist, file), path.join(cjs, file));
}
const { exports } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
for (const entry of Object.values(exports)) {
  if (entry.require === undefined) continue;
  const module = path.relative('./dist/cjs', entry.require.default);
  const up = path.relative(path.dirname(entry.require.default), entry.import.default).split(path.sep).join('/');
  fs.writeFileSync(path.join(cjs, module), `module.exports = require('${up}');\n`);
}
