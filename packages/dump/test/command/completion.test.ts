import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { HELP } from '../../src/command/help.ts';
import { MAN_PAGE } from '../../src/command/man-page.ts';
import {
  COMMAND_ROWS,
  EXAMPLE_ROWS,
  EXIT_ROWS,
  FILE_ROWS,
  type OptionRow,
} from '../../src/command/manual.ts';
import { COMMANDS, OPTIONS, parseCommandLine } from '../../src/command/options.ts';
import { run, temporary } from '../support/support.ts';

const textOf = (...args: string[]): string => {
  const parsed = parseCommandLine(args);
  return 'text' in parsed ? parsed.text : '';
};

test('the help has each command and each option, and no others', () => {
  const commands = [...HELP.matchAll(/^ {2}([a-z]+) (?:FILE|OLD)/gm)].map(([, name]) => name);
  expect(commands.sort()).toEqual([...COMMANDS].sort());
  const options = [...HELP.matchAll(/^ {2}--([a-z0-9-]+)/gm)].map(([, name]) => name);
  expect(options.sort()).toEqual(Object.keys(OPTIONS).sort());
});

describe('the help and the manual page', () => {
  /** The words of a text, whatever breaks its lines. */
  const words = (text: string): string =>
    text
      .replaceAll(/^\.\w+ ?/gm, ' ')
      .replaceAll(/\\f[BIR]/g, '')
      .replaceAll('\\-', '-')
      .replaceAll(/\\&|"/g, '')
      .replaceAll(/\s+/g, ' ');

  test('have the same commands, options, files, exit codes and examples', () => {
    const rows = [
      ...Object.entries(COMMAND_ROWS).map(([name, { operands, text }]) => `${name} ${operands} ${text}`),
      ...Object.entries<OptionRow>(OPTIONS).map(
        ([name, { value, text }]) => `--${name}${value === undefined ? '' : ` ${value}`} ${text}`,
      ),
      ...[...FILE_ROWS, ...EXIT_ROWS, ...EXAMPLE_ROWS].map(([name, text]) => `${name} ${text}`),
    ];
    for (const row of rows) for (const text of [HELP, MAN_PAGE]) expect(words(text)).toContain(words(row));
  });

  test('fit a terminal', () => {
    for (const line of HELP.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });

  test('of the package is the one of this version', async () => {
    await expect(MAN_PAGE).toMatchFileSnapshot('../../man/svsm-dump.1');
  });
});

test('the version is that of package.json', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  expect(run(['--version'])).toEqual({ status: 0, stdout: `svsm-dump ${version}\n`, stderr: '' });
});

describe('the completion', () => {
  /** The words that bash proposes for the last of these. */
  function proposed(...words: string[]): string[] {
    const list = words.map((word) => `'${word}'`).join(' ');
    const script = `${textOf('--completion', 'bash')}
COMP_WORDS=(svsm-dump ${list}); COMP_CWORD=${words.length}; _svsm_dump; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = spawnSync('bash', ['-c', script], { encoding: 'utf8', cwd: '/' });
    return stdout.split('\n').filter((word) => word !== '');
  }

  test('of bash proposes commands, options and their values', () => {
    expect(proposed('su')).toContain('summary');
    expect(proposed('leaves', 'x', '--phys').sort()).toEqual(['--physical', '--physical-bits']);
    expect(proposed('leaves', 'x', '--page-size', '')).toEqual(['4k', '2m', '1g']);
  });

  test('of bash proposes values after an equals sign too, and nothing for a number', () => {
    expect(proposed('x', '--color', '=')).toEqual(['auto', 'always', 'never']);
    expect(proposed('x', '--color', '=', 'a')).toEqual(['auto', 'always']);
    // zsh takes it for one word.
    expect(proposed('x', '--color=a')).toEqual(['--color=auto', '--color=always']);
    expect(proposed('x', '--within', '')).toEqual([]);
  });

  test('of bash proposes names of files with spaces as they are', () => {
    const path = temporary('my dump.core', new Uint8Array(1));
    const begin = path.slice(0, -'dump.core'.length);
    expect(proposed('info', begin)).toEqual([path]);
    expect(proposed('info', 'x', '--rmp-file', begin)).toEqual([path]);
  });

  test('of bash is loaded as the manual says', () => {
    const main = fileURLToPath(new URL('../../src/command/main.ts', import.meta.url));
    const script = `source <('${process.execPath}' '${main}' --completion bash); complete -p svsm-dump`;
    const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    expect([stdout, stderr]).toEqual(['complete -o filenames -F _svsm_dump svsm-dump\n', '']);
  });

  test('of zsh and fish has the same words', () => {
    for (const shell of ['zsh', 'fish']) {
      const script = textOf('--completion', shell);
      for (const command of COMMANDS) expect(script).toContain(command);
      for (const option of Object.keys(OPTIONS))
        expect(script).toMatch(new RegExp(`-l ${option}\\b|--${option}\\b`));
    }
    expect(() => textOf('--completion', 'tcsh')).toThrow('"tcsh" is not bash, zsh or fish');
  });
});
