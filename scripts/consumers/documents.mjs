import fs from 'node:fs';
import path from 'node:path';
import esbuild from 'esbuild';
import { runtime } from '../runtimes.mjs';
import { root } from '../setup.mjs';
import { blocks } from './blocks.mjs';
import { COMPILERS, OPTIONS } from './typescript.mjs';

/** The runtimes that run every block: the oldest, the one with most users, the newest. */
const RUNTIMES = ['node20.0.0', 'node22', 'node26'];
/** Those of them that suspend a guest's stack. */
const SUSPENDING = ['node26'];

/** A program ends in this time; one that serves is running still after the shorter one. */
const ENDS_MILLISECONDS = 60_000;
const SERVES_MILLISECONDS = 1500;

/** Every block of the documents: compiled strictly by each TypeScript, and run on each runtime, two at a time. */
export async function documents(consumer) {
  // Programs name the examples, and what is installed beside them.
  fs.cpSync(path.join(root, 'examples'), consumer.at('examples'), { recursive: true });
  const all = blocks().map((block) => ({ ...block, file: fileOf(consumer, block) }));
  for (const [name, compiler] of Object.entries(COMPILERS())) {
    const files = all.filter(({ language }) => language === 'ts').map(({ file }) => file);
    const resolution = ['--module', 'nodenext', '--moduleResolution', 'nodenext'];
    consumer.check(`${name} compiles the ${files.length} blocks of the documents`, () =>
      consumer.run('node', compiler, ...OPTIONS, ...resolution, ...files),
    );
  }

  const runs = RUNTIMES.flatMap((name) =>
    all
      .filter(({ mark }) => mark !== 'no-run' && (mark !== 'jspi' || SUSPENDING.includes(name)))
      .map((block) => ({ name, ...block })),
  );
  const failures = new Map(RUNTIMES.map((name) => [name, []]));
  const next = runs.values();
  const worker = async () => {
    for (const { name, place, mark, file } of next) {
      const why = await runBlock(consumer, name, mark, file);
      if (why !== undefined) failures.get(name).push(`${place}: ${why}`);
    }
  };
  await Promise.all([worker(), worker()]);
  for (const [name, of] of failures) {
    const count = runs.filter((run) => run.name === name).length;
    const error = of.length > 0 ? new Error(of.join('\n')) : undefined;
    consumer.tell(`${name} runs ${count} blocks of the documents`, error);
  }
}

/** Writes a block as a program, and TypeScript as JavaScript beside it; the file that holds its source. */
function fileOf(consumer, { place, language, code }) {
  const name = place.replace(/[/:.]/g, '-');
  const extension = { ts: 'mts', js: 'mjs', cjs: 'cjs' }[language];
  const file = consumer.write(`blocks/${name}.${extension}`, language === 'ts' ? `${code}\nexport {};\n` : code);
  if (language === 'ts') {
    const { code: program } = esbuild.transformSync(code, { loader: 'ts', target: 'node20', format: 'esm' });
    consumer.write(`blocks/${name}.mjs`, program);
  }
  return file;
}

/** Runs a block; why it failed, if it did. */
async function runBlock(consumer, name, mark, file) {
  const [program, ...args] = runtime(name);
  const command = [...args, file.replace(/\.mts$/, '.mjs')];
  const serves = mark === 'serves';
  const { code, stderr } = await consumer.later(program, command, serves ? SERVES_MILLISECONDS : ENDS_MILLISECONDS);
  const warnings = stderr.replace(/^\(node:\d+\) ExperimentalWarning.*\n\(Use `node --trace-warnings.*\n/gm, '');
  const wanted = serves ? 'SIGTERM' : 0;
  return code === wanted && (!serves || warnings === '') ? undefined : `ended with ${code}\n${stderr}`;
}
