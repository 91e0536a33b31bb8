import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { PageMemory } from '../pages/page-memory.ts';
import type { Tracer } from './allocator-event.ts';

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
  /** Clears pages. Without it, `allocateZeroedPage` throws, and file pages are not cleared. */
  readonly memory?: PageMemory<A> | undefined;
  /**
   * Called after each change. If it throws, the caller gets the error and the change stays. Only a slab or a heap returns
   * the pages that it had asked for.
   */
  readonly trace?: Tracer<A> | undefined;
  /**
   * For development: called with a block whose owner (see `own`) was garbage-collected while it still owned the block. The
   * engine decides when that is.
   */
  readonly onLeak?: ((block: MemoryRegion<A>) => void) | undefined;
}
