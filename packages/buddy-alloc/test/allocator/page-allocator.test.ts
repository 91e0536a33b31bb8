import {
  isAddressError,
  PageSize,
  Phys,
  type PhysAddr,
  physAddr,
  Virt,
  Virt57,
  virtAddr,
} from '@svsm/address';
import { isRegionError, MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { getOrder, PageAllocator } from '../../src/index.ts';
import {
  blocksOf,
  buddyError,
  changesNothing,
  Flat,
  flatRegion,
  HEAP,
  heapPages,
  snapshot,
  untyped,
} from '../support/allocators.ts';

describe('construction', () => {
  test.each([
    ['one page', heapPages(0, 1), '0:0f'],
    ['one page, high up', heapPages(7, 1), '0:0f'],
    ['a power of two', heapPages(0, 16), '0:4f'],
    ['a power of two that is not aligned', heapPages(1, 16), '0:0f 1:1f 3:2f 7:3f 15:0f'],
    ['any number of pages', heapPages(0, 13), '0:3f 8:2f 12:0f'],
    ['any start', heapPages(3, 10), '0:0f 1:2f 5:2f 9:0f'],
    ['across 4 MiB', heapPages(1023, 3), '0:0f 1:1f'],
    ['three times 4 MiB, not aligned', heapPages(512, 3072), '0:9f 512:10f 1536:10f 2560:9f'],
  ])('%s starts as the largest free blocks that fit', (_name, region, blocks) => {
    const allocator = new PageAllocator(region);
    expect(blocksOf(allocator)).toBe(blocks);
    expect(allocator.region).toBe(region);
    allocator.checkInvariants();
  });

  test.each([
    [heapPages(0, 1), 0],
    [heapPages(1, 2), 0],
    [heapPages(0, 15), 3],
    [heapPages(0, 16), 4],
    [heapPages(0, 1024), 10],
    [heapPages(0, 1025), 10],
    [heapPages(1024, 2048), 10],
    [heapPages(0, 2048), 11],
    [heapPages(0, 2 ** 20), 20],
    [heapPages(0, 2 ** 21), 21],
    [heapPages(0, 2 ** 30 + 1), 30],
  ])('the greatest order in %s is %i', (region, maxOrder) => {
    expect(new PageAllocator(region).maxOrder).toBe(maxOrder);
    expect(new PageAllocator(region, { maxOrder: 52 }).maxOrder).toBe(maxOrder);
  });

  test('with a limit, free memory is shown as blocks of that order', () => {
    const allocator = new PageAllocator(heapPages(1, 16), { maxOrder: 2 });
    expect(allocator.maxOrder).toBe(2);
    expect(blocksOf(allocator)).toBe('0:0f 1:1f 3:2f 7:2f 11:2f 15:0f');
    expect(allocator.memoryInfo().freeBlocks).toEqual([2, 1, 3]);
    expect(allocator.blockOf(virtAddr(HEAP + 0x9000n))?.order).toBe(2);
    buddyError('INVALID_ORDER', () => allocator.allocatePages(3));
    expect(new PageAllocator(heapPages(0, 4), { maxOrder: undefined, reserved: undefined }).maxOrder).toBe(2);
  });

  test('reserved regions may be in any order, touch, be empty, or cover the region', () => {
    const reserved = [heapPages(9, 1), heapPages(2, 1), heapPages(5, 0), heapPages(3, 5)];
    const allocator = new PageAllocator(heapPages(0, 10), { reserved: new Set(reserved) });
    expect(blocksOf(allocator)).toBe('0:1f 2:1r 4:2r 8:0f 9:0r');
    expect(allocator.memoryInfo()).toMatchObject({ totalPages: 10, freePages: 3, reservedPages: 7 });
    allocator.checkInvariants();

    const full = new PageAllocator(heapPages(0, 8), { reserved: [heapPages(0, 8)] });
    expect(full.memoryInfo()).toMatchObject({ freePages: 0, reservedPages: 8, largestFreeOrder: undefined });
    buddyError('OUT_OF_MEMORY', () => full.allocatePage());
    full.checkInvariants();
  });

  test.each([-1, 53, 0.5, NaN, Infinity, '2', null, 2n])('%s is not a limit of the order', (maxOrder) => {
    const error = buddyError(
      'INVALID_MAX_ORDER',
      () => new PageAllocator(heapPages(0, 8), { maxOrder: untyped(maxOrder) }),
    );
    expect(error.details.maxOrder).toBe(maxOrder);
  });

  test('refuses reserved regions with another kind of address', () => {
    const reserved = untyped([physRegion(physAddr(0), 4096)]);
    const region = virtRegion(virtAddr(0), 0x4000);
    expect(() => new PageAllocator(region, { reserved })).toThrow(
      expect.toSatisfy((error) => isRegionError(error, 'KIND_MISMATCH')),
    );
  });
});

describe('allocating', () => {
  test('a block starts at a multiple of its size, as an absolute address', () => {
    const allocator = new PageAllocator(heapPages(5, 3 * 512));
    for (const order of [9, 3, 0, 1, 5]) {
      const block = allocator.allocatePages(order);
      expect(block.size).toBe(4096n << BigInt(order));
      expect(block.start % block.size).toBe(0n);
      expect(allocator.region.containsRegion(block)).toBe(true);
      expect(block.kind).toBe(Virt);
    }
    expect(allocator.allocatePages(9).pageCount(PageSize.Huge)).toBe(1);
    allocator.checkInvariants();
  });

  test('allocates the four pages of the mailing list', () => {
    const allocator = new PageAllocator(virtRegion(HEAP, 0x100_0000));
    const pages = allocator.allocatePages(getOrder(4 * 4096));
    expect([...pages.iterPages(PageSize.Regular)].map((page) => Number(page - pages.start))).toEqual([
      0, 0x1000, 0x2000, 0x3000,
    ]);
  });

  test('splits the smallest block that is large enough', () => {
    const allocator = new PageAllocator(heapPages(0, 13));
    expect(blocksOf(allocator)).toBe('0:3f 8:2f 12:0f');
    allocator.allocatePage();
    expect(blocksOf(allocator)).toBe('0:3f 8:2f 12:0a');
    allocator.allocatePage();
    expect(blocksOf(allocator)).toBe('0:3f 8:0a 9:0f 10:1f 12:0a');
    allocator.allocatePages(3);
    expect(blocksOf(allocator)).toBe('0:3a 8:0a 9:0f 10:1f 12:0a');
  });

  test.each([-1, 4, 52, 53, 0.5, NaN, Infinity, -Infinity, '1', null, undefined, 1n])(
    'order %s is refused',
    (order) => {
      const allocator = new PageAllocator(heapPages(0, 8));
      changesNothing(allocator, () => allocator.allocatePages(untyped(order)));
      const error = buddyError('INVALID_ORDER', () => allocator.allocatePages(untyped(order)));
      expect(error.details).toEqual({ order, maxOrder: 3 });
    },
  );
});

describe('freeing', () => {
  test('takes a region, a start address, or a page', () => {
    const allocator = new PageAllocator(heapPages(0, 8));
    const before = snapshot(allocator);
    allocator.freePages(allocator.allocatePages(2));
    allocator.freePages(allocator.allocatePages(2).start);
    allocator.freePages(allocator.allocatePage());
    allocator.freePage(allocator.allocatePages(0).start);
    expect(snapshot(allocator)).toBe(before);
  });

  test('takes another region object with the same pages', () => {
    const allocator = new PageAllocator(heapPages(0, 8));
    const { start, size } = allocator.allocatePages(1);
    allocator.freePages(MemoryRegion.fromAddresses(Virt, start, start + size));
    expect(blocksOf(allocator)).toBe('0:3f');
  });

  test('freePage refuses a block of more than one page', () => {
    const allocator = new PageAllocator(heapPages(0, 2 ** 12));
    for (const order of [1, 9, 10, 12]) {
      const { start } = allocator.allocatePages(order);
      changesNothing(allocator, () => allocator.freePage(start));
      buddyError('WRONG_SIZE', () => allocator.freePage(start));
      allocator.freePages(start);
    }
  });

  test.each([
    ['below zero', -4096n, 'OUTSIDE_SPACE'],
    ['past 64 bits', HEAP + 2n ** 64n, 'OUTSIDE_SPACE'],
    ['in the hole', 2n ** 47n, 'NON_CANONICAL'],
    ['a number', 0x1000, 'INVALID_ADDRESS'],
    ['nothing', undefined, 'INVALID_ADDRESS'],
    ['text', '0xffff800000000000', 'INVALID_ADDRESS'],
  ] as const)('refuses an invalid address: %s', (_name, address, code) => {
    const allocator = new PageAllocator(heapPages(0, 8));
    allocator.allocatePages(3);
    for (const free of [
      () => allocator.freePage(untyped(address)),
      () => allocator.freePages(untyped(address)),
      () => allocator.blockOf(untyped(address)),
    ]) {
      expect(free).toThrow(expect.toSatisfy((error) => isAddressError(error, code)));
    }
    expect(blocksOf(allocator)).toBe('0:3a');
  });

  test('refuses a region of another kind of address, even if the bounds are equal', () => {
    const allocator = new PageAllocator(virtRegion(virtAddr(0), 0x8000));
    const { start, size } = allocator.allocatePages(1);
    for (const region of [physRegion(physAddr(start), size), new MemoryRegion(Virt57, start, size), {}]) {
      expect(() => allocator.freePages(untyped(region))).toThrow(
        expect.toSatisfy((error) => isRegionError(error, 'KIND_MISMATCH')),
      );
    }
    allocator.freePages(virtRegion(start, size));
  });

  test.each([24n, 30n, 32n, 36n, 44n, 50n])(
    'does not confuse pages whose addresses differ by 2^%i bytes',
    (bits) => {
      const allocator = new PageAllocator(flatRegion(0n, 1n << bits));
      const page = allocator.allocatePage();
      const before = snapshot(allocator);
      for (let bit = 12n; bit < bits; bit += 1n) {
        const other = Flat.address(page ^ (1n << bit));
        buddyError('DOUBLE_FREE', () => allocator.freePage(other));
        buddyError('DOUBLE_FREE', () => allocator.freePages(other));
      }
      expect(snapshot(allocator)).toBe(before);
    },
  );

  test('merges buddies, and only buddies', () => {
    const allocator = new PageAllocator(heapPages(0, 8));
    const pages = Array.from({ length: 8 }, () => allocator.allocatePage()).sort((a, b) => Number(a - b));
    const free = (index: number) => allocator.freePage(pages[index]!);
    free(1);
    free(2);
    expect(blocksOf(allocator)).toBe('0:0a 1:0f 2:0f 3:0a 4:0a 5:0a 6:0a 7:0a');
    free(3);
    expect(blocksOf(allocator)).toBe('0:0a 1:0f 2:1f 4:0a 5:0a 6:0a 7:0a');
    free(0);
    expect(blocksOf(allocator)).toBe('0:2f 4:0a 5:0a 6:0a 7:0a');
    for (const index of [7, 5, 6, 4]) free(index);
    expect(blocksOf(allocator)).toBe('0:3f');
  });
});

describe('zeroed pages and file pages', () => {
  const withMemory = (clearPage: (page: bigint) => void) =>
    new PageAllocator(heapPages(0, 8), { memory: { clearPage } });

  test('clearPage is called for each zeroed page and file page', () => {
    const cleared: bigint[] = [];
    const allocator = withMemory((page) => cleared.push(page));
    const pages = [allocator.allocateZeroedPage(), allocator.allocateFilePage()];
    allocator.allocatePage();
    expect(cleared).toEqual(pages);
  });

  test('if clearPage throws, no page is allocated', () => {
    const allocator = withMemory(() => {
      throw new Error('not mapped');
    });
    changesNothing(allocator, () => allocator.allocateZeroedPage());
    changesNothing(allocator, () => allocator.allocateFilePage());
    expect(() => allocator.allocateZeroedPage()).toThrow('not mapped');
  });

  test('upstream: a file page is freed with its last reference', () => {
    const allocator = new PageAllocator(heapPages(0, 8));
    const before = snapshot(allocator);
    const page = allocator.allocateFilePage();
    expect(allocator.blockOf(page)).toMatchObject({ order: 0, state: 'allocated', kind: 'file' });
    expect([allocator.getFilePage(page), allocator.getFilePage(page)]).toEqual([2, 3]);
    allocator.checkInvariants();
    for (const free of [() => allocator.freePage(page), () => allocator.freePages(page)]) {
      expect(buddyError('FILE_PAGE', free).details.references).toBe(3);
    }
    expect([1, 2, 3].map(() => allocator.putFilePage(page))).toEqual([2, 1, 0]);
    expect(snapshot(allocator)).toBe(before);
    buddyError('NOT_FILE_PAGE', () => allocator.putFilePage(page));
    expect(allocator.allocateFilePage()).toBe(page);
    expect(allocator.putFilePage(page)).toBe(0);
    allocator.checkInvariants();
  });

  test('refuses an address inside a file page, or of another page', () => {
    const allocator = new PageAllocator(heapPages(0, 8));
    const page = allocator.allocateFilePage();
    buddyError('MISALIGNED_ADDRESS', () => allocator.getFilePage(Virt.add(page, 1)));
    buddyError('OUTSIDE_REGION', () => allocator.putFilePage(Virt.add(HEAP, 0x8000)));
    expect(() => allocator.getFilePage(untyped(12))).toThrow(
      expect.toSatisfy((error) => isAddressError(error, 'INVALID_ADDRESS')),
    );
  });
});

describe('runs and given pages', () => {
  test('a run has exactly the requested pages, and the rest of its block is free', () => {
    const allocator = new PageAllocator(heapPages(0, 16));
    const run = allocator.allocateRun(5);
    expect(run.equals(heapPages(0, 5))).toBe(true);
    expect(allocator.blockOf(virtAddr(HEAP + 0x4fffn))).toMatchObject({ order: 3, kind: 'run' });
    expect(allocator.memoryInfo()).toMatchObject({ allocatedPages: 5, freePages: 11 });
    expect(
      buddyError('BLOCK_TAIL', () => allocator.freePage(virtAddr(HEAP + 0x4000n))).details.block,
    ).toEqual(run);
    buddyError('WRONG_SIZE', () => allocator.freePage(run.start));
    buddyError('WRONG_SIZE', () => allocator.freePages(heapPages(0, 8)));
    allocator.freePages(run);
    expect(blocksOf(allocator)).toBe('0:4f');
  });

  test('two runs that touch stay separate', () => {
    const allocator = new PageAllocator(heapPages(0, 16));
    allocator.allocateAt(heapPages(1, 3));
    allocator.allocateAt(heapPages(4, 3));
    allocator.freePages(virtAddr(HEAP + 0x4000n));
    expect(blocksOf(allocator)).toBe('0:0f 1:2a 4:2f 8:3f');
  });

  test('a run of 2^n pages is a block if its alignment is at most its size', () => {
    const allocator = new PageAllocator(heapPages(0, 64));
    expect(allocator.blockOf(allocator.allocateRun(4).start)?.kind).toBe('pages');
    const aligned = allocator.allocateRun(3, 0x8000);
    expect(aligned.start % 0x8000n).toBe(0n);
    expect(aligned.size).toBe(0x3000n);
    allocator.checkInvariants();
  });

  test('a run may span several free blocks and exceed the limit of the order', () => {
    expect(new PageAllocator(heapPages(1, 6)).allocateRun(6).equals(heapPages(1, 6))).toBe(true);
    const limited = new PageAllocator(heapPages(0, 16), { maxOrder: 1 });
    expect(limited.allocateRun(16).size).toBe(0x10000n);
    limited.freePages(HEAP);
    expect(limited.memoryInfo().freePages).toBe(16);
  });

  test('pages that the constructor reserved can be unreserved in parts', () => {
    const allocator = new PageAllocator(heapPages(0, 4096), { reserved: [heapPages(0, 3000)] });
    allocator.unreserve(heapPages(1024, 1024));
    allocator.checkInvariants();
    allocator.unreserve(heapPages(0, 1024));
    allocator.unreserve(heapPages(2048, 952));
    allocator.checkInvariants();
    expect(blocksOf(allocator)).toBe('0:12f');
  });
});

describe('several regions', () => {
  test('pages between regions are outside, and regions that touch become one', () => {
    const regions = [heapPages(8, 4), heapPages(0, 2), heapPages(12, 4)];
    const allocator = new PageAllocator(regions, { reserved: [heapPages(9, 1)] });
    expect(allocator.regions.map(String)).toEqual([heapPages(0, 2), heapPages(8, 8)].map(String));
    expect(allocator.region.equals(heapPages(0, 16))).toBe(true);
    expect(blocksOf(allocator)).toBe('0:1f 8:0f 9:0r 10:1f 12:2f');
    expect(allocator.memoryInfo().totalPages).toBe(10);
    const error = buddyError('OUTSIDE_REGION', () => allocator.freePage(virtAddr(HEAP + 0x5000n)));
    expect(error.details.regions).toHaveLength(2);
    allocator.checkInvariants();
  });

  test('no block is larger than a region, and no reserved block crosses its end', () => {
    expect(new PageAllocator([heapPages(0, 2), heapPages(8, 4)]).maxOrder).toBe(2);
    const reserved = [heapPages(1, 8)];
    buddyError('INVALID_RESERVED', () => new PageAllocator([heapPages(0, 2), heapPages(8, 4)], { reserved }));
    buddyError('INVALID_REGION', () => new PageAllocator([heapPages(0, 4), heapPages(3, 4)]));
  });

  test('the allocator grows into its space and shrinks', () => {
    const allocator = new PageAllocator(heapPages(4, 4), { space: heapPages(0, 2 ** 20) });
    expect(allocator.maxOrder).toBe(20);
    allocator.addRegion(heapPages(8, 8));
    allocator.addRegion(heapPages(0, 4));
    expect(blocksOf(allocator)).toBe('0:4f');
    const page = allocator.allocatePage();
    buddyError('NOT_FREE', () => allocator.removeRegion(heapPages(0, 16)));
    allocator.freePage(page);
    allocator.removeRegion(heapPages(0, 16));
    expect(allocator.regions).toEqual([]);
    expect(allocator.region.isEmpty).toBe(true);
    buddyError('OUT_OF_MEMORY', () => allocator.allocatePage());
    allocator.addRegion(heapPages(0, 16));
    expect(blocksOf(allocator)).toBe('0:4f');
    allocator.checkInvariants();
  });
});

describe('inspection', () => {
  test('blockOf finds the block of any address', () => {
    const allocator = new PageAllocator(heapPages(1, 14), { reserved: [heapPages(4, 3)] });
    const block = allocator.allocatePages(2);
    expect(blocksOf(allocator)).toBe('0:0f 1:1f 3:1r 5:0r 6:0f 7:2a 11:1f 13:0f');
    for (const found of allocator.blocks()) {
      for (const page of found.region.iterPages(PageSize.Regular)) {
        expect(allocator.blockOf(page)?.region.equals(found.region)).toBe(true);
        expect(allocator.blockOf(Virt.add(page, 0xfff))).toMatchObject({
          order: found.order,
          state: found.state,
        });
      }
    }
    expect(allocator.blockOf(block.start)?.region.equals(block)).toBe(true);
    expect(allocator.blockOf(HEAP)).toBeUndefined();
    expect(allocator.blockOf(Virt.add(HEAP, 0xfff))).toBeUndefined();
    expect(allocator.blockOf(Virt.add(HEAP, 0xf000))).toBeUndefined();
  });

  test('results are frozen', () => {
    const allocator = new PageAllocator(heapPages(0, 8));
    const info = allocator.memoryInfo();
    for (const value of [info, info.freeBlocks, info.allocatedBlocks, allocator.blockOf(HEAP)]) {
      expect(Object.isFrozen(value)).toBe(true);
    }
    allocator.allocatePage();
    expect(info.freePages).toBe(8);
  });

  test('blocks are generated one at a time', () => {
    const allocator = new PageAllocator(virtRegion(virtAddr(0), 2n ** 47n), { maxOrder: 0 });
    const { value } = allocator.blocks().next();
    expect(value).toMatchObject({ order: 0, state: 'free' });
  });
});

// COCONUT-SVSM's own tests of its allocator (kernel/src/mm/alloc.rs), as far as they concern pages.
describe('upstream', () => {
  const setUp = () => new PageAllocator(virtRegion(HEAP, 0x100_0000), { maxOrder: 5 });

  test('creation and end', () => {
    expect(setUp().memoryInfo().freeBlocks).toEqual([0, 0, 0, 0, 0, 128]);
  });

  test('one page', () => {
    const allocator = setUp();
    const before = allocator.memoryInfo();
    const page = allocator.allocatePage();
    expect(allocator.memoryInfo().freeBlocks).toEqual([1, 1, 1, 1, 1, 127]);
    allocator.freePage(page);
    expect(allocator.memoryInfo()).toEqual(before);
  });

  const everything = (allocator: ReturnType<typeof setUp>) => {
    const blocks: ReturnType<typeof heapPages>[] = [];
    for (const [order, count] of allocator.memoryInfo().freeBlocks.entries()) {
      for (let block = 0; block < count; block += 1) blocks.push(allocator.allocatePages(order));
    }
    return blocks;
  };

  test('every free block, order by order', () => {
    const allocator = new PageAllocator(heapPages(3, 4090), { maxOrder: 5 });
    const before = allocator.memoryInfo();
    const blocks = everything(allocator);
    expect(allocator.memoryInfo().freeBlocks).toEqual([0, 0, 0, 0, 0, 0]);
    for (const block of blocks) allocator.freePages(block);
    expect(allocator.memoryInfo()).toEqual(before);
  });

  test('every page, one by one', () => {
    const allocator = setUp();
    const before = allocator.memoryInfo();
    const pages = Array.from({ length: before.freePages }, () => allocator.allocatePage());
    expect(new Set(pages).size).toBe(4096);
    expect(allocator.memoryInfo()).toMatchObject({ freePages: 0, allocatedPages: 4096 });
    for (const page of pages) allocator.freePage(page);
    expect(allocator.memoryInfo()).toEqual(before);
  });

  test('out of memory', () => {
    const allocator = setUp();
    const before = allocator.memoryInfo();
    const blocks = everything(allocator);
    buddyError('OUT_OF_MEMORY', () => allocator.allocatePage());
    for (const block of blocks) allocator.freePages(block);
    expect(allocator.memoryInfo()).toEqual(before);
  });
});

describe('at the edges of address spaces', () => {
  test.each([
    ['from 0 on', virtRegion(virtAddr(0), 0x5000)],
    ['up to the hole', virtRegion(virtAddr(0x7fff_ffff_b000n), 0x5000)],
    ['from the hole on', virtRegion(virtAddr(0xffff_8000_0000_0000n), 0x5000)],
    ['up to 2^64', virtRegion(virtAddr(0xffff_ffff_ffff_b000n), 0x5000)],
    ['the last page', virtRegion(virtAddr(0xffff_ffff_ffff_f000n), 0x1000)],
    ['across 4 GiB', virtRegion(virtAddr(0xffff_ffff_0000_0000n - 0x2000n), 0x5000)],
    ['across 2^63', flatRegion(2n ** 63n - 0x3000n, 2n ** 63n + 0x2000n)],
    ['physical, from 0 on', physRegion(physAddr(0), 0x5000)],
    ['physical, up to 2^52', physRegion(physAddr(2n ** 52n - 0x5000n), 0x5000)],
    ['the lower half', virtRegion(virtAddr(0), 2n ** 47n)],
    ['the upper half', virtRegion(virtAddr(0xffff_8000_0000_0000n), 2n ** 47n)],
    ['an upper half of 57 bits', new MemoryRegion(Virt57, Virt57.address(2n ** 64n - 2n ** 56n), 2n ** 56n)],
    ['all of physical memory', physRegion(physAddr(0), 2n ** 52n)],
    ['all that 64 bits address', flatRegion(0n, 2n ** 64n)],
    ['all but a page at each end', flatRegion(0x1000n, 2n ** 64n - 0x1000n)],
  ])('%s', (_name, region) => {
    const allocator = new PageAllocator(region as MemoryRegion<PhysAddr>);
    const kind = allocator.region.kind;
    const before = snapshot(allocator);
    expect(allocator.memoryInfo().totalPages).toBe(Number(region.size / 4096n));

    // The largest block, then up to 2000 single pages.
    const large = allocator.allocatePages(allocator.maxOrder);
    expect(large.start % large.size).toBe(0n);
    const pages: PhysAddr[] = [];
    while (allocator.memoryInfo().freePages > 0 && pages.length < 2000) pages.push(allocator.allocatePage());
    allocator.checkInvariants();
    for (const page of pages) {
      expect(kind.isAddress(page)).toBe(true);
      expect(allocator.region.contains(page) && !large.contains(page)).toBe(true);
    }
    expect(new Set(pages).size).toBe(pages.length);
    for (const outside of [region.start - 0x1000n, region.end, 0x1000n, 0n]) {
      if (!kind.isAddress(outside) || region.contains(untyped(outside))) continue;
      buddyError('OUTSIDE_REGION', () => allocator.freePage(outside));
      expect(allocator.blockOf(outside)).toBeUndefined();
    }
    for (const [index, page] of pages.entries()) {
      if (index % 2 === 0) allocator.freePage(page);
      else allocator.freePages(page);
    }
    allocator.freePages(large);
    expect(snapshot(allocator)).toBe(before);
    allocator.checkInvariants();
  });

  test('the last pages of the 64-bit address space, with the others reserved', () => {
    const reserved = [flatRegion(0n, 2n ** 64n - 0x3000n)];
    const allocator = new PageAllocator(flatRegion(0n, 2n ** 64n), { reserved });
    const pages = [1, 2, 3].map(() => allocator.allocatePage());
    expect(new Set(pages)).toEqual(new Set([-1n, -2n, -3n].map((page) => 2n ** 64n + page * 0x1000n)));
    for (const page of pages) allocator.freePage(page);
    expect(allocator.memoryInfo()).toMatchObject({ freePages: 3, largestFreeOrder: 1 });
    allocator.checkInvariants();
  });

  test('an address next to the region is not taken for one inside it', () => {
    const allocator = new PageAllocator(flatRegion(2n ** 40n, 2n ** 40n + 0x1000n));
    allocator.allocatePage();
    for (let bit = 12n; bit < 64n; bit += 1n) {
      for (const address of [(2n ** 40n) ^ (1n << bit), (2n ** 40n + (1n << bit)) % 2n ** 64n, 1n << bit]) {
        if (address === 2n ** 40n) continue;
        buddyError('OUTSIDE_REGION', () => allocator.freePage(Flat.address(address)));
        buddyError('OUTSIDE_REGION', () => allocator.freePages(Flat.address(address)));
      }
    }
    expect(blocksOf(allocator)).toBe('0:0a');
  });

  test('blocks of every order in the whole 64-bit address space', () => {
    const allocator = new PageAllocator(flatRegion(0n, 2n ** 64n));
    const whole = allocator.allocatePages(52);
    expect(whole.end).toBe(2n ** 64n);
    changesNothing(allocator, () => allocator.allocatePage());
    allocator.freePages(whole);
    const blocks = Array.from({ length: 52 }, (_, order) => allocator.allocatePages(order));
    expect(blocksOf(allocator).split(' ')).toHaveLength(53);
    expect(allocator.memoryInfo()).toMatchObject({ freePages: 1, allocatedPages: 2 ** 52 - 1 });
    allocator.checkInvariants();
    for (const block of blocks) allocator.freePages(block.start);
    expect(blocksOf(allocator)).toBe('0:52f');
  });
});

test('two reserved pages at the far ends of a large region cost two paths through the tables', () => {
  const region = physRegion(physAddr(0), 2n ** 50n);
  const reserved = [physRegion(physAddr(0), 4096), physRegion(physAddr(2n ** 50n - 4096n), 4096)];
  const allocator = new PageAllocator(region, { reserved });
  expect(allocator.memoryInfo()).toMatchObject({ freePages: 2 ** 38 - 2, largestFreeOrder: 36 });
  expect([...allocator.blocks()]).toHaveLength(2 + 2 * 37);
  buddyError('RESERVED_PAGE', () => allocator.freePage(physAddr(2n ** 50n - 4096n)));
  allocator.checkInvariants();
});

test('serves as the frame allocator of page tables with an adapter of two lines', () => {
  const allocator = new PageAllocator<PhysAddr>(physRegion(physAddr(0x10_0000), 0x10_0000));
  const frames = {
    allocateFrame: () => allocator.allocatePage(),
    freeFrame: (frame: PhysAddr) => allocator.freePage(frame),
  };
  const frame = frames.allocateFrame();
  expect(Phys.isAddress(frame)).toBe(true);
  frames.freeFrame(frame);
  expect(allocator.memoryInfo().allocatedPages).toBe(0);
});
