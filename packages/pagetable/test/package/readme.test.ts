import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/entry/error-codes.ts';
import * as pagetable from '../../src/index.ts';

const read = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
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

test('the table of errors has every code, in the order of the source, with something to do', () => {
  const rows = [...errors.matchAll(/^\| `([A-Z_]+)` \| (.+) \| (.+) \|$/gm)];
  const source = read('src/entry/page-table-error.ts');
  const messages = source.slice(source.indexOf('const MESSAGES'), source.indexOf('\n};'));
  const codes = [...messages.matchAll(/^ {2}([A-Z_]+): \(/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(30);
  expect(rows.map(([, code]) => code)).toEqual(codes);
  for (const [, code, , action] of rows) expect(action!.length, code).toBeGreaterThan(10);
});

test('every exported value is named', () => {
  expect(Object.keys(pagetable).filter((name) => !new RegExp(`\`${name}\\b`).test(readme))).toEqual([]);
});

const TYPES = new Map(
  [...errors.matchAll(/^\| `(\w+ErrorCode)` \| (.*) \| (.*) \|$/gm)].map(([, type, operations, codes]) => [
    type!,
    { operations: operations!, codes: codes! },
  ]),
);

test('the table of types has every type', () => {
  const exported = [...read('src/index.ts').matchAll(/^ {2}(\w+ErrorCode),$/gm)].map(([, name]) => name!);
  expect([...TYPES.keys()].sort()).toEqual(exported.sort());
});

test.each([...TYPES])('%s has the codes that the operations of its row throw', (_, { operations, codes }) => {
  const thrown = namesIn(operations).flatMap(codesOf);
  expect(expand(codes)).toEqual([...new Set(thrown)].sort());
});

/** The names in a cell: `map4k`, `PageTable.create`, `MISALIGNED`. */
function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`([\w.]+)`/g)].map(([, name]) => name!);
}

/** The codes in a cell, with those of the types that it refers to. */
function expand(cell: string): string[] {
  const codes = namesIn(cell).flatMap((name) => (TYPES.has(name) ? expand(TYPES.get(name)!.codes) : [name]));
  return [...new Set(codes)].sort();
}

/** The codes of a function, of a method, or of all operations of a class. */
function codesOf(name: string): readonly string[] {
  const rows = Object.entries(ERRORS_OF).filter(
    ([operation]) => operation === name || operation.endsWith(`.${name}`) || operation.startsWith(`${name}.`),
  );
  expect(rows, name).not.toEqual([]);
  return rows.flatMap(([, codes]) => [...codes]);
}
