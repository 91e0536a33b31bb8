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
  const source = read('src/region-error.ts');
  const messages = source.slice(source.indexOf('const MESSAGES'), source.indexOf('\n};'));
  const codes = [...messages.matchAll(/^ {2}([A-Z_]+): \(/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(0);
  expect(documented).toEqual(codes);
});

test('the table of types has the codes that the named operations throw', () => {
  const rows = [...errors.matchAll(/^\| `(\w+ErrorCode)` \| (.*) \| (.*) \|$/gm)];
  expect(rows).toHaveLength(8);
  for (const [, type, operations, codes] of rows) {
    const thrown = namesIn(operations!).flatMap(codesOf);
    expect([...namesIn(codes!)].sort(), type).toEqual([...new Set(thrown)].sort());
  }
});

test('every export is named', () => {
  const lists = [...read('src/index.ts').matchAll(/^export (?:type )?\{([^}]*)\}/gm)].map(
    ([, list]) => list!,
  );
  const names = lists.flatMap((list) => list.match(/\b(?!type\b)\w+/g) ?? []);
  expect(names).toContain('MemoryRegion');
  expect(names.filter((name) => !new RegExp(`\`${name}\\b`).test(readme))).toEqual([]);
});

function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
}

/** The codes of a function, of a method of `MemoryRegion`, or of all operations of a class. */
function codesOf(name: string): readonly string[] {
  const rows = Object.entries(ERRORS_OF).filter(
    ([operation]) =>
      operation === name || operation === `MemoryRegion.${name}` || operation.startsWith(`${name}.`),
  );
  expect(rows, name).not.toEqual([]);
  return rows.flatMap(([, codes]) => [...codes]);
}
