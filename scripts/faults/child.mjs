/**
 * Runs scenarios, one after the other, as faults.mjs asks on descriptor 3. Each is prepared, and told with the thread to trace;
 * run, while strace refuses what it makes of system calls; and verified, with nothing refused.
 */
import process from 'node:process';
import { hear, pollingThread, tell } from './gate.mjs';
import { Log, load, openDescriptors, SCENARIOS } from './scenarios.mjs';

for (;;) {
  const request = hear();
  if (request === undefined) process.exit(0);
  const { name, polling } = JSON.parse(request);
  await load(SCENARIOS[name].needs.includes('fresh'));
  const log = new Log();
  const before = openDescriptors();
  const scenario = SCENARIOS[name].make(log);
  tell({ thread: polling ? pollingThread() : process.pid });
  hear();
  await scenario.run();
  tell({ errors: log.errors });
  hear();
  log.errors = [];
  const problem = await scenario.verify();
  scenario.dispose();
  tell({ problem, later: log.errors, leaked: openDescriptors() - before });
}
