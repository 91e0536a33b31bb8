import type { Address } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { isIntegerUpTo, requireOrder } from '../pages/integers.ts';
import { addressOfPage, pageNumberOf } from '../pages/words.ts';
import type { BuddyTree } from '../tree/buddy-tree.ts';
import { type Callbacks, FREEABLE } from './callbacks.ts';
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
  readonly #space: PageSpace<A>;
  readonly #callbacks: Callbacks<A> | undefined;
  readonly #tree: BuddyTree;
  readonly #maxOrder: number;
  /** The page of index 0: its number, and its offset from the tree's origin. */
  readonly #firstPage: number;
  readonly #firstOffset: number;
  readonly #lastIndex: number;

  /** @internal `PageAllocator.indexed` has one of these. */
  constructor(space: PageSpace<A>, callbacks: Callbacks<A> | undefined) {
    const { start, end } = space.tree.range;
    this.#space = space;
    this.#callbacks = callbacks;
    this.#tree = space.tree;
    this.#maxOrder = space.maxOrder;
    this.#firstPage = start;
    this.#firstOffset = start - space.tree.origin;
    this.#lastIndex = end - start - 1;
  }

  /**
   * Allocates a block of 2^`order` pages. Returns the index of the first one. O(orders), amortized.
   *
   * @param order - 0 to `maxOrder`
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `METADATA_FULL`, `OUTSIDE_MEMORY`, `POISON_OVERWRITTEN`, `BUSY`,
   *   `CALLBACK_FAILED`
   */
  allocate(order: number): number {
    const callbacks = this.#callbacks;
    callbacks?.enter('IndexedPages.allocate');
    requireOrder(order, this.#maxOrder);
    const offset = this.#tree.allocateOffset(order);
    if (offset < 0) throw this.#space.outOfMemory(order);
    const index = offset - this.#firstOffset;
    callbacks?.allocated(this.#address(index), index);
    return index;
  }

  /**
   * Frees the block or run whose first page has this index. O(orders), for each block of a run.
   *
   * @param index - 0 to the index of the last page of the space
   * @throws BuddyError `INVALID_PAGE_INDEX`, `OUTSIDE_REGION`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `FILE_PAGE`,
   *   `SLAB_PAGE`, `HEAP_BLOCK`, `OUTSIDE_MEMORY`, `BUSY`, `CALLBACK_FAILED`
   */
  free(index: number): void {
    const callbacks = this.#callbacks;
    callbacks?.enter('IndexedPages.free');
    if (!isIntegerUpTo(index, this.#lastIndex)) throw this.#invalidIndex(index);
    const freed = callbacks?.toFree(this.#address(index), undefined, FREEABLE);
    if (!this.#tree.freeOffset(index + this.#firstOffset)) throw this.#space.refusal(this.#address(index));
    callbacks?.freed(freed);
  }

  /**
   * The address of the page with this index. O(1).
   *
   * @param index - 0 to the index of the last page of the space
   * @throws BuddyError `INVALID_PAGE_INDEX`
   */
  addressOf(index: number): A {
    if (!isIntegerUpTo(index, this.#lastIndex)) throw this.#invalidIndex(index);
    return this.#address(index);
  }

  /**
   * The index of the page that contains `address`. O(1).
   *
   * @throws BuddyError `OUTSIDE_REGION` outside the space; AddressError for an invalid address
   */
  indexOf(address: A): number {
    this.#space.kind.assertIsAddress(address);
    const index = pageNumberOf(address & ~0xfffn) - this.#firstPage;
    if (!isIntegerUpTo(index, this.#lastIndex)) throw this.#space.outsideRegion(address);
    return index;
  }

  #address(index: number): A {
    return addressOfPage(this.#firstPage + index) as A;
  }

  #invalidIndex(index: unknown): BuddyError {
    return new BuddyError('INVALID_PAGE_INDEX', { index, last: this.#lastIndex });
  }
}
