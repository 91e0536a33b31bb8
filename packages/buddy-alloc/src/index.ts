/**
 * A buddy allocator for the pages of an address region: any start, any length, every free checked.
 *
 * @packageDocumentation
 */

export type { AllocatorEvent, Tracer } from './allocator-event.ts';
export type { Block, BlockKind, BlockState } from './block.ts';
export {
  BuddyError,
  type BuddyErrorCode,
  type BuddyErrorDetails,
  type Invariant,
  isBuddyError,
  type SharedBufferProblem,
} from './buddy-error.ts';
export { ByteMemory, type ByteSource, type ViewConstructor } from './byte-memory.ts';
export { getOrder } from './get-order.ts';
export { HeapAllocator, type HeapInfo, type HeapOptions } from './heap-allocator.ts';
export { IndexedPages } from './indexed-pages.ts';
export type { MemoryInfo } from './memory-info.ts';
export { OwnedBlock } from './owned-block.ts';
export { PageAllocator } from './page-allocator.ts';
export type { PageAllocatorOptions } from './page-allocator-options.ts';
export { PageCache } from './page-cache.ts';
export type { PageMemory } from './page-memory.ts';
export type { PageSource } from './page-source.ts';
export { type MapOptions, type MapSource, renderMap } from './render-map.ts';
export type {
  SharedAllocatorOptions,
  SharedBufferOptions,
  SharedOwnerOptions,
} from './shared-allocator-options.ts';
export type { SharedBlock, SharedMemoryInfo } from './shared-block.ts';
export { SharedPageAllocator } from './shared-page-allocator.ts';
export { SlabCache, type SlabCacheOptions, type SlabInfo } from './slab-cache.ts';
export type { AllocatorSnapshot, SnapshotBlock, SnapshotRange } from './snapshot.ts';
