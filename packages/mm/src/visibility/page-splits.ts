import {
  type AddressKind,
  PAGE_SIZE,
  PAGE_SIZE_1G,
  PAGE_SIZE_2M,
  PageSize,
  type VirtAddr,
} from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';

/**
 * The large pages of a page table that were split to change parts of them. When all parts are private again, the large page
 * comes back, and its tables are given back. So the number of tables returns to what it was.
 */
export class PageSplits {
  /** The pages of 2 MiB, and of 1 GiB, that were split. */
  readonly #huge: RegionSet<VirtAddr>;
  readonly #giant: RegionSet<VirtAddr>;

  constructor(kind: AddressKind<VirtAddr>) {
    this.#huge = new RegionSet(kind);
    this.#giant = new RegionSet(kind);
  }

  /**
   * Splits the pages of 2 MiB that a region cuts, and pages of 1 GiB in it. If it fails, the pages are whole again. O(1 GiB
   * pages of the region).
   *
   * @throws PageTableError as `split4k`
   */
  cut(table: PageTable, region: MemoryRegion<VirtAddr>): void {
    const done: MemoryRegion<VirtAddr>[] = [];
    const split = (vaddr: VirtAddr, size: typeof PageSize.Huge | typeof PageSize.Giant): void => {
      if (table.lookup(vaddr)?.size !== size) return;
      const isGiant = size === PageSize.Giant;
      if (isGiant) table.split2m(vaddr);
      else table.split4k(vaddr);
      const page = new MemoryRegion(region.kind, (vaddr & -BigInt(size)) as VirtAddr, size);
      (isGiant ? this.#giant : this.#huge).add(page);
      done.push(page);
    };
    try {
      for (let at: bigint = region.start; at < region.end; at = (at & -GIANT) + GIANT)
        split(at as VirtAddr, PageSize.Giant);
      if (region.start % HUGE !== 0n) split(region.start, PageSize.Huge);
      if (region.end % HUGE !== 0n) split((region.end - BigInt(PAGE_SIZE)) as VirtAddr, PageSize.Huge);
    } catch (error) {
      for (const page of done.reverse()) this.join(table, page, () => true);
      throw error;
    }
  }

  /**
   * Makes large pages of their parts again, wherever a region touches one and `isWhole` allows it. A failure leaves a page in
   * parts, which costs a table and nothing else; the next call tries again.
   *
   * @param region - all pages that were split if not given
   * @param isWhole - whether all parts of a page are in one state, and none is changing
   * @returns the pages to be flushed. O(split pages that the region touches · 512)
   */
  join(
    table: PageTable,
    region: MemoryRegion<VirtAddr> | undefined,
    isWhole: (page: MemoryRegion<VirtAddr>) => boolean,
  ): MemoryRegion<VirtAddr>[] {
    const joined: MemoryRegion<VirtAddr>[] = [];
    for (const [set, size] of [
      [this.#huge, PageSize.Huge],
      [this.#giant, PageSize.Giant],
    ] as const) {
      for (const page of pagesOf(set, region, size)) {
        if (!isWhole(page)) continue;
        let found = size as PageSize;
        try {
          found = table.collapse(page.start, size);
          if (found >= size) set.remove(page);
        } catch {
          // The pages are as they should be. At worst, the table is not given back.
        }
        if (found >= size) joined.push(page);
      }
    }
    return joined;
  }
}

const HUGE = BigInt(PAGE_SIZE_2M);
const GIANT = BigInt(PAGE_SIZE_1G);

/** The pages of a set that overlap a region, or all of them. */
function pagesOf(
  set: RegionSet<VirtAddr>,
  region: MemoryRegion<VirtAddr> | undefined,
  size: PageSize,
): MemoryRegion<VirtAddr>[] {
  const parts = region === undefined ? set : set.overlapping(region);
  return Array.from(parts, (part) => {
    const touched = region?.alignOutward(size).intersect(part) ?? part;
    return [...touched.iterPages(size)].map((page) => new MemoryRegion(set.kind, page, size));
  }).flat();
}
