import { corruptedEntry } from '../entry/corrupted-entry.ts';
import type { EntryFormat, PageTableEntry } from '../entry/entry-format.ts';
import { SPANS } from '../entry/page-range.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameAddress, indexAt, isCanonical, MAX_LEVELS, raw } from '../entry/words.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import { LeafWriter } from './leaf-writer.ts';
import type { TableSpace } from './table-space.ts';

const NOWHERE = new Uint32Array(2);
/** Not an epoch, as in {@link LeafWriter}. */
const NEVER = -1;

/** The part of the last walk that is remembered: leaf table and page directory, the directory alone, or nothing. */
const Known = { Leaf: 0, Directory: 1, Nothing: 2 } as const;

/** Reads the page directory to which a walk has arrived. */
export interface DirectoryReader {
  /** Notes the page directory for an address, to which a walk arrives in `epoch`. */
  open(low: number, high: number, directory: Uint32Array, base: number, epoch: number): void;
}

/**
 * A place in the tables below one root: the entry that a walk has found. An address is two 32-bit halves, an entry two
 * words, a table a frame number; a walk makes no bigint. Halves and words are int32 (`| 0`), which engines keep in a
 * field without allocating.
 *
 * The cursor remembers the end of its last walk, because most walks begin near the last one:
 *
 * ```text
 *   root ───▶ PDPT ───▶ page directory ─────▶ leaf table ─────▶ entry
 *                       #directory            #words            #words[#at]
 *                       #directoryBase        #base
 *   it serves           the same 1 GiB        the same 2 MiB
 *   if #known is        Leaf or Directory     Leaf
 * ```
 *
 * One invariant holds over all fields:
 *
 * - What is remembered. While `memory.epoch` equals `#epoch`, a walk from the root for any address of the same 1 GiB
 *   arrives at `#directory`, and for any address of the same 2 MiB at the leaf table. `#known` says which of them is
 *   remembered. `low` and `high`, the last address, say which 1 GiB and which 2 MiB.
 * - What ends it. Memory changes its epoch with each `words(frame, true)`, whoever calls it. Memory that can change in
 *   other ways has the epoch NaN, which equals nothing, so every walk starts at the root (docs/decisions/0011).
 * - Its own stores. {@link store} takes over the epoch that it causes, unless the table stored to is also a table above
 *   the entry, as a self-map makes possible (docs/decisions/0013). {@link storeVisibility} leaves the entry's frame
 *   alone, so it ends no walk. After either, {@link writer} can store to the same leaf table without asking.
 */
export class TableCursor {
  /** The low half of the last address. */
  low = 0;
  /** The high half of the last address. */
  high = 0;
  /** The frame number of the table that holds the entry. */
  table = 0;
  /** The level of the entry: 0 (PT) to 4 (PML5). */
  level = 0;
  /** R/W and U/S of the entries above, ANDed (AMD64 APM vol. 2, §5.6). Only these two bits are valid. */
  rightsAbove = -1;
  /** NX of the entries above, ORed, in the sign (AMD64 APM vol. 2, §5.6). */
  noExecuteAbove = 0;

  /** Stores to the leaf table that was stored to last. */
  readonly writer: LeafWriter;

  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #root: number;
  readonly #levels: 4 | 5;
  readonly #top: number;
  /** The index of its root entry for a part: every address must go through that entry. -1 for a whole page table. */
  readonly #part: number;
  readonly #reservedHi: number;
  /** The array that holds the entry's table. */
  #words: Uint32Array = NOWHERE;
  /** The index in `#words` at which the table begins. */
  #base = 0;
  /** The index in `#words` at which the entry begins. */
  #at = 0;
  /** The part of the last walk that is remembered: one of {@link Known}. */
  #known: number = Known.Nothing;
  /** The epoch of memory for which that is true. */
  #epoch = NEVER;
  /** Whether memory was asked for write access to `#words` in `#epoch`. */
  #writable = false;
  /** The array that holds the page directory, the table at level 1 of the last walk. */
  #directory: Uint32Array = NOWHERE;
  /** The index in `#directory` at which the page directory begins. */
  #directoryBase = 0;
  /** {@link rightsAbove} for the entries of the page directory. */
  #directoryRights = -1;
  /** {@link noExecuteAbove} for the entries of the page directory. */
  #directoryNoExecute = 0;
  /** The frame number of the table visited at each level; valid for the levels above the entry. */
  readonly #path: Float64Array = new Float64Array(MAX_LEVELS);
  /** Whether the entry's table differs from all tables above it; `undefined` until {@link store} computes it. */
  #isLoopFree: boolean | undefined;
  /** Whether the tables were given back. Then every walk throws `DESTROYED`. */
  #isRetired = false;

