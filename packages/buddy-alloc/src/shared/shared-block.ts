import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { BlockState } from '../pages/block.ts';
import type { MemoryInfo } from '../pages/memory-info.ts';

/** A block of a shared allocator: 2^`order` pages that start at a multiple of their size. */
export interface SharedBlock<A extends Address> {
  /** Its pages. */
  readonly region: MemoryRegion<A>;
  /** log2 of the number of pages, 0 to the allocator's `maxOrder`. */
  readonly order: number;
  /** Whether it is free, allocated or reserved. A page in the cache of an owner is `cached`. */
  readonly state: BlockState | 'cached';
  /** The kind of an allocated block; otherwise `undefined`. */
  readonly kind: 'pages' | undefined;
}

/** As `MemoryInfo`, but `totalPages` includes the cached pages. A frozen copy of one moment. */
export interface SharedMemoryInfo extends MemoryInfo {
  /** Pages in the caches of owners: they are neither free nor allocated. */
  readonly cachedPages: number;
}
