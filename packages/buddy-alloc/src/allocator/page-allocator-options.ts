import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { PageMemory } from '../pages/page-memory.ts';
import type { Tracer } from './allocator-event.ts';

/** What a `PageAllocator` may be told beside its region. */
export interface PageAllocatorOptions<A extends Address> {
  /**
   * The greatest order to hand out, 0 to 52: at most, and if not given, that of the largest block that fits the
   * region. Free blocks merge beyond it, but are shown as several of this order.
   */
  readonly maxOrder?: number | undefined;
  /** What of the region is never handed out: whole pages, no two regions overlapping. Empty ones add nothing. */
  readonly reserved?: Iterable<MemoryRegion<A>> | undefined;
  /** Where regions that are added later lie: whole pages, around the first ones. Costs nothing until they are. */
  readonly space?: MemoryRegion<A> | undefined;
  /** What clears pages. Without it, no page can be asked for as zeroed, and file pages are as they were. */
  readonly memory?: PageMemory<A> | undefined;
  /**
   * Is told what the allocator does, after each time. What it throws, the caller gets, and what is done stays done; but a
   * slab or a heap that asked for pages does not keep them.
   */
  readonly trace?: Tracer<A> | undefined;
  /**
   * For development: is told of blocks whose owner (see `own`) was collected without having let go of them. When that is,
   * the engine decides.
   */
  readonly onLeak?: ((block: MemoryRegion<A>) => void) | undefined;
}
