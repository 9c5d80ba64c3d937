import type { Command } from 'commander';

/** The modules of the commands: each exports its `command`, with its action. */
const MODULES = new Map([
  ['send', './send.js'],
  ['listen', './listen.js'],
  ['compare', './compare.js'],
  ['run', './run.js'],
  ['doctor', './doctor.js'],
  ['completion', './completion.js'],
]);

/** The command of that name alone, so that `doctor` runs where there is no binary for the others; all of them for another name. */
export async function loadCommands(name?: string): Promise<Command[]> {
  const asked = MODULES.get(name ?? '');
  const modules = asked === undefined ? [...MODULES.values()] : [asked];
  return await Promise.all(modules.map(async (module) => (await import(module)).command));
}
