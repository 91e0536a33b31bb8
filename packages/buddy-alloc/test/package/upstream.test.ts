/** COCONUT-SVSM's own tests of its slabs and page boxes (kernel/src/mm/alloc.rs), translated; `page-allocator.test.ts` has its tests of pages. */

import { PAGE_SIZE, Virt } from '@svsm/address';
import { expect, test } from 'vitest';
import { ByteMemory, HeapAllocator, isBuddyError, PageAllocator, SlabCache } from '../../src/index.ts';
import { buddyError, HEAP, heapPages, snapshot } from '../support/allocators.ts';

const SIZES = [32, 64, 128, 256, 512, 1024, 2048];

test('test_slab_alloc_free_many: four pages of objects of every size, twice', () => {
  const allocator = new PageAllocator(heapPages(0, 4096));
  const before = snapshot(allocator);
  const caches = SIZES.map((size) => new SlabCache(allocator, size));
  for (let round = 0; round < 2; round += 1) {
    const objects = caches.map((cache) =>
      Array.from({ length: (4 * PAGE_SIZE) / cache.objectBytes }, () => cache.allocate()),
    );
    expect(new Set(objects.flat()).size).toBe(objects.flat().length);
    for (const [index, cache] of caches.entries()) {
      expect(cache.info()).toMatchObject({ pages: 4, capacity: objects[index]?.length });
      for (const object of objects[index] ?? []) cache.free(object);
      cache.checkInvariants();
    }
  }
  for (const cache of caches) cache.trim();
  expect(snapshot(allocator)).toBe(before);
});

test('test_slab_page_slab_for_self: tables of slabs grow repeatedly, and one empty page is kept', () => {
  const allocator = new PageAllocator(heapPages(0, 4096));
  const cache = new SlabCache(allocator, 32);
  const objects = Array.from({ length: 2 * 102 * 128 }, () => cache.allocate());
  expect(cache.info()).toMatchObject({ objects: objects.length, pages: 204 });
  for (const object of objects) cache.free(object);
  expect(cache.info()).toEqual({ objects: 0, capacity: 128, pages: 1, emptyPages: 1 });
  cache.checkInvariants();
});

test('test_slab_oom: objects are allocated until no page is left, then all are freed', () => {
  const allocator = new PageAllocator(heapPages(0, 256));
  const heap = new HeapAllocator(allocator);
  const objects: (typeof HEAP)[] = [];
  const fill = () => {
    for (;;) objects.push(heap.allocate(32));
  };
  expect(fill).toThrow(expect.toSatisfy((error) => isBuddyError(error, 'OUT_OF_MEMORY')));
  expect(objects).toHaveLength(256 * 128);
  for (const object of objects) heap.free(object);
  heap.trim();
  expect(allocator.memoryInfo().allocatedPages).toBe(0);
});

test('test_drop_pagebox: a page is allocated while it is owned, and free afterwards', () => {
  const allocator = new PageAllocator(heapPages(0, 4096));
  let address: typeof HEAP;
  {
    using page = allocator.own(0);
    address = page.start;
    expect(allocator.blockOf(address)).toMatchObject({ state: 'allocated', order: 0 });
  }
  expect(allocator.blockOf(address)?.state).toBe('free');
  buddyError('DOUBLE_FREE', () => allocator.freePage(address));
});

test('test_drop_pagebox_slice: 8192 equal elements in 64 KiB, free afterwards', () => {
  const memory = new ByteMemory(Virt, new ArrayBuffer(32 * PAGE_SIZE), HEAP);
  const allocator = new PageAllocator(heapPages(0, 32), { memory });
  {
    using block = allocator.own(4);
    const elements = memory.view(Float64Array, block.start, 8192).fill(2.5);
    expect(elements.byteLength).toBe(Number(block.region.size));
    expect(elements.every((element) => element === 2.5)).toBe(true);
  }
  expect(allocator.memoryInfo()).toMatchObject({ freePages: 32, largestFreeOrder: 5 });
});
