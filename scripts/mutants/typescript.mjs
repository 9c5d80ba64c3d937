// Changes to the compiled TypeScript, each in a copy of what the tests need, and the tests that should notice.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { root } from '../setup.mjs';
import { EQUAL } from './equal.mjs';

/** What is changed, in the order of the time it takes, and the tests that should notice: test files, and a fuzz target. */
const FILES = {
  'rules/permit.js': { tests: ['rules', 'outgoing-datagram-stream', 'conformance'] },
  'rules/policy.js': { tests: ['policy', 'rules'], fuzz: 'policy' },
  'rules/destination.js': { tests: ['rules', 'outgoing-datagram-stream', 'conformance'], fuzz: 'policy' },
  'batch/arena.js': {
    tests: ['arena', 'arena-slots', 'datagram-writer', 'outgoing-datagram-stream', 'conformance'],
    fuzz: 'guest',
  },
};

/** A changed loop may run on. */
const PATIENCE = 180_000;

/** Operators, and what each becomes; longer ones first, since the first that fits is taken. */
const OPERATORS = [
  ['>>>', '<<'],
  ['===', '!=='],
  ['!==', '==='],
  ['<<', '>>>'],
  ['<=', '<'],
  ['>=', '>'],
  ['=>', undefined],
  ['+=', '-='],
  ['-=', '+='],
  ['++', '--'],
  ['--', '++'],
  ['&&', '||'],
  ['||', '&&'],
  ['??', '&&'],
  ['?.', undefined],
  ['<', '<='],
  ['>', '>='],
  ['+', '-'],
  ['-', '+'],
  ['*', '/'],
  ['/', '*'],
  ['&', '|'],
  ['|', '&'],
  ['!', ''],
];

/** What is no code: comments, texts, regular expressions (which begin a line or follow a parenthesis, `=` or `=>` here). */
const NO_CODE =
  /\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|(?<=(?:^|[(=]|=>)\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]])*\]|[^/\\\n])+\/\w*/gm;

/** The changes of a source: where, how many characters, and what stands there instead. */
export function changesOf(source) {
  const code = source.replace(NO_CODE, (text) => text.replace(/[^\n]/g, ' '));
  const changes = [];
  const add = (at, length, text) => changes.push({ at, length, text });
  for (let at = 0; at < code.length; at++) {
    const operator = OPERATORS.find(([text]) => code.startsWith(text, at));
    if (operator !== undefined) {
      if (operator[1] !== undefined) add(at, operator[0].length, operator[1]);
      at += operator[0].length - 1;
    }
  }
  for (const { 0: text, index } of code.matchAll(/(?<![\w.#$])(?:0x[\da-f_]+|\d[\d_]*)(?!\w)/gi)) {
    const value = Number(text.replaceAll('_', ''));
    add(index, text.length, `${value === 1 ? 0 : value + 1}`);
  }
  for (const { 0: text, index } of code.matchAll(/(?<![\w.#$])(?:true|false)(?!\w)/g)) {
    add(index, text.length, `${text !== 'true'}`);
  }
  // A condition that always holds, or never.
  for (const match of code.matchAll(/\b(?:if|while) \((.*)\)$|\b(?:if|while) \((.*)\) \{$/gm)) {
    const condition = match[1] ?? match[2];
    const at = match.index + match[0].indexOf('(') + 1;
    for (const value of ['true', 'false']) add(at, condition.length, value);
  }
  // A statement that is not there.
  for (const { 0: text, index } of code.matchAll(/(?<=^ +)(?! )(?:[\w.#[\] +]+ (?:[+-]?=) |[\w.#]+\().*;$/gm)) {
    if (!/^(?:const|let|return|throw|import|export|static|readonly)\b/.test(text) && !/^#?\w+ = /.test(text))
      add(index, text.length, ';');
  }
  return changes.sort((one, other) => one.at - other.at || one.text.localeCompare(other.text));
}

/** Mutates the TypeScript, one of `every` changes; those that live on, and how many there were. */
export function mutateTypeScript(files, every) {
  const copy = makeCopy();
  const survivors = [];
  let total = 0;
  for (const [file, checks] of Object.entries(FILES)) {
    if (files.length > 0 && !files.some((name) => file.endsWith(name))) continue;
    const place = path.join(copy, 'dist', file);
    const source = fs.readFileSync(path.join(root, 'dist', file), 'utf8');
    if (!passes(copy, checks)) throw new Error(`the tests of ${file} fail though nothing is changed`);
    const equal = EQUAL.filter((one) => one.file === file);
    for (const { at, length, text } of changesOf(source).filter((_, i) => i % every === 0)) {
      const line = source.slice(source.lastIndexOf('\n', at) + 1, source.indexOf('\n', at)).trim();
      const was = source.slice(at, at + length);
      if (equal.some((one) => one.line === line && one.was === was && one.becomes === text)) continue;
      total += 1;
      fs.writeFileSync(place, source.slice(0, at) + text + source.slice(at + length));
      if (!passes(copy, checks)) continue;
      const number = source.slice(0, at).split('\n').length;
      survivors.push(`${file}:${number}: ${JSON.stringify(was)} -> ${JSON.stringify(text)} in ${line}`);
      console.log(survivors.at(-1));
    }
    fs.writeFileSync(place, source);
    console.log(`${file}: done, ${total} changes, ${survivors.length} survive so far`);
  }
  return { survivors, total };
}

/** A copy of what the tests read, where a change disturbs nobody. */
function makeCopy() {
  const copy = path.join(root, 'build/mutants/typescript');
  fs.rmSync(copy, { recursive: true, force: true });
  fs.mkdirSync(path.join(copy, 'build'), { recursive: true });
  const addon = fs.readdirSync(root).find((name) => /^wasi-udp\..*\.node$/.test(name));
  for (const name of [
    'dist',
    '__test__',
    'scripts',
    'guests',
    'package.json',
    'vitest.config.ts',
    'tsconfig.json',
    addon,
  ]) {
    fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
  }
  for (const name of ['node_modules', 'build/guests']) fs.symlinkSync(path.join(root, name), path.join(copy, name));
  // What a test takes from the sources, it takes from what is compiled of them.
  for (const name of fs.readdirSync(path.join(copy, '__test__')).filter((file) => file.endsWith('.ts'))) {
    const file = path.join(copy, '__test__', name);
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replaceAll("'../ts/", "'../dist/"));
  }
  return copy;
}

/** Whether all tests pass; the quick ones come first. */
function passes(copy, { tests, fuzz }) {
  const run = (...args) => {
    const options = { cwd: copy, stdio: 'ignore', timeout: PATIENCE, killSignal: 'SIGKILL' };
    return (
      spawnSync(process.execPath, args, { ...options, env: { ...process.env, WASI_UDP_TEST_ROUNDS: '100' } }).status ===
      0
    );
  };
  if (fuzz !== undefined && !run(`scripts/fuzz/${fuzz}.mjs`, '--seconds', '1', '--seed', '1')) return false;
  const files = tests.map((name) => `__test__/${name}.test.ts`);
  return run(
    'node_modules/vitest/vitest.mjs',
    'run',
    '--bail',
    '1',
    '--maxWorkers',
    '1',
    '--testTimeout',
    '20000',
    ...files,
  );
}
