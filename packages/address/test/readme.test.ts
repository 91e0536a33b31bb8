import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERRORS_OF } from '../src/error-codes.ts';

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
const readme = read('README.md');
const errors = readme.slice(readme.indexOf('## Errors'), readme.indexOf('## Cost'));

test('the sections have the names and the order that every package has', () => {
  const sections = [...readme.matchAll(/^## (.*)$/gm)].map(([, name]) => name);
  expect(sections).toEqual([
    'In 60 seconds',
    'Instead of',
    'API by task',
    'Errors',
    'Cost',
    'Limits',
    'Requirements',
  ]);
});

test('the table of errors has every code, in the order of the source', () => {
  const documented = [...errors.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
  const source = read('src/address-error.ts');
  const messages = source.slice(source.indexOf('const MESSAGES'), source.indexOf('\n};'));
  const codes = [...messages.matchAll(/^ {2}([A-Z_]+): \(/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(0);
  expect(documented).toEqual(codes);
});

test('the table of types has the codes that the named operations throw', () => {
  const rows = new Map(
    [...errors.matchAll(/^\| `(\w+ErrorCode)` \| (.*) \| (.*) \|$/gm)].map(([, type, operations, codes]) => [
      type!,
      { operations: namesIn(operations!), codes: namesIn(codes!) },
    ]),
  );
  expect(rows.size).toBe(5);
  for (const [type, { operations, codes }] of rows) {
    const thrown = operations.flatMap((name) => ERRORS_OF[name as keyof typeof ERRORS_OF]);
    const documented = codes.flatMap((code) => rows.get(code)?.codes ?? [code]);
    expect([...new Set(documented)].sort(), type).toEqual([...new Set(thrown)].sort());
  }
});

test('every export is named', () => {
  const lists = [...read('src/index.ts').matchAll(/^export (?:type )?\{([^}]*)\}/gm)].map(
    ([, list]) => list!,
  );
  const names = lists.flatMap((list) => list.match(/\b(?!type\b)\w+/g) ?? []);
  expect(names).toContain('virtAddr');
  expect(names.filter((name) => !new RegExp(`\`${name}\\b`).test(readme))).toEqual([]);
});

function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
}
