import type { VirtAddr } from '@svsm/address';
import { corruptedEntry } from '../entry/corrupted-entry.ts';
import type { EntryFormat } from '../entry/entry-format.ts';
import { addressOf, type PageRange, SPANS } from '../entry/page-range.ts';
import { ENTRIES } from '../entry/page-sizes.ts';
import { isPageTableError, type PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { MAX_LEVELS } from '../entry/words.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TableSpace } from './table-space.ts';

/** Where a listing met a fault. */
export interface ListingFaultPlace {
  /** The first virtual address that is left out because of it. */
  readonly vaddr: VirtAddr;
  /** Of the corrupted entry, or of the table outside memory: 0 (PT) to 4 (PML5). */
  readonly level: number;
}

/** Told of what a listing cannot read: a corrupted entry, or a table outside memory. The listing goes on after it. */
export type OnListingFault = (
  fault: PageTableError<'RESERVED_BITS'> | PageTableError<'BUS_ERROR'>,
  place: ListingFaultPlace,
) => void;

const NONE = new Uint32Array(0);

/**
 * Goes from leaf to leaf, in the order of addresses, through the tables below one root; all in numbers. What is below an
 * entry is read when its turn comes, so tables may change between two steps.
 */
export class LeafScan {
  /** Of the leaf found: its page number, its frame, its level and its two words. */
  page = 0;
  frame = 0;
  level = 0;
  low = 0;
  high = 0;
  /** R/W and U/S of all levels, where an entry has them; and NX of any level, as the sign. */
  rights = 0;
  noExecute = 0;

  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #levels: 4 | 5;
  readonly #top: number;
  readonly #range: PageRange;
  readonly #onFault: OnListingFault | undefined;
  /** Where it stands: for each level from `#at` up, a table, the next index in it, its first page, and its rights. */
  #at: number;
  readonly #tables: Float64Array = new Float64Array(MAX_LEVELS);
  readonly #indexes: Uint16Array = new Uint16Array(MAX_LEVELS);
  readonly #pages: Float64Array = new Float64Array(MAX_LEVELS);
  readonly #rights: Int32Array = new Int32Array(MAX_LEVELS);
  readonly #noExecutes: Int32Array = new Int32Array(MAX_LEVELS);
  readonly #found: Float64Array = new Float64Array(MAX_LEVELS);
  #leaves = 0;
  /** Tables without a leaf below, by level. A corrupted table can lead to one of them 512³ times. */
  readonly #barren: Set<number> = new Set();
  #words: Uint32Array = NONE;
  #base = 0;
  #wordsOf = -1;
  #epoch = Number.NaN;

  constructor(
    { memory, format, levels, root, top, base }: TableSpace,
    range: PageRange,
    onFault: OnListingFault | undefined,
  ) {
    this.#memory = memory;
    this.#format = format;
    this.#levels = levels;
    this.#top = top;
    this.#range = range;
    this.#onFault = onFault;
    this.#at = top;
    this.#tables[this.#at] = root;
    this.#rights[this.#at] = -1;
    this.#pages[this.#at] = base;
    this.#indexes[this.#at] = Math.floor((range.first - base) / SPANS[this.#at]!);
  }

  /**
   * Goes on to the next leaf. Returns whether there is one.
   *
   * @throws PageTableError `RESERVED_BITS`, `BUS_ERROR`, unless someone is told of faults instead
   */
  next(): boolean {
    const format = this.#format;
    if (this.#range.first >= this.#range.end) return false;
    if (this.#epoch !== this.#memory.epoch) {
      this.#epoch = this.#memory.epoch;
      this.#wordsOf = -1;
      this.#barren.clear();
    }
    for (;;) {
      const level = this.#at;
      const index = this.#indexes[level]!;
      const page = this.#pages[level]! + index * SPANS[level]!;
      if (index === ENTRIES || page >= this.#range.end) {
        if (!this.#leave(index === ENTRIES)) return false;
        continue;
      }
      this.#indexes[level] = index + 1;
      if (!this.#enter(level)) continue;
      const at = this.#base + 2 * index;
      const low = this.#words[at]! | 0;
      if ((low & PteFlags.Present) === 0) continue;
      const high = this.#words[at + 1]! | 0;
      if (format.hasReserved(low, high, level)) {
        this.#corrupted(page, level, low, high);
        continue;
      }
      const rights = this.#rights[level]! & low;
      const noExecute = this.#noExecutes[level]! | high;
      const frame = format.frame(low, high, level);
      if (!format.isLeaf(low, level)) {
        this.#descend(frame, level - 1, page, rights, noExecute);
        continue;
      }
      this.page = page;
      this.frame = frame;
      this.level = level;
      this.low = low;
      this.high = high;
      this.rights = rights;
      this.noExecute = noExecute;
      this.#leaves += 1;
      return true;
    }
  }

  #descend(table: number, level: number, page: number, rights: number, noExecute: number): void {
    if (this.#barren.has(table * 8 + level)) return;
    this.#at = level;
    this.#tables[level] = table;
    this.#pages[level] = page;
    this.#rights[level] = rights;
    this.#noExecutes[level] = noExecute;
    this.#found[level] = this.#leaves;
    // A table that begins before the range is entered at the entry in which the range begins.
    const skipped = Math.floor((this.#range.first - page) / SPANS[level]!);
    this.#indexes[level] = Math.max(0, skipped);
    if (skipped > 0) this.#found[level] = -1;
  }

  /** Back to the table above. Returns whether there is one. */
  #leave(wasWhole: boolean): boolean {
    const level = this.#at;
    if (wasWhole && this.#found[level] === this.#leaves) this.#barren.add(this.#tables[level]! * 8 + level);
    this.#at = level + 1;
    return this.#at <= this.#top;
  }

  /** Makes the words of the table at `level` current. Returns whether there is memory; if not, it is left. */
  #enter(level: number): boolean {
    const table = this.#tables[level]!;
    if (this.#wordsOf === table) return true;
    try {
      this.#words = this.#memory.words(table, false);
    } catch (error) {
      if (this.#onFault === undefined || !isPageTableError(error, 'BUS_ERROR')) throw error;
      this.#onFault(error, this.#place(this.#pages[level]!, level));
      this.#indexes[level] = ENTRIES;
      return false;
    }
    this.#base = this.#memory.wordOffset(table);
    this.#wordsOf = table;
    return true;
  }

  #corrupted(page: number, level: number, low: number, high: number): void {
    const index = this.#indexes[level]! - 1;
    const vaddr = addressOf(page, this.#levels);
    const place = { vaddr, level, table: this.#tables[level]!, index, low, high };
    const fault = corruptedEntry(this.#format, place);
    if (this.#onFault === undefined) throw fault;
    this.#onFault(fault, this.#place(page, level));
  }

  #place(page: number, level: number): ListingFaultPlace {
    const vaddr = addressOf(Math.max(page, this.#range.first), this.#levels);
    return Object.freeze({ vaddr, level });
  }
}
