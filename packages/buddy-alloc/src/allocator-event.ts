import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { BlockKind } from './block.ts';

/** What an allocator has done, for a tracer. It is told when it is done; what is refused is not told. */
export interface AllocatorEvent<A extends Address> {
  readonly what: 'allocate' | 'free' | 'reserve' | 'unreserve' | 'addRegion' | 'removeRegion';
  /** The pages. */
  readonly region: MemoryRegion<A>;
  /** What they were allocated as, or freed as. */
  readonly kind: BlockKind | undefined;
}
