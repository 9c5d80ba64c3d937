// `npm version X` runs this: the version of package.json goes wherever else it stands.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';

const { version } = JSON.parse(fs.readFileSync('package.json', 'utf8'));
const places = [
  ['Cargo.toml', /(\[workspace\.package\]\nversion = ").*(")/],
  ['ts/version.ts', /(VERSION = ').*(')/],
];
for (const [file, pattern] of places) {
  const text = fs.readFileSync(file, 'utf8');
  if (!pattern.test(text)) throw new Error(`${file} has no version where it is looked for: ${pattern}`);
  fs.writeFileSync(file, text.replace(pattern, `$1${version}$2`));
}
execFileSync('cargo', ['update', '--workspace', '--offline'], { stdio: 'inherit' });
execFileSync('git', ['add', 'Cargo.toml', 'Cargo.lock', 'ts/version.ts'], { stdio: 'inherit' });
