import { PageSize, type PhysAddr } from '@svsm/address';
import type { PhysPage, VirtPage } from '@svsm/memory-region';
import {
  CHANGE,
  type FlagChange,
  MAP_REGION_OPTIONS,
  type MapOptions,
  type MapRegionOptions,
  UNMAP_OPTIONS,
  type UnmapRegionOptions,
} from '../edit/page-table-options.ts';
import type { PageTableEntry } from '../entry/entry-format.ts';
import type { PageRange, VirtBounds } from '../entry/page-range.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { highOf, lowOf, lowOfFrame } from '../entry/page-words.ts';
import type { PagingConfig } from '../entry/paging-config.ts';
import type { EntryFlags } from '../entry/pte-flags.ts';
import { LeafScan } from '../walk/leaf-scan.ts';
import type { LeafWriter } from '../walk/leaf-writer.ts';
import {
  guardedListing,
  LISTING_OPTIONS,
  type ListingOptions,
  leavesOf,
  type MappedLeaf,
  type Mapping,
  mappingsOf,
} from '../walk/mappings.ts';
import { tablesOf } from '../walk/table-census.ts';
import type { Translator } from '../walk/translator.ts';
import { type MappedPage, pageAt, type Walk, walkOf } from '../walk/walk.ts';
import { setOwner, type TableOwner } from './table-owner.ts';

/**
 * The operations that {@link PageTable} and {@link PageTablePart} share. A part has them for the addresses of its root
 * entry.
 *
 * An operation on one page is O(levels); a split adds O(512). An operation that throws has changed nothing, with two
 * exceptions:
 *
 * - `CALLBACK_FAILED`: a callback threw after the change. The change is in place, all of it was reported, and every frame was
 *   given back that no entry leads to.
 * - A memory of the caller that fails in the middle, although it could be accessed before the first change. A part of the change
 *   can be in place. All of it was reported, and no frame is lost. An error that lasts is found before the first change.
 *
 * A page is its address or a `PageCursor` of `@svsm/memory-region`; the result and the errors are the same. A cursor that is
 * not on a page throws the `RegionError` `NOT_ON_PAGE`, and nothing changes.
 *
 * While a callback of an operation runs (a frame allocator, a listener, a memory, `fill` of an access, `onFault`), the page
 * table or part is busy: each of its operations throws `BUSY`. A busy part makes the page tables busy to which it is attached;
 * page tables that share subtrees make each other busy.
 *
 * A change to addresses at which a part is attached changes the part: it takes its frames from the part's allocator, and reports the
 * flush to the TLB of every page table to which the part is attached.
 */
export abstract class PageMapper {
  /** The paging configuration, which decides the layout of entries. */
  readonly config: PagingConfig;
  readonly #owner: TableOwner;
  readonly #writer: LeafWriter;
  readonly #translator: Translator;

