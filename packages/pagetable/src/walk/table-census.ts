import { ENTRIES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { TableSpace } from './table-space.ts';

/**
 * The frame numbers of all tables, the root first. Each is listed once, even if several entries lead to it. Tables below
 * foreign root entries are left out. O(tables × 512).
 *
 * @throws PageTableError `BUS_ERROR`
 */
export function tablesOf({ memory, format, root, top, foreign }: TableSpace): number[] {
  const found = new Set([root]);
  // A table that leads to itself means something else at each level, so the key is table and level.
  const seen = new Set<number>();
  const look = (table: number, level: number): void => {
    if (level === 0 || seen.has(table * 8 + level)) return;
    seen.add(table * 8 + level);
    for (let index = 0; index < ENTRIES; index += 1) {
      if (level === top && foreign.has(index)) continue;
      const words = memory.words(table, false);
      const at = memory.wordOffset(table) + 2 * index;
      const low = words[at]! | 0;
      if ((low & PteFlags.Present) === 0 || format.isLeaf(low, level)) continue;
      const child = format.frame(low, words[at + 1]! | 0, level);
      // A table outside memory throws here, before anything is freed.
      memory.words(child, false);
      found.add(child);
      look(child, level - 1);
    }
  };
  look(root, top);
  return [...found];
}
