/** The rules of docs/hardware.md: each test names the rules that it holds, in a comment above it or in its title. */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ASSUMPTIONS, type Assumptions } from '../../src/formats/assumptions.ts';

const TESTS = fileURLToPath(new URL('../', import.meta.url));
const HARDWARE = readFileSync(new URL('../../../../docs/hardware.md', import.meta.url), 'utf8');

/** Rows of the document by the bold ids that they begin with. */
const ROWS = new Map(
  HARDWARE.split('\n')
    .filter((line) => line.startsWith('| **'))
    .flatMap((line) => [...line.split('|')[1]!.matchAll(/\*\*([^*]+)\*\*/g)].map(([, id]) => [id!, line])),
);

/** `R25`, `P27a`, `RMPUPDATE step 4`, `PVALIDATE preconditions`, `GHCB exit 0x8000_0013`, `SVSM call 7`. */
const ID =
  /[PCRIVTLGSA]\d+a?|(?:RMPUPDATE|PSMASH|PVALIDATE|RMPADJUST|RMPQUERY|RMPREAD) (?:step \d+|preconditions)|GHCB (?:MSR|exit) 0x[\dA-F_]+|SVSM call \d/
    .source;
const COMMENT = new RegExp(`^\\s*// ((?:${ID})(?:, (?:${ID}))*,?)$`, 'gm');
const TITLE = new RegExp(`['"\`](${ID})[ :]`, 'g');

/** The ids in comments that consist of ids, and at the start of titles; with the file that has them. */
const NAMED: readonly (readonly [id: string, file: string])[] = globSync('**/*.test.ts', {
  cwd: TESTS,
}).flatMap((file) => {
  const text = readFileSync(TESTS + file, 'utf8');
  const lists = [...text.matchAll(COMMENT)].flatMap(([, list]) => list!.split(', '));
  const titles = [...text.matchAll(TITLE)].map(([, id]) => id!);
  return [...lists, ...titles].map((id) => [id.replace(/,$/, ''), file] as const);
});

test('tests name only rules of the document', () => {
  expect(ROWS.size).toBeGreaterThan(200);
  expect(NAMED.length).toBeGreaterThan(300);
  expect(NAMED.filter(([id]) => !ROWS.has(id))).toEqual([]);
});

describe.each(Object.keys(ASSUMPTIONS) as (keyof Assumptions)[])('the assumption %s', (name) => {
  const ids = ASSUMPTIONS[name].rule.split(', ');

  test.each(ids)('has the rule %s, which a test holds', (id) => {
    expect(ROWS.has(id), 'a bold id of docs/hardware.md').toBe(true);
    expect(NAMED.map(([named]) => named)).toContain(id);
  });

  test('is named by one of its rules', () => {
    expect(ids.filter((id) => ROWS.get(id)?.includes(`\`${name}\``))).not.toEqual([]);
  });
});
