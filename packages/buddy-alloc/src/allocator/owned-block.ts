import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { BuddyError } from '../pages/buddy-error.ts';

/** What an {@link OwnedBlock} needs of where it comes from. */
export interface BlockOwner<A extends Address> {
  /** Frees a block, then calls `freed`; throws before that what `freePages` throws, after it what a tracer does. */
  free(block: MemoryRegion<A>, freed: () => void): void;
  /** Where owners are watched that are collected without having let go of their block. */
  readonly leaks: FinalizationRegistry<MemoryRegion<A>> | undefined;
}

/**
 * A block that one owner frees, once: `using block = allocator.own(order)` does at the end of its scope. When the owner
 * has let go of it, its region is asked for in vain. Every method is O(1) but those that free.
 */
export class OwnedBlock<A extends Address> {
  readonly #owner: BlockOwner<A>;
  readonly #region: MemoryRegion<A>;
  #gone: 'released' | 'leaked' | 'taken over' | undefined;

  /** `PageAllocator.own` makes these. */
  constructor(owner: BlockOwner<A>, region: MemoryRegion<A>) {
    this.#owner = owner;
    this.#region = region;
    owner.leaks?.register(this, region, this);
  }

  /** Where it lies. @throws BuddyError `RELEASED_BLOCK` */
  get region(): MemoryRegion<A> {
    if (this.#gone !== undefined) {
      throw new BuddyError('RELEASED_BLOCK', { block: this.#region, gone: this.#gone });
    }
    return this.#region;
  }

  /** The address that it starts at. @throws BuddyError `RELEASED_BLOCK` */
  get start(): A {
    return this.region.start;
  }

  /** Whether it still is to be freed here. */
  get isOwned(): boolean {
    return this.#gone === undefined;
  }

  /**
   * Frees the block. Costs as `freePages`.
   *
   * @throws BuddyError `RELEASED_BLOCK`; and what `freePages` throws if somebody else has freed it: it stays owned then
   */
  release(): void {
    this.#owner.free(this.region, () => this.#letGo('released'));
  }

  /**
   * Lets go of the block without freeing it: who gets the region frees it, or nobody.
   *
   * @throws BuddyError `RELEASED_BLOCK`
   */
  leak(): MemoryRegion<A> {
    const { region } = this;
    this.#letGo('leaked');
    return region;
  }

  /**
   * Hands the block to a new owner, which outlives this one's scope.
   *
   * @throws BuddyError `RELEASED_BLOCK`
   */
  takeOver(): OwnedBlock<A> {
    const { region } = this;
    this.#letGo('taken over');
    return new OwnedBlock(this.#owner, region);
  }

  /** As `release`, but for a block that is gone already, where it does nothing. */
  [Symbol.dispose](): void {
    if (this.isOwned) this.release();
  }

  #letGo(how: 'released' | 'leaked' | 'taken over'): void {
    this.#gone = how;
    this.#owner.leaks?.unregister(this);
  }
}
