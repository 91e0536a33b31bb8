import { ENTRIES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { TableSpace } from './table-space.ts';

/**
 * The frame numbers of the tables that a page table or a part owns, the root first, each one once. Tables that another owner
 * has are left out, however they are reached: through a foreign entry of the root, or through the root as a lower table, to
 * which a self-map leads. O(tables × 512), those of the other owners included.
 *
 * @throws PageTableError `BUS_ERROR`
 */
export function tablesOf(space: TableSpace): number[] {
  const { root, foreign } = space;
  const isForeign = (index: number): boolean => foreign.has(index);
  const others = foreign.size === 0 ? new Set<number>() : reach(space, isForeign, new Set([root]));
  return [root, ...reach(space, (index) => !isForeign(index), others.add(root))];
}

/** The tables that are reached through the root entries that `isMeant` selects, without those of `except` and those behind. */
function reach(
  { memory, format, root, top }: TableSpace,
  isMeant: (index: number) => boolean,
  except: ReadonlySet<number>,
): Set<number> {
  const found = new Set<number>();
  // A table is looked through once for each level: as a table of another level, its entries mean something else.
  const seen = new Set<number>();
  const look = (table: number, level: number): void => {
    if (level === 0 || seen.has(table * 8 + level)) return;
    seen.add(table * 8 + level);
    for (let index = 0; index < ENTRIES; index += 1) {
      if (table === root && !isMeant(index)) continue;
      const words = memory.words(table, false);
      const at = memory.wordOffset(table) + 2 * index;
      const low = words[at]! | 0;
      if ((low & PteFlags.Present) === 0 || format.isLeaf(low, level)) continue;
      const child = format.frame(low, words[at + 1]! | 0, level);
      if (child === root) look(root, level - 1);
      if (except.has(child)) continue;
      // A table outside memory is found before anything is freed.
      memory.words(child, false);
      found.add(child);
      look(child, level - 1);
    }
  };
  look(root, top);
  return found;
}
