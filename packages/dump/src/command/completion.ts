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

function bash(): string {
  const cases = Object.entries<OptionRow>(OPTIONS).flatMap(([name, { choices }]) =>
    choices === undefined
      ? []
      : [`    --${name}) COMPREPLY=($(compgen -W "${choices.join(' ')}" -- "$word")); return ;;`],
  );
  return `_svsm_dump() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  case "$before" in
${cases.join('\n')}
  esac
  if [[ "$word" == -* ]]; then
    COMPREPLY=($(compgen -W "${Object.keys(OPTIONS)
      .map((name) => `--${name}`)
      .join(' ')}" -- "$word"))
  elif [[ "$COMP_CWORD" -eq 1 ]]; then
    COMPREPLY=($(compgen -W "${COMMANDS.join(' ')}" -f -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _svsm_dump svsm-dump
`;
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