  constructor({ memory, format, frames, root, levels, top, base }: TableSpace) {
    this.#memory = memory;
    this.#format = format;
    this.#root = root;
    this.#levels = levels;
    this.#top = top;
    this.#part = top === levels - 1 ? -1 : base / SPANS[levels - 1]!;
    this.#reservedHi = format.reservedHi;
    this.writer = new LeafWriter(memory, frames.guard, format);
  }

  get entryLow(): number {
    return this.#words[this.#at]! | 0;
  }

  get entryHigh(): number {
    return this.#words[this.#at + 1]! | 0;
  }

  get isPresent(): boolean {
    return (this.entryLow & PteFlags.Present) !== 0;
  }

  /** Whether the entry leads to a table. */
  get isTable(): boolean {
    const low = this.entryLow;
    return (
      (low & PteFlags.Present) !== 0 && this.level > 0 && (this.level > 2 || (low & PteFlags.Large) === 0)
    );
  }

  /** The entry, decoded. */
  get entry(): PageTableEntry {
    return this.#format.decode(this.entryLow, this.entryHigh, this.level);
  }

  /** The frame number of the table visited at `level`, which is not below the entry. */
  tableAt(level: number): number {
    return level === this.level ? this.table : this.#path[level]!;
  }

  /** The index of the entry in its table. */
  get index(): number {
    return this.indexAt(this.level);
  }

