import type { EntryFormat } from '../entry/entry-format.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TableCursor } from './table-cursor.ts';
import type { TableSpace } from './table-space.ts';

const NOWHERE = new Uint32Array(2);

/**
 * Finds the entry that maps an address, to read it. It remembers the page directory and the leaf table of its last walk, as the
 * cursor does, but nothing that a change needs. So a read in the same 1 GiB is two loads, and the cursor stays where it is.
 */
export class PageReader {
  /** The low word of the entry that was found last. */
  entryLow = 0;
  /** The high word of the entry that was found last. */
  entryHigh = 0;

  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #cursor: TableCursor;
  readonly #reservedHi: number;
  /** The epoch of memory in which the tables were found; -1 if none are remembered. */
  #epoch = -1;
  /** The low word of an address that the leaf table maps. */
  #low = 0;
  /** The high word of the addresses of both tables. */
  #high = 0;
  /** The array that holds the leaf table. */
  #words: Uint32Array = NOWHERE;
  /** The index in `#words` at which the leaf table begins. */
  #base = 0;
  /** The array that holds the page directory. */
  #directory: Uint32Array = NOWHERE;
  /** The index in `#directory` at which the page directory begins. */
  #directoryBase = 0;

  constructor({ memory, format }: TableSpace, cursor: TableCursor) {
    this.#memory = memory;
    this.#format = format;
    this.#cursor = cursor;
    this.#reservedHi = format.reservedHi;
  }

  /** Remembers nothing until the next walk. */
  forget(): void {
    this.#epoch = -1;
  }

  /**
   * Finds the leaf for an address. Returns its level; -1 if the address is not mapped.
   *
   * @throws PageTableError `NON_CANONICAL`, `RESERVED_BITS`, `BUS_ERROR`, `OUTSIDE_PART`, `DESTROYED`
   */
  find(low: number, high: number): number {
    if (high !== this.#high || this.#memory.epoch !== this.#epoch) return this.#walk(low, high);
    const moved = low ^ this.#low;
    if (moved >>> 21 !== 0 && (moved >>> 30 !== 0 || !this.#enter(low))) return this.#walk(low, high);
    const words = this.#words;
    const at = this.#base + ((low >>> 11) & 0x3fe);
    const entryLow = words[at]! | 0;
    const entryHigh = words[at + 1]! | 0;
    // The walk finds out what is wrong.
    if ((entryLow & PteFlags.Present) === 0 || (entryHigh & this.#reservedHi) !== 0)
      return this.#walk(low, high);
    this.entryLow = entryLow;
    this.entryHigh = entryHigh;
    return 0;
  }

  /** Goes to another leaf table of the page directory. Returns whether there is a sound one for the address. */
  #enter(low: number): boolean {
    const directory = this.#directory;
    const at = this.#directoryBase + ((low >>> 20) & 0x3fe);
    const entryLow = directory[at]! | 0;
    const entryHigh = directory[at + 1]! | 0;
    const isTable = (entryLow & (PteFlags.Present | PteFlags.Large)) === PteFlags.Present;
    if (!isTable || (entryHigh & this.#reservedHi) !== 0) return false;
    const memory = this.#memory;
    const table = this.#format.frame(entryLow, entryHigh, 1);
    const words = memory.words(table, false);
    // Memory of the caller can throw, so all calls to it come before the first field is set.
    this.#base = memory.wordOffset(table);
    this.#words = words;
    this.#low = low;
    return true;
  }

  #walk(low: number, high: number): number {
    const cursor = this.#cursor;
    cursor.seek(low, high);
    if (!cursor.isPresent) return -1;
    const { level } = cursor;
    this.entryLow = cursor.entryLow;
    this.entryHigh = cursor.entryHigh;
    if (level > 0) return level;
    this.#epoch = cursor.epoch >= 0 ? cursor.epoch : -1;
    this.#low = low;
    this.#high = high;
    this.#words = cursor.words;
    this.#base = cursor.base;
    this.#directory = cursor.directory;
    this.#directoryBase = cursor.directoryBase;
    return 0;
  }
}
