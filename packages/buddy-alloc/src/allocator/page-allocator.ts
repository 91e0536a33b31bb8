import { type Address, type AddressKind, type Bytes, PAGE_SIZE, showInConsoles } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type Block, blockBytes, MAX_ORDER } from '../pages/block.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { isIntegerUpTo, requireOrder } from '../pages/integers.ts';
import type { MemoryInfo } from '../pages/memory-info.ts';
import { readOptions, requireFunction } from '../pages/options.ts';
import type { PageSource } from '../pages/page-source.ts';
import { arrayOf } from '../pages/region-pages.ts';
import type { AllocatorSnapshot } from '../pages/snapshot.ts';
import { pageNumberOf } from '../pages/words.ts';
import { callbacksOf } from './callbacks.ts';
import { FilePages } from './file-pages.ts';
import { HotParts } from './hot-parts.ts';
import { IndexedPages } from './indexed-pages.ts';
import { markedPages } from './marked-pages.ts';
import { type BlockOwner, blockOwner, type OwnedBlock, ownBlock } from './owned-block.ts';
import { OPTIONS, type PageAllocatorOptions, RESTORE_OPTIONS } from './page-allocator-options.ts';
import { PageSpace } from './page-space.ts';
import { readSnapshot } from './snapshot-options.ts';

/**
 * A buddy allocator for the pages of one or more regions. It allocates blocks of 2^order pages of 4 KiB, each at an address
 * that is a multiple of its size, so a block of order 9 can be mapped as a 2 MiB page. The allocator manages addresses. It
 * touches memory only through the option `memory`, to clear and to poison pages.
 *
 * A region may start at any page, have any number of pages, and end at 2^64. The constructor lays out no tables. They grow
 * when memory is divided into small blocks, by 5 to 8 bytes a page. Free buddies always merge, so the free blocks
 * depend only on what is allocated, not on the history: after everything is freed, in any order, the allocator is as it
 * began.
 *
 * An operation that throws has changed nothing, except for `CALLBACK_FAILED`. O(orders) is at most 52 steps, whatever the number of
 * blocks. Where a cost is amortized, the tables may grow, and are copied then.
 */
export class PageAllocator<A extends Address> {
  static {
    showInConsoles(this, 'PageAllocator', (pages) => {
      const { totalPages, freePages, largestFreeOrder } = pages.memoryInfo();
      return { regions: pages.regions, totalPages, freePages, largestFreeOrder };
    });
  }

  readonly #parts: HotParts<A> = new HotParts();
  readonly #files: FilePages<A>;
  readonly #owner: BlockOwner<A>;
  /**
   * The same blocks, named by the index of their first page instead of its address, for hot loops. An index is a `number`;
   * an address is a `bigint`, which is an object.
   */
  readonly indexed: IndexedPages<A>;

