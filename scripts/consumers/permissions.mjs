import { runtime } from '../runtimes.mjs';
import { ES_MODULE, PRINTED } from './programs.mjs';

const NODE = ['--permission', '--allow-fs-read=*', '--allow-addons'];
const DENO = ['--allow-ffi', '--allow-read', '--allow-env'];

/** The flags that docs/bundling.md names suffice; without the one for addons, the error names it. */
export function permissions(consumer) {
  const file = consumer.write('permitted.mjs', ES_MODULE);
  for (const name of ['node22', 'node24', 'node26']) {
    const [program] = runtime(name);
    const run = (...flags) => consumer.outcome(program, [...flags, file]);
    permitted(consumer, `${name} ${NODE.join(' ')}`, run(...NODE));
    refused(consumer, `${name} without --allow-addons`, run(...NODE.slice(0, -1)), /run it with --allow-addons/);
    refused(consumer, `${name} --no-addons`, run('--no-addons'), /without --no-addons/);
  }
  const [program] = runtime('deno');
  const run = (...flags) => consumer.outcome(program, ['run', '--no-prompt', ...flags, file]);
  permitted(consumer, `deno ${DENO.join(' ')}`, run(...DENO));
  refused(consumer, 'deno without --allow-ffi', run(...DENO.slice(1)), /run it with --allow-ffi, --allow-read and/);
  refused(consumer, 'deno without --allow-env', run('--allow-ffi', '--allow-read'), /--allow-env/);
}

function permitted(consumer, name, { code, stdout, stderr }) {
  consumer.check(name, () => {
    if (code !== 0) throw new Error(`ended with ${code}:\n${stderr}`);
    consumer.expect(stdout, PRINTED);
  });
}

function refused(consumer, name, { code, stderr }, pattern) {
  consumer.check(`${name} is told`, () => {
    if (code === 0) throw new Error('it ran');
    consumer.expect(stderr, pattern);
  });
}
