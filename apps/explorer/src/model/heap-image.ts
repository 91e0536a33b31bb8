import { PAGE_SIZE, type VirtAddr } from '@svsm/address';
import type { BlockState, PageAllocator } from '@svsm/buddy-alloc';

/** A block of the allocator at one moment. */
export interface BlockImage {
  readonly start: bigint;
  readonly pages: number;
  readonly order: number;
  readonly state: BlockState;
}

/** The allocator at one moment. */
export interface HeapImage {
  readonly start: bigint;
  readonly pages: number;
  readonly freePages: number;
  /** All blocks, by address. */
  readonly blocks: readonly BlockImage[];
  /** The number of free blocks of each order. */
  readonly freeBlocks: readonly number[];
}

/** Reads the blocks of an allocator. O(blocks). */
export function captureHeap(heap: PageAllocator<VirtAddr>, previous?: HeapImage): HeapImage {
  const { totalPages, freePages, freeBlocks } = heap.memoryInfo();
  const blocks = Array.from(heap.blocks(), ({ region, order, state }) => ({
    start: BigInt(region.start),
    pages: Number(region.size) / PAGE_SIZE,
    order,
    state,
  }));
  const isSame =
    previous?.blocks.length === blocks.length &&
    blocks.every((block, i) => {
      const before = previous.blocks[i]!;
      return block.start === before.start && block.pages === before.pages && block.state === before.state;
    });
  return isSame ? previous : { start: heap.region.start, pages: totalPages, freePages, blocks, freeBlocks };
}

/** The block of `vaddr`. */
export function blockAt(image: HeapImage, vaddr: bigint): BlockImage | undefined {
  return image.blocks.find(
    ({ start, pages }) => vaddr >= start && vaddr < start + BigInt(pages) * BigInt(PAGE_SIZE),
  );
}
