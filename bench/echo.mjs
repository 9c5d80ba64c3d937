/** Measures one case of request and response: servers that answer each datagram take turns at the same load. */
import { openServer } from './processes.mjs';
import { Rows } from './rows.mjs';
import { countCalls, hasStrace } from './system-calls.mjs';

/**
 * By row, its name and the server: nanoseconds of the server's processor time a query, of half of the answers and of 99 in a
 * hundred at most, of the whole window a query where the load waits for answers: the medians of all windows. And why a server
 * has none, or how many answers were lost in all windows together.
 */
export async function measureEcho({ name, servers, load, shape }, { generations, warmUp, windows, window }) {
  const rows = new Rows();
  const failures = {};
  const lost = {};
  await eachGeneration({ servers, shape }, generations, failures, async (pairs) => {
    for (const { queries } of pairs) await queries.ask(`depth 16 ${warmUp}`);
    for (let turn = 0; turn < windows; turn++) {
      for (const { server, queries } of pairs) {
        const [sent, answered, elapsed, cpu, p50, p99] = (await queries.ask(`${load} ${window}`))
          .split(' ')
          .map(Number);
        lost[server] ??= { queries: 0, answers: 0 };
        lost[server].queries += sent;
        lost[server].answers += sent - answered;
        if (answered === 0) continue;
        rows.add(`${name}, CPU`, server, cpu / answered);
        rows.add(`${name}, p50`, server, p50);
        rows.add(`${name}, p99`, server, p99);
        if (load.startsWith('depth')) rows.add(`${name}, time`, server, elapsed / answered);
      }
    }
  });
  for (const [server, { queries, answers }] of Object.entries(lost)) {
    if (answers > 0) failures[server] = `lost ${answers} of ${queries} answers`;
  }
  return { rows: rows.medians(), failures };
}

/** System calls of the server a query, as strace(1) counts them in one window each. */
export async function measureCalls({ name, servers, load, shape }, { warmUp }) {
  const calls = {};
  const failures = {};
  if (!hasStrace()) return { rows: {}, failures: { strace: 'is not here: install it to count system calls' } };
  await eachGeneration({ servers, shape }, 1, failures, async (pairs) => {
    for (const { server, child, queries } of pairs) {
      try {
        await queries.ask(`depth 16 ${warmUp}`);
        const [counted, answer] = await countCalls(child.pid, () => queries.ask(`${load} 1000`));
        calls[server] = counted / Number(answer.split(' ')[1]);
      } catch ({ message }) {
        failures[server] = message;
      }
    }
  });
  return { rows: { [name]: calls }, failures };
}

/** Opens the servers, each with its load, for as many times as wanted, and has them measured. */
export async function eachGeneration({ servers, shape }, generations, failures, measure) {
  for (let generation = 0; generation < generations; generation++) {
    const opened = await Promise.all(
      servers.map((server) =>
        openServer(server, shape).catch(({ message }) => {
          failures[server] = message;
        }),
      ),
    );
    const pairs = opened.filter(Boolean);
    try {
      await measure(pairs);
    } finally {
      for (const { child, queries } of pairs) for (const one of [queries, child]) one.end();
    }
  }
}
