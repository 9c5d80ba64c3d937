/** Measures one case of a sink: what its servers receive of more than they can. Servers take turns. */
import { eachGeneration } from './echo.mjs';
import { Rows } from './rows.mjs';

/** By row, its name and the server: nanoseconds of the window, and of the server's processor time, a datagram that it received. */
export async function measureSink({ name, servers, run, shape }, { generations, warmUp, windows, window }) {
  const rows = new Rows();
  const failures = {};
  await eachGeneration({ servers, shape }, generations, failures, async (pairs) => {
    for (const { queries } of pairs) await queries.ask(`flood ${run} ${warmUp}`);
    for (let turn = 0; turn < windows; turn++) {
      for (const { server, child, queries } of pairs) {
        const before = Number(await child.ask('count'));
        const [, , elapsed, cpu] = (await queries.ask(`flood ${run} ${window}`)).split(' ').map(Number);
        const received = Number(await child.ask('count')) - before;
        rows.add(`${name}, time`, server, elapsed / received);
        rows.add(`${name}, CPU`, server, cpu / received);
      }
    }
  });
  return { rows: rows.medians(), failures };
}
