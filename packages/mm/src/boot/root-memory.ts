import { PAGE_SIZE, type VirtAddr } from '@svsm/address';
import { HeapAllocator, PageAllocator } from '@svsm/buddy-alloc';
import type { MemoryRegion } from '@svsm/memory-region';
import type { Processors } from '../cpu/processors.ts';
import { requireInstance, requireOptionalFunction } from '../formats/arguments.ts';
import type { DirectMap } from '../layout/direct-map.ts';

/** The allocators of an SVSM. */
export interface RootMemory {
  /** All pages of the heap, by their addresses in the direct map. */
  readonly pages: PageAllocator<VirtAddr>;
  /** Objects, small and large, in pages of {@link pages}. */
  readonly heap: HeapAllocator<VirtAddr>;
}

/**
 * The step `root-memory`: the allocators of the heap. Pages of zeros are cleared by the current processor.
 *
 * @param beforeFree - throws if a block must not go to another owner: `PageVisibility.requirePrivate`
 * @throws MmError `INVALID_ARGUMENT`; BuddyError as `PageAllocator`
 */
export function createRootMemory(
  heap: DirectMap,
  processors: Processors,
  beforeFree?: (block: MemoryRegion<VirtAddr>) => void,
): RootMemory {
  requireInstance('the heap', heap, 'DirectMap');
  requireInstance('the processors', processors, 'Processors');
  requireOptionalFunction('beforeFree', beforeFree);
  const memory = { clearPage: (page: VirtAddr): void => processors.thisCpu().vcpu.clear(page, PAGE_SIZE) };
  const pages = new PageAllocator(heap.virt, { memory, beforeFree });
  return { pages, heap: new HeapAllocator(pages) };
}
