#!/usr/bin/env node
import { createRequire } from 'node:module';
import { Command, type CommanderError } from 'commander';
import { report, USAGE_EXIT_CODE } from './report.js';

/** The commands; each module exports its `command`, with its action, and is loaded when the program starts. */
const COMMANDS = ['./send.js'];

const { version, description } = createRequire(import.meta.url)('../../package.json');

async function main(): Promise<void> {
  const program = new Command('wasi-udp').description(description).version(version);
  for (const module of COMMANDS) program.addCommand((await import(module)).command);
  for (const command of [program, ...program.commands]) {
    command.exitOverride(exitOverride).configureOutput({
      // One line: commander puts its suggestions on a second.
      outputError: (text, write) =>
        write(
          `${text
            .trim()
            .replace(/^error: /, 'wasi-udp: ')
            .replace(/\n/g, ' ')}\n`,
        ),
    });
  }
  await program.parseAsync();
}

function exitOverride(error: CommanderError): never {
  process.exit(error.exitCode === 0 ? 0 : USAGE_EXIT_CODE);
}

try {
  await main();
} catch (error) {
  process.exitCode = report(error);
}
