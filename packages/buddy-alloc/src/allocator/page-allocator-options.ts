import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { BlockKind } from '../pages/block.ts';
import type { PageMemory } from '../pages/page-memory.ts';
import type { Tracer } from './allocator-event.ts';
import type { PoisonPatterns } from './poison.ts';

/** The options of a `PageAllocator`. */
export interface PageAllocatorOptions<A extends Address> {
  /**
   * The greatest order of a request, 0 to 52. At most, and by default, it is the order of the largest block that fits the
   * regions. Free blocks still merge beyond it; they are shown as several blocks of this order.
   */
  readonly maxOrder?: number | undefined;
  /** Parts of the regions that are never allocated: whole pages, not overlapping. Empty regions add nothing. */
  readonly reserved?: Iterable<MemoryRegion<A>> | undefined;
  /** The addresses for regions that are added later: whole pages, around the first regions. It costs nothing until then. */
  readonly space?: MemoryRegion<A> | undefined;
  /**
   * Clears pages. Without it, `allocateZeroedPage` throws, and file pages are not cleared. Its methods may not call the
   * allocator. If one of them throws, the operation changes nothing and throws that error.
   */
  readonly memory?: PageMemory<A> | undefined;
  /**
   * Finds uses of freed pages, as `page_poison` of Linux does: freed pages are filled with a pattern, and it is checked when
   * they are allocated again, and by `checkInvariants`, that they still have it. Allocated pages are filled with another
   * pattern, except for those that are cleared. Needs a `memory` with `bytes`. Each operation then takes O(bytes).
   */
  readonly poison?: boolean | PoisonPatterns | undefined;
  /**
   * Called before a block of `kind` is freed, by whichever operation; for a file page, before its last reference is removed. It
   * frees nothing if it throws: the operation changes nothing and throws that error. So the owner of what the pages are used for
   * can refuse. It is called for blocks that the allocator would free, and may not call the allocator.
   */
  readonly beforeFree?: ((block: MemoryRegion<A>, kind: BlockKind) => void) | undefined;
  /**
   * Called after each change. It may not call the allocator, or slab caches, heaps and owned blocks on it: that throws `BUSY`
   * and changes nothing. If it throws, the change stays, the other changes of the operation are made and reported, too, and
   * then the operation throws `CALLBACK_FAILED` with the first error as `cause`, and the value that it would have returned in
   * `details.result`.
   */
  readonly trace?: Tracer<A> | undefined;
  /**
   * For development: called with a block whose owner (see `own`) was garbage-collected while it still owned the block. The
   * engine decides when that is. It is never called during an operation, so it may use the allocator. An error that it
   * throws is an uncaught exception.
   */
  readonly onLeak?: ((block: MemoryRegion<A>) => void) | undefined;
}

/** The names of the options of an allocator that is restored: the others are part of the snapshot. */
export const RESTORE_OPTIONS = ['memory', 'poison', 'beforeFree', 'trace', 'onLeak'] as const;

/** The names of all options. */
export const OPTIONS: readonly (keyof PageAllocatorOptions<Address>)[] = [
  'maxOrder',
  'reserved',
  'space',
  ...RESTORE_OPTIONS,
];
