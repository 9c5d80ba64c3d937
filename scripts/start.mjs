/** `npm start [-- ARGUMENTS]`: set-up, then `wasi-udp send ARGUMENTS`. */
import { setupOrExit } from './setup.mjs';

await setupOrExit();
process.argv.splice(2, 0, 'send');
await import('../dist/cli/main.js');
