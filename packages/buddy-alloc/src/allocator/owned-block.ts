import type { Address } from '@svsm/address';
import { showInConsoles } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { blockBytes } from '../pages/block.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { requireOrder } from '../pages/integers.ts';
import { type Callbacks, FREEABLE } from './callbacks.ts';
import type { PageSpace } from './page-space.ts';

/** The allocator of an {@link OwnedBlock}. */
export interface BlockOwner<A extends Address> {
  /** Begins an operation. @throws BuddyError `BUSY` */
  enter(operation: string): void;
  /** Frees a block and then calls `freed`. Throws what `freePages` throws: `CALLBACK_FAILED` after that, all else before. */
  free(block: MemoryRegion<A>, freed: () => void): void;
  /** Reports owners that were garbage-collected while they still owned their block. */
  readonly leaks: FinalizationRegistry<MemoryRegion<A>> | undefined;
}

/** The owner of blocks of `space`. */
export function blockOwner<A extends Address>(
  space: PageSpace<A>,
  callbacks: Callbacks<A> | undefined,
  onLeak: ((block: MemoryRegion<A>) => void) | undefined,
): BlockOwner<A> {
  return {
    enter: (operation) => callbacks?.enter(operation),
    free: (block, freed) => {
      const traced = callbacks?.toFree(block.start, block.size, FREEABLE);
      if (!space.tree.free(block.start, block.size)) throw space.refusal(block.start, block.size);
      freed();
      callbacks?.freed(traced);
    },
    leaks: onLeak === undefined ? undefined : new FinalizationRegistry(onLeak),
  };
}

/**
 * A block with one owner, which frees it once. `using block = allocator.own(order)` frees it at the end of the scope. After
 * the owner has released it, `region` throws `RELEASED_BLOCK`. Every method is O(1), except those that free.
 *
 * @example
 * ```ts
 * import { type PhysAddr, physAddr } from '@svsm/address';
 * import { type OwnedBlock, PageAllocator } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 *
 * const allocator = new PageAllocator(physRegion(physAddr(0), 0x10_0000));
 *
 * function loaded(): OwnedBlock<PhysAddr> {
 *   using block = allocator.own(2);
 *   // If this throws, the block is freed.
 *   console.log(String(block.region)); // => [0x0000000000000000-0x0000000000004000)
 *   return block.takeOver();
 * }
 *
 * {
 *   using block = loaded();
 *   console.log(block.isOwned, allocator.memoryInfo().allocatedPages); // => true 4
 * }
 * console.log(allocator.memoryInfo().allocatedPages); // => 0
 * ```
 */
export class OwnedBlock<A extends Address> {
  static {
    showInConsoles(this, 'OwnedBlock', (block) => ({ region: block.#region, state: block.#gone ?? 'owned' }));
  }

  readonly #owner: BlockOwner<A>;
  readonly #region: MemoryRegion<A>;
  #gone: 'released' | 'leaked' | 'taken over' | undefined;

  /** `PageAllocator.own` creates these. */
  constructor(owner: BlockOwner<A>, region: MemoryRegion<A>) {
    this.#owner = owner;
    this.#region = region;
    owner.leaks?.register(this, region, this);
  }

  /** The pages of the block. @throws BuddyError `RELEASED_BLOCK`, `BUSY` */
  get region(): MemoryRegion<A> {
    return this.#owned('OwnedBlock.region');
  }

  /** The start address of the block. @throws BuddyError `RELEASED_BLOCK`, `BUSY` */
  get start(): A {
    return this.#owned('OwnedBlock.start').start;
  }

  /** Whether this owner still has to free the block. @throws BuddyError `BUSY` */
  get isOwned(): boolean {
    this.#owner.enter('OwnedBlock.isOwned');
    return this.#gone === undefined;
  }
  /**
   * Frees the block. The cost is as for `freePages`.
   *
   * @throws BuddyError `RELEASED_BLOCK`, `OUTSIDE_MEMORY`, `BUSY`, `CALLBACK_FAILED`; or, if someone else has freed the block,
   *   which then stays owned, `OUTSIDE_REGION`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`, `FILE_PAGE`,
   *   `SLAB_PAGE`, `HEAP_BLOCK`
   */
  release(): void {
    const region = this.#owned('OwnedBlock.release');
    this.#owner.free(region, () => this.#disown('released'));
  }

  /**
   * Gives up ownership without freeing the block. The caller gets the region, and may free it.
   *
   * @throws BuddyError `RELEASED_BLOCK`, `BUSY`
   */
  leak(): MemoryRegion<A> {
    const region = this.#owned('OwnedBlock.leak');
    this.#disown('leaked');
    return region;
  }

  /**
   * Passes the block to a new owner, which may outlive the scope of this one.
   *
   * @throws BuddyError `RELEASED_BLOCK`, `BUSY`
   */
  takeOver(): OwnedBlock<A> {
    const region = this.#owned('OwnedBlock.takeOver');
    this.#disown('taken over');
    return new OwnedBlock(this.#owner, region);
  }

  /**
   * Frees the block as `release`, or does nothing if this owner no longer has it.
   *
   * @throws BuddyError `OUTSIDE_REGION`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`, `FILE_PAGE`, `SLAB_PAGE`,
   *   `HEAP_BLOCK`, `OUTSIDE_MEMORY`, `BUSY`, `CALLBACK_FAILED`
   */
  [Symbol.dispose](): void {
    this.#owner.enter('OwnedBlock.[Symbol.dispose]');
    if (this.#gone === undefined) this.#owner.free(this.#region, () => this.#disown('released'));
  }

  /** Begins an operation on the block. @throws BuddyError `RELEASED_BLOCK`, `BUSY` */
  #owned(operation: string): MemoryRegion<A> {
    this.#owner.enter(operation);
    if (this.#gone !== undefined) {
      throw new BuddyError('RELEASED_BLOCK', { block: this.#region, gone: this.#gone });
    }
    return this.#region;
  }

  #disown(how: 'released' | 'leaked' | 'taken over'): void {
    this.#gone = how;
    this.#owner.leaks?.unregister(this);
  }
}

/**
 * An owner for a new block of an order, or for an allocated block, as `PageAllocator.own`.
 *
 * @throws BuddyError and RegionError as `PageAllocator.own`
 */
export function ownBlock<A extends Address>(
  space: PageSpace<A>,
  owner: BlockOwner<A>,
  callbacks: Callbacks<A> | undefined,
  block: number | MemoryRegion<A>,
): OwnedBlock<A> {
  if (typeof block === 'object' && block !== null) return new OwnedBlock(owner, space.allocatedBlock(block));
  requireOrder(block, space.maxOrder);
  const start = space.tree.allocate(block) as A | undefined;
  if (start === undefined) throw space.outOfMemory(block);
  callbacks?.prepare(start);
  const owned = new OwnedBlock(owner, MemoryRegion.unchecked(space.kind, start, blockBytes(block)));
  callbacks?.reportAllocated(start, owned);
  return owned;
}
