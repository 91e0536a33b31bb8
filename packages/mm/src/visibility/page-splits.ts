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

/** Drops the translations of a page that was split or joined; `pageSize` is the size of the pages that were mapped. */
export type SplitFlush = (page: MemoryRegion<VirtAddr>, pageSize: PageSize) => void;

/**
 * The large pages of a page table that were split to change parts of them. When all parts are private again, the large page
 * comes back, and its tables are given back. So the number of tables returns to what it was.
 */
export class PageSplits {
  /** The pages of 2 MiB, and of 1 GiB, that were split. */
  readonly #huge: RegionSet<VirtAddr>;
  readonly #giant: RegionSet<VirtAddr>;

  readonly #flush: SplitFlush;

  constructor(kind: AddressKind<VirtAddr>, flush: SplitFlush) {
    this.#flush = flush;
    this.#huge = new RegionSet(kind);
    this.#giant = new RegionSet(kind);
  }

  /**
   * Splits the pages of 2 MiB that a region cuts, and pages of 1 GiB in it, and flushes each: processors would go on to use its
   * translation. If it fails, the pages are whole again. O(1 GiB pages of the region).
   *
   * @throws PageTableError as `split4k`; the errors of the flush
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
      this.#flush(page, PageSize.Huge);
    };
    try {
      for (let at: bigint = region.start; at < region.end; at = (at & -GIANT) + GIANT)
        split(at as VirtAddr, PageSize.Giant);
      if (region.start % HUGE !== 0n) split(region.start, PageSize.Huge);
      const last = (region.end - BigInt(PAGE_SIZE)) as VirtAddr;
      const isSplit = last === region.start && last % HUGE !== 0n;
      if (region.end % HUGE !== 0n && !isSplit) split(last, PageSize.Huge);
    } catch (error) {
      for (const page of done.reverse()) this.join(table, page, () => true);
      throw error;
    }
  }

  /**
   * Makes large pages of their parts again, wherever a region touches one and `isWhole` allows it, and flushes each. A failure
   * leaves a page in parts, which costs a table and nothing else: the next call tries again. O(split pages that the region
   * touches · 512).
   *
   * @param region - all pages that were split if not given
   * @param isWhole - whether all parts of a page are in one state, and none is changing
   */
  join(
    table: PageTable,
    region: MemoryRegion<VirtAddr> | undefined,
    isWhole: (page: MemoryRegion<VirtAddr>) => boolean,
  ): void {
    for (const page of pagesOf(this.#huge, region, PageSize.Huge))
      if (isWhole(page) && this.#canJoin(table, page, PageSize.Huge)) this.#huge.remove(page);
    for (const page of pagesOf(this.#giant, region, PageSize.Giant))
      if (isWhole(page) && this.#canJoin(table, page, PageSize.Giant)) this.#giant.remove(page);
  }

  /** Makes one large page of its parts, unless something is in the way. */
  #canJoin(table: PageTable, page: MemoryRegion<VirtAddr>, size: PageSize): boolean {
    let found = size;
    let isJoined = false;
    try {
      found = table.collapse(page.start, size);
      isJoined = found >= size;
    } catch {
      // The page leads where its parts lead. At worst, the table is not given back.
    }
    if (found >= size && !this.#canFlush(page)) this.#canFlush(page);
    return isJoined;
  }

  /** Flushes the parts of a page that was joined. A flush that fails is owed, and does not make a change fail. */
  #canFlush(page: MemoryRegion<VirtAddr>): boolean {
    try {
      this.#flush(page, PageSize.Regular);
      return true;
    } catch {
      return false;
    }
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
