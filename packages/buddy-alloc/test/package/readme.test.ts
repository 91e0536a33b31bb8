import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const readme = read('README.md');
const index = read('src/index.ts');

test('the sections have the names and the order of every package', () => {
  expect([...readme.matchAll(/^## (.*)$/gm)].map(([, title]) => title)).toEqual([
    'In 60 seconds',
    'Instead of',
    'API by task',
    'Errors',
    'Cost',
    'Limits',
    'Requirements',
  ]);
});

test('the table of errors has every code, in the order of the source, and what to do', () => {
  const table = readme.slice(readme.indexOf('## Errors'), readme.indexOf('## Cost'));
  const rows = [...table.matchAll(/^\| `([A-Z_]+)` \| (.*) \| (.*) \|$/gm)];
  const source = read('src/pages/buddy-error.ts');
  const start = source.indexOf('const MESSAGES');
  const messages = source.slice(start, source.indexOf('\n};', start));
  const codes = [...messages.matchAll(/^ {2}([A-Z_]+): \(/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(0);
  expect(rows.map(([, code]) => code)).toEqual(codes);
  for (const [, code, when, what] of rows) {
    expect(when, code).toMatch(/\w/);
    expect(what, code).toMatch(/\w/);
  }
});

test('every function, every class and every type of error codes is named', () => {
  const names = (lists: RegExp) =>
    [...index.matchAll(lists)].flatMap(([, list]) => list!.match(/(?<!type )\b(?!type\b)\w+/g) ?? []);
  const values = names(/^export \{([^}]*)\}/gm);
  const codes = names(/^export type \{([^}]*)\} from '\.\/pages\/error-codes\.ts'/gm);
  expect(values).toContain('PageAllocator');
  expect(codes).toContain('FreeErrorCode');
  expect([...values, ...codes].filter((name) => !new RegExp(`\`.*\\b${name}\\b`).test(readme))).toEqual([]);
});
