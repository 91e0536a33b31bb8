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
