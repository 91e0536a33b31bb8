import { forLargePage } from './change-edit.ts';
import { frameHigh, frameLow, raw } from './entry-format.ts';
import { addressOf, SPANS } from './page-range.ts';
import { PageTableError } from './page-table-error.ts';
import { PteFlags } from './pte-flags.ts';
import { RegionEdit, Verdict } from './region-edit.ts';
import type { TableSpace } from './table-space.ts';

/** What {@link MapEdit} maps. */
export interface MapPlan {
  /** The first page, and the frame that it is mapped to; the others follow. */
  readonly page: number;
  readonly frame: number;
  /** Bits of a leaf in its two words, without address and size; PAT at bit 7. */
  readonly low: number;
  readonly high: number;
  /** The level of the largest pages to use. */
  readonly level: number;
  /** Whether all must have that size. */
  readonly exact: boolean;
  /** Whether what is mapped is replaced. */
  readonly remap: boolean;
}

/** Maps a region to physical memory, by the largest pages that both addresses allow, or by pages of one size. */
export class MapEdit extends RegionEdit {
  readonly #plan: MapPlan;
  readonly #largeLow: number;

  constructor(space: TableSpace, operation: string, plan: MapPlan) {
    super(space, operation);
    this.#plan = plan;
    this.#largeLow = forLargePage(plan.low) | PteFlags.Large;
  }

  protected override judge(
    level: number,
    low: number,
    high: number,
    page: number,
    first: number,
    end: number,
  ): Verdict {
    const { exact, remap, level: largest } = this.#plan;
    const isPresent = (low & PteFlags.Present) !== 0;
    if (isPresent && this.isTable(low, level)) {
      if (exact && level === largest) this.#refuseMapped(page, level, low, high);
      return Verdict.Descend;
    }
    if (isPresent && !remap) this.#refuseMapped(first, level, low, high);
    const span = SPANS[level] as number;
    const isWhole = first === page && end === page + span;
    const frame = this.#frameOf(page);
    if (isWhole && level <= largest && frame % span === 0) {
      this.nextLow = frameLow(frame) | this.#largeLow;
      this.nextHigh = frameHigh(frame) | this.#plan.high;
      return Verdict.Store;
    }
    return isPresent && !isWhole ? Verdict.Split : Verdict.Build;
  }

  protected override judgePages(entries: Uint32Array, page: number): boolean {
    for (let i = 0; i < entries.length; i += 2) {
      if (((entries[i] as number) & PteFlags.Present) === 0) continue;
      const low = (entries[i] as number) | 0;
      const high = (entries[i + 1] as number) | 0;
      this.requireSound(low, high, 0, page + i / 2);
      if (!this.#plan.remap) this.#refuseMapped(page + i / 2, 0, low, high);
    }
    return true;
  }

  protected override editPages(entries: Uint32Array, page: number): void {
    const { low, high, remap } = this.#plan;
    let frame = this.#frameOf(page);
    let first = -1;
    let last = -1;
    for (let i = 0; i < entries.length; ) {
      // As far as the high word stays the same: it changes each 4 GiB.
      const left = Math.min((entries.length - i) / 2, 0x10_0000 - (frame % 0x10_0000));
      const highWord = frameHigh(frame) | high;
      let lowWord = frameLow(frame) | low;
      for (const stop = i + 2 * left; i < stop; i += 2) {
        if (remap && ((entries[i] as number) & PteFlags.Present) !== 0) {
          last = i / 2;
          if (first < 0) first = last;
        }
        entries[i + 1] = highWord;
        entries[i] = lowWord;
        lowWord = (lowWord + 0x1000) | 0;
      }
      frame += left;
    }
    if (first >= 0) this.changed(page + first, page + last + 1);
  }

  #frameOf(page: number): number {
    return page - this.#plan.page + this.#plan.frame;
  }

  #refuseMapped(page: number, level: number, low: number, high: number): never {
    const vaddr = addressOf(page, this.space.levels);
    throw new PageTableError('ALREADY_MAPPED', { vaddr, level, entry: raw(low, high) });
  }
}
