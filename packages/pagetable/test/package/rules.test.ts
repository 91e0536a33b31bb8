/** The rules of docs/hardware.md, and the tests that hold them: each names its rules in a comment above it or in its title. */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const TESTS = fileURLToPath(new URL('../', import.meta.url));
const HARDWARE = readFileSync(new URL('../../../../docs/hardware.md', import.meta.url), 'utf8');

/** The text between two headings of the document. */
const section = (from: string, to: string): string =>
  HARDWARE.slice(HARDWARE.indexOf(`\n## ${from}\n`), HARDWARE.indexOf(`\n## ${to}\n`));

/** The ids of the rows of a text. */
const idsOf = (text: string): string[] =>
  [...text.matchAll(/^\| \*\*([A-Z]\d+a?)\*\*/gm)].map(([, id]) => id!);

const PAGING = idsOf(section('Paging', 'Memory encryption'));

/** Rules of memory encryption that page tables hold. */
const ENCRYPTION = ['C1', 'C3', 'C4', 'C6', 'C9'];
/** Rules about nested paging, the RMP and faults of a whole instruction are held by tests of `@svsm/sev-snp`. */
const isElsewhere = (id: string): boolean => {
  const row = HARDWARE.split('\n').find((line) => line.startsWith(`| **${id}** |`))!;
  return /nested|\bRMP\b|\bCR2 holds\b/i.test(row);
};

/** The ids in comments that consist of ids, and in parentheses in titles; with the file that has them. */
const NAMED: readonly (readonly [id: string, file: string])[] = globSync('**/*.test.ts', {
  cwd: TESTS,
}).flatMap((file) => {
  const text = readFileSync(TESTS + file, 'utf8');
  const lists = [...text.matchAll(/^\s*\/\/ ([A-Z]\d+a?(?:(?:, | to )[A-Z]\d+a?)*)$/gm)].map(
    ([, list]) => list!,
  );
  const titles = [...text.matchAll(/docs\/hardware\.md, ([A-Z]\d+a?)\)/g)].map(([, id]) => id!);
  return [...lists.flatMap(idsIn), ...titles].map((id) => [id, file] as const);
});

/** `P5, P49 to P51` is P5, P49, P50, P51. */
function idsIn(list: string): string[] {
  return list.split(', ').flatMap((item) => {
    const [first = '', last = first] = item.split(' to ');
    if (last === first) return [first];
    const [from, to] = [Number(first.slice(1)), Number(last.slice(1))];
    return Array.from({ length: to - from + 1 }, (_, i) => `${first[0]}${from + i}`);
  });
}

test('tests name only rules of the document', () => {
  const known = new Set(idsOf(HARDWARE));
  expect(NAMED.length).toBeGreaterThan(80);
  expect(NAMED.filter(([id]) => !known.has(id))).toEqual([]);
});

describe('a test holds the rule', () => {
  test.each([...PAGING.filter((id) => !isElsewhere(id)), ...ENCRYPTION])('%s', (id) => {
    expect(NAMED.map(([named]) => named)).toContain(id);
  });
});