  /**
   * Creates an allocator for the pages of `regions`. All pages are free, except for the reserved ones. O(orders) for each
   * region and each reserved region, and the time to sort the reserved ones.
   *
   * @param regions - a region, or several that do not overlap, each of whole pages and not empty; may be empty if the
   *   options have a `space`
   * @throws BuddyError `NO_REGION`, `INVALID_REGION`, `INVALID_MAX_ORDER`, `INVALID_RESERVED`, `INVALID_OPTION`,
   *   `METADATA_FULL`, `MEMORY_MISMATCH`; RegionError `KIND_MISMATCH` if a region has another kind of address than the first,
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
    const read = readOptions(options, OPTIONS);
    const { maxOrder = MAX_ORDER, reserved = [], space, onLeak } = read;
    requireFunction('onLeak', onLeak);
    const pages = new PageSpace({ regions: arrayOf(regions), space, maxOrder, reserved });
    const callbacks = callbacksOf(pages, read);
    this.#parts.fill(pages, callbacks);
    this.#files = new FilePages(pages, callbacks);
    this.#owner = blockOwner(pages, callbacks, onLeak);
    this.indexed = new IndexedPages(pages, callbacks);
  }

  /**
   * Creates an allocator in the state of a snapshot. The pages of slabs and heaps are allocated, but the snapshot does not
   * have the objects in them. O(orders) for each block.
   *
   * @param kind - the kind of the addresses
   * @param options - the options that are not part of the snapshot
   * @throws BuddyError `INVALID_REGION`, `INVALID_MAX_ORDER`, `INVALID_RESERVED`, `OUTSIDE_REGION`, `NOT_FREE`,
   *   `INVALID_SNAPSHOT`, `METADATA_FULL`, `INVALID_OPTION`, `MEMORY_MISMATCH`; AddressError and RegionError if a bound is not
   *   valid
   */
  static restore<A extends Address>(
    kind: AddressKind<A>,
    snapshot: AllocatorSnapshot,
    options: Pick<PageAllocatorOptions<A>, (typeof RESTORE_OPTIONS)[number]> = {},
  ): PageAllocator<A> {
    const [{ regions, ...rest }, blocks] = readSnapshot(kind, snapshot);
    const allocator = new PageAllocator(regions, { ...readOptions(options, RESTORE_OPTIONS), ...rest });
    for (const block of blocks) allocator.#parts.space.restoreBlock(block);
    return allocator;
  }

  /** The allocator's region; with several, from the start of the first to the end of the last. O(1). @throws BuddyError `BUSY` */
  get region(): MemoryRegion<A> {
    this.#parts.callbacks?.enter('PageAllocator.region');
    return this.#parts.space.hull;
  }

  /** The allocator's regions: ascending, regions that touch joined. O(regions). @throws BuddyError `BUSY` */
  get regions(): readonly MemoryRegion<A>[] {
    this.#parts.callbacks?.enter('PageAllocator.regions');
    return this.#parts.space.regions;
  }

  /** The greatest order of a request. */
  get maxOrder(): number {
    return this.#parts.maxOrder;
  }

