/** `npm start [-- ARGUMENTS]`: set-up, then `wasi-udp compare ARGUMENTS`. */
import { setupOrExit } from './setup.mjs';

await setupOrExit();
process.argv.splice(2, 0, 'compare');
await import('../dist/cli/main.js');
