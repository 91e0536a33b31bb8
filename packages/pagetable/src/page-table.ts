import { type PageSize, type PhysAddr, pageNumber, type VirtAddr } from '@svsm/address';
import { type AccessKind, type AccessOptions, type AccessResult, AccessWalk } from './access.ts';
import { type BitChange, ChangeEdit } from './change-edit.ts';
import { collapseUpward } from './collapse.ts';
import type { CpuState } from './cpu-state.ts';
import { byteAt, EntryFormat, frameAddress, type PageTableEntry } from './entry-format.ts';
import { LeafScan } from './leaf-scan.ts';
import { MapEdit } from './map-edit.ts';
import { requireAnySizeFlags, requireChange, requirePhysical } from './mapping-checks.ts';
import { type ListingOptions, leavesOf, type MappedLeaf, type Mapping, mappingsOf } from './mappings.ts';
import { PageEdit } from './page-edit.ts';
import { addressOf, type PageRange, pageOf, pagesOf, SPANS, type VirtBounds } from './page-range.ts';
import { ENTRIES, PAGE_SIZES } from './page-sizes.ts';
import { PageTableError } from './page-table-error.ts';
import type {
  FlagChange,
  MapOptions,
  MapRegionOptions,
  PageTableOptions,
  UnmapRegionOptions,
} from './page-table-options.ts';
import { type PagingConfig, pagingConfig } from './paging-config.ts';
import type { PhysMemory } from './phys-memory.ts';
import { PteFlags } from './pte-flags.ts';
import { tablesOf } from './table-census.ts';
import { TableCursor } from './table-cursor.ts';
import { TableFrames } from './table-frames.ts';
import { readRootEntry, storeEntry, type TableSpace } from './table-space.ts';
import { UnmapEdit } from './unmap-edit.ts';
import type { MappedPage, Walk, WalkStep } from './walk.ts';

/**
 * A page table of x86-64: 4 or 5 levels, pages of 4 KiB, 2 MiB and 1 GiB, with or without memory encryption.
 *
 * It holds no state but where its root is: all of it lies in the physical memory, bit for bit as a processor reads it.
 * Every operation on a page is O(levels), and a split O(512) more. An operation that throws has changed nothing.
 *
 * All methods that take a virtual address throw `PageTableError` `NON_CANONICAL` if it is none for the table's levels,
 * `RESERVED_BITS` if an entry on the way is corrupted, and `BUS_ERROR` if it leads outside memory.
 */
export class PageTable {
  /** The physical address of its top-level table. */
  readonly root: PhysAddr;
  /** How its entries are laid out. */
  readonly config: PagingConfig;
  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #frames: TableFrames;
  readonly #freeEmptyTables: boolean;
  readonly #options: PageTableOptions;
  readonly #foreign: Set<number> = new Set();
  readonly #kept: Set<number> = new Set();
  readonly #space: TableSpace;
  readonly #cursor: TableCursor;
  readonly #access: AccessWalk;
  readonly #edit: PageEdit;

