import { ENTRIES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { TableSpace } from './table-space.ts';

/**
 * The frame numbers of the tables that a page table or a part owns, each one once: the root first, unless another owner's
 * tables lead back to it. Tables that another owner has are left out, however they are reached: through a foreign entry of the
 * root, through the root as a lower table, to which a self-map leads, or through an entry that was written by hand. O(tables ×
 * 512), those of the other owners included.
 *
 * @throws PageTableError `BUS_ERROR`
 */
export function tablesOf(space: TableSpace): number[] {
  const { root, top } = space;
  const others = new Set<number>();
  for (const child of foreignTables(space)) {
    others.add(child);
    reach(space, child, top - 1, others);
  }
  const all = reach(space, root, top, new Set([root]));
  return [...all].filter((table) => !others.has(table));
}

/** The tables to which foreign entries of the root lead. */
function foreignTables({ memory, format, root, top, foreign }: TableSpace): number[] {
  const found: number[] = [];
  for (const index of foreign) {
    const words = memory.words(root, false);
    const at = memory.wordOffset(root) + 2 * index;
    const low = words[at]! | 0;
    if ((low & PteFlags.Present) === 0 || format.isLeaf(low, top)) continue;
    found.push(format.frame(low, words[at + 1]! | 0, top));
  }
  return found;
}

/** Adds to `found` the tables that are reached from a table at `level`. */
function reach(
  { memory, format }: TableSpace,
  from: number,
  fromLevel: number,
  found: Set<number>,
): Set<number> {
  // A table is looked through once for each level: as a table of another level, its entries mean something else.
  const seen = new Set<number>();
  const look = (table: number, level: number): void => {
    if (level === 0 || seen.has(table * 8 + level)) return;
    seen.add(table * 8 + level);
    for (let index = 0; index < ENTRIES; index += 1) {
      const words = memory.words(table, false);
      const at = memory.wordOffset(table) + 2 * index;
      const low = words[at]! | 0;
      if ((low & PteFlags.Present) === 0 || format.isLeaf(low, level)) continue;
      const child = format.frame(low, words[at + 1]! | 0, level);
      // A table outside memory is found before anything is freed.
      memory.words(child, false);
      found.add(child);
      look(child, level - 1);
    }
  };
  look(from, fromLevel);
  return found;
}
