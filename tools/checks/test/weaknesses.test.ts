/** The table of weaknesses of COCONUT-SVSM: each row names tests that exist, and that run. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { testsOf } from '../titles.ts';
import { ROOT } from '../workspace.ts';

const table = readFileSync(join(ROOT, 'packages/mm/WEAKNESSES.md'), 'utf8');
const rows = [...table.matchAll(/^\| ([CDE]\d+) \| (.*) \| (.*) \| (.*) \|$/gm)].map(
  ([, id = '', weakness = '', verdict = '', tests = '']) => ({ id, weakness, verdict, tests }),
);

/** The named tests of a row: `[file, title]`. */
function namedIn(tests: string): [string, string][] {
  return tests.split('<br>').map((one) => {
    const [, file = '', title = ''] = one.match(/^`([^`]+)` › (.+)$/) ?? [];
    return [file, title];
  });
}

test('the table has the 53 rows, in their order', () => {
  const ids = (letter: string, count: number) => Array.from({ length: count }, (_, k) => `${letter}${k + 1}`);
  expect(rows.map(({ id }) => id)).toEqual([...ids('C', 15), ...ids('D', 21), ...ids('E', 17)]);
});

describe.each(rows.map((row) => [row.id, row] as const))('%s', (_, { weakness, verdict, tests }) => {
  test('says what is wrong there, and what is better here', () => {
    expect(weakness).toMatch(/\w{3}/);
    expect(verdict).toMatch(/^(answered|does not apply)(: .+)?$/);
  });

  test('names tests that exist and run, or says why it does not apply', () => {
    if (tests === '–') {
      expect(verdict).toMatch(/^does not apply: .+/);
      return;
    }
    for (const [file, title] of namedIn(tests)) {
      expect(file, tests).toMatch(/\.test\.ts$/);
      expect(existsSync(join(ROOT, file)), file).toBe(true);
      const found = testsOf(join(ROOT, file)).filter((one) => one.title === title);
      expect(
        found.map(({ isSkipped }) => isSkipped),
        `${file} › ${title}`,
      ).toEqual([false]);
    }
  });
});

test('no test of a package is skipped', () => {
  const skipped = globSync('packages/*/test/**/*.test.ts', { cwd: ROOT }).flatMap((file) =>
    testsOf(join(ROOT, file))
      .filter(({ isSkipped }) => isSkipped)
      .map(({ title }) => `${file} › ${title}`),
  );
  expect(skipped).toEqual([]);
});
