import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
const readme = read('README.md');

test('the table of errors has every code, in the order of the source', () => {
  const table = readme.slice(readme.indexOf('## Errors'), readme.indexOf('## Cost'));
  const documented = [...table.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
  const source = read('src/region-error.ts');
  const messages = source.slice(source.indexOf('const MESSAGES'), source.indexOf('\n};'));
  const codes = [...messages.matchAll(/^ {2}([A-Z_]+): \(/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(0);
  expect(documented).toEqual(codes);
});

test('every export is named', () => {
  const lists = [...read('src/index.ts').matchAll(/^export (?:type )?\{([^}]*)\}/gm)].map(
    ([, list]) => list!,
  );
  const names = lists.flatMap((list) => list.match(/\b(?!type\b)\w+/g) ?? []);
  expect(names).toContain('MemoryRegion');
  expect(names.filter((name) => !new RegExp(`\`${name}\\b`).test(readme))).toEqual([]);
});
