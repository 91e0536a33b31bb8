import type { VirtAddr } from '@svsm/address';
import { corruptedEntry } from '../entry/corrupted-entry.ts';
import type { EntryFormat, PageTableEntry } from '../entry/entry-format.ts';
import { SPANS } from '../entry/page-range.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import {
  CELL,
  frameAddress,
  HALVES,
  indexAt,
  is64Bit,
  isCanonical,
  MAX_LEVELS,
  raw,
} from '../entry/words.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TableSpace } from './table-space.ts';

const NOWHERE = new Uint32Array(2);

/** What of the last walk is remembered: its leaf table and its page directory, the directory alone, or nothing. */
const Known = { Leaf: 0, Directory: 1, Nothing: 2 } as const;

/** What {@link TableCursor.tryFlip} has done: nothing, for it takes a walk; nothing, for it is so; or it has stored. */
export const Flip = { Unable: 0, Idle: 1, Stored: 2 } as const;

/** One of {@link Flip}. */
export type Flip = (typeof Flip)[keyof typeof Flip];

/**
 * A place in the tables below one root: an entry, found by a walk. In here an address is two 32-bit halves, an entry two
 * words and a table a frame number; no bigint is made on the way. Halves and words are int32 (`| 0`), which engines keep
 * in a field without allocating.
 */
export class TableCursor {
  /** The halves of the address that was last sought. */
  low = 0;
  high = 0;
  /** Where the entry found lies: the frame number of its table, its level, and its words. */
  table = 0;
  level = 0;
  /** R/W and U/S of the entries above it, ANDed, and their NX, ORed: the sign (AMD64 APM vol. 2, §5.6). */
  rightsAbove = -1;
  noExecuteAbove = 0;

  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #root: number;
  readonly #levels: 4 | 5;
  readonly #top: number;
  /** The only entry of a root that addresses may go by, if this is a part; else -1. */
  readonly #part: number;
  readonly #reservedHi: number;
  /** What visibility is in a high word: what must not be there, what to keep, and what to set. */
  readonly #unfitHi: number;
  readonly #keepHi: number;
  readonly #sharedHi: number;
  readonly #privateHi: number;
  #words: Uint32Array = NOWHERE;
  /** Where the table and the entry begin in those words. */
  #base = 0;
  #at = 0;
  /** What is remembered of the way to the address last sought: one of {@link Known}, true in one epoch of memory. */
  #known: number = Known.Nothing;
  #epoch = Number.NaN;
  /** Whether the words of the leaf table were asked for to write in that epoch. */
  #writable = false;
  /** The epoch in which {@link tryFlip} may write to these words, and the low half of the first address of its table. */
  #flipEpoch = Number.NaN;
  #flipLow = 0;
  /** The page directory on that way, the table at level 1: its words, and where it begins in them. */
  #directory: Uint32Array = NOWHERE;
  #directoryBase = 0;
  #directoryRights = -1;
  #directoryNoExecute = 0;
  /** The tables on that way, by level, down to it; and whether that of the entry found is none of those above, once known. */
  readonly #path: Float64Array = new Float64Array(MAX_LEVELS);
  #isPlainWay: boolean | undefined;
  #isRetired = false;

