import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { BlockState } from '../pages/block.ts';
import type { MemoryInfo } from '../pages/memory-info.ts';

/** A block of a shared allocator: 2^`order` pages that start at a multiple of their size. */
export interface SharedBlock<A extends Address> {
  /** Where it lies. */
  readonly region: MemoryRegion<A>;
  /** log2 of its pages, 0 to the allocator's `maxOrder`. */
  readonly order: number;
  /** Whether it is handed out; a page that is in some owner's cache is `cached`. */
  readonly state: BlockState | 'cached';
  /** What it was allocated as; `undefined` unless it is allocated. */
  readonly kind: 'pages' | undefined;
}

/** As `MemoryInfo`, where `totalPages` are the pages of four states. Frozen; a moment's copy. */
export interface SharedMemoryInfo extends MemoryInfo {
  /** Pages in owners' caches: they are neither free nor allocated. */
  readonly cachedPages: number;
}
