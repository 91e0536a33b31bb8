import type { PhysPage } from '@svsm/memory-region';
import { requireAnySizeFlags, requirePhysical } from '../entry/mapping-checks.ts';
import { addressOf, type PageRange, SPANS } from '../entry/page-range.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import type { PagingConfig } from '../entry/paging-config.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameHigh, frameLow, raw } from '../entry/words.ts';
import { anyLowWord, fillTable, fillWords, TABLE_WORDS } from '../memory/leaf-words.ts';
import type { TableSpace } from '../walk/table-space.ts';
import { forLargePage } from './change-edit.ts';
import type { MapRegionOptions } from './page-table-options.ts';
import { RegionEdit, Verdict, wordsOf } from './region-edit.ts';
import type { RegionEntry } from './region-entry.ts';

/** The mapping that a {@link MapEdit} makes. */
export interface MapPlan {
  /** The first page. */
  readonly page: number;
  /** The frame of the first page. Frames follow in the order of the pages. */
  readonly frame: number;
  /** The low word of a leaf, without address and PS. PAT is bit 7. */
  readonly low: number;
  /** The high word of a leaf, without address. */
  readonly high: number;
  /** The level of the largest pages to use. */
  readonly level: number;
  /** Whether all pages must have that level. */
  readonly exact: boolean;
  /** Whether pages that are mapped already are replaced. */
  readonly remap: boolean;
}

const NO_PLAN: MapPlan = { page: 0, frame: 0, low: 0, high: 0, level: 0, exact: false, remap: false };

/**
 * Plans the mapping of a region, by the largest pages or by pages of one size. Refuses what cannot be mapped.
 *
 * @param range - the pages of the region
 * @throws PageTableError `INVALID_FLAGS`, `INVALID_PAGE_SIZE`, `MISALIGNED`, `OUTSIDE_PHYSICAL_RANGE`
 */
export function planRegion(
  { format, levels }: TableSpace,
  { giantPages }: PagingConfig,
  { first, end }: PageRange,
  paddr: PhysPage,
  flags: number,
  { shared = false, remap = false, pageSize }: MapRegionOptions,
): MapPlan {
  requireAnySizeFlags(flags, format);
  const largest = giantPages ? 2 : 1;
  const level = pageSize === undefined ? largest : PAGE_SIZES.indexOf(pageSize);
  if (level < 0 || level > largest) throw new PageTableError('INVALID_PAGE_SIZE', { pageSize, giantPages });
  const exact = pageSize !== undefined;
  const span = exact ? SPANS[level]! : 1;
  const stray = [first, end].find((page) => page % span !== 0);
  if (exact && stray !== undefined) {
    throw new PageTableError('MISALIGNED', { what: 'virtual', address: addressOf(stray, levels), pageSize });
  }
  const frame = requirePhysical(paddr, exact ? level : 0, format, end - first);
  const low = (flags & 0xfff) | PteFlags.Present;
  const high = (flags & 0xfff0_0000) | (shared ? format.sharedHi : format.privateHi);
  return { page: first, frame, low, high, level, exact, remap };
}

/** Maps a region to consecutive frames, by the largest pages that both addresses allow, or by pages of one size. */
export class MapEdit extends RegionEdit {
  #plan: MapPlan = NO_PLAN;
  #largeLow = 0;

  /** Maps these pages as `plan` says. */
  map(operation: string, range: PageRange, plan: MapPlan): void {
    this.#plan = plan;
    this.#largeLow = forLargePage(plan.low) | PteFlags.Large;
    this.run(operation, range);
  }

  protected override judge(entry: RegionEntry): Verdict {
    const { exact, remap, level: largest } = this.#plan;
    const { level, low, high, page, span, isWhole } = entry;
    const isPresent = (low & PteFlags.Present) !== 0;
    if (isPresent && this.isTable(low, level)) {
      if (exact && level === largest) this.#refuseMapped(page, level, low, high);
      return Verdict.Descend;
    }
    if (isPresent && !remap) this.#refuseMapped(entry.from, level, low, high);
    const frame = this.#frameOf(page);
    if (isWhole && level <= largest && frame % span === 0) {
      this.nextLow = frameLow(frame) | this.#largeLow;
      this.nextHigh = frameHigh(frame) | this.#plan.high;
      return Verdict.Store;
    }
    return isPresent && !isWhole ? Verdict.Split : Verdict.Build;
  }

  protected override judgePages(words: Uint32Array, start: number, stop: number, page: number): boolean {
    if ((anyLowWord(words, start, stop) & PteFlags.Present) === 0) return true;
    for (let i = start; i < stop; i += 2) {
      if ((words[i]! & PteFlags.Present) === 0) continue;
      const at = page + (i - start) / 2;
      const low = words[i]! | 0;
      const high = words[i + 1]! | 0;
      this.requireSound(low, high, 0, at);
      if (!this.#plan.remap) this.#refuseMapped(at, 0, low, high);
    }
    return true;
  }

  protected override editPages(words: Uint32Array, start: number, stop: number, page: number): void {
    const { low, high, remap } = this.#plan;
    if (remap) this.#noteReplaced(words, start, stop, page);
    let frame = this.#frameOf(page);
    for (let i = start; i < stop; ) {
      // One fill for all entries with the same high word, which changes every 4 GiB.
      const left = Math.min((stop - i) / 2, 0x10_0000 - (frame % 0x10_0000));
      const end = i + wordsOf(left);
      const firstLow = frameLow(frame) | low;
      const firstHigh = frameHigh(frame) | high;
      if (this.isFilling && end - i === TABLE_WORDS) fillTable(words, i, firstLow, firstHigh, 0x1000);
      else fillWords(words, i, end, firstLow, firstHigh, 0x1000);
      i = end;
      frame += left;
    }
  }

  /** Notes the pages that were mapped before, from the first to the last one, as changed. */
  #noteReplaced(words: Uint32Array, start: number, stop: number, page: number): void {
    let first = -1;
    let last = -1;
    for (let i = start; i < stop; i += 2) {
      if ((words[i]! & PteFlags.Present) === 0) continue;
      last = (i - start) / 2;
      if (first < 0) first = last;
    }
    if (first >= 0) this.changed(page + first, page + last + 1);
  }

  /** The frame to which `page` is mapped. */
  #frameOf(page: number): number {
    return page - this.#plan.page + this.#plan.frame;
  }

  #refuseMapped(page: number, level: number, low: number, high: number): never {
    const vaddr = addressOf(page, this.space.levels);
    throw new PageTableError('ALREADY_MAPPED', { vaddr, level, entry: raw(low, high) });
  }
}
