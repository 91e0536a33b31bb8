import { corruptedEntry } from '../entry/corrupted-entry.ts';
import { addressOf, type PageRange, SPANS } from '../entry/page-range.ts';
import { ENTRIES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { byteAt } from '../entry/words.ts';
import { fillWithParts, partLow } from '../memory/leaf-parts.ts';
import { isEmptyTable, storeEntry, type TableSpace, tableHigh, tableLow } from '../walk/table-space.ts';
import { VisitedTables } from '../walk/visited-tables.ts';

/** What is to be done with an entry above the 4 KiB pages, of which a run of pages covers all or a part. */
export const Verdict = {
  /** Nothing. */
  Keep: 0,
  /** Replace it by `nextLow` and `nextHigh`. */
  Store: 1,
  /** It leads to a table: go on there. */
  Descend: 2,
  /** It maps a large page: split that, and go on in its parts. */
  Split: 3,
  /** Put a new, empty table in its place, and go on there. */
  Build: 4,
} as const;

/** One of {@link Verdict}. */
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/**
 * A change to the entries of a run of pages, all or nothing. A first pass reads, refuses what must be refused and counts
 * the tables needed; then they are taken; then a second pass applies what nothing can stop any more. Each table is looked
 * up once in a pass, and no page costs a bigint.
 */
export abstract class RegionEdit {
  protected readonly space: TableSpace;
  /** What {@link judge} wants stored. */
  protected nextLow = 0;
  protected nextHigh = 0;
  readonly #operation: string;
  readonly #freesEmpty: boolean;
  readonly #visited: VisitedTables = new VisitedTables();
  /** Leaf tables in which nothing is to change. */
  readonly #idle: Set<number> = new Set();
  /** New tables, in the order in which the allocator gave them, so that one leaf table lies after the other; and how many are in use. */
  #fresh: number[] = [];
  #used = 0;
  readonly #emptied: number[] = [];
  /** Runs of changed pages, as pairs of first page and end. */
  readonly #changed: number[] = [];

  /** @param freesEmpty - whether tables that lose their last entry are given back */
  constructor(space: TableSpace, operation: string, freesEmpty = false) {
    this.space = space;
    this.#operation = operation;
    this.#freesEmpty = freesEmpty;
  }

  /** Judges a present or empty entry at `level` ≥ 1 of which pages `first` to `end` are meant; throws to refuse. */
  protected abstract judge(
    level: number,
    low: number,
    high: number,
    page: number,
    first: number,
    end: number,
  ): Verdict;

  /**
   * Judges the entries at level 0 of `page` and those after it, two words each, from `words[start]` up to `words[stop]`.
   * Returns whether any is to change.
   */
  protected abstract judgePages(words: Uint32Array, start: number, stop: number, page: number): boolean;

  /** Changes them. */
  protected abstract editPages(words: Uint32Array, start: number, stop: number, page: number): void;

  /**
   * Does it. O(tables) and the level-0 entries of the range.
   *
   * @throws PageTableError `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `ALIASED_TABLE`, `RESERVED_BITS`, `BUS_ERROR`, and what
   *   the judgement refuses
   */
  run({ first, end }: PageRange): void {
    if (first === end) return;
    const { root, top, base, levels, frames } = this.space;
    this.#fresh = frames.take(this.#plan(root, top, base, first, end));
    this.#apply(root, top, base, first, end);
    const { tlb } = this.space;
    if (tlb !== undefined) {
      for (let i = 0; i < this.#changed.length; i += 2) {
        const from = this.#changed[i]!;
        const pages = this.#changed[i + 1]! - from;
        tlb.needsFlush(addressOf(from, levels), pages * 4096, this.#operation);
      }
    }
    // Only now: until the flush, a processor may still read a table that it had cached.
    frames.giveBack(this.#emptied);
  }

  /** Notes that translations of these pages have changed. */
  protected changed(first: number, end: number): void {
    const runs = this.#changed;
    const last = runs.length - 1;
    if (last > 0 && runs[last]! >= first && runs[last - 1]! <= first) {
      runs[last] = Math.max(runs[last]!, end);
    } else runs.push(first, end);
  }

  protected isTable(low: number, level: number): boolean {
    return (low & PteFlags.Present) !== 0 && !this.space.format.isLeaf(low, level);
  }

  /** Refuses an entry that is corrupted. */
  protected requireSound(low: number, high: number, level: number, page: number): void {
    const { format, levels } = this.space;
    if (!format.hasReserved(low, high, level)) return;
    const index = Math.floor(page / SPANS[level]!) % ENTRIES;
    const vaddr = addressOf(page, levels);
    throw corruptedEntry(format, { vaddr, level, table: this.#current, index, low, high });
  }

  protected refuseUnmapped(page: number, level: number): never {
    throw new PageTableError('NOT_MAPPED', { vaddr: addressOf(page, this.space.levels), level });
  }

  /** The table that is being judged. */
  #current = 0;

  /** How many new tables the change needs below `table`; makes sure that all that is to be written can be. */
  #plan(table: number, level: number, base: number, first: number, end: number): number {
    const { memory, format } = this.space;
    if (!this.#visited.add(table)) {
      throw new PageTableError('ALIASED_TABLE', {
        vaddr: addressOf(first, this.space.levels),
        table: byteAt(table, 0),
      });
    }
    this.#current = table;
    if (level === 0) {
      const start = memory.wordOffset(table) + wordsOf(first - base);
      if (this.judgePages(memory.words(table, false), start, start + wordsOf(end - first), first)) {
        memory.words(table, true);
      } else this.#idle.add(table);
      return 0;
    }
    const span = SPANS[level]!;
    let needed = 0;
    let writes = false;
    for (let index = Math.floor((first - base) / span); base + index * span < end; index += 1) {
      const page = base + index * span;
      const from = Math.max(first, page);
      const to = Math.min(end, page + span);
      const words = memory.words(table, false);
      const at = memory.wordOffset(table) + 2 * index;
      const low = words[at]! | 0;
      const high = words[at + 1]! | 0;
      this.#current = table;
      if ((low & PteFlags.Present) !== 0) this.requireSound(low, high, level, page);
      const verdict = this.judge(level, low, high, page, from, to);
      if (verdict === Verdict.Descend) {
        needed += this.#plan(format.frame(low, high, level), level - 1, page, from, to);
        writes ||= this.#freesEmpty;
      } else {
        writes ||= verdict !== Verdict.Keep;
        needed += this.#tablesFor(verdict, low, high, level, page, from, to);
      }
    }
    if (writes) memory.words(table, true);
    return needed;
  }

  /** How many tables a verdict on an entry at `level` brings with it. */
  #tablesFor(
    verdict: Verdict,
    low: number,
    high: number,
    level: number,
    base: number,
    first: number,
    end: number,
  ): number {
    if (verdict !== Verdict.Split && verdict !== Verdict.Build) return 0;
    const below = level - 1;
    if (below === 0) return 1;
    const span = SPANS[below]!;
    let needed = 1;
    for (let index = Math.floor((first - base) / span); base + index * span < end; index += 1) {
      const page = base + index * span;
      const from = Math.max(first, page);
      const to = Math.min(end, page + span);
      const childLow = verdict === Verdict.Split ? partLow(low, level, index) : 0;
      const childHigh = verdict === Verdict.Split ? high : 0;
      const child = this.judge(below, childLow, childHigh, page, from, to);
      needed += this.#tablesFor(child, childLow, childHigh, below, page, from, to);
    }
    return needed;
  }

  #apply(table: number, level: number, base: number, first: number, end: number): void {
    const { memory, format } = this.space;
    if (level === 0) {
      if (this.#idle.size > 0 && this.#idle.has(table)) return;
      const start = memory.wordOffset(table) + wordsOf(first - base);
      this.editPages(memory.words(table, true), start, start + wordsOf(end - first), first);
      return;
    }
    const span = SPANS[level]!;
    for (let index = Math.floor((first - base) / span); base + index * span < end; index += 1) {
      const page = base + index * span;
      const from = Math.max(first, page);
      const to = Math.min(end, page + span);
      const words = memory.words(table, false);
      const at = memory.wordOffset(table) + 2 * index;
      const low = words[at]! | 0;
      const high = words[at + 1]! | 0;
      const verdict = this.judge(level, low, high, page, from, to);
      if (verdict === Verdict.Keep) continue;
      if (verdict === Verdict.Descend) {
        const child = format.frame(low, high, level);
        this.#apply(child, level - 1, page, from, to);
        this.#freeIfEmpty(table, index, child, level);
        continue;
      }
      if ((low & PteFlags.Present) !== 0) this.changed(page, page + span);
      if (verdict === Verdict.Store) {
        storeEntry(memory, table, index, this.nextLow, this.nextHigh);
        continue;
      }
      // A new table is complete before anything leads to it.
      const child = this.#fresh[this.#used]!;
      this.#used += 1;
      if (verdict === Verdict.Split) fillWithParts(memory, child, low, high, level);
      this.#apply(child, level - 1, page, from, to);
      storeEntry(memory, table, index, tableLow(child), tableHigh(child, format));
    }
  }

  #freeIfEmpty(table: number, index: number, child: number, level: number): void {
    const { memory, root, kept, top } = this.space;
    if (!this.#freesEmpty || (table === root && level === top && kept.has(index))) return;
    if (!isEmptyTable(memory, child)) return;
    storeEntry(memory, table, index, 0, 0);
    this.#emptied.push(child);
  }
}

/** How many words so many entries of one table take. As an int32, which a page number is not: loops then count in integers. */
export function wordsOf(entries: number): number {
  return (2 * entries) | 0;
}
