import type { Address } from '@svsm/address';
import { showInConsoles } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { isIntegerUpTo, requireOrder } from '../pages/integers.ts';
import { addressOfPage, pageNumberOf } from '../pages/words.ts';
import { type Callbacks, FREEABLE } from './callbacks.ts';
import { HotParts } from './hot-parts.ts';
import type { PageSpace } from './page-space.ts';

/**
 * The blocks of a `PageAllocator`, named by the index of their first page. Index 0 is the first page of the allocator's space;
 * adding and removing regions does not change it. An index is a `number`, so no call creates an object. Everything else is
 * as for addresses, and the two may be mixed.
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { PageAllocator } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 *
 * const allocator = new PageAllocator(physRegion(physAddr(0x10_0000), 0x10_0000));
 * const { indexed } = allocator;
 * indexed.allocate(0);
 * const index = indexed.allocate(3);
 * console.log(index, String(allocator.blockOf(indexed.addressOf(index))?.region));
 * // => 8 [0x0000000000108000-0x0000000000110000)
 * indexed.free(index);
 * ```
 */
export class IndexedPages<A extends Address> {
  static {
    showInConsoles(this, 'IndexedPages', (pages) => ({
      pages: pages.#parts.lastIndex + 1,
      maxOrder: pages.#parts.maxOrder,
    }));
  }

  readonly #parts: HotParts<A> = new HotParts();

  /** @internal `PageAllocator.indexed` has one of these. */
  constructor(space: PageSpace<A>, callbacks: Callbacks<A> | undefined) {
    this.#parts.fill(space, callbacks);
  }

  /**
   * Allocates a block of 2^`order` pages. Returns the index of the first one. O(orders), amortized.
   *
   * @param order - 0 to `maxOrder`
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `METADATA_FULL`, `OUTSIDE_MEMORY`, `POISON_OVERWRITTEN`, `BUSY`,
   *   `CALLBACK_FAILED`
   */
  allocate(order: number): number {
    const { callbacks, tree, maxOrder, firstOffset } = this.#parts;
    const isPlain = callbacks === undefined && isIntegerUpTo(order, maxOrder);
    const offset = isPlain ? tree.allocateOffset(order) : -1;
    return offset < 0 ? this.#allocate(order) : offset - firstOffset;
  }

  /**
   * Frees the block or run whose first page has this index. O(orders), for each block of a run.
   *
   * @param index - 0 to the index of the last page of the space
   * @throws BuddyError `INVALID_PAGE_INDEX`, `OUTSIDE_REGION`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `FILE_PAGE`,
   *   `SLAB_PAGE`, `HEAP_BLOCK`, `OUTSIDE_MEMORY`, `BUSY`, `CALLBACK_FAILED`
   */
  free(index: number): void {
    const { callbacks, tree, firstOffset } = this.#parts;
    const isFreed =
      callbacks === undefined && typeof index === 'number' && tree.freeSmall(index + firstOffset);
    if (!isFreed) this.#free(index);
  }

  /**
   * The address of the page with this index. O(1).
   *
   * @param index - 0 to the index of the last page of the space
   * @throws BuddyError `INVALID_PAGE_INDEX`
   */
  addressOf(index: number): A {
    if (!isIntegerUpTo(index, this.#parts.lastIndex)) throw this.#invalidIndex(index);
    return this.#address(index);
  }

  /**
   * The index of the page that contains `address`. O(1).
   *
   * @throws BuddyError `OUTSIDE_REGION` outside the space; AddressError for an invalid address
   */
  indexOf(address: A): number {
    this.#parts.space.kind.assertIsAddress(address);
    const index = pageNumberOf(address & ~0xfffn) - this.#parts.firstPage;
    if (!isIntegerUpTo(index, this.#parts.lastIndex)) throw this.#parts.space.outsideRegion(address);
    return index;
  }

  // The long way of both operations: with callbacks, and for what cannot be done. So the others are short enough to be compiled
  // into a loop.

  #allocate(order: number): number {
    const { callbacks, tree, space, maxOrder, firstOffset } = this.#parts;
    callbacks?.enter('IndexedPages.allocate');
    requireOrder(order, maxOrder);
    const offset = tree.allocateOffset(order);
    if (offset < 0) throw space.outOfMemory(order);
    const index = offset - firstOffset;
    callbacks?.allocated(this.#address(index), index);
    return index;
  }

  #free(index: number): void {
    const { callbacks, tree, space, firstOffset, lastIndex } = this.#parts;
    callbacks?.enter('IndexedPages.free');
    if (!isIntegerUpTo(index, lastIndex)) throw this.#invalidIndex(index);
    const freed = callbacks?.toFree(this.#address(index), undefined, FREEABLE);
    if (!tree.freeOffset(index + firstOffset)) throw space.refusal(this.#address(index));
    callbacks?.freed(freed);
  }

  #address(index: number): A {
    return addressOfPage(this.#parts.firstPage + index) as A;
  }

  #invalidIndex(index: unknown): BuddyError {
    return new BuddyError('INVALID_PAGE_INDEX', { index, last: this.#parts.lastIndex });
  }
}
