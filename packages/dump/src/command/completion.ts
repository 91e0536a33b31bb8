import { COMMANDS, OPTIONS, type OptionRow } from './manual.ts';

/** The script by which a shell completes the command; `undefined` for another shell. */
export function completion(shell: string): string | undefined {
  switch (shell) {
    case 'bash':
      return bash();
    case 'zsh':
      // The functions of bash work in zsh.
      return `#compdef svsm-dump\nautoload -U +X bashcompinit && bashcompinit\n${bash()}`;
    case 'fish':
      return fish();
    default:
      return undefined;
  }
}

/** Words are separated by line feeds only, because the name of a file may have spaces. */
function bash(): string {
  const cases = Object.entries<OptionRow>(OPTIONS).flatMap(([name, { type, choices, value }]) => {
    if (type === 'boolean' || value === 'FILE') return [];
    // A number has no proposals, and is not a file.
    const words = choices === undefined ? '' : ` ${proposals(choices)};`;
    return [`    --${name})${words} return ;;`];
  });
  return `_svsm_dump() {
  local IFS=$'\\n'
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  local prefix=""
  # bash takes --option=value for three words, zsh for one.
  if [[ "$word" == --*=* ]]; then
    before="\${word%%=*}"
    prefix="$before="
    word="\${word#*=}"
  elif [[ "$word" == "=" ]]; then
    word=""
  elif [[ "$before" == "=" ]]; then
    before="\${COMP_WORDS[COMP_CWORD-2]}"
  fi
  COMPREPLY=()
  case "$before" in
${cases.join('\n')}
  esac
  if [[ "$word" == -* ]]; then
    ${proposals(Object.keys(OPTIONS).map((name) => `--${name}`))}
  elif [[ "$COMP_CWORD" -eq 1 ]]; then
    ${proposals(COMMANDS, '-f ')}
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _svsm_dump svsm-dump
`;
}

/** The command that proposes those of the words that begin as the last one does. */
function proposals(words: readonly string[], others = ''): string {
  return `COMPREPLY=($(compgen -P "$prefix" -W $'${words.join('\\n')}' ${others}-- "$word"))`;
}

function fish(): string {
  const lines = Object.entries<OptionRow>(OPTIONS).map(([name, { type, choices, text }]) => {
    const values = choices === undefined ? (type === 'string' ? ' -r' : '') : ` -x -a '${choices.join(' ')}'`;
    return `complete -c svsm-dump -l ${name}${values} -d '${text.replaceAll("'", '"')}'`;
  });
  return [`complete -c svsm-dump -n __fish_use_subcommand -a '${COMMANDS.join(' ')}'`, ...lines, ''].join(
    '\n',
  );
}
