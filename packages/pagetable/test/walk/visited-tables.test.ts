import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VisitedTables } from '../../src/walk/visited-tables.ts';
import { setsMade } from '../support/counted.ts';

test('a table is new only once, in any order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 40 }).map((frame) => frame * 2 ** 34)), (tables) => {
      const visited = new VisitedTables();
      const twin = new Set<number>();
      for (const table of tables) {
        expect(visited.add(table)).toBe(!twin.has(table));
        twin.add(table);
      }
    }),
  );
});

test('tables above or below all earlier ones need no set', () => {
  const visited = new VisitedTables();
  const made = setsMade(() => {
    for (let k = 0; k < 100; k += 1)
      for (const table of [1000 + k, 999 - k]) expect(visited.add(table)).toBe(true);
  });
  expect(made).toBe(0);
  expect(setsMade(() => visited.add(950))).toBe(1);
});
