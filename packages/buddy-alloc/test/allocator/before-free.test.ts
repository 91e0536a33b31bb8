/** `beforeFree` is asked before each free, by whichever operation, and can refuse it. */

import { Virt } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import {
  ByteMemory,
  HeapAllocator,
  PageAllocator,
  type PageAllocatorOptions,
  SlabCache,
} from '../../src/index.ts';
import { buddyError, HEAP, heapPages, snapshot } from '../support/allocators.ts';

type Address = typeof HEAP;

/** An allocator whose `beforeFree` notes each call, and throws while `refuses` is set. */
function asking(options: PageAllocatorOptions<Address> = {}) {
  const asked: string[] = [];
  const gate = { refuses: false };
  const allocator = new PageAllocator<Address>(heapPages(0, 64), {
    ...options,
    beforeFree: (block, kind) => {
      asked.push(`${kind} ${(block.start - HEAP) / 4096n}+${block.pageCount()}`);
      if (gate.refuses) throw new RangeError('the pages are in use');
    },
  });
  return { allocator, asked, gate };
}

/** Each operation that frees: prepares, and returns the free and the call that it makes. */
const FREES: Record<
  string,
  (allocator: PageAllocator<Address>) => { free: () => unknown; asks: string; isDone: () => boolean }
> = {
  freePages: (allocator) => of(allocator, allocator.allocatePages(2), 'pages 0+4'),
  'freePages of a start': (allocator) => {
    const { start } = allocator.allocatePages(2);
    return { free: () => allocator.freePages(start), asks: 'pages 0+4', isDone: isFree(allocator, start) };
  },
  'freePages of a run': (allocator) => of(allocator, allocator.allocateRun(5), 'run 0+5'),
  freePage: (allocator) => {
    const page = allocator.allocatePage();
    return { free: () => allocator.freePage(page), asks: 'pages 0+1', isDone: isFree(allocator, page) };
  },
  'indexed.free': (allocator) => {
    const index = allocator.indexed.allocate(1);
    const page = allocator.indexed.addressOf(index);
    return {
      free: () => allocator.indexed.free(index),
      asks: 'pages 0+2',
      isDone: isFree(allocator, page),
    };
  },
  'OwnedBlock.release': (allocator) => {
    const block = allocator.own(3);
    return { free: () => block.release(), asks: 'pages 0+8', isDone: () => !block.isOwned };
  },
  'OwnedBlock[Symbol.dispose]': (allocator) => {
    const block = allocator.own(0);
    return { free: () => block[Symbol.dispose](), asks: 'pages 0+1', isDone: () => !block.isOwned };
  },
  'putFilePage, the last reference': (allocator) => {
    const page = allocator.allocateFilePage();
    return { free: () => allocator.putFilePage(page), asks: 'file 0+1', isDone: isFree(allocator, page) };
  },
  'SlabCache.free, the last object of a page': (allocator) => {
    const cache = new SlabCache(allocator, 64, { keepEmpty: 0 });
    const object = cache.allocate();
    return { free: () => cache.free(object), asks: 'slab 0+1', isDone: () => cache.info().objects === 0 };
  },
  'SlabCache.trim': (allocator) => {
    const cache = new SlabCache(allocator, 64, { keepEmpty: 1 });
    cache.free(cache.allocate());
    return { free: () => cache.trim(), asks: 'slab 0+1', isDone: () => cache.info().pages === 0 };
  },
  'HeapAllocator.free, a large object': (allocator) => {
    const heap = new HeapAllocator(allocator);
    const object = heap.allocate(9000);
    return { free: () => heap.free(object), asks: 'heap 0+3', isDone: () => heap.info().pages === 0 };
  },
};

function isFree(allocator: PageAllocator<Address>, page: Address): () => boolean {
  return () => allocator.blockOf(page)?.state === 'free';
}

function of(allocator: PageAllocator<Address>, block: MemoryRegion<Address>, asks: string) {
  return { free: () => allocator.freePages(block), asks, isDone: isFree(allocator, block.start) };
}

describe.each(Object.entries(FREES))('%s', (_name, prepare) => {
  test.each([
    ['without poison', () => ({})],
    [
      'with poison',
      () => ({ memory: new ByteMemory(Virt, new ArrayBuffer(64 * 4096), HEAP), poison: true as const }),
    ],
  ])('asks first, and changes nothing if it is refused, %s', (_with, options) => {
    const { allocator, asked, gate } = asking(options());
    const { free, asks, isDone } = prepare(allocator);
    const before = JSON.stringify(snapshot(allocator));
    asked.length = 0;
    gate.refuses = true;
    expect(free).toThrow(new RangeError('the pages are in use'));
    expect(asked).toEqual([asks]);
    expect(JSON.stringify(snapshot(allocator))).toBe(before);
    expect(isDone()).toBe(false);
    allocator.checkInvariants();
    gate.refuses = false;
    free();
    expect(asked).toEqual([asks, asks]);
    expect(isDone()).toBe(true);
    allocator.checkInvariants();
  });
});

test('it is not asked about pages that the allocator refuses to free, nor before the last reference', () => {
  const { allocator, asked } = asking();
  const block = allocator.allocatePages(1);
  const file = allocator.allocateFilePage();
  allocator.getFilePage(file);
  allocator.putFilePage(file);
  buddyError('BLOCK_TAIL', () => allocator.freePage((block.start + 4096n) as Address));
  buddyError('WRONG_SIZE', () => allocator.freePage(block.start));
  buddyError('WRONG_SIZE', () => allocator.freePages(heapPages(0, 1)));
  buddyError('FILE_PAGE', () => allocator.freePage(file));
  allocator.freePages(block);
  buddyError('DOUBLE_FREE', () => allocator.freePages(block));
  expect(asked).toEqual(['pages 0+2']);
});

test('while it runs, the allocator is busy', () => {
  let code: string | undefined;
  const allocator: PageAllocator<Address> = new PageAllocator<Address>(heapPages(0, 4), {
    beforeFree: () => {
      code = buddyError('BUSY', () => allocator.allocatePage()).code;
    },
  });
  allocator.freePage(allocator.allocatePage());
  expect(code).toBe('BUSY');
  expect(allocator.memoryInfo().freePages).toBe(4);
});

test('a restored allocator has the one that is passed', () => {
  const { allocator } = asking();
  const page = allocator.allocatePage();
  const restored = PageAllocator.restore(Virt, allocator.snapshot(), {
    beforeFree: () => {
      throw new RangeError('no');
    },
  });
  expect(() => restored.freePage(page)).toThrow(new RangeError('no'));
  expect(restored.blockOf(page)?.state).toBe('allocated');
});
