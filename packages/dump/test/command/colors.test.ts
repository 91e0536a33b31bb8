/** Colours: when there are some, and that they change no text. */
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ColorChoice, colored, isColored } from '../../src/command/colors.ts';
import { fixture, run, temporary } from '../support/support.ts';

const ESCAPE = '\u001b[';

test.each<[ColorChoice, boolean, Record<string, string>, boolean]>([
  ['auto', true, {}, true],
  ['auto', false, {}, false],
  ['auto', true, { NO_COLOR: '1' }, false],
  ['auto', true, { NO_COLOR: '' }, true],
  ['auto', true, { TERM: 'dumb' }, false],
  ['auto', false, { FORCE_COLOR: '1' }, true],
  ['auto', false, { FORCE_COLOR: '' }, true],
  ['auto', true, { FORCE_COLOR: '0' }, false],
  ['auto', true, { FORCE_COLOR: 'false' }, false],
  ['auto', false, { FORCE_COLOR: '1', NO_COLOR: '1' }, true],
  ['always', false, { NO_COLOR: '1' }, true],
  ['never', true, { FORCE_COLOR: '1' }, false],
])('--color=%s, on a terminal: %s, with %j: %s', (choice, isTerminal, env, expected) => {
  expect(isColored(choice, { isTerminal, env })).toBe(expected);
});

test('colours change no text', () => {
  const word = fc.constantFrom(
    '-rwx',
    'urwx',
    '+ mapped',
    '~ rights',
    'shared',
    '! not',
    '#',
    'warning: W',
    'x',
  );
  fc.assert(
    fc.property(fc.array(fc.array(word).map((words) => words.join(' '))), (lines) => {
      const text = `${lines.join('\n')}\n`;
      expect(stripVTControlCharacters(colored(text))).toBe(text);
    }),
  );
  expect(colored('0x1000 4K   -rwx   -\n')).toBe(
    '0x1000 4K   \u001b[1m\u001b[31m-rwx\u001b[39m\u001b[22m   -\n',
  );
});

describe('the command', () => {
  const name = 'a\u001b[31mb.frames.gz';
  const file = fixture('case-f.frames.gz');
  const plain = run(['summary', file]).stdout;

  test('has no colours in a pipe', () => {
    expect(plain).toContain('-rwx');
    expect(plain).not.toContain(ESCAPE);
  });

  test('has them if they are asked for, and the same text', () => {
    const { stdout } = run(['summary', file, '--color=always']);
    expect(stdout).toContain(ESCAPE);
    expect(stripVTControlCharacters(stdout)).toBe(plain);
  });

  test('has none in JSON, in the format of QEMU, and in what it reads', () => {
    for (const args of [
      ['runs', file, '--json'],
      ['runs', file, '--qemu'],
      ['translate', file, '400000', '--json'],
    ]) {
      expect(run([...args, '--color=always']).stdout).not.toContain(ESCAPE);
    }
  });

  test('still escapes the codes in the name of a file', () => {
    const { stdout, stderr } = run(['info', temporary(name, Buffer.from('x')), '--color=always']);
    expect(stdout + stderr).toContain('a\\u001b[31mb');
    expect(stdout + stderr).not.toContain('a\u001b[31mb');
  });

  test('refuses another choice', () => {
    const { status, stderr } = run(['info', file, '--color=rainbow']);
    expect([status, stderr]).toEqual([2, 'svsm-dump: --color: "rainbow" is not auto, always or never\n']);
  });
});
