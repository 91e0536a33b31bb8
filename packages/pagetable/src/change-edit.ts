import { PteFlags } from './pte-flags.ts';
import { RegionEdit, Verdict } from './region-edit.ts';
import type { TableSpace } from './table-space.ts';

/** Bits of an entry to clear, and then to set, as two words each; PAT where a 4 KiB page has it, bit 7. */
export interface BitChange {
  readonly clearLow: number;
  readonly clearHigh: number;
  readonly setLow: number;
  readonly setHigh: number;
}

/** Changes bits of every leaf of a region. A large page that is wholly inside stays one; at the edges it is split. */
export class ChangeEdit extends RegionEdit {
  readonly #clearLow: number;
  readonly #clearHigh: number;
  readonly #setLow: number;
  readonly #setHigh: number;
  readonly #largeClear: number;
  readonly #largeSet: number;

  constructor(space: TableSpace, operation: string, change: BitChange) {
    super(space, operation);
    // As int32: a loop over them then stays one over integers.
    this.#clearLow = change.clearLow | 0;
    this.#clearHigh = change.clearHigh | 0;
    this.#setLow = change.setLow | 0;
    this.#setHigh = change.setHigh | 0;
    this.#largeClear = forLargePage(change.clearLow);
    this.#largeSet = forLargePage(change.setLow);
  }

  protected override judge(
    level: number,
    low: number,
    high: number,
    page: number,
    first: number,
    end: number,
  ): Verdict {
    if ((low & PteFlags.Present) === 0) this.refuseUnmapped(first, level);
    if (this.isTable(low, level)) return Verdict.Descend;
    this.nextLow = (low & ~this.#largeClear) | this.#largeSet;
    this.nextHigh = (high & ~this.#clearHigh) | this.#setHigh;
    if (this.nextLow === low && this.nextHigh === high) return Verdict.Keep;
    return first === page && end - first === 512 ** level ? Verdict.Store : Verdict.Split;
  }

  protected override judgePages(entries: Uint32Array, page: number): boolean {
    const clearLow = this.#clearLow;
    const clearHigh = this.#clearHigh;
    const setLow = this.#setLow;
    const setHigh = this.#setHigh;
    // What all have, and what any has, says whether some bit is not yet as it is to be.
    let allLow = -1;
    let allHigh = -1;
    let anyHigh = 0;
    for (let i = 0; i < entries.length; i += 2) {
      const high = (entries[i + 1] as number) | 0;
      allLow &= entries[i] as number;
      allHigh &= high;
      anyHigh |= high;
    }
    let anyLow = 0;
    if (clearLow !== 0) for (let i = 0; i < entries.length; i += 2) anyLow |= entries[i] as number;
    const difference =
      (anyLow & clearLow & ~setLow) |
      (anyHigh & clearHigh & ~setHigh) |
      (~allLow & setLow) |
      (~allHigh & setHigh);
    const isPresent = (allLow & PteFlags.Present) !== 0;
    // Which one it was is looked for only if there is one.
    if (!isPresent || (anyHigh & this.space.format.reservedHi) !== 0) this.#refuse(entries, page);
    return difference !== 0;
  }

  protected override editPages(entries: Uint32Array, page: number): void {
    const keepLow = ~this.#clearLow;
    const keepHigh = ~this.#clearHigh;
    const setLow = this.#setLow;
    const setHigh = this.#setHigh;
    if (keepLow === -1 && setLow === 0) {
      for (let i = 1; i < entries.length; i += 2) {
        entries[i] = (((entries[i] as number) | 0) & keepHigh) | setHigh;
      }
    } else {
      for (let i = 0; i < entries.length; i += 2) {
        entries[i + 1] = ((entries[i + 1] as number) & keepHigh) | setHigh;
        entries[i] = ((entries[i] as number) & keepLow) | setLow;
      }
    }
    this.changed(page, page + entries.length / 2);
  }

  /** Refuses the first page that is not mapped or corrupted. */
  #refuse(entries: Uint32Array, page: number): void {
    for (let i = 0; i < entries.length / 2; i += 1) {
      const low = entries[2 * i] as number;
      if ((low & PteFlags.Present) === 0) this.refuseUnmapped(page + i, 0);
      this.requireSound(low | 0, (entries[2 * i + 1] as number) | 0, 0, page + i);
    }
  }
}

/** The low word's bits as a large page has them: PAT is bit 12 there. */
export function forLargePage(low: number): number {
  return (low & ~PteFlags.Pat) | ((low & PteFlags.Pat) !== 0 ? PteFlags.PatLarge : 0);
}
