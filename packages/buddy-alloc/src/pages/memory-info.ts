/** The pages and blocks of an allocator, counted by state and order. A frozen copy of one moment. */
export interface MemoryInfo {
  /** Pages of 4 KiB in the allocator's regions: the sum of the next three. */
  readonly totalPages: number;
  /** Pages in free blocks. */
  readonly freePages: number;
  /** Pages in allocated blocks. */
  readonly allocatedPages: number;
  /** Pages that are reserved. */
  readonly reservedPages: number;
  /** The order of the largest free block, or `undefined` if no page is free. */
  readonly largestFreeOrder: number | undefined;
  /** The number of free blocks of each order, from index 0 to `maxOrder`. */
  readonly freeBlocks: readonly number[];
  /** The number of allocated blocks of each order, from index 0 to `maxOrder`. A run is several blocks. */
  readonly allocatedBlocks: readonly number[];
  /**
   * For each order, the share of the free pages that lie in smaller blocks: 0 if all of them can be used, 1 if a request
   * must fail. 0 if no page is free.
   */
  readonly fragmentation: readonly number[];
}

/** The counters of an allocator, from which {@link infoOf} makes a `MemoryInfo`. */
export interface MemoryCounts {
  /** The greatest order of a request. */
  readonly maxOrder: number;
  /** The greatest order that free blocks merge to. */
  readonly mergeOrder: number;
  /** The number of free blocks of an order, 0 to `mergeOrder`. */
  freeBlocks(order: number): number;
  /** The number of allocated blocks of an order, 0 to `maxOrder`. */
  allocatedBlocks(order: number): number;
  readonly totalPages: number;
  readonly reservedPages: number;
}

/** The counts for users: a free block above `maxOrder` counts as several blocks of that order. O(orders²). */
export function infoOf(counts: MemoryCounts): MemoryInfo {
  const { maxOrder, mergeOrder, totalPages, reservedPages } = counts;
  const orders = maxOrder + 1;
  const freeBlocks = Array.from({ length: orders }, (_, order) => counts.freeBlocks(order));
  for (let order = orders; order <= mergeOrder; order += 1) {
    freeBlocks[maxOrder]! += counts.freeBlocks(order) * 2 ** (order - maxOrder);
  }
  const allocatedBlocks = Array.from({ length: orders }, (_, order) => counts.allocatedBlocks(order));
  const largestFreeOrder = freeBlocks.findLastIndex((count) => count > 0);
  const freePages = pagesOf(freeBlocks);
  return Object.freeze({
    totalPages,
    freePages,
    allocatedPages: pagesOf(allocatedBlocks),
    reservedPages,
    largestFreeOrder: largestFreeOrder < 0 ? undefined : largestFreeOrder,
    freeBlocks: Object.freeze(freeBlocks),
    allocatedBlocks: Object.freeze(allocatedBlocks),
    fragmentation: Object.freeze(
      freeBlocks.map((_, order) => (freePages === 0 ? 0 : pagesOf(freeBlocks.slice(0, order)) / freePages)),
    ),
  });
}

function pagesOf(blocks: readonly number[]): number {
  return blocks.reduce((sum, count, order) => sum + count * 2 ** order, 0);
}
