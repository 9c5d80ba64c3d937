import { Command } from 'commander';
import { type Allow, type AllowRule, policyOf } from '../rules/policy.js';
import { requirePeers } from './peers.js';
import { UsageError } from './report.js';
import { collect } from './target.js';

interface RunOptions {
  allowAll: boolean;
  allowBind: string[];
  allowSend: string[];
  allowReceive: string[];
  env: string[];
  writeBehind: boolean;
  verbose: boolean;
}

export const command = new Command('run')
  .description(
    'Run a WebAssembly component that uses UDP sockets of WASI, 0.2 or 0.3, with no network but what is allowed.',
  )
  .usage(
    'COMPONENT.wasm [--allow-send RULE] [--allow-bind RULE] [--allow-receive RULE] [--env K=V] [--write-behind] [--verbose] [-- ARGS]',
  )
  .argument('<COMPONENT.wasm>', 'a component that exports wasi:cli/run')
  .argument('[ARGS...]', "the component's own arguments")
  .option('--allow-send <HOST:PORT>', 'remote addresses that it may connect and send to', collect, [])
  .option('--allow-bind <HOST:PORT>', 'local addresses that it may bind to; port 0 asks for a free port', collect, [])
  .option('--allow-receive <HOST:PORT>', 'sources that it may hear (default: those that it may send to)', collect, [])
  .option('--allow-all', 'allow every address', false)
  .option('--env <K=V>', 'set an environment variable of the component, which has none otherwise', collect, [])
  .option('--write-behind', 'let small sends wait for each other, and leave as one batch', false)
  .option(
    '--verbose',
    'tell how core modules call the sockets of WASI 0.3, a line for each, and where errors come from',
    false,
  )
  .addHelpText(
    'after',
    `
A rule is HOST:PORT. HOST is an IP address, a block such as 10.0.0.0/8 or [fd00::/8], or *; PORT is a number, a range such as
5000-5999, or *. Options that allow may be given several times. The component gets standard input and output, clocks and
random numbers; no files.

With --write-behind, a small send is checked, copied, and counts as sent. It leaves with those behind it: when a batch is full,
when the component waits, receives, writes or ends, or at the next send once a millisecond has passed. A component that computes
after a send delays it. An error of the system is told by the next check before a send, once.

Examples:
  wasi-udp run ping.wasm --allow-bind 0.0.0.0:0 --allow-send 192.0.2.1:7 -- 192.0.2.1
  wasi-udp run server.wasm --allow-bind '[::]:5353' --allow-receive '*:*' --env LEVEL=debug

What is denied is told on standard error, with the option that would allow it. The component gets the error access-denied, and
does not see that.

What jco makes of a component is kept for the next run, in wasi-udp/components in $XDG_CACHE_HOME or ~/.cache, where nobody else
can write; wasi-udp doctor tells where. Remove the folder to empty it.

Exit codes: the component's own; 1 where it trapped or its run failed; 2 wrong usage, and what it needs is missing: the npm packages
@bytecodealliance/jco and @bytecodealliance/preview2-shim beside this one; for a component of WASI 0.3 also Node.js 24.21 or later,
and where it uses more of 0.3 than UDP and clocks, @bytecodealliance/preview3-shim.`,
  )
  .action(run);

async function run(file: string, args: string[], options: RunOptions): Promise<void> {
  const allow = allowance(options);
  const env = Object.fromEntries(options.env.map(variable));
  requirePeers();
  const { runComponent } = await import('./run-component.js');
  const { writeBehind, verbose } = options;
  const { code, hasLeftovers } = await runComponent({ file, args, env, allow, writeBehind, verbose });
  process.exitCode = code;
  // What it printed is written.
  if (hasLeftovers) process.exit();
}

/** The rules, read at once, so that a mistake is told before anything runs. */
function allowance({ allowAll, allowBind, allowSend, allowReceive }: RunOptions): Allow {
  const rules: AllowRule[] = [
    ...allowBind.map((bind) => ({ bind })),
    ...allowSend.map((send) => ({ send })),
    ...allowReceive.map((receive) => ({ receive })),
  ];
  try {
    policyOf(rules);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  return allowAll ? 'all' : rules;
}

function variable(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`--env takes NAME=VALUE, got ${JSON.stringify(text)}: write --env LEVEL=debug`);
  return [text.slice(0, at), text.slice(at + 1)];
}
