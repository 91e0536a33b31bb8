/** The README names what the package has. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { HELP } from '../../src/command/help.ts';

const read = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const readme = read('README.md');
const errors = readme.slice(readme.indexOf('## Errors'), readme.indexOf('## Cost'));

test('the table of errors has every code, in the order of the source', () => {
  const documented = [...errors.matchAll(/^\| `([A-Z_]+)` \| (.+) \| (.+) \|$/gm)].map(([, code]) => code);
  const source = read('src/source/dump-error.ts');
  const messages = source.slice(source.indexOf('const MESSAGES'), source.indexOf('\n};'));
  const codes = [...messages.matchAll(/^ {2}([A-Z_]+): /gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(10);
  expect(documented).toEqual(codes);
});

test('every export is named', () => {
  const lists = [...read('src/index.ts').matchAll(/^export (?:type )?\{([^}]*)\}/gm)].map(
    ([, list]) => list!,
  );
  const names = lists.flatMap((list) => list.match(/\b(?!type\b)\w+/g) ?? []);
  expect(names).toContain('openDump');
  expect(names.filter((name) => !new RegExp(`\`${name}\\b`).test(readme))).toEqual([]);
});

test('the examples of the command use commands of its help', () => {
  const commands = [...HELP.matchAll(/^ {2}([a-z]+) (?:FILE|OLD)/gm)].map(([, name]) => name!);
  const used = [...readme.matchAll(/^svsm-dump ([a-z]+) /gm)].map(([, name]) => name!);
  expect(commands.length).toBeGreaterThan(6);
  expect(used.filter((name) => !commands.includes(name))).toEqual([]);
});