  /**
   * Walks to the entry for an address: the leaf, or the first entry that is not present, but no lower than level `floor`.
   *
   * @throws PageTableError `NON_CANONICAL`, `RESERVED_BITS`, `BUS_ERROR`, `OUTSIDE_PART`, `DESTROYED`
   */
  seek(low: number, high: number, floor = 0): void {
    if (high === this.high && this.#memory.epoch === this.#epoch) {
      const moved = low ^ this.low;
      // Loops visit pages in order: 511 times of 512 the cursor is in the right leaf table already.
      if (moved >>> 21 === 0 && this.#known === Known.Leaf && floor === 0) {
        const at = this.#base + ((low >>> 11) & 0x3fe);
        this.low = low;
        this.#at = at;
        // The buffer of a caller can be detached. Then the array has no words, and memory reports it.
        if (at >= this.#words.length) this.#memory.words(this.table, false);
        if ((this.#words[at + 1]! & this.#reservedHi) !== 0) this.#check();
        return;
      }
      if (moved >>> 30 === 0 && this.#known <= Known.Directory && floor <= 1) {
        this.low = low;
        this.#known = Known.Nothing;
        this.#walkDirectory(floor);
        return;
      }
    }
    this.#begin(low, high);
    this.#walk(floor);
  }

  /**
   * Walks from the root. It does what {@link start} and repeated {@link descend} do, in local variables; from the page
   * directory on, {@link #walkDirectory} takes over.
   */
  #walk(floor: number): void {
    const memory = this.#memory;
    const format = this.#format;
    const path = this.#path;
    let table = this.#root;
    let level = this.#top;
    let rights = -1;
    let noExecute = 0;
    this.#epoch = epochOf(memory);
    for (;;) {
      const words = memory.words(table, false);
      const base = memory.wordOffset(table);
      path[level] = table;
      if (level === 1) {
        this.#directory = words;
        this.#directoryBase = base;
        this.#directoryRights = rights;
        this.#directoryNoExecute = noExecute;
        this.#walkDirectory(floor);
        return;
      }
      const at = base + 2 * this.indexAt(level);
      const low = words[at]! | 0;
      const high = words[at + 1]! | 0;
      // `#check` finds the reserved bits again and reports them, once the fields say where the entry is.
      const isBroken = format.hasReserved(low, high, level);
      if ((low & PteFlags.Present) === 0 || isBroken || level <= floor || format.isLeaf(low, level)) {
        this.#stand(words, table, level, base, at);
        this.rightsAbove = rights;
        this.noExecuteAbove = noExecute;
        this.#check();
        return;
      }
      rights &= low;
      noExecute |= high;
      table = format.frame(low, high, level);
      level -= 1;
    }
  }

  /** Walks the last two levels: from the page directory to its entry, or on to the entry of a leaf table. */
  #walkDirectory(floor: number): void {
    const directory = this.#directory;
    const above = this.#directoryBase + ((this.low >>> 20) & 0x3fe);
    if (above >= directory.length) this.#memory.words(this.#path[1]!, false);
    const low = directory[above]! | 0;
    const high = directory[above + 1]! | 0;
    const isLeaf = (low & (PteFlags.Present | PteFlags.Large)) !== PteFlags.Present;
    if (isLeaf || (high & this.#reservedHi) !== 0 || floor === 1) {
      this.#stand(directory, this.#path[1]!, 1, this.#directoryBase, above);
      this.rightsAbove = this.#directoryRights;
      this.noExecuteAbove = this.#directoryNoExecute;
      this.#known = Known.Directory;
      this.#check();
      return;
    }
    const memory = this.#memory;
    const table = this.#format.frame(low, high, 1);
    const words = memory.words(table, false);
    const base = memory.wordOffset(table);
    const at = base + ((this.low >>> 11) & 0x3fe);
    this.#stand(words, table, 0, base, at);
    this.rightsAbove = this.#directoryRights & low;
    this.noExecuteAbove = this.#directoryNoExecute | high;
    this.#known = Known.Leaf;
    if ((words[at + 1]! & this.#reservedHi) !== 0) this.#check();
  }

  /** Makes the entry at `words[at]` the place of the cursor. */
  #stand(words: Uint32Array, table: number, level: number, base: number, at: number): void {
    this.#words = words;
    this.table = table;
    this.level = level;
    this.#base = base;
    this.#at = at;
    this.#writable = false;
    this.#isLoopFree = undefined;
  }

  /** Makes every later walk throw `DESTROYED`: the tables are given back. */
  retire(): void {
    this.#isRetired = true;
    this.#known = Known.Nothing;
    this.writer.close();
  }

  /** @throws PageTableError `DESTROYED` */
  requireAlive(): void {
    if (this.#isRetired) throw new PageTableError('DESTROYED', { root: frameAddress(this.#root) });
  }

  /**
   * Goes to the entry of the root for an address. {@link descend} continues from there.
   *
   * @throws PageTableError `NON_CANONICAL`, `RESERVED_BITS`, `BUS_ERROR`, `OUTSIDE_PART`, `DESTROYED`
   */
  start(low: number, high: number): void {
    this.#begin(low, high);
    this.rightsAbove = -1;
    this.noExecuteAbove = 0;
    this.#enter(this.#root, this.#top);
  }

  /**
   * Goes to the next level, through the entry. {@link isTable} must be true.
   *
   * @throws PageTableError `RESERVED_BITS`, `BUS_ERROR`
   */
  descend(): void {
    const { entryLow, entryHigh, level } = this;
    this.rightsAbove &= entryLow;
    this.noExecuteAbove |= entryHigh;
    this.#enter(this.#format.frame(entryLow, entryHigh, level), level - 1);
  }

  /** Asks memory for write access to the entry's table. @throws PageTableError `READ_ONLY` */
  claim(): void {
    const words = this.#memory.words(this.table, true);
    if (words === this.#words) return;
    // Memory has moved the table: sparse memory allocates a frame at its first write.
    this.#words = words;
    if (this.level === 1) this.#directory = words;
  }

  /** Replaces the entry. The low word, which has the present bit, is written last. @throws PageTableError `READ_ONLY` */
  store(low: number, high: number): void {
    const memory = this.#memory;
    const wasTrue = memory.epoch === this.#epoch;
    this.claim();
    // Memory of the caller can throw, so all calls to it come before the store.
    const epoch = epochOf(memory);
    const words = this.#words;
    words[this.#at + 1] = high;
    words[this.#at] = low;
    // A store to the entry's own table leaves the tables above it alone, unless it is one of them.
    this.#isLoopFree ??= !this.isUpperTable(this.table, this.level);
    if (wasTrue && this.#known === this.level && this.#isLoopFree) {
      this.#epoch = epoch;
      this.#writable = true;
      this.#openWriter();
    } else this.#known = Known.Nothing;
  }

  /**
   * Replaces the high word of a level-0 entry by one that differs in visibility alone. It leads to the same frame, so
   * remembered walks stay true, even if the table is an upper table of another walk.
   *
   * @throws PageTableError `READ_ONLY`
   */
  storeVisibility(high: number): void {
    if (!this.#writable) {
      const wasTrue = this.#memory.epoch === this.#epoch;
      this.claim();
      this.#writable = true;
      if (wasTrue) this.#epoch = epochOf(this.#memory);
    }
    this.#words[this.#at + 1] = high;
    this.#openWriter();
  }

  /** Notes that the leaf table can be written to without asking. */
  #openWriter(): void {
    if (this.#known !== Known.Leaf) return;
    this.writer.open(this.low, this.high, this.#words, this.#base, this.#epoch);
  }

  /** Passes the page directory on, if the last walk is remembered from there on. */
  showDirectory(reader: DirectoryReader): void {
    if (this.#known === Known.Nothing) return;
    reader.open(this.low, this.high, this.#directory, this.#directoryBase, this.#epoch);
  }

  /** Whether one table was used at two levels on the way to the cursor's entry: through a table that leads to itself. */
  get repeatsTable(): boolean {
    for (let level = this.level; level < this.#top; level += 1) {
      if (this.isUpperTable(this.tableAt(level), level)) return true;
    }
    return false;
  }

  /** Whether `table` is also one of the tables that the walk has visited above `level`. */
  isUpperTable(table: number, level: number): boolean {
    for (let above = level + 1; above <= this.#top; above += 1) {
      if (this.#path[above] === table) return true;
    }
    return false;
  }

  /** The index of the last address in a table of `level`. */
  indexAt(level: number): number {
    return indexAt(this.low, this.high, level);
  }

  /** Sets the address of a new walk. Nothing is remembered until the walk has reached its page directory. */
  #begin(low: number, high: number): void {
    if (!isCanonical(high, this.#levels)) {
      throw new PageTableError('NON_CANONICAL', { vaddr: raw(low, high), levels: this.#levels });
    }
    if (this.#isRetired) this.requireAlive();
    this.#known = Known.Nothing;
    this.low = low;
    this.high = high;
    if (this.#part >= 0 && this.indexAt(this.#levels - 1) !== this.#part) {
      throw new PageTableError('OUTSIDE_PART', { vaddr: raw(low, high), index: this.#part });
    }
  }

  /** Goes to the entry of `table` for the last address. */
  #enter(table: number, level: number): void {
    const words = this.#memory.words(table, false);
    const base = this.#memory.wordOffset(table);
    this.#known = Known.Nothing;
    this.#path[level] = table;
    this.#stand(words, table, level, base, base + 2 * this.indexAt(level));
    this.#check();
  }

  /** @throws PageTableError `RESERVED_BITS` */
  #check(): void {
    const { entryLow: low, entryHigh: high, level, table, index } = this;
    if ((low & PteFlags.Present) === 0 || !this.#format.hasReserved(low, high, level)) return;
    throw corruptedEntry(this.#format, { vaddr: raw(this.low, this.high), level, table, index, low, high });
  }
}

/** The epoch of memory; {@link NEVER} if nothing may be remembered. It is an integer, which engines keep in a field as such. */
function epochOf(memory: PhysMemory): number {
  const { epoch } = memory;
  return epoch >= 0 ? epoch : NEVER;
}
