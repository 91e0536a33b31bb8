import {
  COMMAND_ROWS,
  EXAMPLE_ROWS,
  EXIT_ROWS,
  FILE_ROWS,
  FILES_TEXT,
  GROUPS,
  NUMBERS_TEXT,
  optionsOf,
  SUMMARY,
} from './manual.ts';

const WIDTH = 80;
const INDENT = 26;

/** The text of `--help`. */
export const HELP: string = [
  'Usage: svsm-dump [COMMAND] FILE... [OPTIONS]',
  '',
  SUMMARY,
  '',
  'Commands:',
  ...Object.entries(COMMAND_ROWS).flatMap(([name, { operands, text }]) => row(`${name} ${operands}`, text)),
  '',
  FILES_TEXT,
  ...FILE_ROWS.flatMap(([name, text]) => row(name, text)),
  ...(Object.keys(GROUPS) as (keyof typeof GROUPS)[]).flatMap((group) => [
    '',
    `${GROUPS[group]}:`,
    ...optionsOf(group).flatMap(([name, { value, text }]) =>
      row(`--${name}${value === undefined ? '' : ` ${value}`}`, text),
    ),
  ]),
  '',
  ...wrapped(NUMBERS_TEXT, WIDTH),
  '',
  'Exit codes:',
  ...EXIT_ROWS.flatMap(([code, text]) => row(code, text, 5)),
  '',
  'Examples:',
  ...EXAMPLE_ROWS.flatMap(([line, text]) => [`  ${line}`, `      ${text}`]),
  '',
].join('\n');

/** A name and its text in two columns. A long name has a line of its own. */
function row(name: string, text: string, indent = INDENT): string[] {
  const lines = wrapped(text, WIDTH - indent);
  const first = `  ${name}`;
  const [begin = '', ...rest] = first.length < indent - 1 ? lines : ['', ...lines];
  return [`${first.padEnd(indent)}${begin}`.trimEnd(), ...rest.map((line) => ' '.repeat(indent) + line)];
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
