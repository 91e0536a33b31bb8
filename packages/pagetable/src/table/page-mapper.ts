import type { PageSize, PhysAddr, VirtAddr } from '@svsm/address';
import type {
  FlagChange,
  MapOptions,
  MapRegionOptions,
  UnmapRegionOptions,
} from '../edit/page-table-options.ts';
import type { PageTableEntry } from '../entry/entry-format.ts';
import type { PageRange, VirtBounds } from '../entry/page-range.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import type { PagingConfig } from '../entry/paging-config.ts';
import type { EntryFlags } from '../entry/pte-flags.ts';
import { LeafScan } from '../walk/leaf-scan.ts';
import {
  type ListingOptions,
  leavesOf,
  type MappedLeaf,
  type Mapping,
  mappingsOf,
} from '../walk/mappings.ts';
import { tablesOf } from '../walk/table-census.ts';
import { type MappedPage, pageAt, type Walk, walkOf } from '../walk/walk.ts';
import { setOwner, type TableOwner } from './table-owner.ts';

/**
 * What maps pages: a `PageTable`, or a `PageTablePart`, which has the same operations for the addresses of one entry of a
 * root.
 *
 * Every operation on a page is O(levels), and a split O(512) more. An operation that throws has changed nothing.
 *
 * All methods that take a virtual address throw `PageTableError` `NON_CANONICAL` if it is none for the table's levels,
 * `OUTSIDE_PART` if a part has no such address, `RESERVED_BITS` if an entry on the way is corrupted, and `BUS_ERROR` if it
 * leads outside memory. Those that change something where a part is attached change that part: it is its frames that are
 * taken, and all page tables that it is attached to are told what to flush.
 */
export abstract class PageMapper {
  /** How its entries are laid out. */
  readonly config: PagingConfig;
  readonly #owner: TableOwner;

