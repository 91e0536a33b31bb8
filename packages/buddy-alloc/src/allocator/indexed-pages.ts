import type { Address } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { isIntegerUpTo, requireOrder } from '../pages/integers.ts';
import { addressOfPage, pageNumberOf } from '../pages/words.ts';
import type { BuddyTree } from '../tree/buddy-tree.ts';
import type { PageSpace } from './page-space.ts';
import type { Trace } from './trace.ts';

/**
 * The blocks of a `PageAllocator` by the index of their first page: 0 is the page that its space starts with, which
 * regions that are added or removed do not change. An index is a `number`, so no call makes an object. All that holds
 * of blocks by address holds here; the two may be mixed.
 */
export class IndexedPages<A extends Address> {
  readonly #space: PageSpace<A>;
  readonly #trace: Trace<A> | undefined;
  readonly #tree: BuddyTree;
  readonly #maxOrder: number;
  /** The page of index 0, by number; and counted from the tree's origin. */
  readonly #firstPage: number;
  readonly #firstOffset: number;
  readonly #lastIndex: number;

  /** `PageAllocator.indexed` is one. */
  constructor(space: PageSpace<A>, trace: Trace<A> | undefined) {
    const { start, end } = space.tree.range;
    this.#space = space;
    this.#trace = trace;
    this.#tree = space.tree;
    this.#maxOrder = space.maxOrder;
    this.#firstPage = start;
    this.#firstOffset = start - space.tree.origin;
    this.#lastIndex = end - start - 1;
  }

  /**
   * Allocates a block of 2^`order` pages: the index of its first. O(orders), amortized.
   *
   * @param order - 0 to `maxOrder`
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `METADATA_FULL`
   */
  allocate(order: number): number {
    requireOrder(order, this.#maxOrder);
    const offset = this.#tree.allocateOffset(order);
    if (offset < 0) throw this.#space.outOfMemory(order);
    const index = offset - this.#firstOffset;
    this.#trace?.allocated(this.#address(index));
    return index;
  }

  /**
   * Frees the block or run whose first page has this index. O(orders), for each block of a run.
   *
   * @throws BuddyError `INVALID_PAGE_INDEX`; for a page of the space, what `freePages` throws for its address
   */
  free(index: number): void {
    if (!isIntegerUpTo(index, this.#lastIndex)) throw this.#invalid(index);
    const freed = this.#trace?.toFree(this.#address(index));
    if (!this.#tree.freeOffset(index + this.#firstOffset)) throw this.#space.refusal(this.#address(index));
    this.#trace?.freed(freed);
  }

  /** The address of the page with this index. O(1). @throws BuddyError `INVALID_PAGE_INDEX` */
  addressOf(index: number): A {
    if (!isIntegerUpTo(index, this.#lastIndex)) throw this.#invalid(index);
    return this.#address(index);
  }

  /**
   * The index of the page that `address` lies in. O(1).
   *
   * @throws BuddyError `OUTSIDE_REGION` outside the space; AddressError if it is no address of this kind
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

  #invalid(index: unknown): BuddyError {
    return new BuddyError('INVALID_PAGE_INDEX', { index, last: this.#lastIndex });
  }
}
