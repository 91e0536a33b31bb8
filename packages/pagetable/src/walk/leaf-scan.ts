import type { VirtAddr } from '@svsm/address';
import { corruptedEntry } from '../entry/corrupted-entry.ts';
import type { EntryFormat } from '../entry/entry-format.ts';
import { addressOf, type PageRange, SPANS } from '../entry/page-range.ts';
import { ENTRIES } from '../entry/page-sizes.ts';
import { isPageTableError, type PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { MAX_LEVELS } from '../entry/words.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TableSpace } from './table-space.ts';

/** The place of a fault in a listing. */
export interface ListingFaultPlace {
  /** The first virtual address that the listing leaves out because of the fault. */
  readonly vaddr: VirtAddr;
  /** The level of the corrupted entry, or of the table outside memory: 0 (PT) to 4 (PML5). */
  readonly level: number;
}

/**
 * Receives what a listing cannot read: a corrupted entry, or a table outside memory. The listing continues after it. An error
 * that it throws ends the listing. It may not call the page table: that throws `BUSY`.
 */
export type OnListingFault = (
  fault: PageTableError<'RESERVED_BITS'> | PageTableError<'BUS_ERROR'>,
  place: ListingFaultPlace,
) => void;

const NONE = new Uint32Array(0);

/**
 * A scan over the leaves below one root, in the order of their virtual addresses, in numbers without bigints. It reads
 * the tables below an entry only when it gets there, so tables may change between two steps.
 */
export class LeafScan {
  // The leaf that `next` has found.
  /** The page number of its first virtual page. */
  page = 0;
  /** The frame number of its first frame. */
  frame = 0;
  /** Its level: 0, 1 or 2. */
  level = 0;
  /** The low word of its entry. */
  low = 0;
  /** The high word of its entry. */
  high = 0;
  /** R/W and U/S of all levels, ANDed. Only these two bits are valid. */
  rights = 0;
  /** The same of the entries above the leaf. */
  rightsAbove = 0;
  /** NX of all levels, ORed, in the sign. */
  noExecute = 0;

  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #levels: 4 | 5;
  readonly #top: number;
  readonly #range: PageRange;
  readonly #onFault: OnListingFault | undefined;
  readonly #guard: CallGuard;
  // A stack of tables from the top level down to `#at`. Each array below has one element for each level.
  /** The level of the table that is being scanned. */
  #at: number;
  /** The frame number of the table. */
  readonly #tables: Float64Array = new Float64Array(MAX_LEVELS);
  /** The index of the next entry to read in the table. */
  readonly #indexes: Uint16Array = new Uint16Array(MAX_LEVELS);
  /** The first page that the table maps. */
  readonly #pages: Float64Array = new Float64Array(MAX_LEVELS);
  /** R/W and U/S of the entries above the table, ANDed. */
  readonly #rights: Int32Array = new Int32Array(MAX_LEVELS);
  /** NX of the entries above the table, ORed, in the sign. */
  readonly #noExecutes: Int32Array = new Int32Array(MAX_LEVELS);
  /** The number of leaves found before the table; -1 if the scan did not start at its first entry. */
  readonly #found: Float64Array = new Float64Array(MAX_LEVELS);
  /** The number of leaves found so far. */
  #leaves = 0;
  /** Tables that have no leaf below them, as table × 8 + level. Corrupted tables can lead to one of them 512³ times. */
  readonly #barren: Set<number> = new Set();
  /** The array that holds the table `#wordsOf`. */
  #words: Uint32Array = NONE;
  /** The index in `#words` at which that table begins. */
  #base = 0;
  /** The frame number of the table in `#words`; -1 if there is none. */
  #wordsOf = -1;
  /** The epoch of memory for which `#words` and `#barren` hold. */
  #epoch = Number.NaN;

  constructor(
    { memory, format, frames, levels, root, top, base }: TableSpace,
    range: PageRange,
    onFault: OnListingFault | undefined,
  ) {
    this.#memory = memory;
    this.#format = format;
    this.#levels = levels;
    this.#top = top;
    this.#range = range;
    this.#onFault = onFault;
    this.#guard = frames.guard;
    this.#at = top;
    this.#tables[this.#at] = root;
    this.#rights[this.#at] = -1;
    this.#pages[this.#at] = base;
    this.#indexes[this.#at] = Math.floor((range.first - base) / SPANS[this.#at]!);
  }

  /**
   * Goes to the next leaf. Returns whether there is one.
   *
   * @throws PageTableError `RESERVED_BITS`, `BUS_ERROR`, unless `onFault` receives them
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
      this.rightsAbove = this.#rights[level]!;
      this.noExecute = noExecute;
      this.#leaves += 1;
      return true;
    }
  }

  /** Continues with the first entry of `table` that lies in the range, unless the table is known to have no leaf. */
  #descend(table: number, level: number, page: number, rights: number, noExecute: number): void {
    if (this.#barren.has(table * 8 + level)) return;
    this.#at = level;
    this.#tables[level] = table;
    this.#pages[level] = page;
    this.#rights[level] = rights;
    this.#noExecutes[level] = noExecute;
    this.#found[level] = this.#leaves;
    // If the table begins before the range, the scan starts at the entry that maps the first page of the range.
    const skipped = Math.floor((this.#range.first - page) / SPANS[level]!);
    this.#indexes[level] = Math.max(0, skipped);
    if (skipped > 0) this.#found[level] = -1;
  }

  /** Returns to the table above. `wasWhole`: the scan has read the table to its end. Returns false above the top table. */
  #leave(wasWhole: boolean): boolean {
    const level = this.#at;
    if (wasWhole && this.#found[level] === this.#leaves) this.#barren.add(this.#tables[level]! * 8 + level);
    this.#at = level + 1;
    return this.#at <= this.#top;
  }

  /** Gets the words of the table at `level`. Returns false if the table is outside memory; the scan then skips it. */
  #enter(level: number): boolean {
    const table = this.#tables[level]!;
    if (this.#wordsOf === table) return true;
    try {
      this.#words = this.#memory.words(table, false);
    } catch (error) {
      if (this.#onFault === undefined || !isPageTableError(error, 'BUS_ERROR')) throw error;
      this.#report(this.#onFault, error, this.#place(this.#pages[level]!, level));
      this.#indexes[level] = ENTRIES;
      return false;
    }
    this.#base = this.#memory.wordOffset(table);
    this.#wordsOf = table;
    return true;
  }

  /** Reports a corrupted entry to `onFault`, or throws it. */
  #corrupted(page: number, level: number, low: number, high: number): void {
    const index = this.#indexes[level]! - 1;
    const vaddr = addressOf(page, this.#levels);
    const place = { vaddr, level, table: this.#tables[level]!, index, low, high };
    const fault = corruptedEntry(this.#format, place);
    if (this.#onFault === undefined) throw fault;
    this.#report(this.#onFault, fault, this.#place(page, level));
  }

  #report(onFault: OnListingFault, fault: Parameters<OnListingFault>[0], place: ListingFaultPlace): void {
    this.#guard.enter('onFault');
    try {
      onFault(fault, place);
    } finally {
      this.#guard.leave();
    }
  }

  /** The place of a fault at `page`, or at the start of the range if that is later. */
  #place(page: number, level: number): ListingFaultPlace {
    const vaddr = addressOf(Math.max(page, this.#range.first), this.#levels);
    return Object.freeze({ vaddr, level });
  }
}
