import fs from 'node:fs';
import path from 'node:path';
import { root } from '../setup.mjs';

/** The commands, as npm installs them, and an example. */
export function commands(consumer) {
  const command = consumer.at('node_modules/.bin/wasi-udp');
  consumer.check('wasi-udp doctor', () =>
    consumer.expect(consumer.run(command, 'doctor'), /^binary .*node_modules.*\n(.*\n)*.* 4 of 4 .* 4 received/m),
  );
  consumer.check('wasi-udp compare', () => consumer.expect(consumer.run(command, 'compare'), /^lost +0$/m));
  consumer.check('examples/send.mjs', () => {
    fs.copyFileSync(path.join(root, 'examples/send.mjs'), consumer.at('send.mjs'));
    consumer.run('node', consumer.at('send.mjs'));
  });
}
