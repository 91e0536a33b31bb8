import { virtAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { HeapAllocator, PageAllocator, renderMap } from '../../src/index.ts';
import { HEAP, heapPages } from '../support/allocators.ts';

test('every kind of page has its sign', () => {
  const allocator = new PageAllocator([heapPages(0, 24), heapPages(28, 4)], { reserved: [heapPages(1, 2)] });
  allocator.allocateAt(heapPages(4, 4));
  allocator.allocateAt(heapPages(9, 3));
  allocator.allocateFilePage();
  const heap = new HeapAllocator(allocator);
  heap.allocate(10);
  heap.allocate(3 * 4096);
  expect(renderMap(allocator, { columns: 16 }).split('\n')).toEqual([
    'a cell is 1 page; . free, # blocks, = runs, f file, s slab, h heap, r reserved, 1-9 tenths in use',
    '0xffff800000000000 .rrs####f===hhh.',
    '0xffff800000010000 ........    ....',
  ]);
});

test('a cell with several states shows how much of it is in use', () => {
  const allocator = new PageAllocator(heapPages(0, 64));
  allocator.allocateAt(heapPages(0, 1));
  allocator.allocateAt(heapPages(16, 15));
  allocator.allocateAt(heapPages(32, 16));
  const lines = renderMap(allocator, { columns: 2, rows: 2 }).split('\n');
  expect(lines.slice(1)).toEqual(['0xffff800000000000 19', '0xffff800000020000 #.']);
  expect(lines[0]).toMatch(/^a cell is 16 pages/);
});

test('a terabyte is drawn as fast as a page', () => {
  const allocator = new PageAllocator(heapPages(0, 2 ** 28));
  allocator.allocatePage();
  const lines = renderMap(allocator).split('\n');
  expect(lines).toHaveLength(17);
  expect(lines[1]).toBe(`0xffff800000000000 1${'.'.repeat(63)}`);
  expect(lines[16]?.startsWith(virtAddr(HEAP + 2n ** 40n - 2n ** 36n).toString(16), 2)).toBe(true);
});
