import type { PageRange } from '../entry/page-range.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { RegionEdit, Verdict } from './region-edit.ts';
import type { RegionEntry } from './region-entry.ts';

/** Unmaps a region. Splits a large page that lies only partly in the region. */
export class UnmapEdit extends RegionEdit {
  #allowHoles = false;

  /** Unmaps these pages. @param allowHoles - whether some of them may not be mapped */
  unmap(operation: string, range: PageRange, allowHoles: boolean): void {
    this.#allowHoles = allowHoles;
    this.run(operation, range);
  }

  protected override judge(entry: RegionEntry): Verdict {
    const { level, low } = entry;
    if ((low & PteFlags.Present) === 0) {
      if (!this.#allowHoles) this.refuseUnmapped(entry.from, level);
      return Verdict.Keep;
    }
    if (this.isTable(low, level)) return Verdict.Descend;
    this.nextLow = 0;
    this.nextHigh = 0;
    return entry.isWhole ? Verdict.Store : Verdict.Split;
  }

  protected override judgePages(words: Uint32Array, start: number, stop: number, page: number): boolean {
    const { reservedHi } = this.space.format;
    let present = false;
    for (let i = start; i < stop; i += 2) {
      const low = words[i]! | 0;
      if ((low & PteFlags.Present) !== 0) {
        present = true;
        const high = words[i + 1]! | 0;
        if ((high & reservedHi) !== 0) this.requireSound(low, high, 0, page + (i - start) / 2);
      } else if (!this.#allowHoles) this.refuseUnmapped(page + (i - start) / 2, 0);
    }
    return present;
  }

  protected override editPages(words: Uint32Array, start: number, stop: number, page: number): void {
    let first = -1;
    let last = -1;
    for (let i = start; i < stop; i += 2) {
      // The bits of an entry that is not present belong to software, so they stay.
      if ((words[i]! & PteFlags.Present) === 0) continue;
      words[i] = 0;
      words[i + 1] = 0;
      if (first < 0) first = i;
      last = i;
    }
    if (first >= 0) this.changed(page + (first - start) / 2, page + (last - start) / 2 + 1);
  }
}
