import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/formats/error-codes.ts';
import * as all from '../../src/index.ts';

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const readme = read('README.md');
const errors = readme.slice(readme.indexOf('## Errors'), readme.indexOf('## Cost'));
const rows = [...errors.matchAll(/^\| `([A-Z_]+)` \| (.*) \| (.*) \|$/gm)];
const CODES = codesIn('src/formats/mm-error.ts');

test('the table of errors has every code, in the order of the source, and what to do', () => {
  expect(CODES.length).toBeGreaterThan(15);
  expect(rows.map(([, code]) => code)).toEqual(CODES);
  for (const [, code, when, what] of rows) {
    expect(when, code).toMatch(/\w/);
    expect(what, code).toMatch(/\w/);
  }
});

test('every code is thrown by an operation', () => {
  const thrown = new Set<string>(Object.values(ERRORS_OF).flat());
  expect(CODES.filter((code) => !thrown.has(code))).toEqual([]);
});

test('the table of types has every type, with the codes that its operations throw', () => {
  const types = [...errors.matchAll(/^\| `(\w+ErrorCode)` \| (.*) \| (.*) \|$/gm)];
  const declared = read('src/formats/error-code-types.ts').matchAll(/^export type (\w+)/gm);
  expect(types.map(([, type]) => type).sort()).toEqual([...declared].map(([, type]) => type).sort());
  for (const [, type, operations, codes] of types) {
    const thrown = new Set(
      namesIn(operations!).flatMap((name) => {
        const row = ERRORS_OF[name as keyof typeof ERRORS_OF];
        expect(row, `${type}: ${name}`).toBeDefined();
        return row as readonly string[];
      }),
    );
    expect(namesIn(codes!), type).toEqual(CODES.filter((code) => thrown.has(code)));
  }
});

test('every function and every class is named', () => {
  const names = Object.entries(all).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));
  expect(names).toContain('Svsm');
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(readme))).toEqual([]);
});

test('DESIGN.md names every file', () => {
  const folder = fileURLToPath(new URL('../../src', import.meta.url));
  const files = globSync('*/*.ts', { cwd: folder }).map((file) => file.replace(/^.*[/\\]|\.ts$/g, ''));
  const design = read('DESIGN.md');
  expect(files).toContain('memory-map');
  expect(files.filter((file) => file !== 'index' && !design.includes(`\`${file}\``))).toEqual([]);
});

/** The codes in the table of messages of a source. */
function codesIn(file: string): string[] {
  const source = read(file);
  const start = source.indexOf('const MESSAGES');
  const messages = source.slice(start, source.indexOf('\n};', start));
  return [...messages.matchAll(/^ {2}([A-Z_]+): \(/gm)].map(([, code]) => code!);
}

function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`([\w.[\]]+)`/g)].map(([, name]) => name!);
}
