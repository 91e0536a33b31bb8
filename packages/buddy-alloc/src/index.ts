/**
 * A buddy allocator for the pages of an address region: any start, any length, every free checked.
 *
 * @packageDocumentation
 */

export type { Block, BlockState } from './block.ts';
export {
  BuddyError,
  type BuddyErrorCode,
  type BuddyErrorDetails,
  type Invariant,
  isBuddyError,
} from './buddy-error.ts';
export { getOrder } from './get-order.ts';
export type { MemoryInfo } from './memory-info.ts';
export { PageAllocator, type PageAllocatorOptions } from './page-allocator.ts';