  private constructor(root: PhysAddr, options: PageTableOptions, frames: TableFrames) {
    const { memory, tlb } = options;
    const { levels } = config(options);
    this.root = root;
    this.config = config(options);
    this.#memory = memory;
    this.#frames = frames;
    this.#options = options;
    this.#format = new EntryFormat(this.config);
    this.#freeEmptyTables = options.freeEmptyTables ?? false;
    if (this.#freeEmptyTables) frames.requireAllocator('freeEmptyTables');
    frames.requireTable(root);
    this.#space = {
      ...{ memory, tlb, frames, levels, format: this.#format, root: pageNumber(root) },
      foreign: this.#foreign,
      kept: this.#kept,
    };
    this.#cursor = new TableCursor(memory, this.#format, pageNumber(root), levels);
    this.#edit = new PageEdit(this.#space, this.#cursor, this.config, this.#freeEmptyTables);
    this.#access = new AccessWalk(memory, this.#format, pageNumber(root), this.config);
  }

  /**
   * A new page table with nothing mapped. Takes one frame, which it clears.
   *
   * @throws PageTableError `OUT_OF_FRAMES`, `NO_FRAME_ALLOCATOR`, `BAD_FRAME`
   */
  static create(options: PageTableOptions): PageTable {
    const frames = framesFor(options);
    const [root] = frames.take(1);
    // `this`: a class that names itself is renamed by the bundler.
    return new this(frameAddress(root as number), options, frames);
  }

  /**
   * The page table whose root lies at `root`: that of a dump, or of another owner. Reads nothing yet.
   *
   * @param root - bits 51:12 of CR3, without the encryption bit
   * @throws PageTableError `BAD_FRAME` if `root` cannot be a table
   */
  static open(root: PhysAddr, options: PageTableOptions): PageTable {
    return new this(root, options, framesFor(options));
  }

  /** CR3 for this table: the root, with the C-bit by convention. */
  get cr3(): bigint {
    return this.root | (BigInt(this.#format.privateHi >>> 0) << 32n);
  }

  /**
   * Maps the 4 KiB page at `vaddr` to `paddr`, private unless told otherwise.
   *
   * @param flags - {@link PteFlags}; present is set for you
   * @throws PageTableError `MISALIGNED`, `PHYSICAL_RANGE`, `INVALID_FLAGS`, `NO_ENCRYPTION`, `ALREADY_MAPPED`,
   *   `OUT_OF_FRAMES`, `NO_FRAME_ALLOCATOR`
   */
  map4k(vaddr: VirtAddr, paddr: PhysAddr, flags: number, options?: MapOptions): void {
    this.#edit.map('map4k', 0, vaddr, paddr, flags, options);
  }

  /** As {@link map4k}, for a 2 MiB page. */
  map2m(vaddr: VirtAddr, paddr: PhysAddr, flags: number, options?: MapOptions): void {
    this.#edit.map('map2m', 1, vaddr, paddr, flags, options);
  }

  /** As {@link map4k}, for a 1 GiB page. `INVALID_FLAGS` if the configuration has none. */
  map1g(vaddr: VirtAddr, paddr: PhysAddr, flags: number, options?: MapOptions): void {
    this.#edit.map('map1g', 2, vaddr, paddr, flags, options);
  }

  /**
   * Unmaps the 4 KiB page at `vaddr`. Returns the entry that was there.
   *
   * @throws PageTableError `MISALIGNED`, `NOT_MAPPED`, `PAGE_SIZE_MISMATCH` if a larger page maps it
   */
  unmap4k(vaddr: VirtAddr): PageTableEntry {
    return this.#edit.unmap('unmap4k', 0, vaddr);
  }

  /** As {@link unmap4k}, for a 2 MiB page. */
  unmap2m(vaddr: VirtAddr): PageTableEntry {
    return this.#edit.unmap('unmap2m', 1, vaddr);
  }

  /** As {@link unmap4k}, for a 1 GiB page. */
  unmap1g(vaddr: VirtAddr): PageTableEntry {
    return this.#edit.unmap('unmap1g', 2, vaddr);
  }

  /**
   * Makes the 4 KiB page at `vaddr` shared with the hypervisor. If a larger page maps it, that is split first; all else
   * about it, and all of its other pages, stay as they were. A page that is shared already stays so.
   *
   * This is the entry alone: what makes memory really shared is in `@svsm/sev-snp`.
   *
   * @param vaddr - a multiple of 4096
   * @throws PageTableError `MISALIGNED`, `NOT_MAPPED`, `NO_ENCRYPTION`, and if it splits, `OUT_OF_FRAMES` and
   *   `NO_FRAME_ALLOCATOR`
   */
  setShared4k(vaddr: VirtAddr): void {
    this.#edit.setVisibility('setShared4k', vaddr, true);
  }

  /** As {@link setShared4k}, the other way: the page becomes private, encrypted with the guest's key. */
  setEncrypted4k(vaddr: VirtAddr): void {
    this.#edit.setVisibility('setEncrypted4k', vaddr, false);
  }

  /**
   * Maps all of `region` from `paddr` on, by the largest pages that both addresses allow, or by pages of one size.
   *
   * @param flags - {@link PteFlags}; PAT is `Pat` whatever the size of a page becomes
   * @throws PageTableError as {@link map4k}; `ALIASED_TABLE`
   */
  mapRegion(region: VirtBounds, paddr: PhysAddr, flags: number, options: MapRegionOptions = {}): void {
    const { shared = false, remap = false, pageSize } = options;
    if (shared) this.#edit.requireEncryption('a shared mapping');
    requireAnySizeFlags(flags, this.#format);
    const { first, end } = this.#pages(region);
    const largest = this.config.giantPages ? 2 : 1;
    const level = pageSize === undefined ? largest : PAGE_SIZES.indexOf(pageSize);
    if (level < 0 || level > largest) {
      throw new PageTableError('INVALID_PAGE_SIZE', { pageSize, giantPages: this.config.giantPages });
    }
    const exact = pageSize !== undefined;
    const span = exact ? (SPANS[level] as number) : 1;
    const stray = [first, end].find((page) => page % span !== 0);
    if (exact && stray !== undefined) {
      const address = addressOf(stray, this.config.levels);
      throw new PageTableError('MISALIGNED', { what: 'virtual', address, pageSize });
    }
    const frame = requirePhysical(paddr, exact ? level : 0, this.#format, end - first);
    const low = (flags & 0xfff) | PteFlags.Present;
    const high = (flags & 0xfff0_0000) | this.#visibility(shared);
    const plan = { page: first, frame, low, high, level, exact, remap };
    new MapEdit(this.#space, 'mapRegion', plan).run({ first, end });
  }

  /**
   * Unmaps all of `region`. A large page that is only partly inside is split.
   *
   * @throws PageTableError `MISALIGNED`, `NOT_MAPPED`, `ALIASED_TABLE`, and if it splits, `OUT_OF_FRAMES` and
   *   `NO_FRAME_ALLOCATOR`
   */
  unmapRegion(region: VirtBounds, options: UnmapRegionOptions = {}): void {
    const edit = new UnmapEdit(
      this.#space,
      'unmapRegion',
      options.allowHoles ?? false,
      this.#freeEmptyTables,
    );
    edit.run(this.#pages(region));
  }

  /**
   * Sets and clears flags of every page of `region`; everything else about them stays. A large page that is only partly
   * inside is split, unless it has the flags already.
   *
   * @throws PageTableError as {@link unmapRegion}; `INVALID_FLAGS`
   */
  protectRegion(region: VirtBounds, change: FlagChange): void {
    this.#protect('protectRegion', this.#pages(region), change);
  }

  /** As {@link protectRegion}, for the 4 KiB page at `vaddr`. */
  protect4k(vaddr: VirtAddr, change: FlagChange): void {
    this.#protect('protect4k', this.#pages({ start: vaddr, end: vaddr + 4096n }), change);
  }

  /**
   * Makes every page of `region` shared with the hypervisor. A large page that is wholly inside stays one; at the edges
   * it is split.
   *
   * @throws PageTableError as {@link unmapRegion}; `NO_ENCRYPTION`
   */
  setSharedRegion(region: VirtBounds): void {
    this.#setRegionVisibility('setSharedRegion', region, true);
  }

  /** As {@link setSharedRegion}, the other way. */
  setEncryptedRegion(region: VirtBounds): void {
    this.#setRegionVisibility('setEncryptedRegion', region, false);
  }

  /**
   * Splits the large page that maps `vaddr` until a 4 KiB page does. Every translation, right, memory type, software bit
   * and shared-ness stays as it was. Does nothing if a 4 KiB page maps it already.
   *
   * @throws PageTableError `NOT_MAPPED`, `OUT_OF_FRAMES`, `NO_FRAME_ALLOCATOR`
   */
  split4k(vaddr: VirtAddr): void {
    this.#cursor.seek(vaddr);
    this.#edit.requirePresent(vaddr);
    this.#edit.split('split4k', vaddr);
  }

  /**
   * The reverse of {@link split4k}: if the 512 entries of the table that maps `vaddr` are the parts of one larger page,
   * that page takes its place, and so on upward; their tables are given back. Accessed and dirty may differ among them.
   * Returns the size of the page that maps `vaddr` then: if they do not agree, the size it had.
   *
   * @throws PageTableError `NOT_MAPPED`, and if it collapses, `NO_FRAME_ALLOCATOR`
   */
  collapse(vaddr: VirtAddr): PageSize {
    const cursor = this.#cursor;
    cursor.seek(vaddr);
    this.#edit.requirePresent(vaddr);
    const page = pageOf(vaddr, this.config.levels);
    return PAGE_SIZES[collapseUpward(this.#space, cursor, page, this.config.giantPages)] as PageSize;
  }

  /**
   * A new page table that shares what lies below some entries of this root: what is mapped there in one is mapped in both.
   * It neither frees nor destroys those tables. Takes one frame.
   *
   * @param entries - indexes of entries of the root that lead to tables; COCONUT-SVSM shares 511
   * @throws PageTableError `INVALID_ROOT_ENTRY`, `OUT_OF_FRAMES`, `NO_FRAME_ALLOCATOR`
   */
  cloneShared(entries: readonly number[]): PageTable {
    this.#cursor.requireAlive();
    const shared = entries.map((index) => readRootEntry(this.#space, index));
    const clone = (this.constructor as typeof PageTable).create(this.#options);
    shared.forEach(({ index, low, high }) => {
      // Empty or not, the table stays as long as this page table: the clone leads to it.
      this.#kept.add(index);
      clone.#kept.add(index);
      clone.#foreign.add(index);
      storeEntry(this.#memory, pageNumber(clone.root), index, low, high);
    });
    return clone;
  }

  /** How many frames its tables take, the root included. O(tables × 512). */
  countTables(): number {
    this.#cursor.requireAlive();
    return tablesOf(this.#space).length;
  }

  /**
   * Gives all tables back, the root included; every later use is an error. What was mapped is not touched, and nothing is
   * flushed: no processor may be using it any more. O(tables × 512).
   *
   * @throws PageTableError `NO_FRAME_ALLOCATOR`; `BUS_ERROR` if a table lies outside memory, and nothing is given back then
   */
  destroy(): void {
    this.#cursor.requireAlive();
    this.#frames.giveBack(tablesOf(this.#space));
    this.#cursor.retire();
  }

  /** The physical address that `vaddr` translates to, or `undefined` if nothing is mapped there. Judges no rights. */
  translate(vaddr: VirtAddr): PhysAddr | undefined {
    const cursor = this.#cursor;
    cursor.seek(vaddr);
    if (!cursor.isPresent) return undefined;
    const frame = this.#format.frame(cursor.entryLow, cursor.entryHigh, cursor.level);
    return byteAt(frame, cursor.low & ((PAGE_SIZES[cursor.level] as number) - 1));
  }

  /** The walk for `vaddr`, entry by entry, with the rights that all of them leave. */
  walk(vaddr: VirtAddr): Walk {
    const cursor = this.#cursor;
    const path: WalkStep[] = [];
    const note = (): void => {
      const { level, index, entry } = cursor;
      path.push(Object.freeze({ level, table: frameAddress(cursor.table), index, entry }));
    };
    cursor.start(vaddr);
    note();
    while (cursor.isTable) {
      cursor.descend();
      note();
    }
    const leaf = (path[path.length - 1] as WalkStep).entry;
    if (!leaf.present) return Object.freeze({ vaddr, path: Object.freeze(path), page: undefined });
    const size = PAGE_SIZES[cursor.level] as PageSize;
    const every = (flag: number): boolean => path.every(({ entry }) => (entry.flags & flag) !== 0);
    const page: MappedPage = Object.freeze({
      size,
      frame: leaf.address,
      paddr: (leaf.address + (vaddr & BigInt(size - 1))) as PhysAddr,
      shared: leaf.shared,
      flags: leaf.flags,
      writable: every(PteFlags.Writable),
      user: every(PteFlags.User),
      executable: path.every(({ entry }) => (entry.flags & PteFlags.NoExecute) === 0),
    });
    return Object.freeze({ vaddr, path: Object.freeze(path), page });
  }

  /**
   * What the processor's memory management unit does with an access to one byte: a translation, a page fault with its
   * error code, or #GP for an address that is not canonical. Sets accessed and dirty bits, unless told to look only.
   *
   * Corrupted entries are page faults here, as they are to a processor. O(levels).
   *
   * @param cpu - `cpuState()` if not given
   * @throws PageTableError `BUS_ERROR` if a table lies outside memory; `INVALID_ACCESS`; `NON_CANONICAL` for what is no
   *   address of 64 bits at all
   */
  access(vaddr: VirtAddr, kind: AccessKind, cpu?: CpuState, options?: AccessOptions): AccessResult {
    this.#cursor.requireAlive();
    return this.#access.run(vaddr, kind, cpu, options);
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
    return mappingsOf(this.#scan(range, options), this.#format, this.config.levels, range);
  }

  /** As {@link mappings}, page by page, with all flags of each leaf. */
  leaves(options: ListingOptions = {}): Generator<MappedLeaf, undefined, undefined> {
    const range = this.#listed(options);
    return leavesOf(this.#scan(range, options), this.#format, this.config.levels);
  }

  #listed({ within }: ListingOptions): PageRange {
    const { levels } = this.config;
    this.#cursor.requireAlive();
    return within === undefined
      ? { first: 0, end: ENTRIES * (SPANS[levels - 1] as number) }
      : pagesOf(within, levels);
  }

  #scan(range: PageRange, { onFault }: ListingOptions): LeafScan {
    return new LeafScan(
      this.#memory,
      this.#format,
      pageNumber(this.root),
      this.config.levels,
      range,
      onFault,
    );
  }

  #setRegionVisibility(operation: string, region: VirtBounds, shared: boolean): void {
    this.#edit.requireEncryption(operation);
    const { privateHi, sharedHi } = this.#format;
    this.#change(operation, this.#pages(region), {
      clearLow: 0,
      clearHigh: privateHi | sharedHi,
      setLow: 0,
      setHigh: this.#visibility(shared),
    });
  }

  #protect(operation: string, range: PageRange, { set = 0, clear = 0 }: FlagChange): void {
    requireChange(set, clear, this.#format);
    this.#change(operation, range, {
      clearLow: clear & 0xfff,
      clearHigh: clear & 0xfff0_0000,
      setLow: set & 0xfff,
      setHigh: set & 0xfff0_0000,
    });
  }

  #change(operation: string, range: PageRange, change: BitChange): void {
    new ChangeEdit(this.#space, operation, change).run(range);
  }

  #pages(region: VirtBounds): PageRange {
    this.#cursor.requireAlive();
    return pagesOf(region, this.config.levels);
  }

  #visibility(shared: boolean): number {
    return shared ? this.#format.sharedHi : this.#format.privateHi;
  }
}

function config(options: PageTableOptions): PagingConfig {
  return options.config ?? pagingConfig();
}

function framesFor(options: PageTableOptions): TableFrames {
  const { physicalEnd } = new EntryFormat(config(options));
  return new TableFrames(options.memory, options.frames, physicalEnd);
}
