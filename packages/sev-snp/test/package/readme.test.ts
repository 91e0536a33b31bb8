import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/formats/error-codes.ts';
import * as all from '../../src/index.ts';

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const readme = read('README.md');
const errors = readme.slice(readme.indexOf('## Errors'), readme.indexOf('## Cost'));
const rows = [...errors.matchAll(/^\| `([A-Z_]+)` \| (.*) \| (.*) \|$/gm)];

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

test('the tables of errors have every code, in the order of the sources, and what to do', () => {
  const codes = [codesIn('src/rmp/snp-fault.ts'), codesIn('src/formats/snp-error.ts')];
  expect(codes.every((list) => list.length > 5)).toBe(true);
  expect(rows.map(([, code]) => code)).toEqual(codes.flat());
  for (const [, code, when, what] of rows) {
    expect(when, code).toMatch(/\w/);
    expect(what, code).toMatch(/\w/);
  }
});

test('the table of types has every type, with the codes that its operations throw', () => {
  const types = [...errors.matchAll(/^\| `(\w+ErrorCode)` \| (.*) \| (.*) \|$/gm)];
  const declared = read('src/formats/error-code-types.ts').matchAll(/^export type (\w+)/gm);
  expect(types.map(([, type]) => type).sort()).toEqual([...declared].map(([, type]) => type).sort());
  const order = codesIn('src/formats/snp-error.ts');
  for (const [, type, operations, codes] of types) {
    const thrown = new Set(namesIn(operations!).flatMap((name) => ERRORS_OF[name as keyof typeof ERRORS_OF]));
    expect(namesIn(codes!), type).toEqual(order.filter((code) => thrown.has(code as never)));
  }
});

test('every function and every class is named', () => {
  const names = Object.entries(all).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []));
  expect(names).toContain('SnpMachine');
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(readme))).toEqual([]);
});

test('every sub-path is named', () => {
  const { exports } = JSON.parse(read('package.json')) as { exports: object };
  const paths = Object.keys(exports).filter((path) => path !== '.' && path !== './package.json');
  const named = [...readme.matchAll(/^\| `(@svsm\/sev-snp\/\w+)` \| .*\w.* \|$/gm)];
  expect(named.map(([, path]) => path)).toEqual(paths.map((path) => `@svsm/sev-snp${path.slice(1)}`));
});

test('DESIGN.md names every file', () => {
  const folder = fileURLToPath(new URL('../../src', import.meta.url));
  const files = globSync('*/*.ts', { cwd: folder }).map((file) => file.replace(/^.*[/\\]|\.ts$/g, ''));
  const design = read('DESIGN.md');
  expect(files).toContain('rmp-entry');
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
  return [...cell.matchAll(/`([\w.]+)`/g)].map(([, name]) => name!);
}
