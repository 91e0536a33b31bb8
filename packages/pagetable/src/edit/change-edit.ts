import { refuseBeyondTop } from '../entry/mapping-checks.ts';
import type { PageRange } from '../entry/page-range.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { anyLowWord, changeHighWords, changeLowWords, SURVEY, surveyWords } from '../memory/leaf-words.ts';
import { RegionEdit, Verdict } from './region-edit.ts';
import type { RegionEntry } from './region-entry.ts';

/** Bits of an entry to clear, and then bits to set. PAT is bit 7, as in a 4 KiB page. */
export interface BitChange {
  /** Bits to clear in the low word. */
  readonly clearLow: number;
  /** Bits to clear in the high word. */
  readonly clearHigh: number;
  /** Bits to set in the low word. */
  readonly setLow: number;
  /** Bits to set in the high word. */
  readonly setHigh: number;
  /** Whether this changes private/shared. A page whose address has a bit above the vTOM bit is always shared, and refused. */
  readonly isVisibility?: boolean;
}

/** Changes bits of every leaf of a region. Keeps large pages that lie wholly in the region, and splits those at its edges. */
export class ChangeEdit extends RegionEdit {
  #clearLow = 0;
  #clearHigh = 0;
  #setLow = 0;
  #setHigh = 0;
  #largeClear = 0;
  #largeSet = 0;
  #refusedHigh = 0;

  /** Changes the bits of these pages. */
  change(operation: string, range: PageRange, change: BitChange): void {
    // As int32, so that loops compute with integers only.
    this.#clearLow = change.clearLow | 0;
    this.#clearHigh = change.clearHigh | 0;
    this.#setLow = change.setLow | 0;
    this.#setHigh = change.setHigh | 0;
    this.#largeClear = forLargePage(change.clearLow);
    this.#largeSet = forLargePage(change.setLow);
    this.#refusedHigh = change.isVisibility === true ? this.space.format.beyondTopHi : 0;
    this.run(operation, range);
  }

  protected override judge(entry: RegionEntry): Verdict {
    const { level, low, high } = entry;
    if ((low & PteFlags.Present) === 0) this.refuseUnmapped(entry.from, level);
    if (this.isTable(low, level)) return Verdict.Descend;
    if ((high & this.#refusedHigh) !== 0) refuseBeyondTop(low, high, level, this.space.format);
    this.nextLow = (low & ~this.#largeClear) | this.#largeSet;
    this.nextHigh = (high & ~this.#clearHigh) | this.#setHigh;
    if (this.nextLow === low && this.nextHigh === high) return Verdict.Keep;
    return entry.isWhole ? Verdict.Store : Verdict.Split;
  }

  protected override judgePages(words: Uint32Array, start: number, stop: number, page: number): boolean {
    surveyWords(words, start, stop);
    const allLow = SURVEY[0]!;
    const allHigh = SURVEY[1]!;
    const anyHigh = SURVEY[2]!;
    // Looks for the first bad page only if there is one.
    const refused = this.space.format.reservedHi | this.#refusedHigh;
    if ((allLow & PteFlags.Present) === 0 || (anyHigh & refused) !== 0) {
      this.#refuse(words, start, stop, page);
    }
    const clearLow = this.#clearLow & ~this.#setLow;
    const setLow = this.#setLow;
    const setHigh = this.#setHigh;
    // The AND and the OR over all entries tell whether any bit still has to change.
    const difference =
      (clearLow === 0 ? 0 : anyLowWord(words, start, stop) & clearLow) |
      (anyHigh & this.#clearHigh & ~setHigh) |
      (~allLow & setLow) |
      (~allHigh & setHigh);
    return difference !== 0;
  }

  protected override editPages(words: Uint32Array, start: number, stop: number, page: number): void {
    if ((this.#clearHigh | this.#setHigh) !== 0) {
      changeHighWords(words, start, stop, ~this.#clearHigh, this.#setHigh);
    }
    if ((this.#clearLow | this.#setLow) !== 0) {
      changeLowWords(words, start, stop, ~this.#clearLow, this.#setLow);
    }
    this.changed(page, page + (stop - start) / 2);
  }

  /** Refuses the first page that is not mapped, is corrupted, or is always shared. */
  #refuse(words: Uint32Array, start: number, stop: number, page: number): void {
    for (let i = start; i < stop; i += 2) {
      const at = page + (i - start) / 2;
      const low = words[i]! | 0;
      const high = words[i + 1]! | 0;
      if ((low & PteFlags.Present) === 0) this.refuseUnmapped(at, 0);
      this.requireSound(low, high, 0, at);
      if ((high & this.#refusedHigh) !== 0) refuseBeyondTop(low, high, 0, this.space.format);
    }
  }
}

/** The bits of a low word in the positions of a large page: PAT moves from bit 7 to bit 12. */
export function forLargePage(low: number): number {
  return (low & ~PteFlags.Pat) | ((low & PteFlags.Pat) !== 0 ? PteFlags.PatLarge : 0);
}
