/** The values of options that take one of a few. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  levels: ['4', '5'],
  vendor: ['amd', 'intel'],
  format: ['hex', 'strings', 'raw'],
  memory: ['shared', 'private'],
  'page-size': ['4k', '2m', '1g'],
  rights: ['w+x', 'u', 'u+w', 'x'],
  completion: ['bash', 'zsh', 'fish'],
};

/** The script by which a shell completes the command; `undefined` for another shell. */
export function completion(
  shell: string,
  commands: readonly string[],
  options: readonly string[],
): string | undefined {
  switch (shell) {
    case 'bash':
      return bash(commands, options);
    case 'zsh':
      // The functions of bash work in zsh.
      return `#compdef svsm-dump\nautoload -U +X bashcompinit && bashcompinit\n${bash(commands, options)}`;
    case 'fish':
      return fish(commands, options);
    default:
      return undefined;
  }
}

function bash(commands: readonly string[], options: readonly string[]): string {
  const cases = Object.entries(VALUES).map(
    ([name, values]) =>
      `    --${name}) COMPREPLY=($(compgen -W "${values.join(' ')}" -- "$word")); return ;;`,
  );
  return `_svsm_dump() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  case "$before" in
${cases.join('\n')}
  esac
  if [[ "$word" == -* ]]; then
    COMPREPLY=($(compgen -W "${options.map((name) => `--${name}`).join(' ')}" -- "$word"))
  elif [[ "$COMP_CWORD" -eq 1 ]]; then
    COMPREPLY=($(compgen -W "${commands.join(' ')}" -f -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _svsm_dump svsm-dump
`;
}

function fish(commands: readonly string[], options: readonly string[]): string {
  const lines = options.map((name) => {
    const values = VALUES[name];
    return `complete -c svsm-dump -l ${name}${values === undefined ? '' : ` -x -a '${values.join(' ')}'`}`;
  });
  return [`complete -c svsm-dump -n __fish_use_subcommand -a '${commands.join(' ')}'`, ...lines, ''].join(
    '\n',
  );
}
