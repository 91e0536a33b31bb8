import type { EntryFormat } from '../entry/entry-format.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';

/** As a constant of the module, it leaves engines more room to put {@link LeafWriter.flip} into a loop. */
const PRESENT: number = PteFlags.Present;
const NOWHERE = new Uint32Array(2);
/** Not an epoch: a guarded memory has none below 0. It is an integer, so that engines keep epochs in a field as integers. */
const CLOSED = -1;

/** The result of {@link LeafWriter.flip}: nothing was done, and a walk is needed. */
export const UNABLE = 0;
/** The result of {@link LeafWriter.flip}: the entry has that visibility already. */
export const IDLE = 1;
/** The result of {@link LeafWriter.flip}: the entry was changed. */
const STORED = 2;

/** A result of {@link LeafWriter.flip}. */
export type Flip = typeof UNABLE | typeof IDLE | typeof STORED;

/**
 * Stores to the leaf table to which a walk has stored last, without a walk and without asking memory again. Loops over pages
 * take this path 511 times of 512.
 *
 * While memory has the epoch of that store, the same addresses lead to the same table, and its array is that of memory. The
 * changes that are made here end no remembered walk: a flip leaves the frame of an entry alone, and a fill makes an entry
 * present, while a walk that is remembered went through present entries alone (docs/decisions/0011).
 */
export class LeafWriter {
  // Loops over pages spend half their time here. Private fields of the language take twice the code, and a field that is declared
  // before the constructor sets it has no type for an engine: it would check what it finds there each time.
  declare private readonly memory: PhysMemory;
  declare private readonly guard: CallGuard;
  /** The format of the entries. */
  declare readonly format: EntryFormat;
  /** Bits of a high word with which {@link flip} refuses an entry: reserved bits, and an address at or above vTOM. */
  declare private readonly unfitHi: number;
  /** Bits of a high word that do not express visibility. */
  declare private readonly keepHi: number;
  /** Bits that a shared entry has set. */
  declare private readonly sharedHi: number;
  /** Bits that a private entry has set. */
  declare private readonly privateHi: number;
  /** Bits of the high half of a physical address that no entry can hold. */
  declare private readonly beyondEndHi: number;
  /** Whether every page belongs to this page table: no part is attached, and no self-map is known. */
  private isSole = false;
  /** Whether nobody waits for reports of flushes either. */
  private isDirect = false;
  /** The epoch of memory in which the leaf table can be written to. */
  private epoch = CLOSED;
  /** The same for callers that neither look for the owner of a page nor report a flush. */
  private directEpoch = CLOSED;
  /** The low word of the first address that the leaf table maps. */
  private low = 0;
  /** The high word of the addresses that it maps. */
  private high = 0;
  /** The array that holds the leaf table. */
  declare private words: Uint32Array;
  /** The index in `words` at which it begins. */
  private base = 0;
  /** The flags of the last private 4 KiB page that was mapped, as the caller passed them; NaN if there was none. */
  private flags = Number.NaN;
  /** The low word of an entry with these flags, without an address. */
  private flagsLow = 0;
  /** Its high word. */
  private flagsHigh = 0;

  constructor(memory: PhysMemory, guard: CallGuard, format: EntryFormat) {
    this.memory = memory;
    this.guard = guard;
    this.format = format;
    this.unfitHi = format.reservedHi | format.beyondTopHi;
    this.keepHi = ~(format.sharedHi | format.privateHi);
    this.sharedHi = format.sharedHi;
    this.privateHi = format.privateHi;
    this.beyondEndHi = format.beyondEndHi;
    this.words = NOWHERE;
  }

  /**
   * Sets for which pages the owner is known beforehand, and closes.
   *
   * @param isSole - whether every page belongs to this page table
   * @param isDirect - whether, besides, nobody waits for reports of flushes
   */
  serve(isSole: boolean, isDirect: boolean): void {
    this.isSole = isSole;
    this.isDirect = isDirect;
    this.flags = Number.NaN;
    this.close();
  }

  /** Notes that memory has given write access to the leaf table for an address, in `epoch`. */
  open(low: number, high: number, words: Uint32Array, base: number, epoch: number): void {
    this.epoch = epoch >= 0 ? epoch : CLOSED;
    this.directEpoch = this.isDirect ? this.epoch : CLOSED;
    this.low = low & ~0x1f_ffff;
    this.high = high;
    this.words = words;
    this.base = base;
  }

  /** Stores nothing until the next {@link open}. */
  close(): void {
    this.epoch = CLOSED;
    this.directEpoch = CLOSED;
  }

  /**
   * As {@link flip}, for a caller that has not looked for the owner of the page, and reports no flush. Returns whether the page has that
   * visibility now.
   */
  flipDirect(low: number, high: number, shared: boolean): boolean {
    if (this.guard.during !== undefined) return false;
    return this.flipIn(this.directEpoch, low, high, shared) !== UNABLE;
  }

  /** Makes the page at an address shared or private. The caller has made sure of the owner, and reports the flush. */
  flip(low: number, high: number, shared: boolean): Flip {
    return this.flipIn(this.epoch, low, high, shared);
  }

  /** Notes flags that a private 4 KiB page can have. */
  allow(flags: number): void {
    if (!this.isSole) return;
    this.flags = flags;
    this.flagsLow = (flags & 0x1fff) | PRESENT;
    this.flagsHigh = (flags & 0xfff0_0000) | this.privateHi;
  }

  /** Whether the caller of {@link tryMap} need not look for the owner of a page, nor check these flags. */
  allows(flags: number): boolean {
    return flags === this.flags && this.guard.during === undefined;
  }

  /**
   * Maps a private page with the flags that {@link allows} has compared, if its place is empty. Returns whether it did. If not, the
   * physical address may be one that no page can have.
   */
  tryMap(low: number, high: number, paddrLow: number, paddrHigh: number): boolean {
    if (((paddrLow & 0xfff) | (paddrHigh & this.beyondEndHi)) !== 0) return false;
    return this.tryFill(low, high, paddrLow | this.flagsLow, paddrHigh | this.flagsHigh);
  }

  /** Stores an entry for the page at an address if its place is empty. Returns whether it did. */
  tryFill(low: number, high: number, entryLow: number, entryHigh: number): boolean {
    const offset = low ^ this.low;
    if ((offset & ~0x1f_f000) !== 0 || high !== this.high || this.memory.epoch !== this.epoch) return false;
    const { words } = this;
    const at = this.base + (offset >>> 11);
    const old = words[at];
    // An array whose buffer was detached has no words.
    if (old === undefined || (old & PRESENT) !== 0) return false;
    words[at + 1] = entryHigh;
    words[at] = entryLow;
    return true;
  }

  /** Flips in `epoch`. */
  private flipIn(epoch: number, low: number, high: number, shared: boolean): Flip {
    const offset = low ^ this.low;
    if ((offset & ~0x1f_f000) !== 0 || high !== this.high) return UNABLE;
    if (this.memory.epoch !== epoch) return UNABLE;
    const { words } = this;
    const at = this.base + (offset >>> 11);
    const entryHigh = words[at + 1]! | 0;
    if ((words[at]! & PRESENT) === 0 || (entryHigh & this.unfitHi) !== 0) return UNABLE;
    const wanted = (entryHigh & this.keepHi) | (shared ? this.sharedHi : this.privateHi);
    if (wanted === entryHigh) return IDLE;
    words[at + 1] = wanted;
    return STORED;
  }
}