  protected constructor(owner: unknown) {
    this.#owner = owner as TableOwner;
    setOwner(this, this.#owner);
    this.config = this.#owner.config;
  }

  /**
   * Maps the 4 KiB page at `vaddr` to `paddr`, private unless told otherwise.
   *
   * @param flags - {@link PteFlags}, or what `leafFlags` makes for this level; present is set for you
   * @throws PageTableError `MISALIGNED`, `OUTSIDE_PHYSICAL_RANGE`, `INVALID_FLAGS`, `NO_ENCRYPTION`, `ALREADY_MAPPED`,
   *   `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`
   */
  map4k(vaddr: VirtAddr, paddr: PhysAddr, flags: EntryFlags<0>, options?: MapOptions): void {
    this.#owner.at(vaddr).edit.map(0, vaddr, paddr, flags, options);
  }

  /** As {@link map4k}, for a 2 MiB page. */
  map2m(vaddr: VirtAddr, paddr: PhysAddr, flags: EntryFlags<1>, options?: MapOptions): void {
    this.#owner.at(vaddr).edit.map(1, vaddr, paddr, flags, options);
  }

  /** As {@link map4k}, for a 1 GiB page. `INVALID_FLAGS` if the configuration has none. */
  map1g(vaddr: VirtAddr, paddr: PhysAddr, flags: EntryFlags<2>, options?: MapOptions): void {
    this.#owner.at(vaddr).edit.map(2, vaddr, paddr, flags, options);
  }

  /**
   * Unmaps the 4 KiB page at `vaddr`. Returns the entry that was there.
   *
   * @throws PageTableError `MISALIGNED`, `NOT_MAPPED`, `PAGE_SIZE_MISMATCH` if a larger page maps it
   */
  unmap4k(vaddr: VirtAddr): PageTableEntry {
    return this.#owner.at(vaddr).edit.unmap(0, vaddr);
  }

  /** As {@link unmap4k}, for a 2 MiB page. */
  unmap2m(vaddr: VirtAddr): PageTableEntry {
    return this.#owner.at(vaddr).edit.unmap(1, vaddr);
  }

  /** As {@link unmap4k}, for a 1 GiB page. */
  unmap1g(vaddr: VirtAddr): PageTableEntry {
    return this.#owner.at(vaddr).edit.unmap(2, vaddr);
  }

  /**
   * Makes the 4 KiB page at `vaddr` shared with the hypervisor. If a larger page maps it, that is split first; all else
   * about it, and all of its other pages, stay as they were. A page that is shared already stays so.
   *
   * This is the entry alone: what makes memory really shared is in `@svsm/sev-snp`.
   *
   * @param vaddr - a multiple of 4096
   * @throws PageTableError `MISALIGNED`, `NOT_MAPPED`, `NO_ENCRYPTION`, and if it splits, `OUT_OF_MEMORY` and
   *   `NO_FRAME_ALLOCATOR`
   */
  setShared4k(vaddr: VirtAddr): void {
    this.#owner.at(vaddr).edit.setVisibility('setShared4k', vaddr, true);
  }

  /** As {@link setShared4k}, the other way: the page becomes private, encrypted with the guest's key. */
  setEncrypted4k(vaddr: VirtAddr): void {
    this.#owner.at(vaddr).edit.setVisibility('setEncrypted4k', vaddr, false);
  }

  /**
   * Maps all of `region` from `paddr` on, by the largest pages that both addresses allow, or by pages of one size.
   *
   * @param flags - {@link PteFlags}; PAT is `Pat` whatever the size of a page becomes
   * @throws PageTableError as {@link map4k}; `ALIASED_TABLE`
   */
  mapRegion(region: VirtBounds, paddr: PhysAddr, flags: EntryFlags<0>, options: MapRegionOptions = {}): void {
    const range = this.#owner.pages(region);
    this.#owner.of(range).mapPages(range, paddr, flags, options);
  }

  /**
   * Unmaps all of `region`. A large page that is only partly inside is split.
   *
   * @throws PageTableError `MISALIGNED`, `NOT_MAPPED`, `ALIASED_TABLE`, and if it splits, `OUT_OF_MEMORY` and
   *   `NO_FRAME_ALLOCATOR`
   */
  unmapRegion(region: VirtBounds, options: UnmapRegionOptions = {}): void {
    const range = this.#owner.pages(region);
    this.#owner.of(range).unmapPages(range, options);
  }

  /**
   * Sets and clears flags of every page of `region`; everything else about them stays. A large page that is only partly
   * inside is split, unless it has the flags already.
   *
   * @throws PageTableError as {@link unmapRegion}; `INVALID_FLAGS`
   */
  protectRegion(region: VirtBounds, change: FlagChange): void {
    const range = this.#owner.pages(region);
    this.#owner.of(range).protectPages('protectRegion', range, change);
  }

  /** As {@link protectRegion}, for the 4 KiB page at `vaddr`. */
  protect4k(vaddr: VirtAddr, change: FlagChange): void {
    const range = this.#owner.pages({ start: vaddr, end: vaddr + 4096n });
    this.#owner.of(range).protectPages('protect4k', range, change);
  }

  /**
   * Makes every page of `region` shared with the hypervisor. A large page that is wholly inside stays one; at the edges
   * it is split.
   *
   * @throws PageTableError as {@link unmapRegion}; `NO_ENCRYPTION`
   */
  setSharedRegion(region: VirtBounds): void {
    const range = this.#owner.pages(region);
    this.#owner.of(range).sharePages('setSharedRegion', range, true);
  }

  /** As {@link setSharedRegion}, the other way. */
  setEncryptedRegion(region: VirtBounds): void {
    const range = this.#owner.pages(region);
    this.#owner.of(range).sharePages('setEncryptedRegion', range, false);
  }

  /**
   * Splits the large page that maps `vaddr` until a 4 KiB page does. Every translation, right, memory type, software bit
   * and shared-ness stays as it was. Does nothing if a 4 KiB page maps it already.
   *
   * @throws PageTableError `NOT_MAPPED`, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`
   */
  split4k(vaddr: VirtAddr): void {
    this.#owner.at(vaddr).edit.split('split4k', vaddr, 0);
  }

  /**
   * As {@link split4k}, by one step: a 1 GiB page becomes 512 of 2 MiB. Does nothing if a smaller page maps `vaddr`.
   *
   * @throws PageTableError as {@link split4k}
   */
  split2m(vaddr: VirtAddr): void {
    this.#owner.at(vaddr).edit.split('split2m', vaddr, 1);
  }

  /**
   * The reverse of {@link split4k}: if the 512 entries of the table that maps `vaddr` are the parts of one larger page,
   * that page takes its place, and so on upward; their tables are given back. Accessed and dirty may differ among them.
   * Returns the size of the page that maps `vaddr` then: if they do not agree, the size it had.
   *
   * @throws PageTableError `NOT_MAPPED`, and if it collapses, `NO_FRAME_ALLOCATOR`
   */
  collapse(vaddr: VirtAddr): PageSize {
    return PAGE_SIZES[this.#owner.at(vaddr).edit.collapse(vaddr)]!;
  }

  /** How many frames its tables take, the first one included; parts that are attached are not. O(tables × 512). */
  countTables(): number {
    this.#owner.cursor.requireAlive();
    return tablesOf(this.#owner.space).length;
  }

  /**
   * The physical address that `vaddr` translates to, or `undefined` if it is not mapped. Rights are not checked:
   * {@link PageTable.access} does that. O(levels); O(1) for a page near the last one.
   */
  translate(vaddr: VirtAddr): PhysAddr | undefined {
    const { cursor, space } = this.#owner;
    cursor.seek(vaddr);
    if (!cursor.isPresent) return undefined;
    const size = PAGE_SIZES[cursor.level]!;
    return space.format.byteAddress(cursor.entryLow, cursor.entryHigh, size, cursor.low & (size - 1));
  }

  /**
   * The page that maps `vaddr`: its frame, size, flags, whether it is shared, and the rights that all levels leave. `undefined`
   * if `vaddr` is not mapped. Costs as {@link translate}.
   */
  lookup(vaddr: VirtAddr): MappedPage | undefined {
    const { cursor, space } = this.#owner;
    cursor.seek(vaddr);
    return pageAt(cursor, space.format);
  }

  /** The walk for `vaddr`: every entry on the way, and the page. For people and tools; {@link lookup} costs far less. */
  walk(vaddr: VirtAddr): Walk {
    return walkOf(this.#owner.cursor, vaddr, this.#owner.space.format);
  }

  /**
   * Everything that is mapped, ascending, in the longest runs of pages that follow one another in virtual and physical
   * memory with one size and the same rights. Lazy: a table is read when its turn comes. O(tables + pages) for all of it.
   *
   * @throws PageTableError when the listing gets there: `RESERVED_BITS`, `BUS_ERROR`, unless `onFault` is given; at once:
   *   `NON_CANONICAL` and `MISALIGNED` for the bounds of `within`
   */
  mappings(options: ListingOptions = {}): Generator<Mapping, undefined, undefined> {
    const range = this.#listed(options);
    return mappingsOf(this.#scan(range, options), this.#owner.space.format, this.config.levels, range);
  }

  /** As {@link mappings}, page by page, with all flags of each leaf. */
  leaves(options: ListingOptions = {}): Generator<MappedLeaf, undefined, undefined> {
    const range = this.#listed(options);
    return leavesOf(this.#scan(range, options), this.#owner.space.format, this.config.levels);
  }

  #listed({ within }: ListingOptions): PageRange {
    this.#owner.cursor.requireAlive();
    return within === undefined ? this.#owner.extent : this.#owner.pages(within);
  }

  #scan(range: PageRange, { onFault }: ListingOptions): LeafScan {
    return new LeafScan(this.#owner.space, range, onFault);
  }
}
