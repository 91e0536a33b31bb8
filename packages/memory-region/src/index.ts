/**
 * Regions of memory: immutable runs of typed addresses that iterate over their pages.
 *
 * @packageDocumentation
 */

export { differenceRanges, intersectRanges, subtractRanges, unionRanges } from './combine-ranges.ts';
export type {
  CombineRegionsErrorCode,
  MakeRegionErrorCode,
  PageCursorErrorCode,
  RegionMapErrorCode,
  RegionPagesErrorCode,
  RegionSetErrorCode,
  ResizeRegionErrorCode,
  WalkRangesErrorCode,
} from './error-codes.ts';
export { MemoryRegion } from './memory-region.ts';
export { type PageCursor, type PhysPage, pageAddress, type VirtPage } from './page-cursor.ts';
export type { PageIterator } from './page-iterator.ts';
export type { PageRun, PageRunOptions } from './page-runs.ts';
export { physRegion } from './phys-region.ts';
export {
  formatBounds,
  isRegionError,
  type RegionBounds,
  RegionError,
  type RegionErrorCode,
  type RegionErrorDetails,
} from './region-error.ts';
export { RegionMap } from './region-map.ts';
export { RegionSet } from './region-set.ts';
export { virtRegion } from './virt-region.ts';
export { type RangePiece, type RegionEntry, walkRanges } from './walk-ranges.ts';
