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
import { type BlockOwner, blockOwner, OwnedBlock } from './owned-block.ts';
import type { PageAllocatorOptions } from './page-allocator-options.ts';
import { PageSpace } from './page-space.ts';
import { Trace } from './trace.ts';

/**
 * A buddy allocator for the pages of one or more regions. It allocates blocks of 2^order pages of 4 KiB, each at an address
 * that is a multiple of its size, so a block of order 9 can be mapped as a 2 MiB page. The allocator manages addresses. It
 * touches memory only to clear pages, through the option `memory`.
 *
 * A region may start at any page, have any number of pages, and end at 2^64. The constructor lays out no tables. They grow
 * when memory is divided into small blocks, by less than 2 bytes a page. Free buddies always merge, so the free blocks
 * depend only on what is allocated, not on the history: after everything is freed, in any order, the allocator is as it
 * began.
 *
 * An operation that throws has changed nothing. O(orders) is at most 52 steps, whatever the number of blocks. Where a cost is
 * amortized, the tables may grow, and are copied then.
 */
export class PageAllocator<A extends Address> {
  readonly #space: PageSpace<A>;
  readonly #memory: PageMemory<A> | undefined;
  readonly #trace: Trace<A> | undefined;
  readonly #files: FilePages<A>;
  readonly #owner: BlockOwner<A>;
  /**
   * The same blocks, named by the index of their first page instead of its address, for hot loops. An index is a `number`;
   * an address is a `bigint`, which is an object.
   */
  readonly indexed: IndexedPages<A>;
  // Every allocation needs these parts of `#space`.
  readonly #tree: BuddyTree;
  readonly #kind: AddressKind<A>;
  readonly #maxOrder: number;

