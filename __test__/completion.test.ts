import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { MAIN } from './support/command.js';
import { RUNTIME } from './support/runtime.js';

const [runtime, ...args] = RUNTIME;
const folder = mkdtempSync(path.join(tmpdir(), 'wasi-udp-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const script = (shell: string) => {
  const { stdout, status } = spawnSync(runtime!, [...args, MAIN, 'completion', shell], { encoding: 'utf8' });
  expect(status).toBe(0);
  const file = path.join(folder, shell === 'zsh' ? '_wasi-udp' : `wasi-udp.${shell}`);
  writeFileSync(file, stdout);
  return file;
};

const isThere = (shell: string) => spawnSync(shell, ['-c', 'true']).status === 0;

const hasScript = spawnSync('script', ['-qec', 'true', '/dev/null']).status === 0;

const COMMANDS = ['send', 'listen', 'compare', 'run', 'doctor', 'completion', 'help'];

/** A folder with files, in which words are completed. */
const files = path.join(folder, 'files');
mkdirSync(files);
for (const name of ['access.log', 'with space.log']) writeFileSync(path.join(files, name), '');

describe('wasi-udp completion bash', () => {
  /** What bash offers for the last of the words. */
  function offered(...words: string[]): string[] {
    const line = `
      source "$1"; shift
      COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
      _wasi_udp
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const shell = ['--norc', '-c', line, 'bash', script('bash'), 'wasi-udp', ...words];
    const { stdout, stderr, status } = spawnSync('bash', shell, { encoding: 'utf8', cwd: files });
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    return stdout.split('\n').filter((word) => word !== '');
  }

  const noBash = isThere('bash') ? undefined : '(needs bash)';
  test.skipIf(noBash)(`offers commands, options, and files where they are taken ${noBash ?? ''}`, () => {
    expect(offered('')).toEqual([...COMMANDS, '--help', '--version']);
    expect(offered('com')).toEqual(['compare', 'completion']);
    expect(offered('send', '--r')).toEqual(['--rate', '--repeat', '--replies']);
    expect(offered('listen', '--')).toEqual(expect.arrayContaining(['--count', '--group', '--timestamps', '--help']));
    expect(offered('run', '--allow-')).toEqual(['--allow-send', '--allow-bind', '--allow-receive', '--allow-all']);
    expect(offered('send', '').toSorted()).toEqual(['access.log', 'with space.log']);
    expect(offered('send', '--to', '')).toEqual([]);
    expect(offered('listen', '')).toEqual([]);
    expect(offered('completion', '')).toEqual(['bash', 'zsh', 'fish']);
    expect(offered('help', 'com')).toEqual(['compare', 'completion']);
    expect(offered('nothing', '')).toEqual([]);
  });

  test.skipIf(noBash)(`is registered for the command ${noBash ?? ''}`, () => {
    const shell = ['--norc', '-c', 'source "$1"; complete -p wasi-udp', 'bash', script('bash')];
    expect(spawnSync('bash', shell, { encoding: 'utf8' }).stdout).toBe('complete -o filenames -F _wasi_udp wasi-udp\n');
  });
});

describe('wasi-udp completion zsh', () => {
  const noZsh = isThere('zsh') && hasScript ? undefined : '(needs zsh and script)';
  test.skipIf(noZsh)(`completes a command, an option and a file, at a terminal ${noZsh ?? ''}`, () => {
    // A command of that name, which prints how it was called.
    const bin = path.join(folder, 'bin');
    mkdirSync(bin);
    writeFileSync(path.join(bin, 'wasi-udp'), '#!/bin/sh\nprintf "called:"; printf " [%s]" "$@"; echo\n');
    chmodSync(path.join(bin, 'wasi-udp'), 0o755);
    const start = `PATH=${bin}:$PATH\nautoload -Uz compinit\ncompinit -u -D\nsource ${script('zsh')}\n`;
    const type = 'wasi-udp lis\t--timest\t\nwasi-udp send ac\t\nwasi-udp completion fi\t\nexit\n';
    const { stdout } = spawnSync('script', ['-qec', 'zsh -f -i', '/dev/null'], {
      encoding: 'utf8',
      cwd: files,
      input: start + type,
      timeout: 60_000,
    });
    expect(stdout).toContain('called: [listen] [--timestamps]');
    expect(stdout).toContain('called: [send] [access.log]');
    expect(stdout).toContain('called: [completion] [fish]');
  });
});

describe('wasi-udp completion fish', () => {
  const noFish = isThere('fish') ? undefined : '(needs fish)';
  test.skipIf(noFish)(`offers commands, options and files ${noFish ?? ''}`, () => {
    const offered = (line: string) => {
      const shell = ['--no-config', '-c', `source ${script('fish')}; complete -C '${line}'`];
      const { stdout, stderr } = spawnSync('fish', shell, { encoding: 'utf8', cwd: files });
      expect(stderr).toBe('');
      return stdout
        .trimEnd()
        .split('\n')
        .map((text) => text.split('\t')[0]);
    };
    expect(offered('wasi-udp ').toSorted()).toEqual(COMMANDS.toSorted());
    expect(offered('wasi-udp send --rat')).toEqual(['--rate']);
    expect(offered('wasi-udp send acc')).toEqual(['access.log']);
    expect(offered('wasi-udp completion ').toSorted()).toEqual(['bash', 'fish', 'zsh']);
  });
});

test('a shell that is none: exit code 2, and which there are', () => {
  const { stderr, status } = spawnSync(runtime!, [...args, MAIN, 'completion', 'tcsh'], { encoding: 'utf8' });
  expect(status).toBe(2);
  expect(stderr).toMatch(/^wasi-udp: .*'tcsh'.* bash, zsh, fish\.\n$/);
});
