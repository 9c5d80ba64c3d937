#!/usr/bin/env node
import '../dispose.js';
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { loadCommands } from './commands.js';
import { endsWithCommand } from './interrupt.js';
import { guardOutputs } from './output.js';
import { report, USAGE_EXIT_CODE } from './report.js';

const { version, description } = createRequire(import.meta.url)('../../package.json');

async function main(): Promise<void> {
  const program = new Command('wasi-udp').description(description).version(version);
  for (const command of await loadCommands(process.argv[2])) program.addCommand(command);
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      // One line: commander puts its suggestions on a second.
      outputError: (text, write) =>
        write(
          `${text
            .trim()
            .replace(/^error: /, 'wasi-udp: ')
            .replace(
              /^(.*missing required argument .*|.*unknown option '[^']*'|.*unknown command '[^']*'|.*too many arguments .*)$/,
              `$1: see ${helpOf(command)}`,
            )
            .replace(/\n/g, ' ')}\n`,
        ),
    });
  }
  await program.parseAsync();
}

/** What prints the help of a command. */
function helpOf(command: Command): string {
  const { parent } = command;
  return `${parent === null ? '' : `${parent.name()} `}${command.name()} --help`;
}

guardOutputs();
try {
  await main();
} catch (error) {
  // Commander has said what there is to say. Its process.exit() would cut off a help text that is read slowly.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE_EXIT_CODE;
  else process.exitCode = report(error);
}
if (endsWithCommand()) process.exit();
