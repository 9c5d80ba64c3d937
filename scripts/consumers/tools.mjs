import path from 'node:path';
import { root } from '../setup.mjs';

/** The tools that look for mistakes in packages; and our own, which makes them. */
export function tools(consumer) {
  const tool = (name) => path.join(root, 'node_modules/.bin', name);
  const [main] = consumer.tarballs;
  consumer.check('publint', () => consumer.run(tool('publint'), main, '--strict'));
  // Node.js 20 and later resolve by `exports`: TypeScript's node10 resolution, which does not, is left out.
  consumer.check('are the types wrong', () => consumer.run(tool('attw'), main, '--profile', 'node16'));

  const pack = path.join(root, 'scripts/pack.mjs');
  consumer.check('pack.mjs --help', () => consumer.expect(consumer.run('node', pack, '--help'), /--complete/));
  for (const [args, code, pattern] of [
    [['--nonsense'], 2, /'--nonsense'(.|\n)*--complete/],
    [['one', 'two'], 2, /one FOLDER, not one two/],
  ]) {
    consumer.check(`pack.mjs ${args.join(' ')}`, () => {
      const outcome = consumer.outcome('node', [pack, ...args]);
      if (outcome.code !== code) throw new Error(`ended with ${outcome.code}, not ${code}`);
      consumer.expect(outcome.stderr, pattern);
    });
  }
}
