import { corruptedEntry } from '../entry/corrupted-entry.ts';
import { addressOf, type PageRange, SPANS } from '../entry/page-range.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { byteAt } from '../entry/words.ts';
import { fillWithParts, partLow } from '../memory/leaf-parts.ts';
import { isEmptyTable, storeEntry, type TableSpace, tableHigh, tableLow } from '../walk/table-space.ts';
import { VisitedTables } from '../walk/visited-tables.ts';
import { alignToEntry, indexOf, RegionEntry } from './region-entry.ts';

/** The action for an entry at level 1 or above, all or some of whose pages lie in the range. */
export const Verdict = {
  /** Leave the entry as it is. */
  Keep: 0,
  /** Replace the entry by `nextLow` and `nextHigh`. */
  Store: 1,
  /** The entry leads to a table: continue there. */
  Descend: 2,
  /** The entry maps a large page: split the page, and continue in its parts. */
  Split: 3,
  /** Put a new, empty table in place of the entry, and continue there. */
  Build: 4,
} as const;

/** One of {@link Verdict}. */
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/**
 * A change to the entries of a range of pages, all or nothing. It goes over the tables twice. The first pass reads them,
 * refuses what must be refused, and counts the tables that are needed. Then it takes the frames for these, all or none.
 * The second pass makes the changes. It fails only if memory fails that the first pass could access: then a part of the change
 * stays, all of it is reported, and no frame is lost. Each pass asks memory once for each leaf table, and no page costs a
 * bigint.
 *
 * A page table has one object for each kind of edit, and uses it for every region, so engines keep what they know of it.
 */
export abstract class RegionEdit {
  protected readonly space: TableSpace;
  /** The low word that {@link judge} wants stored. */
  protected nextLow = 0;
  /** The high word that {@link judge} wants stored. */
  protected nextHigh = 0;
  readonly #freesEmpty: boolean;
  /** The method of the page table that edits, for flush requests. */
  #operation = '';
  /** The entry that the edit looks at. */
  readonly #entry: RegionEntry = new RegionEntry();
  #visited: VisitedTables = new VisitedTables();
  /** The leaf tables that the second pass skips, because nothing changes in them; `undefined` as long as there is none. */
  #idle: Set<number> | undefined;
  /** The new tables, in the order in which the allocator returned them, so that leaf tables are neighbours in memory. */
  #fresh: number[] = [];
  /** The number of new tables that are in use. */
  #used = 0;
  /** The number of new tables that are being filled: no entry leads to them yet. */
  #filling = 0;
  /** The number of new tables to which an entry leads. They are the first ones of `#fresh`. */
  #linked = 0;
  /** The tables that have lost their last entry. */
  #emptied: number[] = [];
  /** Runs of changed pages: first page and end of each, one run after another. */
  #changed: number[] = [];
  /** Present entries at level 1 or above that have changed, as pairs of a page of theirs and the level. */
  #changedAbove: number[] = [];

  /** @param freesEmpty - whether tables that lose their last entry are given back */
  constructor(space: TableSpace, freesEmpty = false) {
    this.space = space;
    this.#freesEmpty = freesEmpty;
  }

  /** Judges an entry at level 1 or above, present or not. Throws to refuse the change. */
  protected abstract judge(entry: RegionEntry): Verdict;

  /**
   * Judges the level-0 entries from `words[start]` up to `words[stop]`, two words each. The first one maps `page`. Returns
   * whether any of them changes. Throws to refuse the change.
   */
  protected abstract judgePages(words: Uint32Array, start: number, stop: number, page: number): boolean;

  /** Changes the entries that {@link judgePages} has judged. */
  protected abstract editPages(words: Uint32Array, start: number, stop: number, page: number): void;