  /**
   * Allocates a block of 2^`order` pages. O(orders), amortized.
   *
   * @param order - 0 to `maxOrder`; `getOrder` returns the order for a byte count
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `METADATA_FULL`, `OUTSIDE_MEMORY`, `POISON_OVERWRITTEN`, `BUSY`,
   *   `CALLBACK_FAILED`
   */
  allocatePages(order: number): MemoryRegion<A> {
    const callbacks = this.#parts.callbacks;
    callbacks?.enter('PageAllocator.allocatePages');
    requireOrder(order, this.#parts.maxOrder);
    const start = this.#parts.tree.allocate(order);
    if (start === undefined) throw this.#parts.space.outOfMemory(order);
    const block = MemoryRegion.unchecked(this.#parts.kind, start as A, blockBytes(order));
    callbacks?.allocated(block.start, block);
    return block;
  }

  /**
   * Allocates a block as `allocatePages`, but returns only its address, which costs less. O(orders), amortized.
   *
   * @param order - 0 to `maxOrder`
   * @throws as {@link allocatePages}
   */
  allocateBlock(order: number): A {
    const { callbacks, tree, maxOrder } = this.#parts;
    const isPlain = callbacks === undefined && isIntegerUpTo(order, maxOrder);
    const start = isPlain ? (tree.allocate(order) as A | undefined) : undefined;
    return start ?? this.#parts.allocateBlock('PageAllocator.allocateBlock', order);
  }

  /**
   * Allocates one page. Returns its address. O(orders), amortized.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`, `OUTSIDE_MEMORY`, `POISON_OVERWRITTEN`, `BUSY`, `CALLBACK_FAILED`
   */
  allocatePage(): A {
    const { callbacks, tree } = this.#parts;
    const page = callbacks === undefined ? (tree.allocate(0) as A | undefined) : undefined;
    return page ?? this.#parts.allocateBlock('PageAllocator.allocatePage', 0);
  }

  /**
   * Allocates one page and fills it with zeros. If `memory.clearPage` throws, nothing is allocated. O(orders), amortized.
   *
   * @throws BuddyError `NO_PAGE_MEMORY`, `OUT_OF_MEMORY`, `METADATA_FULL`, `POISON_OVERWRITTEN`, `BUSY`, `CALLBACK_FAILED`;
   *   what `memory.clearPage` throws, for a `ByteMemory` BuddyError `OUTSIDE_MEMORY`
   */
  allocateZeroedPage(): A {
    this.#parts.callbacks?.enter('PageAllocator.allocateZeroedPage');
    if (!this.#parts.callbacks?.hasMemory) throw new BuddyError('NO_PAGE_MEMORY', {});
    const page = this.#parts.space.allocatePage();
    this.#parts.callbacks.clear(page);
    this.#parts.callbacks.reportAllocated(page, page);
    return page;
  }

  /**
   * Allocates a page that counts its references, and starts with one. It is filled with zeros if the allocator has `memory`.
   * The last `putFilePage` frees it. O(orders), amortized.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`, `POISON_OVERWRITTEN`, `BUSY`, `CALLBACK_FAILED`; what
   *   `memory.clearPage` throws, for a `ByteMemory` BuddyError `OUTSIDE_MEMORY`
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
    this.#parts.callbacks?.enter('PageAllocator.allocateFilePage');
    return this.#files.allocate();
  }

  /**
   * Adds a reference to a file page. Returns the number of references. O(orders).
   *
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `NOT_FILE_PAGE`, `TOO_MANY_REFERENCES`, `BUSY`; AddressError
   *   for an invalid address
   */
  getFilePage(page: A): number {
    this.#parts.callbacks?.enter('PageAllocator.getFilePage');
    return this.#files.get(page);
  }

  /**
   * Removes a reference from a file page. Returns the number of references; at 0 the page has been freed. O(orders).
   *
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `NOT_FILE_PAGE`, `OUTSIDE_MEMORY`, `BUSY`, `CALLBACK_FAILED`;
   *   AddressError for an invalid address
   */
  putFilePage(page: A): number {
    this.#parts.callbacks?.enter('PageAllocator.putFilePage');
    return this.#files.put(page);
  }

  /**
   * Allocates a run: exactly `pages` pages, where `allocatePages` would round up to a power of two. The run starts at a
   * multiple of `alignment`. If a free block has room for it, it starts at the start of the smallest such block. `freePages`
   * frees it as a whole. O(orders²), amortized; O(blocks · orders) if only several free blocks together have room.
   *
   * @param pages - 1 to 2^52
   * @param alignment - bytes, a power of two
   * @throws BuddyError `INVALID_PAGE_COUNT`, `OUT_OF_MEMORY`, `METADATA_FULL`, `OUTSIDE_MEMORY`, `POISON_OVERWRITTEN`, `BUSY`,
   *   `CALLBACK_FAILED`; AddressError `INVALID_ALIGNMENT`
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
    this.#parts.callbacks?.enter('PageAllocator.allocateRun');
    const run = this.#parts.space.allocateRun(pages, alignment);
    this.#parts.callbacks?.allocated(run.start, run);
    return run;
  }

  /**
   * Allocates the given pages: as a block if they can be one, otherwise as a run. O(orders) for each free block that contains
   * some of them, amortized.
   *
   * @param pages - whole pages, at least one, all of them free
   * @throws BuddyError `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_FREE`, `METADATA_FULL`, `OUTSIDE_MEMORY`,
   *   `POISON_OVERWRITTEN`, `BUSY`, `CALLBACK_FAILED`; RegionError `KIND_MISMATCH`
   */
  allocateAt(pages: MemoryRegion<A>): MemoryRegion<A> {
    this.#parts.callbacks?.enter('PageAllocator.allocateAt');
    const range = this.#parts.space.rangeOf(pages);
    this.#parts.space.requireState('free', range);
    const block = this.#parts.space.allocateRange(range);
    this.#parts.callbacks?.allocated(block.start, block);
    return block;
  }

  /**
   * Frees a block or a run. O(orders), for each block of a run.
   *
   * @param block - its region, which must be the whole block, or its start address
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`,
   *   `FILE_PAGE`, `SLAB_PAGE`, `HEAP_BLOCK`, `OUTSIDE_MEMORY`, `BUSY`, `CALLBACK_FAILED`; AddressError for an invalid
   *   address; RegionError `KIND_MISMATCH`
   */
  freePages(block: MemoryRegion<A> | A): void {
    const { callbacks, tree } = this.#parts;
    const isFreed = callbacks === undefined && typeof block === 'bigint' && tree.free(block, undefined);
    if (!isFreed) this.#parts.freePages(block);
  }

  /**
   * Frees a block of one page. O(orders).
   *
   * @throws as {@link freePages}
   */
  freePage(page: A): void {
    const { callbacks, tree } = this.#parts;
    const isFreed = callbacks === undefined && typeof page === 'bigint' && tree.freePage(page);
    if (!isFreed) this.#parts.freePage(page);
  }

  /**
   * Reserves free pages: they are not allocated until `unreserve`. O(orders) for each free block that contains some of them,
   * and O(reserved), amortized.
   *
   * @param pages - whole pages, at least one, all of them free
   * @throws BuddyError `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_FREE`, `METADATA_FULL`, `BUSY`, `CALLBACK_FAILED`; RegionError
   *   `KIND_MISMATCH`
   */
  reserve(pages: MemoryRegion<A>): void {
    this.#parts.callbacks?.enter('PageAllocator.reserve');
    const changed = this.#parts.space.reserve(pages);
    this.#parts.callbacks?.changed('reserve', changed);
  }

  /**
   * Makes reserved pages free. It does not matter how they were reserved: together, one by one, or by the constructor. The
   * cost is as for `reserve`.
   *
   * @param pages - whole pages, at least one, all of them reserved
   * @throws BuddyError `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_RESERVED`, `METADATA_FULL`, `BUSY`, `CALLBACK_FAILED`;
   *   RegionError `KIND_MISMATCH`
   */
  unreserve(pages: MemoryRegion<A>): void {
    this.#parts.callbacks?.enter('PageAllocator.unreserve');
    const changed = this.#parts.space.unreserve(pages);
    this.#parts.callbacks?.changed('unreserve', changed);
  }

  /**
   * Adds a region of free pages. They merge with free buddies in the regions that it touches. O(orders + regions), amortized.
   *
   * @param region - whole pages, at least one, in the `space` of the options, outside the present regions
   * @throws BuddyError `INVALID_REGION`, `MEMORY_MISMATCH`, `METADATA_FULL`, `BUSY`, `CALLBACK_FAILED`; RegionError
   *   `KIND_MISMATCH`
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { PageAllocator } from '@svsm/buddy-alloc';
   * import { physRegion } from '@svsm/memory-region';
   *
   * const allocator = new PageAllocator([], { space: physRegion(physAddr(0), 0x100_0000) });
   * allocator.addRegion(physRegion(physAddr(0x1000), 0x7000));
   * allocator.addRegion(physRegion(physAddr(0x8000), 0x8000));
   * console.log(allocator.regions.join()); // => [0x0000000000001000-0x0000000000010000)
   * ```
   */
  addRegion(region: MemoryRegion<A>): void {
    this.#parts.callbacks?.enter('PageAllocator.addRegion');
    this.#parts.callbacks?.requirePages(this.#parts.space.regionOf(this.#parts.space.newRange(region)));
    const changed = this.#parts.space.addRegion(region);
    this.#parts.callbacks?.changed('addRegion', changed);
  }

  /**
   * Removes free pages from the allocator. They can be any pages, not only a region that was added. O(orders) for each free
   * block that contains some of them, and O(regions), amortized.
   *
   * @param region - whole pages, at least one, all of them free
   * @throws as {@link reserve}
   */
  removeRegion(region: MemoryRegion<A>): void {
    this.#parts.callbacks?.enter('PageAllocator.removeRegion');
    const changed = this.#parts.space.removeRegion(region);
    this.#parts.callbacks?.changed('removeRegion', changed);
  }

  /**
   * Returns a source of pages for an allocator of smaller objects, such as `SlabCache` and `HeapAllocator`. `blockOf` shows the
   * pages as `kind`. Only the source frees them: `freePages` refuses. O(1).
   *
   * @throws BuddyError `INVALID_OPTION`, `BUSY`
   */
  pagesFor(kind: 'slab' | 'heap'): PageSource<A> {
    this.#parts.callbacks?.enter('PageAllocator.pagesFor');
    return markedPages(this.#parts.space, this.#parts.callbacks, kind);
  }

  /**
   * Returns an owner for a block: `using` frees the block at the end of the scope. O(orders), amortized.
   *
   * @param block - the order of a new block, or an allocated block or run that has no other owner
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `METADATA_FULL`, `OUTSIDE_MEMORY`, `POISON_OVERWRITTEN`, `BUSY`,
   *   `CALLBACK_FAILED` for an order; `INVALID_REGION`, `OUTSIDE_REGION`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`,
   *   `WRONG_SIZE`, `FILE_PAGE`, `SLAB_PAGE`, `HEAP_BLOCK` for a region; RegionError `KIND_MISMATCH`
   */
  own(block: number | MemoryRegion<A>): OwnedBlock<A> {
    this.#parts.callbacks?.enter('PageAllocator.own');
    return ownBlock(this.#parts.space, this.#owner, this.#parts.callbacks, block);
  }

  /**
   * The block that contains `address`; `undefined` outside the regions. Reserved pages are shown as the largest blocks that
   * fit. O(orders + log reserved).
   *
   * @throws BuddyError `BUSY`; AddressError for an invalid address
   */
  blockOf(address: A): Block<A> | undefined {
    this.#parts.callbacks?.enter('PageAllocator.blockOf');
    this.#parts.kind.assertIsAddress(address);
    return this.#parts.space.blockAround(pageNumberOf(address & ~0xfffn));
  }

  /**
   * All blocks, ascending. Together they are the regions. The allocator may change during the iteration. It goes on after the
   * last block that it returned, with what is there then: a block is returned at most once, and not if it begins before that
   * place. O(orders + log(regions + reserved)) for each block, none of it in advance.
   *
   * @throws BuddyError `BUSY`
   */
  blocks(): Generator<Block<A>, undefined, undefined> {
    const blocks = this.#parts.space.blocks();
    return this.#parts.callbacks?.guarded(blocks, 'PageAllocator.blocks') ?? blocks;
  }

  /** The pages and blocks by state and order. O(orders + reserved + regions). @throws BuddyError `BUSY` */
  memoryInfo(): MemoryInfo {
    this.#parts.callbacks?.enter('PageAllocator.memoryInfo');
    return this.#parts.space.info();
  }

  /** The complete state at this moment, for `PageAllocator.restore`. O(blocks · orders). @throws BuddyError `BUSY` */
  snapshot(): AllocatorSnapshot {
    this.#parts.callbacks?.enter('PageAllocator.snapshot');
    return this.#parts.space.snapshot();
  }

  /**
   * Checks that the tables agree with each other and with the regions, and the freed pages with `poison`.
   * O(blocks + pages that ever were in blocks of less than 1024); with `poison` also O(bytes).
   *
   * @throws BuddyError `BROKEN_INVARIANT`, if this package has a bug; `POISON_OVERWRITTEN`, `OUTSIDE_MEMORY`, `BUSY`
   */
  checkInvariants(): void {
    this.#parts.callbacks?.enter('PageAllocator.checkInvariants');
    this.#parts.space.check();
    this.#parts.callbacks?.checkPoison();
  }
}
