import { styleText } from 'node:util';

/** When to print in colours. */
export type ColorChoice = 'auto' | 'always' | 'never';

/** The facts about a terminal and its environment that decide about colours. */
export interface ColorPlace {
  readonly isTerminal: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Whether to print in colours. `auto` obeys FORCE_COLOR, then NO_COLOR (https://no-color.org), then TERM=dumb; without them, a terminal gets
 * colours, and a pipe or a file does not.
 */
export function isColored(choice: ColorChoice, { isTerminal, env }: ColorPlace): boolean {
  if (choice !== 'auto') return choice === 'always';
  const { FORCE_COLOR: force, NO_COLOR: none, TERM: term } = env;
  if (force !== undefined) return force !== '0' && force !== 'false';
  if (none !== undefined && none !== '') return false;
  return isTerminal && term !== 'dumb';
}

type Style = Parameters<typeof styleText>[0];

/** Whatever the terminal is: {@link isColored} has decided. */
function styled(style: Style, text: string): string {
  return styleText(style, text, { validateStream: false });
}

/** The parts of a line that have a colour. */
const PARTS: readonly (readonly [pattern: RegExp, style: Style])[] = [
  // A fault, and what contradicts the RMP, up to the end of the line.
  [/ ! .*$/, 'red'],
  // The rights of pages that are writable and executable.
  [/(?<= )[-u]rwx(?= |$)/g, ['bold', 'red']],
  [/(?<= )\+ mapped(?= )/, 'green'],
  [/(?<= )- unmapped(?= )/, 'red'],
  [/(?<= )~ \w+(?= )/, 'yellow'],
  [/(?<= )shared(?= |$)/g, 'yellow'],
  [/^warning: .*$/, 'yellow'],
];

/** Colours whole lines of the tables. They must have no escape codes, and no text changes. */
export function colored(lines: string): string {
  return lines.replace(/^.+$/gm, (line) => {
    if (line.startsWith('#')) return styled('dim', line);
    let text = line;
    for (const [pattern, style] of PARTS) text = text.replace(pattern, (part) => styled(style, part));
    return text;
  });
}
