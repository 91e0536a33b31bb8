import { PAGE_SIZE, physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { createRootMemory } from '../../src/boot/root-memory.ts';
import { Processors } from '../../src/cpu/processors.ts';
import { DirectMap } from '../../src/layout/direct-map.ts';

test('all pages of the heap are free, and objects come from them', () => {
  const virt = virtRegion(virtAddr(0xffff_ff80_4000_0000n), 16 * PAGE_SIZE);
  const map = new DirectMap(virt, physRegion(physAddr(0x20_0000), 16 * PAGE_SIZE));
  const { pages, heap } = createRootMemory(map, new Processors());
  expect(pages.memoryInfo()).toMatchObject({ totalPages: 16, freePages: 16 });
  const object = heap.allocate(24);
  expect([virt.contains(object), pages.memoryInfo().freePages]).toEqual([true, 15]);
  // Without a processor, nobody can clear a page.
  expect(() => pages.allocateZeroedPage()).toThrow(/NO_CURRENT_CPU/);
  expect(pages.memoryInfo().freePages).toBe(15);
});
