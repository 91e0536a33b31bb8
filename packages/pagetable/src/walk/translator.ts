import type { PhysAddr } from '@svsm/address';
import type { EntryFormat } from '../entry/entry-format.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { raw } from '../entry/words.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { DirectoryReader, TableCursor } from './table-cursor.ts';

/** As constants of the module, they leave engines more room to put {@link Translator} into a loop. */
const PRESENT: number = PteFlags.Present;
const PRESENT_OR_LARGE: number = PteFlags.Present | PteFlags.Large;
const NOWHERE = new Uint32Array(2);
/** Not an epoch, as in the cursor. */
const NEVER = -1;

/**
 * Translates addresses. Most addresses lie in the same 1 GiB as the last one: for them, it reads two entries, that of the page
 * directory to which the cursor has walked and that of the leaf table. The cursor walks for all others: large
 * pages, entries that are not present or corrupted, and the other places.
 *
 * The page directory is that of the cursor's walk, under the epoch of that walk: what ends one, ends the other.
 */
export class Translator implements DirectoryReader {
  // The fields are as in `LeafWriter`, for the same reasons.
  declare private readonly memory: PhysMemory;
  declare private readonly guard: CallGuard;
  declare private readonly cursor: TableCursor;
  declare private readonly format: EntryFormat;
  declare private readonly reservedHi: number;
  declare private readonly frameHi: number;
  /** The epoch of memory in which the page directory is that of these addresses. */
  private epoch = NEVER;
  /** An address that the page directory maps. */
  private low = 0;
  private high = 0;
  /** The array that holds the page directory, and the index at which it begins. */
  declare private directory: Uint32Array;
  private base = 0;
  /** The low word of the entry that {@link find} has found. */
  private entryLow = 0;
  /** Its high word. */
  private entryHigh = 0;

  constructor(memory: PhysMemory, guard: CallGuard, cursor: TableCursor, format: EntryFormat) {
    this.memory = memory;
    this.guard = guard;
    this.cursor = cursor;
    this.format = format;
    this.reservedHi = format.reservedHi;
    this.frameHi = format.addressHi & ~format.sharedHi;
    this.directory = NOWHERE;
  }

  /**
   * The physical address to which an address translates; `undefined` if it is not mapped.
   *
   * @throws PageTableError `BUSY`, and as `TableCursor.seek`
   */
  translate(low: number, high: number): PhysAddr | undefined {
    if (!this.find(low, high)) return this.addressByWalk(low, high);
    return raw((this.entryLow & -0x1000) | (low & 0xfff), this.entryHigh & this.format.addressHi) as PhysAddr;
  }

  /** As {@link translate}, the number of the 4 KiB frame. */
  frameAt(low: number, high: number): number | undefined {
    if (!this.find(low, high)) return this.frameByWalk(low, high);
    return (this.entryHigh & this.frameHi) * 0x10_0000 + (this.entryLow >>> 12);
  }

  open(low: number, high: number, directory: Uint32Array, base: number, epoch: number): void {
    this.epoch = epoch;
    this.low = low;
    this.high = high;
    this.directory = directory;
    this.base = base;
  }

  /** Leaves all addresses to the cursor until the next {@link open}. */
  close(): void {
    this.epoch = NEVER;
  }

  /** Finds the entry that maps an address by a 4 KiB page. Returns false if a walk is needed. */
  private find(low: number, high: number): boolean {
    const { memory, directory, reservedHi } = this;
    if (
      high !== this.high ||
      (low ^ this.low) >>> 30 !== 0 ||
      memory.epoch !== this.epoch ||
      this.guard.during !== undefined
    )
      return false;
    const above = this.base + ((low >>> 20) & 0x3fe);
    const upper = directory[above]!;
    const upperHigh = directory[above + 1]!;
    // One comparison for all that an entry can have against it.
    if ((((upper & PRESENT_OR_LARGE) ^ PRESENT) | (upperHigh & reservedHi)) !== 0) return false;
    const table = (upperHigh & this.frameHi) * 0x10_0000 + (upper >>> 12);
    const words = memory.words(table, false);
    const at = memory.wordOffset(table) + ((low >>> 11) & 0x3fe);
    const entryLow = words[at]! | 0;
    const entryHigh = words[at + 1]! | 0;
    this.entryLow = entryLow;
    this.entryHigh = entryHigh;
    return (((entryLow & PRESENT) ^ PRESENT) | (entryHigh & reservedHi)) === 0;
  }

  private addressByWalk(low: number, high: number): PhysAddr | undefined {
    const size = this.walk(low, high);
    if (size === 0) return undefined;
    const { entryLow, entryHigh } = this.cursor;
    return this.format.byteAddress(entryLow, entryHigh, size, low & (size - 1));
  }

  private frameByWalk(low: number, high: number): number | undefined {
    const size = this.walk(low, high);
    if (size === 0) return undefined;
    const { entryLow, entryHigh, level } = this.cursor;
    return this.format.frame(entryLow, entryHigh, level) + ((low & (size - 1)) >>> 12);
  }

  /** Walks to an address. Returns the size of the page that maps it; 0 if none does. */
  private walk(low: number, high: number): number {
    const { cursor } = this;
    this.guard.requireIdle();
    cursor.seek(low, high);
    cursor.showDirectory(this);
    return cursor.isPresent ? PAGE_SIZES[cursor.level]! : 0;
  }
}
