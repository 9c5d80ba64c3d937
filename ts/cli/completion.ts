import { Argument, Command, type Option } from 'commander';
import { loadCommands } from './commands.js';
import { write } from './output.js';

const NAME = 'wasi-udp';

/** What a shell is to know of a command. */
interface Described {
  name: string;
  description: string;
  options: readonly Option[];
  /** Whether its arguments are files. */
  takesFiles: boolean;
  /** What else its argument may be. */
  words: readonly string[];
}

/** The scripts by the names of their shells. */
const SCRIPTS: Record<string, (commands: Described[]) => string> = { bash, zsh, fish };

export const command = new Command('completion')
  .description('Print what has a shell complete commands and options of wasi-udp.')
  .usage('bash|zsh|fish')
  .addArgument(new Argument('<SHELL>', 'the shell').choices(Object.keys(SCRIPTS)))
  .addHelpText(
    'after',
    `
Shells complete a program that is on PATH: of an installation by npm install --global, or with node_modules/.bin on PATH.

Examples:
  bash, in ~/.bashrc:     source <(wasi-udp completion bash)
  zsh, in ~/.zshrc:       source <(wasi-udp completion zsh), after compinit
  fish:                   wasi-udp completion fish > ~/.config/fish/completions/wasi-udp.fish

Exit codes: 0; 2 wrong usage.`,
  )
  .action(async (shell: string) => {
    const commands = (await loadCommands()).map(described);
    const names = commands.map(({ name }) => name);
    const help = {
      name: 'help',
      description: 'display help for a command',
      options: [],
      takesFiles: false,
      words: names,
    };
    write(SCRIPTS[shell]!([...commands, help]));
  });

function described(one: Command): Described {
  return {
    name: one.name(),
    description: one.description(),
    options: [...one.options, one.createOption('-h, --help', 'display help for command')],
    takesFiles: one.registeredArguments.some((argument) => /FILE|wasm/.test(argument.name())),
    words: one.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
  };
}

/** Its names, such as -4 and --ipv4. */
function flags({ short, long }: Option): string[] {
  return [short, long].filter((flag) => flag !== undefined);
}

/** A text as one word of a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function bash(commands: Described[]): string {
  const cases = commands.map(({ name, options, takesFiles, words }) => {
    const withValue = options.filter((option) => option.required).flatMap(flags);
    const values = withValue.length === 0 ? '' : `      case $before in ${withValue.join('|')}) return ;; esac\n`;
    return `    ${name})
${values}      options=${quoted(options.flatMap(flags).join(' '))}
      files=${takesFiles ? 'yes' : ''} words=${quoted(words.join(' '))}
      ;;`;
  });
  return `# bash completion of ${NAME}
_wasi_udp() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} options='' files='' words=''
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W ${quoted([...commands.map(({ name }) => name), '--help', '--version'].join(' '))} -- "$word")
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
    *) return ;;
  esac
  case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word") ;;
    *)
      if [ -n "$files" ]; then mapfile -t COMPREPLY < <(compgen -f -- "$word"); fi
      if [ -n "$words" ]; then mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word"); fi
      ;;
  esac
}
complete -o filenames -F _wasi_udp ${NAME}
`;
}

function zsh(commands: Described[]): string {
  // Within a description of _arguments, a bracket or a colon would end it.
  const plain = (text: string) => text.replace(/[[\]\\:]/g, '\\$&');
  const option = (one: Option) => {
    const value = one.required ? `:${plain(one.attributeName())}:` : '';
    // Several times, where it collects.
    const times = Array.isArray(one.defaultValue) ? '*' : '';
    return flags(one).map((flag) => quoted(`${times}${flag}[${plain(one.description)}]${value}`));
  };
  const cases = commands.map(({ name, options, takesFiles, words }) => {
    const argument = takesFiles ? '*:file:_files' : words.length > 0 ? `1:argument:(${words.join(' ')})` : undefined;
    const specs = [...options.flatMap(option), ...(argument === undefined ? [] : [quoted(argument)])];
    return `    ${name}) _arguments -s ${specs.join(' \\\n      ')} ;;`;
  });
  const names = commands.map(({ name, description }) => `      ${quoted(`${name}:${description}`)}`);
  return `#compdef ${NAME}
# zsh completion of ${NAME}
_wasi_udp() {
  if (( CURRENT == 2 )); then
    local -a commands
    commands=(
${names.join('\n')}
    )
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
compdef _wasi_udp ${NAME}
`;
}

function fish(commands: Described[]): string {
  const lines = commands.flatMap(({ name, description, options, takesFiles, words }) => {
    const within = `complete -c ${NAME} -n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
    const option = ({ short, long, required, description }: Option) =>
      [
        within,
        short === undefined ? '' : `-s ${short.slice(1)}`,
        long === undefined ? '' : `-l ${long.slice(2)}`,
        required ? '-x' : '',
        `-d ${quoted(description)}`,
      ]
        .filter((word) => word !== '')
        .join(' ');
    return [
      `complete -c ${NAME} -n __fish_use_subcommand -a ${name} -d ${quoted(description)}`,
      ...options.map(option),
      ...(takesFiles ? [`${within} -F`] : []),
      ...(words.length > 0 ? [`${within} -a ${quoted(words.join(' '))}`] : []),
    ];
  });
  return `# fish completion of ${NAME}
complete -c ${NAME} -f
${lines.join('\n')}
`;
}
