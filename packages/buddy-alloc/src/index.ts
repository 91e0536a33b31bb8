/**
 * A buddy allocator for the pages of an address region: any start, any length, every free checked.
 *
 * @packageDocumentation
 */

export type { AllocatorEvent, Tracer } from './allocator/allocator-event.ts';
export { IndexedPages } from './allocator/indexed-pages.ts';
export { OwnedBlock } from './allocator/owned-block.ts';
export { PageAllocator } from './allocator/page-allocator.ts';
export type { PageAllocatorOptions } from './allocator/page-allocator-options.ts';
export type { PoisonPatterns } from './allocator/poison.ts';
export { ByteMemory, type ByteSource, type ViewConstructor } from './objects/byte-memory.ts';
export { HeapAllocator, type HeapInfo, type HeapOptions } from './objects/heap-allocator.ts';
export { SlabCache, type SlabCacheOptions, type SlabInfo } from './objects/slab-cache.ts';
export type { Block, BlockKind, BlockState } from './pages/block.ts';
export {
  BuddyError,
  type BuddyErrorCode,
  type BuddyErrorDetails,
  type Invariant,
  isBuddyError,
  type SharedBufferProblem,
} from './pages/buddy-error.ts';
export type {
  AllocateErrorCode,
  ByteMemoryErrorCode,
  CreateAllocatorErrorCode,
  CreateSharedErrorCode,
  FilePageErrorCode,
  FreeErrorCode,
  HeapErrorCode,
  IndexedPagesErrorCode,
  OwnedBlockErrorCode,
  PageCacheErrorCode,
  PageSourceErrorCode,
  ReserveErrorCode,
  SharedAllocateErrorCode,
  SharedFreeErrorCode,
  SharedStateErrorCode,
  SlabErrorCode,
} from './pages/error-codes.ts';
export { getOrder } from './pages/get-order.ts';
export type { MemoryInfo } from './pages/memory-info.ts';
export type { PageMemory } from './pages/page-memory.ts';
export type { PageSource } from './pages/page-source.ts';
export { type MapSource, type RenderMapOptions, renderMap } from './pages/render-map.ts';
export type { AllocatorSnapshot, SnapshotBlock, SnapshotRange } from './pages/snapshot.ts';
export { PageCache } from './shared/page-cache.ts';
export type {
  SharedAllocatorOptions,
  SharedBufferOptions,
  SharedOwnerOptions,
} from './shared/shared-allocator-options.ts';
export type { SharedBlock, SharedMemoryInfo } from './shared/shared-block.ts';
export { SharedPageAllocator } from './shared/shared-page-allocator.ts';
