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
import { VERSION } from './version.ts';

/** The manual page, in the language of man(7), made of the same tables as `--help`. */
export const MAN_PAGE: string = [
  `.TH SVSM-DUMP 1 "" "svsm-dump ${VERSION}" "User Commands"`,
  '.SH NAME',
  'svsm\\-dump \\- show the page tables in memory dumps',
  '.SH SYNOPSIS',
  '.B svsm\\-dump',
  '[\\fICOMMAND\\fR] \\fIFILE\\fR... [\\fIOPTIONS\\fR]',
  '.SH DESCRIPTION',
  escaped(SUMMARY),
  '.SH COMMANDS',
  ...Object.entries(COMMAND_ROWS).flatMap(([name, { operands, text }]) =>
    item(`\\fB${escaped(name)}\\fR \\fI${escaped(operands)}\\fR`, text),
  ),
  '.SH FILES',
  escaped(FILES_TEXT),
  ...FILE_ROWS.flatMap(([name, text]) => item(escaped(name), text)),
  '.SH OPTIONS',
  ...(Object.keys(GROUPS) as (keyof typeof GROUPS)[]).flatMap((group) => [
    `.SS ${escaped(GROUPS[group])}`,
    ...optionsOf(group).flatMap(([name, { value, text }]) =>
      item(`\\fB\\-\\-${escaped(name)}\\fR${value === undefined ? '' : ` \\fI${escaped(value)}\\fR`}`, text),
    ),
  ]),
  '.PP',
  escaped(NUMBERS_TEXT),
  '.SH EXIT STATUS',
  ...EXIT_ROWS.flatMap(([code, text]) => item(`\\fB${code}\\fR`, text)),
  '.SH EXAMPLES',
  ...EXAMPLE_ROWS.flatMap(([line, text]) => item(`\\fB${escaped(line)}\\fR`, text)),
  '',
].join('\n');

function item(name: string, text: string): string[] {
  return ['.TP', name, escaped(text)];
}

/** Text for roff: a hyphen is one that can be copied, and no line begins with a command. */
function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&');
}
