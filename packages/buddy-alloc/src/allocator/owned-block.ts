import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { BuddyError } from '../pages/buddy-error.ts';
import type { PageSpace } from './page-space.ts';
import type { Trace } from './trace.ts';

/** The allocator of an {@link OwnedBlock}. */
export interface BlockOwner<A extends Address> {
  /** Frees a block and then calls `freed`. Throws what `freePages` throws before that, and what a tracer throws after it. */
  free(block: MemoryRegion<A>, freed: () => void): void;
  /** Reports owners that were garbage-collected while they still owned their block. */
  readonly leaks: FinalizationRegistry<MemoryRegion<A>> | undefined;
}

/** The owner of blocks of `space`. */
export function blockOwner<A extends Address>(
  space: PageSpace<A>,
  trace: Trace<A> | undefined,
  onLeak: ((block: MemoryRegion<A>) => void) | undefined,
): BlockOwner<A> {
  return {
    free: (block, freed) => {
      const traced = trace?.toFree(block);
      if (!space.tree.free(block.start, block.size)) throw space.refusal(block.start, block.size);
      freed();
      trace?.freed(traced);
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
  readonly #owner: BlockOwner<A>;
  readonly #region: MemoryRegion<A>;
  #gone: 'released' | 'leaked' | 'taken over' | undefined;

  /** `PageAllocator.own` creates these. */
  constructor(owner: BlockOwner<A>, region: MemoryRegion<A>) {
    this.#owner = owner;
    this.#region = region;
    owner.leaks?.register(this, region, this);
  }

  /** The pages of the block. @throws BuddyError `RELEASED_BLOCK` */
  get region(): MemoryRegion<A> {
    if (this.#gone !== undefined) {
      throw new BuddyError('RELEASED_BLOCK', { block: this.#region, gone: this.#gone });
    }
    return this.#region;
  }

  /** The start address of the block. @throws BuddyError `RELEASED_BLOCK` */
  get start(): A {
    return this.region.start;
  }

  /** Whether this owner still has to free the block. */
  get isOwned(): boolean {
    return this.#gone === undefined;
  }

  /**
   * Frees the block. The cost is as for `freePages`.
   *
   * @throws BuddyError `RELEASED_BLOCK`; or, if someone else has freed the block, which then stays owned, `OUTSIDE_REGION`,
   *   `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`, `FILE_PAGE`, `SLAB_PAGE`, `HEAP_BLOCK`
   */
  release(): void {
    this.#owner.free(this.region, () => this.#disown('released'));
  }

  /**
   * Gives up ownership without freeing the block. The caller gets the region, and may free it.
   *
   * @throws BuddyError `RELEASED_BLOCK`
   */
  leak(): MemoryRegion<A> {
    const { region } = this;
    this.#disown('leaked');
    return region;
  }

  /**
   * Passes the block to a new owner, which may outlive the scope of this one.
   *
   * @throws BuddyError `RELEASED_BLOCK`
   */
  takeOver(): OwnedBlock<A> {
    const { region } = this;
    this.#disown('taken over');
    return new OwnedBlock(this.#owner, region);
  }

  /**
   * Frees the block as `release`, or does nothing if this owner no longer has it.
   *
   * @throws BuddyError `OUTSIDE_REGION`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`, `FILE_PAGE`, `SLAB_PAGE`,
   *   `HEAP_BLOCK`
   */
  [Symbol.dispose](): void {
    if (this.isOwned) this.release();
  }

  #disown(how: 'released' | 'leaked' | 'taken over'): void {
    this.#gone = how;
    this.#owner.leaks?.unregister(this);
  }
}
