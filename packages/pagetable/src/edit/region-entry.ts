import { SPANS } from '../entry/page-range.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';

/**
 * The entry that a region edit looks at, with the pages of the region that it maps. An edit has one such object, whose fields
 * change when the edit goes to another entry.
 */
export class RegionEntry {
  /** The frame number of its table. */
  table = 0;
  /** Its index in the table. */
  index = 0;
  /** Its level. */
  level = 0;
  /** The number of pages that it spans. */
  span = 0;
  /** The first page that it spans. */
  page = 0;
  /** The first of these pages that lies in the region. */
  from = 0;
  /** The page after the last one that lies in the region. */
  to = 0;
  /** Its low word. */
  low = 0;
  /** Its high word. */
  high = 0;

  /** Goes to the entry at `level` that spans pages from `page` on. The region has pages from `first` up to `end`. */
  goTo(level: number, page: number, first: number, end: number): void {
    const span = SPANS[level]!;
    this.level = level;
    this.span = span;
    this.page = page;
    this.from = Math.max(first, page);
    this.to = Math.min(end, page + span);
  }

  /** Reads its words from `table`. */
  readFrom(table: number, memory: PhysMemory): void {
    const index = indexOf(this.page, this.level);
    const words = memory.words(table, false);
    const at = memory.wordOffset(table) + 2 * index;
    this.table = table;
    this.index = index;
    this.low = words[at]! | 0;
    this.high = words[at + 1]! | 0;
  }

  /** Whether all pages that it spans lie in the region. */
  get isWhole(): boolean {
    return this.to - this.from === this.span;
  }
}

/** The index of `page` in a table at `level`. */
export function indexOf(page: number, level: number): number {
  return Math.floor(page / SPANS[level]!) & 0x1ff;
}

/** The first page that the entry for `page` at `level` spans. */
export function alignToEntry(page: number, level: number): number {
  const span = SPANS[level]!;
  return Math.floor(page / span) * span;
}
