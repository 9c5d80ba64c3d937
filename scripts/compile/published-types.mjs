import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** A class of a declaration file, up to its end. */
const CLASS = /^export declare (?:abstract )?class (\w+)[^\n]*\{\n.*?^\}/gms;

/**
 * Replaces the declarations of a package's dist/ by those that are published, without what is `@internal`. A constructor that is
 * internal becomes one that nobody can call: without it, anybody could. Typed arrays lose the type of their buffer, which TypeScript
 * has from 5.7 on.
 */
export function publishedTypes(root, dist) {
  const stripped = path.join(root, 'build', 'published-types');
  fs.rmSync(stripped, { recursive: true, force: true });
  const options = ['--emitDeclarationOnly', '--stripInternal', '--incremental', 'false', '--outDir', stripped];
  const compiler = [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', root];
  const { status, stdout } = spawnSync(process.execPath, [...compiler, ...options], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the published types do not compile:\n${stdout}`);
  for (const file of fs.readdirSync(stripped, { recursive: true }).filter((name) => name.endsWith('.d.ts'))) {
    const all = fs.readFileSync(path.join(root, 'dist', file), 'utf8');
    let text = fs.readFileSync(path.join(stripped, file), 'utf8');
    for (const [declaration, name] of all.matchAll(CLASS)) {
      if (!/@internal(?:(?!\*\/).)*\*\/\s*constructor\(/s.test(declaration)) continue;
      text = text.replace(
        new RegExp(`^(export declare (?:abstract )?class ${name}\\b[^\\n]*\\{\\n)`, 'm'),
        '$1    protected constructor();\n',
      );
    }
    text = text.replace(/\b(\w+Array)<ArrayBuffer(Like)?>/g, '$1');
    for (const folder of ['.', 'cjs']) {
      const target = path.join(dist, folder, file);
      if (fs.existsSync(target)) fs.writeFileSync(target, text);
    }
  }
}
