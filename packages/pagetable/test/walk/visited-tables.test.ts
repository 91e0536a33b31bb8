import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VisitedTables } from '../../src/walk/visited-tables.ts';

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
