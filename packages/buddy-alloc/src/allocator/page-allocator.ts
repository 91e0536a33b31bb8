import { type Address, type AddressKind, type Bytes, PAGE_SIZE } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type Block, blockBytes, MAX_ORDER } from '../pages/block.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { requireOrder } from '../pages/integers.ts';
import type { MemoryInfo } from '../pages/memory-info.ts';
import type { PageMemory } from '../pages/page-memory.ts';
import type { PageSource } from '../pages/page-source.ts';
import type { AllocatorSnapshot, SnapshotRange } from '../pages/snapshot.ts';
import { pageNumberOf } from '../pages/words.ts';
import type { BuddyTree } from '../tree/buddy-tree.ts';
import { FilePages } from './file-pages.ts';
import { IndexedPages } from './indexed-pages.ts';
import { markedPages } from './marked-pages.ts';
import { type BlockOwner, OwnedBlock } from './owned-block.ts';
import type { PageAllocatorOptions } from './page-allocator-options.ts';
import { PageSpace } from './page-space.ts';
import { Trace } from './trace.ts';

/**
 * A buddy allocator for the pages of a region, or of several: blocks of 2^order pages of 4 KiB, each at an address
 * that is a multiple of its size (one of order 9 can be mapped as a 2 MiB page). It deals in addresses only and
 * touches no memory but to clear pages, through the `memory` of its options.
 *
 * A region may start at any page, have any number of pages, and end at 2^64. Construction lays nothing out for
 * it: tables grow with what is broken into small blocks, by less than 2 bytes a page. Buddies that are free always
 * merge, so which free blocks there are depends on what is allocated and on nothing that was before: freeing
 * everything, in any order, leaves the allocator as it began.
 *
 * What fails throws, and changes nothing. O(orders) is at most 52 steps, however many blocks there are; where it is
 * amortized, tables may grow, which copies them.
 */
export class PageAllocator<A extends Address> {
  readonly #space: PageSpace<A>;
  readonly #memory: PageMemory<A> | undefined;
  readonly #trace: Trace<A> | undefined;
  readonly #files: FilePages<A>;
  readonly #owner: BlockOwner<A>;
  /**
   * The same blocks by the index of their first page, a `number`, instead of its address: for hot loops. An address is a
   * `bigint`, and so an object.
   */
  readonly indexed: IndexedPages<A>;
  // Parts of the space that every allocation needs.
  readonly #tree: BuddyTree;
  readonly #kind: AddressKind<A>;
  readonly #maxOrder: number;