  protected constructor(owner: unknown) {
    this.#owner = owner as TableOwner;
    this.#writer = this.#owner.cursor.writer;
    this.#translator = this.#owner.translator;
    setOwner(this, this.#owner);
    this.config = this.#owner.config;
  }

  /**
   * Maps the 4 KiB page at `vaddr` to `paddr`, private unless `options` say otherwise.
   *
   * @param vaddr - a multiple of 4096
   * @param paddr - a multiple of 4096, without the encryption bit
   * @param flags - {@link PteFlags}, or the result of `leafFlags`. Present is set in any case
   * @throws PageTableError as {@link translate}; `INVALID_ARGUMENT`, `MISALIGNED`, `OUTSIDE_PHYSICAL_RANGE`, `INVALID_FLAGS`,
   *   `NO_ENCRYPTION`, `ALREADY_MAPPED`, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`, `READ_ONLY`; with `remap`,
   *   `ALIASED_TABLE`, `CALLBACK_FAILED`; `INVALID_SELF_MAP` if `vaddr` lies in the self-map
   */
  map4k(vaddr: VirtPage, paddr: PhysPage, flags: EntryFlags<0>, options?: MapOptions): void {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    const writer = this.#writer;
    if (options === undefined && writer.allows(flags)) {
      const paddrLow = lowOfFrame(paddr, writer.format);
      const paddrHigh = highOf();
      if (writer.tryMap(low, high, paddrLow, paddrHigh)) return;
      this.#owner.edit.mapAllowed(low, high, paddrLow, paddrHigh, flags);
    } else this.#owner.at(low, high).edit.map(0, low, high, paddr, flags, options);
  }

  /**
   * As {@link map4k}, for a 2 MiB page.
   *
   * @param paddr - a multiple of 2 MiB, as `vaddr`
   * @throws PageTableError as {@link map4k}
   */
  map2m(vaddr: VirtPage, paddr: PhysPage, flags: EntryFlags<1>, options?: MapOptions): void {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    this.#owner.at(low, high).edit.map(1, low, high, paddr, flags, options);
  }

  /**
   * As {@link map4k}, for a 1 GiB page. `INVALID_FLAGS` if the configuration has no 1 GiB pages.
   *
   * @param paddr - a multiple of 1 GiB, as `vaddr`
   * @throws PageTableError as {@link map4k}
   */
  map1g(vaddr: VirtPage, paddr: PhysPage, flags: EntryFlags<2>, options?: MapOptions): void {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    this.#owner.at(low, high).edit.map(2, low, high, paddr, flags, options);
  }

  /**
   * Unmaps the 4 KiB page at `vaddr`. Returns the entry that mapped it.
   *
   * @param vaddr - a multiple of 4096
   * @throws PageTableError as {@link translate}; `MISALIGNED`, `NOT_MAPPED`, `READ_ONLY`; `PAGE_SIZE_MISMATCH` if a larger
   *   page maps it; with `freeEmptyTables`, `ALIASED_TABLE`; `INVALID_SELF_MAP` if `vaddr` lies in the self-map;
   *   `CALLBACK_FAILED`
   */
  unmap4k(vaddr: VirtPage): PageTableEntry {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    return this.#owner.at(low, high).edit.unmap(0, low, high);
  }

  /**
   * As {@link unmap4k}, for a 2 MiB page.
   *
   * @throws PageTableError as {@link unmap4k}
   */
  unmap2m(vaddr: VirtPage): PageTableEntry {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    return this.#owner.at(low, high).edit.unmap(1, low, high);
  }

  /**
   * As {@link unmap4k}, for a 1 GiB page.
   *
   * @throws PageTableError as {@link unmap4k}
   */
  unmap1g(vaddr: VirtPage): PageTableEntry {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    return this.#owner.at(low, high).edit.unmap(2, low, high);
  }

  /**
   * Makes the 4 KiB page at `vaddr` shared with the hypervisor. A larger page that maps it is split first; the other parts
   * of that page stay as they were. Does nothing if the page is shared already.
   *
   * This changes the entry alone. `@svsm/sev-snp` has the steps that make memory really shared.
   *
   * @param vaddr - a multiple of 4096
   * @throws PageTableError as {@link translate}; `MISALIGNED`, `NOT_MAPPED`, `NO_ENCRYPTION`, `READ_ONLY`;
   *   `OUTSIDE_PHYSICAL_RANGE` if the page is always shared; if a page is split, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`,
   *   `INVALID_FRAME`; `INVALID_SELF_MAP` if `vaddr` lies in the self-map; `CALLBACK_FAILED`
   */
  setShared4k(vaddr: VirtPage): void {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    if (this.#writer.flipDirect(low, high, true)) return;
    this.#owner.at(low, high).edit.setVisibility('setShared4k', low, high, true);
  }

  /**
   * Makes the 4 KiB page at `vaddr` private: encrypted with the guest's key. The reverse of {@link setShared4k}.
   *
   * @param vaddr - a multiple of 4096
   * @throws PageTableError as {@link setShared4k}
   */
  setEncrypted4k(vaddr: VirtPage): void {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    if (this.#writer.flipDirect(low, high, false)) return;
    this.#owner.at(low, high).edit.setVisibility('setEncrypted4k', low, high, false);
  }

  /**
   * Maps `region` to consecutive physical addresses from `paddr` on, by the largest pages that both addresses allow, or by
   * pages of one size. All or nothing. O(tables + pages).
   *
   * @param region - its bounds are multiples of 4096, or of `pageSize`
   * @param flags - {@link PteFlags}. PAT is `Pat`, whatever the page size
   * @throws PageTableError as {@link map4k}; `INVALID_PAGE_SIZE`, `ALIASED_TABLE`, `PART_BOUNDARY`
   * @example
   * ```ts
   * import { formatAddress, physAddr, virtAddr } from '@svsm/address';
   * import { virtRegion } from '@svsm/memory-region';
   * import { createPhysMemory, PageTable, PtePreset } from '@svsm/pagetable';
   * const memory = createPhysMemory({ size: 0x10_0000 });
   * let next = 0;
   * const frames = { allocateFrame: () => physAddr(0x1000 * next++), freeFrame: () => {} };
   * const table = PageTable.create({ memory, frames });
   * // 2 MiB and 8 KiB: one large page and two small ones.
   * table.mapRegion(virtRegion(virtAddr(0x4000_0000), 0x20_2000), physAddr(0x8000_0000), PtePreset.Data);
   * for (const { vaddr, size } of table.leaves()) console.log(formatAddress(vaddr), size);
   * // => 0x0000000040000000 2097152
   * // => 0x0000000040200000 4096
   * // => 0x0000000040201000 4096
   * ```
   */
  mapRegion(region: VirtBounds, paddr: PhysPage, flags: EntryFlags<0>, options: MapRegionOptions = {}): void {
    MAP_REGION_OPTIONS.require(options);
    const range = this.#owner.pages(region);
    this.#owner.of(range).mapPages(range, paddr, flags, options);
  }

  /**
   * Unmaps `region`. A large page that lies only partly in it is split. All or nothing. O(tables + pages).
   *
   * @param region - its bounds are multiples of 4096
   * @throws PageTableError as {@link translate}; `INVALID_ARGUMENT`, `MISALIGNED`, `NOT_MAPPED`, `ALIASED_TABLE`, `PART_BOUNDARY`,
   *   `READ_ONLY`; if a page is split, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`; `INVALID_SELF_MAP` if the region
   *   overlaps the self-map; `CALLBACK_FAILED`
   */
  unmapRegion(region: VirtBounds, options: UnmapRegionOptions = {}): void {
    UNMAP_OPTIONS.require(options);
    const range = this.#owner.pages(region);
    this.#owner.of(range).unmapPages(range, options);
  }

  /**
   * Sets and clears flags of every page of `region`. The rest of each entry stays. A large page that lies only partly in the
   * region is split, unless it has the flags already. All or nothing. O(tables + pages).
   *
   * @param region - its bounds are multiples of 4096
   * @throws PageTableError as {@link unmapRegion}; `INVALID_FLAGS`
   */
  protectRegion(region: VirtBounds, change: FlagChange): void {
    CHANGE.require(change);
    const range = this.#owner.pages(region);
    this.#owner.of(range).protectPages('protectRegion', range, change);
  }

  /**
   * As {@link protectRegion}, for the 4 KiB page at `vaddr`.
   *
   * @param vaddr - a multiple of 4096
   * @throws PageTableError as {@link translate}; `INVALID_ARGUMENT`, `MISALIGNED`, `NOT_MAPPED`, `INVALID_FLAGS`, `ALIASED_TABLE`,
   *   `READ_ONLY`; if a page is split, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`; `INVALID_SELF_MAP` if `vaddr` lies
   *   in the self-map; `CALLBACK_FAILED`
   */
  protect4k(vaddr: VirtPage, change: FlagChange): void {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    CHANGE.require(change);
    const range = this.#owner.page(low, high);
    this.#owner.of(range).protectPages('protect4k', range, change);
  }

  /**
   * Makes every page of `region` shared with the hypervisor. A large page that lies wholly in the region stays large; at the
   * edges of the region, large pages are split. All or nothing. O(tables + pages).
   *
   * @param region - its bounds are multiples of 4096
   * @throws PageTableError as {@link unmapRegion}; `NO_ENCRYPTION`, `OUTSIDE_PHYSICAL_RANGE`
   */
  setSharedRegion(region: VirtBounds): void {
    const range = this.#owner.pages(region);
    this.#owner.of(range).sharePages('setSharedRegion', range, true);
  }

  /**
   * Makes every page of `region` private. The reverse of {@link setSharedRegion}.
   *
   * @throws PageTableError as {@link setSharedRegion}
   */
  setEncryptedRegion(region: VirtBounds): void {
    const range = this.#owner.pages(region);
    this.#owner.of(range).sharePages('setEncryptedRegion', range, false);
  }

  /**
   * Splits the large page that maps `vaddr` until a 4 KiB page maps it. All translations, rights, memory types, software
   * bits and visibilities stay as they were. Does nothing if a 4 KiB page maps `vaddr` already.
   *
   * @throws PageTableError as {@link translate}; `NOT_MAPPED`, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`,
   *   `READ_ONLY`, `CALLBACK_FAILED`; `INVALID_SELF_MAP` if `vaddr` lies in the self-map
   */
  split4k(vaddr: VirtPage): void {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    this.#owner.at(low, high).edit.split('split4k', low, high, 0);
  }

  /**
   * Splits the 1 GiB page that maps `vaddr` into 512 pages of 2 MiB. Does nothing if a smaller page maps `vaddr`.
   *
   * @throws PageTableError as {@link split4k}
   */
  split2m(vaddr: VirtPage): void {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    this.#owner.at(low, high).edit.split('split2m', low, high, 1);
  }

  /**
   * The reverse of {@link split4k}. If the 512 entries of the table that maps `vaddr` are the parts of one larger page, that
   * page replaces the table, and so on upward. Accessed and dirty may differ between the parts. The tables are given back.
   * Returns the size of the page that maps `vaddr` afterwards: the same as before if there was nothing to collapse. O(512).
   *
   * @param largest - the greatest size of the page that may result; 1 GiB if not given
   * @throws PageTableError as {@link translate}; `NOT_MAPPED`, `READ_ONLY`, `INVALID_PAGE_SIZE`; if it collapses, `NO_FRAME_ALLOCATOR`,
   *   `CALLBACK_FAILED`; `INVALID_SELF_MAP` if `vaddr` lies in the self-map
   */
  collapse(vaddr: VirtPage, largest: PageSize = PageSize.Giant): PageSize {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    return PAGE_SIZES[this.#owner.at(low, high).edit.collapse(low, high, largest)]!;
  }

  /**
   * The number of frames that the tables take, the top table included. The tables of attached parts are not counted.
   * O(tables × 512).
   *
   * @throws PageTableError `BUS_ERROR`, `DESTROYED`, `BUSY`
   */
  countTables(): number {
    this.#owner.requireReady();
    return tablesOf(this.#owner.space).length;
  }

  /**
   * The physical address to which `vaddr` translates; `undefined` if it is not mapped. Does not check rights:
   * {@link PageTable.access} does. O(levels); O(1) near the last address.
   *
   * @throws PageTableError `NON_CANONICAL`; `OUTSIDE_PART`; `RESERVED_BITS` if an entry of the walk is corrupted;
   *   `BUS_ERROR` if a table is outside memory; `DESTROYED`; `BUSY` while a callback runs
   */
  translate(vaddr: VirtPage): PhysAddr | undefined {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    return this.#translator.translate(low, high);
  }

  /**
   * As {@link translate}, but the number of the 4 KiB frame (physical address / 4096), which makes no `bigint`.
   *
   * @throws PageTableError as {@link translate}
   */
  frameAt(vaddr: VirtPage): number | undefined {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    return this.#translator.frameAt(low, high);
  }

  /**
   * The page that maps `vaddr`; `undefined` if it is not mapped. It has frame, size, flags, visibility, and the rights that
   * the entries of all levels leave. O(levels); O(1) near the last address.
   *
   * @throws PageTableError as {@link translate}
   * @example
   * ```ts
   * import { physAddr, virtAddr } from '@svsm/address';
   * import { createPhysMemory, PageTable, PtePreset } from '@svsm/pagetable';
   * const memory = createPhysMemory({ size: 0x10_0000 });
   * let next = 0;
   * const frames = { allocateFrame: () => physAddr(0x1000 * next++), freeFrame: () => {} };
   * const table = PageTable.create({ memory, frames });
   * table.map2m(virtAddr(0x4000_0000), physAddr(0x8000_0000), PtePreset.ReadOnly);
   * const page = table.lookup(virtAddr(0x4000_1234));
   * console.log(page?.size, page?.writable, page?.paddr === physAddr(0x8000_1234)); // => 2097152 false true
   * console.log(table.lookup(virtAddr(0x1000))); // => undefined
   * ```
   */
  lookup(vaddr: VirtPage): MappedPage | undefined {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    const { cursor, space } = this.#owner;
    this.#owner.guard.requireIdle();
    cursor.seek(low, high);
    return pageAt(cursor, space.format);
  }

  /**
   * Walks to `vaddr`, and returns every entry of the walk with the page that it found. For people and tools: it records the
   * path, which {@link lookup} does not. O(levels).
   *
   * @throws PageTableError as {@link translate}
   */
  walk(vaddr: VirtPage): Walk {
    const low = lowOf(vaddr, this.config);
    const high = highOf();
    this.#owner.guard.requireIdle();
    return walkOf(this.#owner.cursor, low, high, this.#owner.space.format);
  }

  /**
   * Lists all mappings in the order of their addresses, as the longest runs of pages that are contiguous in virtual and
   * physical memory, with one page size and the same rights. It is lazy: it reads a table when it gets there. O(tables +
   * pages) for the whole list.
   *
   * @throws PageTableError `INVALID_ARGUMENT`; at once, `DESTROYED`, and for the bounds of `within`, `NON_CANONICAL`, `MISALIGNED`,
   *   `OUTSIDE_PART`; when the list gets there, `RESERVED_BITS`, `BUS_ERROR`, unless `onFault` receives them; at any time `BUSY`,
   *   after which the list can be continued
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { createPhysMemory, PageTable, writePhys64 } from '@svsm/pagetable';
   *
   * // The tables of another system: 2 MiB at 0x200000, and a corrupted entry after it.
   * const memory = createPhysMemory({ size: 0x4000 });
   * writePhys64(memory, physAddr(0x1000), 0x2027n); // PML4[0] leads to the PDPT
   * writePhys64(memory, physAddr(0x2000), 0x3027n); // PDPT[0] leads to the PD
   * writePhys64(memory, physAddr(0x3008), 0x20_0083n); // PD[1]: 2 MiB
   * writePhys64(memory, physAddr(0x3010), 0x40_2083n); // PD[2]: bit 13 is reserved
   * const table = PageTable.open(physAddr(0x1000), { memory });
   * const faults: string[] = [];
   * for (const { region } of table.mappings({ onFault: ({ code }) => faults.push(code) })) console.log(String(region));
   * // => [0x0000000000200000-0x0000000000400000)
   * console.log(faults); // => [ 'RESERVED_BITS' ]
   * ```
   */
  mappings(options: ListingOptions = {}): Generator<Mapping, undefined, undefined> {
    const range = this.#listed(options);
    const { space, guard } = this.#owner;
    const listing = mappingsOf(this.#scan(range, options), space.format, this.config.levels, range);
    return guardedListing(listing, guard);
  }

  /**
   * As {@link mappings}, page by page, with all flags of each leaf.
   *
   * @throws PageTableError as {@link mappings}
   */
  leaves(options: ListingOptions = {}): Generator<MappedLeaf, undefined, undefined> {
    const range = this.#listed(options);
    const { space, guard } = this.#owner;
    return guardedListing(leavesOf(this.#scan(range, options), space.format, this.config.levels), guard);
  }

  /** The pages to list. */
  #listed(options: ListingOptions): PageRange {
    LISTING_OPTIONS.require(options);
    const { within } = options;
    this.#owner.requireReady();
    return within === undefined ? this.#owner.extent : this.#owner.pages(within);
  }

  #scan(range: PageRange, { onFault }: ListingOptions): LeafScan {
    return new LeafScan(this.#owner.space, range, onFault);
  }
}
