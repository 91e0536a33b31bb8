/** How much of an allocator's memory is in what state. Frozen; a moment's copy. */
export interface MemoryInfo {
  /** Pages of 4 KiB of the region: the sum of the three below. */
  readonly totalPages: number;
  /** Pages in free blocks. */
  readonly freePages: number;
  /** Pages in allocated blocks. */
  readonly allocatedPages: number;
  /** Pages that are never handed out. */
  readonly reservedPages: number;
  /** The order of the largest free block, or `undefined` if no page is free. */
  readonly largestFreeOrder: number | undefined;
  /** How many free blocks of each order there are: index 0 to `maxOrder`. */
  readonly freeBlocks: readonly number[];
  /** How many allocated blocks of each order there are: index 0 to `maxOrder`. */
  readonly allocatedBlocks: readonly number[];
  /**
   * For each order, which share of the free pages is in blocks too small for it: 0 where all can be used, 1 where a
   * request must fail; 0 if no page is free.
   */
  readonly fragmentation: readonly number[];
}

/** What {@link infoOf} counts from. */
export interface MemoryCounts {
  /** The greatest order that is handed out. */
  readonly maxOrder: number;
  /** The greatest order that free blocks merge to. */
  readonly mergeOrder: number;
  /** Free blocks of an order, 0 to `mergeOrder`. */
  freeBlocks(order: number): number;
  /** Allocated blocks of an order, 0 to `maxOrder`. */
  allocatedBlocks(order: number): number;
  readonly totalPages: number;
  readonly reservedPages: number;
}

/** The counts as users see them: free blocks past `maxOrder` as several of that order. O(orders²). */
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
