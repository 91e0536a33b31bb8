import { type Address, type AddressKind, PAGE_SIZE } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { addressOfPage, pageNumberOf } from './address-cell.ts';
import { type Block, type BlockState, blockBytes, MAX_ORDER } from './block.ts';
import { BuddyError } from './buddy-error.ts';
import { BuddyTree } from './buddy-tree.ts';
import { checkTree } from './check-tree.ts';
import type { MemoryInfo } from './memory-info.ts';
import { orderAround, type PageRange, rangeAt, rangesBetween } from './page-range.ts';

/** What a {@link PageAllocator} may be told beside its region. */
export interface PageAllocatorOptions<A extends Address> {
  /**
   * The greatest order to hand out, 0 to 52: at most, and if not given, that of the largest block that fits the
   * region. Free blocks merge beyond it, but are shown as several of this order.
   */
  readonly maxOrder?: number | undefined;
  /** What of the region is never handed out: whole pages, no two regions overlapping. Empty ones add nothing. */
  readonly reserved?: Iterable<MemoryRegion<A>> | undefined;
}

/**
 * A buddy allocator for the pages of a region: blocks of 2^order pages of 4 KiB, each at an address that is a
 * multiple of its size (one of order 9 can be mapped as a 2 MiB page). It deals in addresses only and touches no
 * memory.
 *
 * The region may start at any page, have any number of pages, and end at 2^64. Construction lays nothing out for
 * it: tables grow with what is broken into small blocks, by less than 2 bytes a page. Buddies that are free always
 * merge, so which free blocks there are depends on what is allocated and on nothing that was before: freeing
 * everything, in any order, leaves the allocator as it began.
 *
 * What fails throws, and changes nothing. O(orders) is at most 52 steps, however many blocks there are; where it is
 * amortized, tables may grow, which copies them.
 */
export class PageAllocator<A extends Address> {
  readonly #region: MemoryRegion<A>;
  readonly #kind: AddressKind<A>;
  readonly #pages: PageRange;
  readonly #maxOrder: number;
  /** Ascending, coalesced. */
  readonly #reserved: readonly PageRange[];
  readonly #tree: BuddyTree;

