import { beforeAll, describe, expect, test } from 'vitest';
import { errorPages } from '../src/errors/error-pages.ts';
import { type ErrorClass, errorClassesOf } from '../src/errors/error-sources.ts';
import { PACKAGES, readSource } from '../src/packages.ts';

let classes: ErrorClass[];
let pages: Map<string, string>;

beforeAll(async () => {
  classes = (await Promise.all(PACKAGES.map(errorClassesOf))).flat();
  pages = await errorPages();
});

test('every class of errors that a package exports has entries', () => {
  const exported = PACKAGES.flatMap((name) =>
    [...readSource(name, 'api.d.ts').matchAll(/^export declare class (\w+(?:Error|Fault))\b/gm)]
      .map(([, className]) => className!)
      // The base class has no codes.
      .filter((className) => className !== 'CodedError'),
  );
  expect(exported.length).toBeGreaterThanOrEqual(PACKAGES.length);
  expect(classes.map(({ name }) => name).sort()).toEqual(exported.sort());
});

describe.each(PACKAGES)('errors/%s', (name) => {
  test('has an anchor for each code, with its meaning, how it comes and what to do', () => {
    const page = pages.get(`${name}.md`)!;
    const entries = classes
      .filter((errorClass) => errorClass.package === name)
      .flatMap(({ entries }) => entries);
    expect(entries.length).toBeGreaterThan(0);
    for (const { code, meaning, when, action, details } of entries) {
      expect(page.split(`\`${code}\` {#${anchorOf(code)}}`).length, code).toBe(2);
      for (const text of [meaning, when, action]) {
        expect(text, code).toMatch(/\w.*\.$/);
        expect(page, code).toContain(text);
      }
      expect(details, code).toMatch(/^\{.*\}$/);
    }
  });

  test('the README has no other codes', () => {
    const errors = readSource(name, 'README.md').match(/\n## Errors[\s\S]*?\n## /)![0];
    const codes = [...errors.matchAll(/^\| `([A-Z][A-Z_]*)` \|/gm)].map(([, code]) => code);
    const known = classes
      .filter((errorClass) => errorClass.package === name)
      .flatMap(({ entries }) => entries.map(({ code }) => code));
    expect(codes.sort()).toEqual(known.sort());
  });
});

test('the overview links to every code', () => {
  const overview = pages.get('index.md')!;
  for (const { package: name, entries } of classes) {
    for (const { code } of entries) expect(overview).toContain(`(/errors/${name}#${anchorOf(code)})`);
  }
});

test('a message is the text of the source, with a place for each value', () => {
  const entries = classes.flatMap(({ entries }) => entries);
  const messageOf = (code: string) => entries.find((entry) => entry.code === code)?.message;
  expect(messageOf('INVALID_LEVEL')).toBe(
    '‹level› is not a page table level: pass 0 (PT), 1 (PD), 2 (PDPT), 3 (PML4) or 4 (PML5)',
  );
  expect(messageOf('OUTSIDE_SPACE')).toBe(
    '‹value› is outside the ‹kind› address space: valid addresses are 0x0 to ‹end›',
  );
});

test('operations are those of the table of their package', () => {
  const entries = classes.find(({ name }) => name === 'AddressError')!.entries;
  const { operations } = entries.find(({ code }) => code === 'INVALID_LEVEL')!;
  expect(operations).toEqual(['pageTableIndex']);
});

/** The anchor of a code as VitePress writes it in links. */
function anchorOf(code: string): string {
  return code.toLowerCase().replaceAll('_', '-');
}