  /**
   * An allocator for the pages of `regions`, all of them free but the reserved ones. O(orders) for each region and
   * each of the reserved ones, which are sorted.
   *
   * @param regions - one, or several that do not overlap: whole pages, at least one; none, if there is a `space`
   * @throws BuddyError `NO_REGION`, `INVALID_REGION`, `INVALID_MAX_ORDER`, `INVALID_RESERVED`; RegionError `KIND_MISMATCH` if
   *   one region has another kind of address than the first, `REGION_OVERFLOW` if the hole lies between two
   */
  constructor(regions: MemoryRegion<A> | readonly MemoryRegion<A>[], options: PageAllocatorOptions<A> = {}) {
    const { maxOrder = MAX_ORDER, reserved = [], space, memory, trace, onLeak } = options;
    const all = Array.isArray(regions) ? regions : [regions];
    this.#space = new PageSpace({ regions: all, space, maxOrder, reserved });
    this.#memory = memory;
    this.#trace = trace === undefined ? undefined : new Trace(this.#space, trace);
    this.#files = new FilePages(this.#space, memory, this.#trace);
    this.#owner = {
      free: (block, freed) => {
        const traced = this.#trace?.toFree(block);
        if (!this.#tree.free(block.start, block.size)) throw this.#space.refusal(block.start, block.size);
        freed();
        this.#trace?.freed(traced);
      },
      leaks: onLeak === undefined ? undefined : new FinalizationRegistry(onLeak),
    };
    this.indexed = new IndexedPages(this.#space, this.#trace);
    this.#tree = this.#space.tree;
    this.#kind = this.#space.kind;
    this.#maxOrder = this.#space.maxOrder;
  }

  /**
   * An allocator as it was when the snapshot was taken. Pages of slabs and heaps are allocated as they were, but the
   * objects in them are not of the snapshot. O(orders) for each block.
   *
   * @param options - but for what the snapshot has: `memory`, `trace`, `onLeak`
   * @throws BuddyError `INVALID_SNAPSHOT`, and what the constructor and `allocateAt` throw
   */
  static restore<A extends Address>(
    kind: AddressKind<A>,
    snapshot: AllocatorSnapshot,
    options: Pick<PageAllocatorOptions<A>, 'memory' | 'trace' | 'onLeak'> = {},
  ): PageAllocator<A> {
    const region = ({ start, end }: SnapshotRange) => MemoryRegion.fromAddresses(kind, start as A, end);
    const allocator = new PageAllocator(snapshot.regions.map(region), {
      ...options,
      maxOrder: snapshot.maxOrder,
      space: region(snapshot.space),
      reserved: snapshot.reserved.map(region),
    });
    for (const block of snapshot.blocks) allocator.#space.restoreBlock(block);
    return allocator;
  }

  /** What it allocates from: of several regions, from the first one's start to the last one's end. O(1). */
  get region(): MemoryRegion<A> {
    return this.#space.hull;
  }

  /** The regions that it allocates from: ascending, those that touch made one. O(regions). */
  get regions(): readonly MemoryRegion<A>[] {
    return this.#space.regions;
  }

  /** The greatest order that it hands out. */
  get maxOrder(): number {
    return this.#maxOrder;
  }

  /**
   * Allocates a block of 2^`order` pages. O(orders), amortized.
   *
   * @param order - 0 to `maxOrder`; `getOrder` has the one for a byte count
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `METADATA_FULL`
   */
  allocatePages(order: number): MemoryRegion<A> {
    requireOrder(order, this.#maxOrder);
    const start = this.#tree.allocate(order);
    if (start === undefined) throw this.#space.outOfMemory(order);
    const block = MemoryRegion.unchecked(this.#kind, start as A, blockBytes(order));
    this.#trace?.allocated(block.start);
    return block;
  }

  /**
   * As `allocatePages`, but returns the address only, which costs less: `freePages` takes that too. O(orders),
   * amortized.
   *
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `METADATA_FULL`
   */
  allocateBlock(order: number): A {
    requireOrder(order, this.#maxOrder);
    const start = this.#tree.allocate(order);
    if (start === undefined) throw this.#space.outOfMemory(order);
    this.#trace?.allocated(start as A);
    return start as A;
  }

  /**
   * Allocates one page: its address. O(orders), amortized.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`
   */
  allocatePage(): A {
    const page = this.#tree.allocate(0);
    if (page === undefined) throw this.#space.outOfMemory(0);
    this.#trace?.allocated(page as A);
    return page as A;
  }

  /**
   * As `allocatePage`, a page of zeros. If clearing it throws, nothing is allocated.
   *
   * @throws BuddyError `NO_PAGE_MEMORY`, `OUT_OF_MEMORY`, `METADATA_FULL`; what `memory.clearPage` throws
   */
  allocateZeroedPage(): A {
    if (this.#memory === undefined) throw new BuddyError('NO_PAGE_MEMORY', {});
    const page = this.#space.allocateCleared(this.#memory);
    this.#trace?.allocated(page);
    return page;
  }

  /**
   * Allocates a page that counts its references, with one reference; where the allocator has `memory`, a page of
   * zeros. `putFilePage` frees it. O(orders), amortized.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`; what `memory.clearPage` throws
   */
  allocateFilePage(): A {
    return this.#files.allocate();
  }

  /**
   * Adds a reference to a file page, and returns how many it has now. O(orders).
   *
   * @throws BuddyError `NOT_FILE_PAGE`, `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`; AddressError if it is no address
   */
  getFilePage(page: A): number {
    return this.#files.get(page);
  }

  /**
   * Gives a reference to a file page back, and returns how many it has now; with the last, the page is free. O(orders).
   *
   * @throws BuddyError `NOT_FILE_PAGE`, `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`; AddressError if it is no address
   */
  putFilePage(page: A): number {
    return this.#files.put(page);
  }

  /**
   * Allocates a run of any number of pages, and no more. It starts at a multiple of `alignment`; and where a block
   * is free that holds it, at the start of the smallest one. Free it as a block: by its region or its start.
   * O(orders²), amortized; O(blocks · orders) where only several free blocks together hold it.
   *
   * @param pages - 1 to 2^52
   * @param alignment - bytes, a power of two
   * @throws BuddyError `INVALID_PAGE_COUNT`, `OUT_OF_MEMORY`, `METADATA_FULL`; AddressError `INVALID_ALIGNMENT`
   */
  allocateRun(pages: number, alignment: Bytes = PAGE_SIZE): MemoryRegion<A> {
    const run = this.#space.allocateRun(pages, alignment);
    this.#trace?.allocated(run.start);
    return run;
  }

  /**
   * Allocates these pages and no others: as a block, if they can be one, else as a run. O(orders) for each free block
   * that they lie in, amortized.
   *
   * @param pages - whole pages, at least one, all of them free
   * @throws BuddyError `NOT_FREE`, `OUTSIDE_REGION`, `INVALID_REGION`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  allocateAt(pages: MemoryRegion<A>): MemoryRegion<A> {
    const range = this.#space.rangeOf(pages);
    this.#space.requireState('free', range);
    const block = this.#space.allocateRange(range);
    this.#trace?.allocated(block.start);
    return block;
  }

  /**
   * Frees a block or a run. O(orders), for each block of a run.
   *
   * @param block - the region, which must be the whole block, or the address that it starts at
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`,
   *   `WRONG_SIZE`, `FILE_PAGE`, `SLAB_PAGE`, `HEAP_BLOCK`; AddressError if an address is none of this kind;
   *   RegionError `KIND_MISMATCH` if a region is
   */
  freePages(block: MemoryRegion<A> | A): void {
    const freed = this.#trace?.toFree(block);
    if (typeof block === 'object' && block !== null) {
      // Of the right kind, the address says all; of another, `overlaps` throws.
      if (block.kind !== this.#kind) this.#space.space.overlaps(block);
      const { start, size } = block;
      if (!this.#tree.free(start, size)) throw this.#space.refusal(start, size);
    } else if (typeof block !== 'bigint' || !this.#tree.free(block, undefined)) {
      throw this.#space.refusal(block);
    }
    this.#trace?.freed(freed);
  }

  /**
   * Frees a block of one page. O(orders).
   *
   * @throws BuddyError and AddressError as `freePages`, and `WRONG_SIZE` for the start of a larger block
   */
  freePage(page: A): void {
    if (typeof page !== 'bigint' || !this.#tree.freePage(page)) throw this.#space.refusal(page);
    this.#trace?.freedPage(page);
  }

  /**
   * Reserves free pages: they are not handed out until `unreserve`. O(orders) for each free block that they lie in,
   * and O(reserved), amortized.
   *
   * @param pages - whole pages, at least one
   * @throws BuddyError `NOT_FREE`, `OUTSIDE_REGION`, `INVALID_REGION`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  reserve(pages: MemoryRegion<A>): void {
    this.#space.reserve(pages);
    this.#trace?.changed('reserve', pages);
  }

  /**
   * Makes reserved pages free, whether they were reserved together or from the start. Costs as `reserve`.
   *
   * @param pages - whole pages, at least one, all of them reserved
   * @throws BuddyError `NOT_RESERVED`, `OUTSIDE_REGION`, `INVALID_REGION`, `METADATA_FULL`; RegionError
   *   `KIND_MISMATCH`
   */
  unreserve(pages: MemoryRegion<A>): void {
    this.#space.unreserve(pages);
    this.#trace?.changed('unreserve', pages);
  }

  /**
   * Adds a region, all of it free; it merges with what it touches. O(orders + regions), amortized.
   *
   * @param region - whole pages, at least one, in the `space` of the options, none of them here already
   * @throws BuddyError `INVALID_REGION`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  addRegion(region: MemoryRegion<A>): void {
    this.#space.addRegion(region);
    this.#trace?.changed('addRegion', region);
  }

  /**
   * Takes free pages away: they are the allocator's no more. They need not be a region that was added. O(orders) for
   * each free block that they lie in, and O(regions), amortized.
   *
   * @param region - whole pages, at least one, all of them free
   * @throws BuddyError `NOT_FREE`, `OUTSIDE_REGION`, `INVALID_REGION`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  removeRegion(region: MemoryRegion<A>): void {
    this.#space.removeRegion(region);
    this.#trace?.changed('removeRegion', region);
  }

  /**
   * Where an allocator of smaller things takes its pages: they are shown as `kind`, `freePages` refuses them, and the
   * source frees them. `SlabCache` and `HeapAllocator` are made on it. O(1).
   *
   * @throws BuddyError `INVALID_OPTION`
   */
  pagesFor(kind: 'slab' | 'heap'): PageSource<A> {
    if (kind !== 'slab' && kind !== 'heap') {
      throw new BuddyError('INVALID_OPTION', { option: 'kind', value: kind, expected: "'slab' or 'heap'" });
    }
    return markedPages(this.#space, this.#trace, kind);
  }

  /**
   * Makes an owner for a block, which `using` frees. O(orders), amortized.
   *
   * @param block - the order of a new block, or an allocated block or run that has no other owner
   * @throws BuddyError as `allocatePages`; or as `freePages`, if the region is none that can be freed
   */
  own(block: number | MemoryRegion<A>): OwnedBlock<A> {
    if (typeof block !== 'object' || block === null)
      return new OwnedBlock(this.#owner, this.allocatePages(block));
    this.#space.rangeOf(block);
    const found = this.#space.blockAround(pageNumberOf(block.start));
    if (!found?.region.equals(block) || (found.kind !== 'pages' && found.kind !== 'run')) {
      throw this.#space.refusal(block.start, block.size);
    }
    return new OwnedBlock(this.#owner, block);
  }

  /**
   * The block that `address`, its start or any other in it, belongs to; `undefined` if it is in no region.
   * Reserved pages are shown as blocks too, the largest that fit. O(orders + log reserved).
   *
   * @throws AddressError if `address` is none of this kind
   */
  blockOf(address: A): Block<A> | undefined {
    this.#kind.assertIsAddress(address);
    return this.#space.blockAround(pageNumberOf(address & ~0xfffn));
  }

  /**
   * Every block, ascending: together they are the regions. Do not allocate or free before the loop has ended.
   * O(orders + log reserved) for each, none of it up front.
   */
  blocks(): Generator<Block<A>, undefined, undefined> {
    return this.#space.blocks();
  }

  /** How much is free, allocated and reserved, and in what blocks. O(orders + reserved + regions). */
  memoryInfo(): MemoryInfo {
    return this.#space.info();
  }

  /** All that it is, to be kept or sent: `PageAllocator.restore` makes an allocator of it. O(blocks · orders). */
  snapshot(): AllocatorSnapshot {
    return this.#space.snapshot();
  }

  /**
   * Checks that the tables agree with each other and with the regions: for tests, and after a suspicion. Never
   * throws unless this package is wrong. O(blocks + pages that ever were in blocks of less than 1024).
   *
   * @throws BuddyError `BROKEN_INVARIANT`, with the invariant's name and what contradicts it
   */
  checkInvariants(): void {
    this.#space.check();
  }
}