  /**
   * Creates an allocator for the pages of `regions`. All pages are free, except for the reserved ones. O(orders) for each
   * region and each reserved region, and the time to sort the reserved ones.
   *
   * @param regions - a region, or several that do not overlap, each of whole pages and not empty; may be empty if the
   *   options have a `space`
   * @throws BuddyError `NO_REGION`, `INVALID_REGION`, `INVALID_MAX_ORDER`, `INVALID_RESERVED`, `INVALID_OPTION`,
   *   `METADATA_FULL`; RegionError `KIND_MISMATCH` if a region has another kind of address than the first,
   *   `REGION_OVERFLOW` if the non-canonical hole lies between two regions
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { PageAllocator } from '@svsm/buddy-alloc';
   * import { physRegion } from '@svsm/memory-region';
   *
   * // Two banks of memory; the first pages of one of them hold a kernel.
   * const banks = [physRegion(physAddr(0x10_0000), 0x10_0000), physRegion(physAddr(0x80_0000), 0x40_0000)];
   * const kernel = physRegion(physAddr(0x10_0000), 0x8000);
   * const allocator = new PageAllocator(banks, { reserved: [kernel] });
   *
   * const { totalPages, reservedPages } = allocator.memoryInfo();
   * console.log(totalPages, reservedPages, allocator.maxOrder); // => 1280 8 10
   * console.log(allocator.blockOf(physAddr(0x10_1000))?.state); // => reserved
   * ```
   */
  constructor(regions: MemoryRegion<A> | readonly MemoryRegion<A>[], options: PageAllocatorOptions<A> = {}) {
    const { maxOrder = MAX_ORDER, reserved = [], space, memory, trace, onLeak } = options;
    const all = Array.isArray(regions) ? regions : [regions];
    this.#space = new PageSpace({ regions: all, space, maxOrder, reserved });
    this.#memory = memory;
    this.#trace = trace === undefined ? undefined : new Trace(this.#space, trace);
    this.#files = new FilePages(this.#space, memory, this.#trace);
    this.#owner = blockOwner(this.#space, this.#trace, onLeak);
    this.indexed = new IndexedPages(this.#space, this.#trace);
    this.#tree = this.#space.tree;
    this.#kind = this.#space.kind;
    this.#maxOrder = this.#space.maxOrder;
  }

  /**
   * Creates an allocator in the state of a snapshot. The pages of slabs and heaps are allocated, but the snapshot does not
   * have the objects in them. O(orders) for each block.
   *
   * @param kind - the kind of the addresses
   * @param options - the options that are not part of the snapshot
   * @throws BuddyError `INVALID_REGION`, `INVALID_MAX_ORDER`, `INVALID_RESERVED`, `OUTSIDE_REGION`, `NOT_FREE`,
   *   `INVALID_SNAPSHOT`, `METADATA_FULL`; AddressError and RegionError if a bound is not valid
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

  /** The allocator's region; with several regions, from the start of the first to the end of the last. O(1). */
  get region(): MemoryRegion<A> {
    return this.#space.hull;
  }

  /** The allocator's regions: ascending, regions that touch joined. O(regions). */
  get regions(): readonly MemoryRegion<A>[] {
    return this.#space.regions;
  }

  /** The greatest order of a request. */
  get maxOrder(): number {
    return this.#maxOrder;
  }

  /**
   * Allocates a block of 2^`order` pages. O(orders), amortized.
   *
   * @param order - 0 to `maxOrder`; `getOrder` returns the order for a byte count
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
   * Allocates a block as `allocatePages`, but returns only its address, which costs less. O(orders), amortized.
   *
   * @param order - 0 to `maxOrder`
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
   * Allocates one page. Returns its address. O(orders), amortized.
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
   * Allocates one page and fills it with zeros. If `memory.clearPage` throws, nothing is allocated. O(orders), amortized.
   *
   * @throws BuddyError `NO_PAGE_MEMORY`, `OUT_OF_MEMORY`, `METADATA_FULL`; what `memory.clearPage` throws, for a `ByteMemory`
   *   BuddyError `OUTSIDE_MEMORY`
   */
  allocateZeroedPage(): A {
    if (this.#memory === undefined) throw new BuddyError('NO_PAGE_MEMORY', {});
    const page = this.#space.allocateCleared(this.#memory);
    this.#trace?.allocated(page);
    return page;
  }

  /**
   * Allocates a page that counts its references, and starts with one. It is filled with zeros if the allocator has `memory`.
   * The last `putFilePage` frees it. O(orders), amortized.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`; what `memory.clearPage` throws, for a `ByteMemory` BuddyError
   *   `OUTSIDE_MEMORY`
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { PageAllocator } from '@svsm/buddy-alloc';
   * import { physRegion } from '@svsm/memory-region';
   *
   * const allocator = new PageAllocator(physRegion(physAddr(0x10_0000), 0x1_0000));
   * const page = allocator.allocateFilePage();
   * console.log(allocator.getFilePage(page)); // => 2
   * console.log(allocator.putFilePage(page), allocator.putFilePage(page)); // => 1 0
   * console.log(allocator.blockOf(page)?.state); // => free
   * ```
   */
  allocateFilePage(): A {
    return this.#files.allocate();
  }

  /**
   * Adds a reference to a file page. Returns the number of references. O(orders).
   *
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `NOT_FILE_PAGE`; AddressError for an invalid address
   */
  getFilePage(page: A): number {
    return this.#files.get(page);
  }

  /**
   * Removes a reference from a file page. Returns the number of references; at 0 the page has been freed. O(orders).
   *
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `NOT_FILE_PAGE`; AddressError for an invalid address
   */
  putFilePage(page: A): number {
    return this.#files.put(page);
  }

  /**
   * Allocates a run: exactly `pages` pages, where `allocatePages` would round up to a power of two. The run starts at a
   * multiple of `alignment`. If a free block has room for it, it starts at the start of the smallest such block. `freePages`
   * frees it as a whole. O(orders²), amortized; O(blocks · orders) if only several free blocks together have room.
   *
   * @param pages - 1 to 2^52
   * @param alignment - bytes, a power of two
   * @throws BuddyError `INVALID_PAGE_COUNT`, `OUT_OF_MEMORY`, `METADATA_FULL`; AddressError `INVALID_ALIGNMENT`
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { PageAllocator } from '@svsm/buddy-alloc';
   * import { physRegion } from '@svsm/memory-region';
   *
   * const allocator = new PageAllocator(physRegion(physAddr(0), 0x10_0000));
   * const run = allocator.allocateRun(5, 0x4000);
   * console.log(String(run)); // => [0x0000000000000000-0x0000000000005000)
   * console.log(String(allocator.allocateRun(5, 0x4000))); // => [0x0000000000008000-0x000000000000d000)
   * allocator.freePages(run.start);
   * ```
   */
  allocateRun(pages: number, alignment: Bytes = PAGE_SIZE): MemoryRegion<A> {
    const run = this.#space.allocateRun(pages, alignment);
    this.#trace?.allocated(run.start);
    return run;
  }

  /**
   * Allocates the given pages: as a block if they can be one, otherwise as a run. O(orders) for each free block that contains
   * some of them, amortized.
   *
   * @param pages - whole pages, at least one, all of them free
   * @throws BuddyError `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_FREE`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
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
   * @param block - its region, which must be the whole block, or its start address
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`,
   *   `FILE_PAGE`, `SLAB_PAGE`, `HEAP_BLOCK`; AddressError for an invalid address; RegionError `KIND_MISMATCH`
   */
  freePages(block: MemoryRegion<A> | A): void {
    const freed = this.#trace?.toFree(block);
    if (typeof block === 'object' && block !== null) {
      // `overlaps` throws if `block` has another kind of address, or is not a region.
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
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`,
   *   `FILE_PAGE`, `SLAB_PAGE`, `HEAP_BLOCK`; AddressError for an invalid address
   */
  freePage(page: A): void {
    if (typeof page !== 'bigint' || !this.#tree.freePage(page)) throw this.#space.refusal(page);
    this.#trace?.freedPage(page);
  }

  /**
   * Reserves free pages: they are not allocated until `unreserve`. O(orders) for each free block that contains some of them,
   * and O(reserved), amortized.
   *
   * @param pages - whole pages, at least one, all of them free
   * @throws BuddyError `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_FREE`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  reserve(pages: MemoryRegion<A>): void {
    this.#space.reserve(pages);
    this.#trace?.changed('reserve', pages);
  }

  /**
   * Makes reserved pages free. It does not matter how they were reserved: together, one by one, or by the constructor. The
   * cost is as for `reserve`.
   *
   * @param pages - whole pages, at least one, all of them reserved
   * @throws BuddyError `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_RESERVED`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  unreserve(pages: MemoryRegion<A>): void {
    this.#space.unreserve(pages);
    this.#trace?.changed('unreserve', pages);
  }

  /**
   * Adds a region of free pages. They merge with free buddies in the regions that it touches. O(orders + regions), amortized.
   *
   * @param region - whole pages, at least one, in the `space` of the options, outside the present regions
   * @throws BuddyError `INVALID_REGION`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { PageAllocator } from '@svsm/buddy-alloc';
   * import { physRegion } from '@svsm/memory-region';
   *
   * const space = physRegion(physAddr(0), 0x100_0000);
   * const allocator = new PageAllocator([], { space });
   * allocator.addRegion(physRegion(physAddr(0x1000), 0x7000));
   * allocator.addRegion(physRegion(physAddr(0x8000), 0x8000));
   * console.log(allocator.regions.join()); // => [0x0000000000001000-0x0000000000010000)
   * ```
   */
  addRegion(region: MemoryRegion<A>): void {
    this.#space.addRegion(region);
    this.#trace?.changed('addRegion', region);
  }

  /**
   * Removes free pages from the allocator. They can be any pages, not only a region that was added. O(orders) for each free
   * block that contains some of them, and O(regions), amortized.
   *
   * @param region - whole pages, at least one, all of them free
   * @throws BuddyError `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_FREE`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  removeRegion(region: MemoryRegion<A>): void {
    this.#space.removeRegion(region);
    this.#trace?.changed('removeRegion', region);
  }

  /**
   * Returns a source of pages for an allocator of smaller objects, such as `SlabCache` and `HeapAllocator`. `blockOf` shows the
   * pages as `kind`. Only the source frees them: `freePages` refuses. O(1).
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
   * Returns an owner for a block: `using` frees the block at the end of the scope. O(orders), amortized.
   *
   * @param block - the order of a new block, or an allocated block or run that has no other owner
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `METADATA_FULL` for an order; `INVALID_REGION`, `OUTSIDE_REGION`,
   *   `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`, `FILE_PAGE`, `SLAB_PAGE`, `HEAP_BLOCK` for a region;
   *   RegionError `KIND_MISMATCH`
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
   * The block that contains `address`; `undefined` outside the regions. Reserved pages are shown as the largest blocks that
   * fit. O(orders + log reserved).
   *
   * @throws AddressError for an invalid address
   */
  blockOf(address: A): Block<A> | undefined {
    this.#kind.assertIsAddress(address);
    return this.#space.blockAround(pageNumberOf(address & ~0xfffn));
  }

  /**
   * All blocks, ascending. Together they are the regions. Do not allocate or free before the loop has ended.
   * O(orders + log reserved) for each block, none of it in advance.
   */
  blocks(): Generator<Block<A>, undefined, undefined> {
    return this.#space.blocks();
  }

  /** The pages and blocks by state and order. O(orders + reserved + regions). */
  memoryInfo(): MemoryInfo {
    return this.#space.info();
  }

  /** The complete state, to be stored or sent. `PageAllocator.restore` makes an allocator of it. O(blocks · orders). */
  snapshot(): AllocatorSnapshot {
    return this.#space.snapshot();
  }

  /**
   * Checks that the tables agree with each other and with the regions. It throws only if this package has a bug.
   * O(blocks + pages that ever were in blocks of less than 1024).
   *
   * @throws BuddyError `BROKEN_INVARIANT`, with the name of the invariant and the contradiction
   */
  checkInvariants(): void {
    this.#space.check();
  }
}