  /**
   * An allocator for the pages of `region`, all of them free but the reserved ones. O(orders) for each of the
   * reserved regions, which are sorted.
   *
   * @param region - whole pages, at least one
   * @throws BuddyError `INVALID_REGION`, `INVALID_MAX_ORDER`, `INVALID_RESERVED`; RegionError `KIND_MISMATCH` if
   *   a reserved region has another kind of address
   */
  constructor(region: MemoryRegion<A>, options: PageAllocatorOptions<A> = {}) {
    const { maxOrder = MAX_ORDER, reserved = [] } = options;
    if (region.isEmpty) throw new BuddyError('INVALID_REGION', { region, reason: 'empty' });
    const pages = pagesOf(region);
    if (pages === undefined) throw new BuddyError('INVALID_REGION', { region, reason: 'misaligned' });
    if (!isOrder(maxOrder, MAX_ORDER)) throw new BuddyError('INVALID_MAX_ORDER', { maxOrder });
    this.#region = region;
    this.#kind = region.kind;
    this.#pages = pages;
    this.#reserved = reservedPages(region, reserved);
    this.#tree = new BuddyTree(pages);
    this.#maxOrder = Math.min(maxOrder, this.#tree.maxOrder);
    for (const range of rangesBetween(pages, this.#reserved)) this.#tree.addFreeRange(range);
  }

  /** What it allocates from. */
  get region(): MemoryRegion<A> {
    return this.#region;
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
    const maxOrder = this.#maxOrder;
    if (!isOrder(order, maxOrder)) throw new BuddyError('INVALID_ORDER', { order, maxOrder });
    const start = this.#tree.allocate(order);
    if (start === undefined) throw this.#outOfMemory(order);
    return new MemoryRegion(this.#kind, start as A, blockBytes(order));
  }

  /**
   * Allocates one page: its address. O(orders), amortized.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`
   */
  allocatePage(): A {
    const page = this.#tree.allocate(0);
    if (page === undefined) throw this.#outOfMemory(0);
    return page as A;
  }

  /**
   * Frees a block that `allocatePages` or `allocatePage` has returned. O(orders).
   *
   * @param block - the region, which must be the whole block, or the address that it starts at
   * @throws BuddyError `FOREIGN_ADDRESS`, `UNALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`,
   *   `WRONG_SIZE`; AddressError if an address is none of this kind; RegionError `KIND_MISMATCH` if a region is
   */
  freePages(block: MemoryRegion<A> | A): void {
    if (typeof block === 'object' && block !== null) {
      // Of the right kind, the address says all; of another, `overlaps` throws.
      if (block.kind !== this.#kind) this.#region.overlaps(block);
      const { start, size } = block;
      if (!this.#tree.free(start, size)) throw this.#refusal(start, size);
    } else if (typeof block !== 'bigint' || !this.#tree.free(block, undefined)) {
      throw this.#refusal(block);
    }
  }

  /**
   * Frees a block of one page. O(orders).
   *
   * @throws BuddyError `FOREIGN_ADDRESS`, `UNALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, and
   *   `WRONG_SIZE` for the start of a larger block; AddressError if the address is none of this kind
   */
  freePage(page: A): void {
    if (typeof page !== 'bigint' || !this.#tree.freePage(page)) throw this.#refusal(page);
  }

  /**
   * The block that `address`, its start or any other in it, belongs to; `undefined` if it is not in the region.
   * Reserved pages are shown as blocks too, the largest that fit. O(orders + log reserved).
   *
   * @throws AddressError if `address` is none of this kind
   */
  blockOf(address: A): Block<A> | undefined {
    this.#kind.assertIsAddress(address);
    const page = pageNumberOf(address & ~0xfffn);
    return page >= this.#pages.start && page < this.#pages.end ? this.#blockAround(page) : undefined;
  }

  /**
   * Every block, ascending: together they are the region. Do not allocate or free before the loop has ended.
   * O(orders + log reserved) for each, none of it up front.
   */
  *blocks(): Generator<Block<A>, undefined, undefined> {
    for (let page = this.#pages.start; page < this.#pages.end; ) {
      const block = this.#blockAround(page);
      yield block;
      page += 2 ** block.order;
    }
  }

  /** How much is free, allocated and reserved, and in what blocks. O(orders + reserved). */
  memoryInfo(): MemoryInfo {
    const orders = this.#maxOrder + 1;
    const freeBlocks = Array.from({ length: orders }, (_, order) => this.#tree.freeBlocks(order));
    // Free blocks past the limit of this allocator are shown as several at the limit.
    for (let order = orders; order <= this.#tree.maxOrder; order += 1) {
      (freeBlocks[orders - 1] as number) += this.#tree.freeBlocks(order) * 2 ** (order - this.#maxOrder);
    }
    const allocatedBlocks = Array.from({ length: orders }, (_, order) => this.#tree.allocatedBlocks(order));
    const largestFreeOrder = freeBlocks.findLastIndex((count) => count > 0);
    return Object.freeze({
      totalPages: pageCount(this.#pages),
      freePages: pagesIn(freeBlocks),
      allocatedPages: pagesIn(allocatedBlocks),
      reservedPages: this.#reserved.reduce((sum, range) => sum + pageCount(range), 0),
      largestFreeOrder: largestFreeOrder < 0 ? undefined : largestFreeOrder,
      freeBlocks: Object.freeze(freeBlocks),
      allocatedBlocks: Object.freeze(allocatedBlocks),
    });
  }

  /**
   * Checks that the tables agree with each other and with the region: for tests, and after a suspicion. Never
   * throws unless this package is wrong. O(blocks + pages that ever were in blocks of less than 1024).
   *
   * @throws BuddyError `BROKEN_INVARIANT`, with the invariant's name and what contradicts it
   */
  checkInvariants(): void {
    checkTree(this.#tree, this.#reserved);
  }

  #outOfMemory(order: number): BuddyError {
    const { largestFreeOrder, freePages } = this.memoryInfo();
    return new BuddyError('OUT_OF_MEMORY', { order, largestFreeOrder, freePages });
  }

  /** Why the `size` bytes from `address` on are not a block that can be freed. */
  #refusal(address: A, size = blockBytes(0)): BuddyError {
    const found = this.blockOf(address);
    if (found === undefined) return new BuddyError('FOREIGN_ADDRESS', { address, region: this.#region });
    const { region: block, order, state } = found;
    if ((address & 0xfffn) !== 0n) {
      return new BuddyError('UNALIGNED_ADDRESS', { address, block, order, state });
    }
    switch (state) {
      case 'free':
        return new BuddyError('DOUBLE_FREE', { address, block, order });
      case 'reserved':
        return new BuddyError('RESERVED_PAGE', { address, reserved: block });
      case 'allocated':
        if (address !== block.start) return new BuddyError('BLOCK_TAIL', { address, block, order });
        return new BuddyError('WRONG_SIZE', { freed: { start: address, end: address + size }, block, order });
    }
  }

  /** The block that `page`, one of the region's, is in. */
  #blockAround(page: number): Block<A> {
    const found = this.#tree.find(page);
    if (found === undefined) {
      const range = rangeAt(this.#reserved, page) as PageRange;
      return this.#block(page, orderAround(range, page, this.#maxOrder), 'reserved');
    }
    const order = Math.min(found.order, this.#maxOrder);
    return this.#block(page, order, found.isFree ? 'free' : 'allocated');
  }

  #block(page: number, order: number, state: BlockState): Block<A> {
    const start = addressOfPage(page - (page % 2 ** order)) as A;
    return Object.freeze({ region: new MemoryRegion(this.#kind, start, blockBytes(order)), order, state });
  }
}

function isOrder(value: unknown, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

/** The pages of `region`, or `undefined` if it is not whole pages. */
function pagesOf(region: MemoryRegion<Address>): PageRange | undefined {
  if (((region.start | region.end) & 0xfffn) !== 0n) return undefined;
  // The end may be 2^64, which no cell holds.
  const start = pageNumberOf(region.start);
  return { start, end: start + Number(region.size / BigInt(PAGE_SIZE)) };
}

/** The pages of the `reserved` regions of `region`: ascending, those that touch made one. */
function reservedPages<A extends Address>(
  region: MemoryRegion<A>,
  reserved: Iterable<MemoryRegion<A>>,
): PageRange[] {
  const ranges: { pages: PageRange; part: MemoryRegion<A> }[] = [];
  const refusal = (part: MemoryRegion<A>, reason: 'misaligned' | 'outside' | 'overlapping') =>
    new BuddyError('INVALID_RESERVED', { reserved: part, region, reason });
  for (const part of reserved) {
    if (!region.containsRegion(part)) throw refusal(part, 'outside');
    const pages = pagesOf(part);
    if (pages === undefined) throw refusal(part, 'misaligned');
    if (!part.isEmpty) ranges.push({ pages, part });
  }
  ranges.sort((left, right) => left.pages.start - right.pages.start);

  const joined: { start: number; end: number }[] = [];
  for (const { pages, part } of ranges) {
    const last = joined.at(-1);
    if (last === undefined || pages.start > last.end) joined.push({ ...pages });
    else if (pages.start === last.end) last.end = pages.end;
    else throw refusal(part, 'overlapping');
  }
  return joined;
}

function pageCount({ start, end }: PageRange): number {
  return end - start;
}

function pagesIn(blocks: readonly number[]): number {
  return blocks.reduce((sum, count, order) => sum + count * 2 ** order, 0);
}