  /**
   * Makes the change. O(tables + level-0 entries of the range).
   *
   * @throws PageTableError `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`, `ALIASED_TABLE`, `RESERVED_BITS`,
   *   `BUS_ERROR`, `READ_ONLY`, `CALLBACK_FAILED`, and the codes of the judgement
   */
  protected run(operation: string, { first, end }: PageRange): void {
    if (first === end) return;
    this.#operation = operation;
    try {
      this.#planAndApply(first, end);
    } finally {
      this.#forget();
    }
  }

  #planAndApply(first: number, end: number): void {
    const { root, top, frames } = this.space;
    this.#fresh = frames.take(this.#plan(root, top, first, end));
    try {
      this.#apply(root, top, first, end);
    } catch (error) {
      this.#finish();
      frames.abandon(this.#fresh.slice(this.#linked));
      frames.guard.dismiss();
      throw error;
    }
    this.#finish();
    frames.guard.settle(this.#operation);
  }

  /** Makes the object ready for the next change. */
  #forget(): void {
    this.#visited = new VisitedTables();
    this.#idle = undefined;
    this.#fresh = [];
    this.#used = 0;
    this.#filling = 0;
    this.#linked = 0;
    this.#emptied = [];
    this.#changed = [];
    this.#changedAbove = [];
  }

