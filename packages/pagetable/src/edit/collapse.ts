import type { EntryFormat } from '../entry/entry-format.ts';
import { addressOf, SPANS } from '../entry/page-range.ts';
import { ENTRIES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TableCursor } from '../walk/table-cursor.ts';
import { storeEntry, type TableSpace } from '../walk/table-space.ts';

const USED = PteFlags.Accessed | PteFlags.Dirty;

/**
 * Replaces the table that holds the cursor's entry by one larger page, if its 512 entries are the parts of such a page;
 * then the table above, and so on. Accessed and dirty may differ: the larger page has the bit if one part has it. Rights
 * that the entry above denied stay denied. One store makes the change. The larger page has at most the level `largest`.
 * Returns the level of the page that maps `page` afterwards.
 */
export function collapseUpward(
  space: TableSpace,
  cursor: TableCursor,
  page: number,
  largest: number,
): number {
  const { memory, format, frames, tlb } = space;
  const freed: number[] = [];
  let level = cursor.level;
  // Through a self-map, the tables of a page table appear as pages: they are not parts of a larger page.
  if (cursor.repeatsTable) return level;
  let large: LargeEntry | undefined;
  for (; level < largest; level += 1) {
    const table = cursor.tableAt(level);
    // A table that is also a table above this level maps other pages too.
    if (cursor.isUpperTable(table, level)) break;
    const entries = entriesOf(memory, table);
    if (large !== undefined) entries.set([large.low, large.high], 2 * large.index);
    const low = wholeLow(entries, format, level);
    if (low === undefined) break;
    const above = cursor.tableAt(level + 1);
    const index = Math.floor(page / SPANS[level + 1]!) % ENTRIES;
    const words = memory.words(above, false);
    const at = memory.wordOffset(above) + 2 * index;
    const denied = (PteFlags.Writable | PteFlags.User) & ~words[at]!;
    const noExecute = words[at + 1]! & PteFlags.NoExecute;
    const high = (entries[1]! | noExecute) & ~format.reservedHi;
    large = { table: above, index, low: low & ~denied, high };
    freed.push(table);
  }
  if (large === undefined) return level;
  frames.requireAllocator('collapse');
  storeEntry(memory, large.table, large.index, large.low, large.high);
  const span = SPANS[level]!;
  tlb?.needsFlush(addressOf(page - (page % span), space.levels), span * 4096, 'collapse');
  space.upperChanged(page, level, 'collapse');
  frames.giveBack(freed);
  return level;
}

/** The entry of a large page that is to be stored. */
interface LargeEntry {
  readonly table: number;
  readonly index: number;
  readonly low: number;
  readonly high: number;
}

/** A copy of the words of `table`. */
function entriesOf(memory: PhysMemory, table: number): Uint32Array {
  const words = memory.words(table, false);
  const start = memory.wordOffset(table);
  return words.slice(start, start + 2 * ENTRIES);
}

/** The low word of the large page whose 512 parts are these entries; `undefined` if they are not such parts. */
function wholeLow(entries: Uint32Array, format: EntryFormat, level: number): number | undefined {
  const first = entries[0]! | 0;
  const high = entries[1]! | 0;
  const offset = level === 0 ? 0x1f_f000 : 0x3fe0_0000;
  if ((first & PteFlags.Present) === 0 || !format.isLeaf(first, level) || (first & offset) !== 0)
    return undefined;
  if (format.hasReserved(first, high, level)) return undefined;
  const step = level === 0 ? 0x1000 : 0x20_0000;
  let used = 0;
  for (let i = 0; i < ENTRIES; i += 1) {
    const low = entries[2 * i]!;
    if (((low ^ (first | (i * step))) & ~USED) !== 0) return undefined;
    if ((entries[2 * i + 1]! | 0) !== high) return undefined;
    used |= low & USED;
  }
  if (level > 0) return first | used;
  const pat = (first & PteFlags.Pat) !== 0 ? PteFlags.PatLarge : 0;
  return (first & ~PteFlags.Pat) | pat | PteFlags.Large | used;
}