  constructor({ memory, format, root, levels, top, base }: TableSpace) {
    this.#memory = memory;
    this.#format = format;
    this.#root = root;
    this.#levels = levels;
    this.#top = top;
    this.#part = top === levels - 1 ? -1 : base / SPANS[levels - 1]!;
    this.#reservedHi = format.reservedHi;
    this.#unfitHi = format.reservedHi | format.beyondTopHi;
    this.#keepHi = ~(format.sharedHi | format.privateHi);
    this.#sharedHi = format.sharedHi;
    this.#privateHi = format.privateHi;
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

  /** Whether the entry found points to a table. */
  get isTable(): boolean {
    const low = this.entryLow;
    return (
      (low & PteFlags.Present) !== 0 && this.level > 0 && (this.level > 2 || (low & PteFlags.Large) === 0)
    );
  }

  /** The entry found, taken apart. */
  get entry(): PageTableEntry {
    return this.#format.decode(this.entryLow, this.entryHigh, this.level);
  }

  /** The frame number of the table at `level`, on the way to the entry found. */
  tableAt(level: number): number {
    return level === this.level ? this.table : this.#path[level]!;
  }

  /** Its index in its table. */
  get index(): number {
    return this.indexAt(this.level);
  }

  /**
   * Walks to the entry that maps `vaddr`, to the first that is not present, or to the one at level `floor`.
   *
   * @throws PageTableError `NON_CANONICAL`, `RESERVED_BITS`, `BUS_ERROR`
   */
  seek(vaddr: VirtAddr, floor = 0): void {
    if (!is64Bit(vaddr)) this.#refuse(vaddr);
    CELL[0] = vaddr;
    const low = HALVES[0]! | 0;
    const high = HALVES[1]! | 0;
    if (high === this.high && this.#memory.epoch === this.#epoch) {
      const moved = low ^ this.low;
      // Pages are visited in order, mostly: 511 times of 512 the cursor stands in the leaf table of the next one already.
      if (moved >>> 21 === 0 && this.#known === Known.Leaf && floor === 0) {
        const at = this.#base + ((low >>> 11) & 0x3fe);
        this.low = low;
        this.#at = at;
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
    if (!isCanonical(high, this.#levels)) this.#refuse(vaddr);
    this.#leaveFor(low, high);
    this.#walk(floor);
  }

  /** From the root down to the page directory, and on: {@link descend} as often as it goes, in local variables. */
  #walk(floor: number): void {
    const memory = this.#memory;
    const format = this.#format;
    const path = this.#path;
    let table = this.#root;
    let level = this.#top;
    let rights = -1;
    let noExecute = 0;
    this.#epoch = memory.epoch;
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
      // Reserved bits are looked at again, and reported, once the place is noted.
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

  /** The last two levels: through the page directory, and its leaf table if it leads to one. */
  #walkDirectory(floor: number): void {
    const directory = this.#directory;
    const above = this.#directoryBase + ((this.low >>> 20) & 0x3fe);
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

  #stand(words: Uint32Array, table: number, level: number, base: number, at: number): void {
    this.#words = words;
    this.table = table;
    this.level = level;
    this.#base = base;
    this.#at = at;
    this.#writable = false;
    this.#flipEpoch = Number.NaN;
    this.#isPlainWay = undefined;
  }

  /**
   * What a loop that flips visibility does 511 times of 512, in one go: where the cursor stands in the leaf table already,
   * and has flipped another entry of it, flips that of `vaddr`. Where it takes more than that, nothing is done.
   */
  tryFlip(vaddr: VirtAddr, shared: boolean): Flip {
    // `is64Bit`, written out: as a call it costs a tenth of the loop.
    if (typeof vaddr !== 'bigint' || vaddr < 0n || vaddr > 0xffff_ffff_ffff_ffffn) return Flip.Unable;
    if (this.#memory.epoch !== this.#flipEpoch) return Flip.Unable;
    CELL[0] = vaddr;
    const offset = (HALVES[0]! | 0) ^ this.#flipLow;
    if ((offset & ~0x1f_f000) !== 0 || (HALVES[1]! | 0) !== this.high) return Flip.Unable;
    const words = this.#words;
    const at = this.#base + (offset >>> 11);
    const high = words[at + 1]! | 0;
    if ((words[at]! & PteFlags.Present) === 0 || (high & this.#unfitHi) !== 0) return Flip.Unable;
    const wanted = (high & this.#keepHi) | (shared ? this.#sharedHi : this.#privateHi);
    if (wanted === high) return Flip.Idle;
    words[at + 1] = wanted;
    return Flip.Stored;
  }

  /** Makes every further walk an error: the tables belong to others. */
  retire(): void {
    this.#isRetired = true;
    this.#known = Known.Nothing;
    this.#flipEpoch = Number.NaN;
  }

  /** @throws PageTableError `DESTROYED` */
  requireAlive(): void {
    if (this.#isRetired) throw new PageTableError('DESTROYED', { root: frameAddress(this.#root) });
  }

  /** Begins a walk for `vaddr` at the root, for {@link descend} to go on. */
  start(vaddr: VirtAddr): void {
    if (!is64Bit(vaddr)) this.#refuse(vaddr);
    CELL[0] = vaddr;
    const high = HALVES[1]! | 0;
    if (!isCanonical(high, this.#levels)) this.#refuse(vaddr);
    this.#leaveFor(HALVES[0]! | 0, high);
    this.rightsAbove = -1;
    this.noExecuteAbove = 0;
    this.#enter(this.#root, this.#top);
  }

  /** Goes on to the next level, by way of the entry found, which {@link isTable}. */
  descend(): void {
    const { entryLow, entryHigh, level } = this;
    this.rightsAbove &= entryLow;
    this.noExecuteAbove |= entryHigh;
    this.#enter(this.#format.frame(entryLow, entryHigh, level), level - 1);
  }

  /** Makes sure that the entry found can be written. @throws PageTableError `READ_ONLY` */
  claim(): void {
    const words = this.#memory.words(this.table, true);
    if (words === this.#words) return;
    // Memory has moved the table, so that it can be written.
    this.#words = words;
    if (this.level === 1) this.#directory = words;
  }

  /** Replaces the entry found; the low word, with its present bit, last. */
  store(low: number, high: number): void {
    const memory = this.#memory;
    const wasTrue = memory.epoch === this.#epoch;
    this.claim();
    const words = this.#words;
    words[this.#at + 1] = high;
    words[this.#at] = low;
    // Only what others write makes the way here untrue, if no table on it is the one written to.
    this.#isPlainWay ??= !this.isUpperTable(this.table, this.level);
    if (wasTrue && this.#known === this.level && this.#isPlainWay) {
      this.#epoch = memory.epoch;
      this.#writable = true;
    } else this.#known = Known.Nothing;
  }

  /**
   * Replaces the high word of the level-0 entry found by one that leads every walk the same way, should the table be an
   * upper one of another walk as well. So the way here stays true, and memory need not be asked again for each page.
   */
  storeVisibility(high: number): void {
    if (!this.#writable) {
      const wasTrue = this.#memory.epoch === this.#epoch;
      this.claim();
      this.#writable = true;
      if (wasTrue) this.#epoch = this.#memory.epoch;
    }
    this.#words[this.#at + 1] = high;
    if (this.#known !== Known.Leaf) return;
    this.#flipEpoch = this.#epoch;
    this.#flipLow = this.low & ~0x1f_ffff;
  }

  /** Whether `table` is also one of the tables above `level`, on the way to the entry found. */
  isUpperTable(table: number, level: number): boolean {
    for (let above = level + 1; above <= this.#top; above += 1) {
      if (this.#path[above] === table) return true;
    }
    return false;
  }

  /** The index of the address last sought in a table of `level`. */
  indexAt(level: number): number {
    return indexAt(this.low, this.high, level);
  }

  /** Sets out for another address: should a table on the way be outside memory, the cursor stands in no leaf table. */
  #leaveFor(low: number, high: number): void {
    if (this.#isRetired) this.requireAlive();
    this.#known = Known.Nothing;
    this.low = low;
    this.high = high;
    if (this.#part >= 0 && this.indexAt(this.#levels - 1) !== this.#part) {
      throw new PageTableError('OUTSIDE_PART', { vaddr: raw(low, high), index: this.#part });
    }
  }

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

  #refuse(vaddr: unknown): never {
    throw new PageTableError('NON_CANONICAL', { vaddr, levels: this.#levels });
  }
}
