import fs from 'node:fs';
import path from 'node:path';
import { root } from '../setup.mjs';

/** What may stand behind the language of a block: what is done with it beside compiling it. */
const MARKS = {
  /** Runs until it is ended: it must be running still after a while. */
  serves: 'serves',
  /** Runs where the runtime can suspend a guest's stack. */
  jspi: 'jspi',
  /** Is compiled alone: it needs what is not here. */
  'no-run': 'no-run',
};

/** The page whose blocks are components: scripts/guests-page.mjs builds and runs them. */
const COMPONENTS = 'docs/guests.md';

/** The documents whose blocks are programs of their readers. */
export function documentFiles() {
  const docs = fs.readdirSync(path.join(root, 'docs')).filter((file) => file.endsWith('.md'));
  return ['README.md', ...docs.map((file) => `docs/${file}`)];
}

/**
 * The blocks of JavaScript and TypeScript of all documents: each with its place, its language, its mark, and its code. A comment
 * `<!-- before: CODE -->` right above a block is code that stands before it, and that readers need not see.
 */
export function blocks() {
  const files = documentFiles().filter((file) => file !== COMPONENTS);
  return files.flatMap((file) => blocksOf(file, fs.readFileSync(path.join(root, file), 'utf8')));
}

function blocksOf(file, text) {
  const found = [];
  const pattern =
    /(?:<!-- before:(?<before>(?:(?!-->).)*)-->\s*\n)?^```(?<language>ts|js|mjs|cjs|typescript|javascript)\b(?<info>[^\n]*)\n(?<code>(?:(?!^```).)*)^```$/gms;
  for (const match of text.matchAll(pattern)) {
    const { before = '', language, info, code } = match.groups;
    const place = `${file}:${text.slice(0, match.index + match[0].indexOf('```')).split('\n').length}`;
    const mark = info.trim();
    if (!['ts', 'js', 'cjs'].includes(language)) throw new Error(`${place}: a block is ts, js or cjs, got ${language}`);
    if (mark !== '' && !(mark in MARKS))
      throw new Error(`${place}: a mark is ${Object.keys(MARKS).join(', ')}, or none, got ${mark}`);
    found.push({ place, language, mark, code: `${before.trim()}\n${code}` });
  }
  return found;
}
