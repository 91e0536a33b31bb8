import type { EntryFormat } from '../entry/entry-format.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';

const NOWHERE = new Uint32Array(2);
/** Not an epoch: a guarded memory has none below 0. It is an integer, so that engines keep epochs in a field as integers. */
const CLOSED = -1;

/**
 * The result of {@link LeafWriter.tryFlip}. `Unable`: nothing was done, a walk is needed. `Idle`: the entry has that
 * visibility already. `Stored`: the entry was changed.
 */
export const Flip = { Unable: 0, Idle: 1, Stored: 2 } as const;

/** One of {@link Flip}. */
export type Flip = (typeof Flip)[keyof typeof Flip];

/**
 * Stores to the leaf table to which a walk has stored last, without a walk and without asking memory again. Loops over pages
 * take this path 511 times of 512.
 *
 * While memory has the epoch of that store, the same addresses lead to the same table, and its array is that of memory. The
 * changes that are made here end no remembered walk: a flip leaves the frame of an entry alone, and a fill makes an entry
 * present, while a walk that is remembered went through present entries alone (docs/decisions/0011).
 */
export class LeafWriter {
  /** Whether every page belongs to this page table, and nobody waits for reports of flushes: {@link flip} works then. */
  isDirect = false;

  readonly #memory: PhysMemory;
  readonly #guard: CallGuard;
  /** Bits of a high word with which {@link tryFlip} refuses an entry: reserved bits, and an address at or above vTOM. */
  readonly #unfitHi: number;
  /** Bits of a high word that do not express visibility. */
  readonly #keepHi: number;
  /** Bits that a shared entry has set. */
  readonly #sharedHi: number;
  /** Bits that a private entry has set. */
  readonly #privateHi: number;
  /** The epoch of memory in which the leaf table can be written to. */
  #epoch = CLOSED;
  /** The low word of the first address that the leaf table maps. */
  #low = 0;
  /** The high word of the addresses that it maps. */
  #high = 0;
  /** The array that holds the leaf table. */
  #words: Uint32Array = NOWHERE;
  /** The index in `#words` at which it begins. */
  #base = 0;

  constructor(memory: PhysMemory, guard: CallGuard, format: EntryFormat) {
    this.#memory = memory;
    this.#guard = guard;
    this.#unfitHi = format.reservedHi | format.beyondTopHi;
    this.#keepHi = ~(format.sharedHi | format.privateHi);
    this.#sharedHi = format.sharedHi;
    this.#privateHi = format.privateHi;
  }

  /** Notes that memory has given write access to the leaf table for an address, in `epoch`. */
  open(low: number, high: number, words: Uint32Array, base: number, epoch: number): void {
    this.#epoch = epoch >= 0 ? epoch : CLOSED;
    this.#low = low & ~0x1f_ffff;
    this.#high = high;
    this.#words = words;
    this.#base = base;
  }

  /** Stores nothing until the next {@link open}. */
  close(): void {
    this.#epoch = CLOSED;
  }

  /** Makes the page at an address shared or private. Returns whether nothing is left to do. */
  flip(low: number, high: number, shared: boolean): boolean {
    if (!this.isDirect || this.#guard.during !== undefined) return false;
    return this.tryFlip(low, high, shared) !== Flip.Unable;
  }

  /** As {@link flip}, for a caller that has made sure of the owner and reports the flush. */
  tryFlip(low: number, high: number, shared: boolean): Flip {
    const offset = low ^ this.#low;
    if ((offset & ~0x1f_f000) !== 0 || high !== this.#high) return Flip.Unable;
    if (this.#memory.epoch !== this.#epoch) return Flip.Unable;
    const words = this.#words;
    const at = this.#base + (offset >>> 11);
    const entryHigh = words[at + 1]! | 0;
    if ((words[at]! & PteFlags.Present) === 0 || (entryHigh & this.#unfitHi) !== 0) return Flip.Unable;
    const wanted = (entryHigh & this.#keepHi) | (shared ? this.#sharedHi : this.#privateHi);
    if (wanted === entryHigh) return Flip.Idle;
    words[at + 1] = wanted;
    return Flip.Stored;
  }

  /** Stores an entry for the page at an address if its place is empty. Returns whether it did. */
  tryFill(low: number, high: number, entryLow: number, entryHigh: number): boolean {
    const offset = low ^ this.#low;
    if ((offset & ~0x1f_f000) !== 0 || high !== this.#high) return false;
    if (this.#memory.epoch !== this.#epoch) return false;
    const words = this.#words;
    const at = this.#base + (offset >>> 11);
    // An array whose buffer was detached has no words.
    if (at >= words.length || (words[at]! & PteFlags.Present) !== 0) return false;
    words[at + 1] = entryHigh;
    words[at] = entryLow;
    return true;
  }
}
