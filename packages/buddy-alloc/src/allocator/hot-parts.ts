import type { Address, AddressKind } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { requireOrder } from '../pages/integers.ts';
import type { BuddyTree } from '../tree/buddy-tree.ts';
import { type Callbacks, FREEABLE } from './callbacks.ts';
import type { PageSpace } from './page-space.ts';

/**
 * The fields that the short operations of an allocator read. An engine takes a field that is set once for a
 * constant, and reads nothing where it compiles a loop over one allocator. A private field that a constructor sets is set
 * twice: first to `undefined`. So an allocator has one private field, which holds this object from the start, and
 * {@link fill} sets the fields.
 *
 * The methods are the long way of the same operations: with callbacks, and for what cannot be done. The operations themselves
 * are short enough to be compiled into a loop.
 */
export class HotParts<A extends Address> {
  declare space: PageSpace<A>;
  declare callbacks: Callbacks<A> | undefined;
  declare tree: BuddyTree;
  declare kind: AddressKind<A>;
  declare maxOrder: number;
  /** The page of index 0: its number, and its offset from the tree's origin. */
  declare firstPage: number;
  declare firstOffset: number;
  /** The index of the last page of the space. */
  declare lastIndex: number;

  /** Sets all fields. Called once. */
  fill(space: PageSpace<A>, callbacks: Callbacks<A> | undefined): void {
    const { tree, kind, maxOrder } = space;
    const { start, end } = tree.range;
    this.space = space;
    this.callbacks = callbacks;
    this.tree = tree;
    this.kind = kind;
    this.maxOrder = maxOrder;
    this.firstPage = start;
    this.firstOffset = start - tree.origin;
    this.lastIndex = end - start - 1;
  }

  /** As `PageAllocator.allocateBlock`, called by `operation`. */
  allocateBlock(operation: string, order: number): A {
    const { callbacks, space, tree, maxOrder } = this;
    callbacks?.enter(operation);
    requireOrder(order, maxOrder);
    const start = tree.allocate(order) as A | undefined;
    if (start === undefined) throw space.outOfMemory(order);
    callbacks?.allocated(start, start);
    return start;
  }

  /** As `PageAllocator.freePages`. */
  freePages(block: MemoryRegion<A> | A): void {
    const { callbacks, space, tree } = this;
    callbacks?.enter('PageAllocator.freePages');
    const region = typeof block === 'object' && block !== null ? space.sameKind(block) : undefined;
    const start = region === undefined ? (block as A) : region.start;
    const freed = callbacks?.toFree(start, region?.size, FREEABLE);
    if (typeof start !== 'bigint' || !tree.free(start, region?.size))
      throw space.refusal(start, region?.size);
    callbacks?.freed(freed);
  }

  /** As `PageAllocator.freePage`. */
  freePage(page: A): void {
    const { callbacks, space, tree } = this;
    callbacks?.enterFreePage('PageAllocator.freePage', page);
    if (typeof page !== 'bigint' || !tree.freePage(page)) throw space.refusal(page);
    callbacks?.freedPage(page);
  }
}