  /** Reports all changes, and gives back the tables that have lost their last entry. */
  #finish(): void {
    const { levels, frames, tlb } = this.space;
    if (tlb !== undefined) {
      for (let i = 0; i < this.#changed.length; i += 2) {
        const from = this.#changed[i]!;
        const pages = this.#changed[i + 1]! - from;
        tlb.needsFlush(addressOf(from, levels), pages * 4096, this.#operation);
      }
    }
    for (let i = 0; i < this.#changedAbove.length; i += 2) {
      this.space.upperChanged(this.#changedAbove[i]!, this.#changedAbove[i + 1]!, this.#operation);
    }
    // Frames go back after the flush was reported: until then, a processor can still walk a table that it has cached.
    frames.giveBack(this.#emptied);
  }

  /** Notes that the translations of these pages have changed. */
  protected changed(first: number, end: number): void {
    const runs = this.#changed;
    const last = runs.length - 1;
    if (last > 0 && runs[last]! >= first && runs[last - 1]! <= first) {
      runs[last] = Math.max(runs[last]!, end);
    } else runs.push(first, end);
  }

  /** Whether the tables that the second pass edits now are new: no entry leads to them yet. */
  protected get isFilling(): boolean {
    return this.#filling > 0;
  }

  /** Whether an entry leads to a table. */
  protected isTable(low: number, level: number): boolean {
    return (low & PteFlags.Present) !== 0 && !this.space.format.isLeaf(low, level);
  }

  /** Refuses a corrupted entry: the one for `page` in the table at `level` that the edit looks at. */
  protected requireSound(low: number, high: number, level: number, page: number): void {
    const { format, levels } = this.space;
    if (!format.hasReserved(low, high, level)) return;
    const vaddr = addressOf(page, levels);
    const index = indexOf(page, level);
    throw corruptedEntry(format, { vaddr, level, table: this.#entry.table, index, low, high });
  }

  /** Refuses a page that is not mapped. */
  protected refuseUnmapped(page: number, level: number): never {
    throw new PageTableError('NOT_MAPPED', { vaddr: addressOf(page, this.space.levels), level });
  }

  /** The first pass, for the pages of one table. Returns the number of new tables that the change needs below it. */
  #plan(table: number, level: number, first: number, end: number): number {
    const { memory, format, levels } = this.space;
    const entry = this.#entry;
    if (!this.#visited.add(table)) {
      throw new PageTableError('ALIASED_TABLE', { vaddr: addressOf(first, levels), table: byteAt(table, 0) });
    }
    if (level === 0) {
      entry.table = table;
      const start = memory.wordOffset(table) + wordsOf(indexOf(first, 0));
      const stop = start + wordsOf(end - first);
      // Asks for write access now: the second pass must not fail.
      if (this.judgePages(memory.words(table, false), start, stop, first)) memory.words(table, true);
      else {
        this.#idle ??= new Set();
        this.#idle.add(table);
      }
      return 0;
    }
    const span = SPANS[level]!;
    let needed = 0;
    let writes = false;
    for (let page = alignToEntry(first, level); page < end; page += span) {
      entry.goTo(level, page, first, end);
      entry.readFrom(table, memory);
      const { low, high } = entry;
      if ((low & PteFlags.Present) !== 0) this.requireSound(low, high, level, page);
      const verdict = this.judge(entry);
      if (verdict === Verdict.Descend) {
        needed += this.#plan(format.frame(low, high, level), level - 1, entry.from, entry.to);
        writes ||= this.#freesEmpty;
      } else {
        writes ||= verdict !== Verdict.Keep;
        needed += this.#tablesFor(verdict);
      }
    }
    if (writes) memory.words(table, true);
    return needed;
  }

  /** The number of new tables that a verdict on the current entry needs. */
  #tablesFor(verdict: Verdict): number {
    if (verdict !== Verdict.Split && verdict !== Verdict.Build) return 0;
    const entry = this.#entry;
    const { level, low, high, from, to } = entry;
    const below = level - 1;
    if (below === 0) return 1;
    const span = SPANS[below]!;
    let needed = 1;
    // The table below does not exist yet. Its entries will be the parts of the large page, or empty.
    for (let page = alignToEntry(from, below); page < to; page += span) {
      entry.goTo(below, page, from, to);
      entry.low = verdict === Verdict.Split ? partLow(low, level, indexOf(page, below)) : 0;
      entry.high = verdict === Verdict.Split ? high : 0;
      needed += this.#tablesFor(this.judge(entry));
    }
    return needed;
  }

  /** The second pass, for the pages of one table. */
  #apply(table: number, level: number, first: number, end: number): void {
    const { memory, format } = this.space;
    if (level === 0) {
      if (this.#idle?.has(table) === true) return;
      const start = memory.wordOffset(table) + wordsOf(indexOf(first, 0));
      this.editPages(memory.words(table, true), start, start + wordsOf(end - first), first);
      return;
    }
    const entry = this.#entry;
    const span = SPANS[level]!;
    for (let page = alignToEntry(first, level); page < end; page += span) {
      entry.goTo(level, page, first, end);
      entry.readFrom(table, memory);
      const verdict = this.judge(entry);
      if (verdict === Verdict.Keep) continue;
      const { low, high, index, from, to } = entry;
      if (verdict === Verdict.Descend) {
        const child = format.frame(low, high, level);
        this.#apply(child, level - 1, from, to);
        this.#freeIfEmpty(table, index, child, level, page);
        continue;
      }
      if ((low & PteFlags.Present) !== 0) {
        this.changed(page, page + span);
        this.#changedAbove.push(page, level);
      }
      if (verdict === Verdict.Store) {
        storeEntry(memory, table, index, this.nextLow, this.nextHigh);
        continue;
      }
      // A new table is complete before an entry leads to it.
      const child = this.#fresh[this.#used]!;
      this.#used += 1;
      this.#filling += 1;
      if (verdict === Verdict.Split) fillWithParts(memory, child, low, high, level);
      this.#apply(child, level - 1, from, to);
      storeEntry(memory, table, index, tableLow(child), tableHigh(child, format));
      this.#filling -= 1;
      if (this.#filling === 0) this.#linked = this.#used;
    }
  }

  /** Clears an entry if the table `child` below it is empty and may be freed. */
  #freeIfEmpty(table: number, index: number, child: number, level: number, page: number): void {
    const { memory, root, kept } = this.space;
    if (!this.#freesEmpty || (table === root && kept.has(index))) return;
    if (!isEmptyTable(memory, child)) return;
    storeEntry(memory, table, index, 0, 0);
    this.#emptied.push(child);
    this.#changedAbove.push(page, level);
  }
}

/** The number of words in so many entries. It is an int32, as a page number is not: loops then count in integers. */
export function wordsOf(entries: number): number {
  return (2 * entries) | 0;
}
