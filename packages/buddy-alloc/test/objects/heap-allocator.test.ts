import { formatAddress, isAddressError, PAGE_SIZE, Phys, physAddr, Virt, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { ByteMemory, HeapAllocator, PageAllocator } from '../../src/index.ts';
import { buddyError, HEAP, heapPages, snapshot, untyped } from '../support/allocators.ts';

const heapOf = (pages: number) => {
  const allocator = new PageAllocator(heapPages(0, pages));
  return { allocator, heap: new HeapAllocator(allocator) };
};

test.each([
  [0, 16],
  [1, 16],
  [16, 16],
  [17, 32],
  [129, 160],
  [1025, 1360],
  [1361, 2048],
  [2048, 2048],
  [2049, 4096],
  [4096, 4096],
  [4097, 8192],
  [5 * 4096, 5 * 4096],
])('an object of %i bytes can hold %i', (size, capacity) => {
  const { heap, allocator } = heapOf(16);
  const address = heap.allocate(size);
  expect(heap.sizeOf(address)).toBe(capacity);
  expect(heap.info()).toMatchObject({ objects: 1, bytes: capacity });
  heap.checkInvariants();
  heap.free(address);
  heap.trim();
  expect(allocator.memoryInfo().allocatedPages).toBe(0);
});

test('an object starts at a multiple of its alignment, whatever its size', () => {
  const { heap } = heapOf(1024);
  for (let bits = 0; bits <= 16; bits += 1) {
    for (const size of [1, 33, 100, 2000, 5000]) {
      const address = heap.allocate(size, 2 ** bits);
      expect(address % BigInt(2 ** bits)).toBe(0n);
      expect(heap.sizeOf(address)).toBeGreaterThanOrEqual(size);
    }
  }
  heap.checkInvariants();
});

test.each([-1, 0.5, NaN, Infinity, '16', 16n, undefined])('%s is not a size', (size) => {
  const { heap } = heapOf(4);
  buddyError('INVALID_OBJECT_SIZE', () => heap.allocate(untyped(size)));
  const address = heap.allocate(100);
  buddyError('INVALID_OBJECT_SIZE', () => heap.reallocate(address, untyped(size)));
  expect(heap.info().objects).toBe(1);
});

test.each([0, 3, -8, 1.5])('%s is not an alignment', (align) => {
  const { heap } = heapOf(4);
  expect(() => heap.allocate(8, align)).toThrow(
    expect.toSatisfy((error) => isAddressError(error, 'INVALID_ALIGNMENT')),
  );
});

test('sizeOf refuses a free object, also the one that was freed last', () => {
  const { heap } = heapOf(16);
  const [first, second, third] = [heap.allocate(64), heap.allocate(64), heap.allocate(64)];
  for (const object of [second, first]) {
    heap.free(object);
    buddyError('DOUBLE_FREE_OBJECT', () => heap.sizeOf(object));
    buddyError('DOUBLE_FREE_OBJECT', () => heap.reallocate(object, 10));
  }
  expect(heap.sizeOf(third)).toBe(64);
  expect(heap.info()).toMatchObject({ objects: 1, bytes: 64 });
  heap.checkInvariants();
});

describe('refusals', () => {
  test('an address inside an object, or outside all objects', () => {
    const { heap, allocator } = heapOf(64);
    const small = heap.allocate(48);
    const large = heap.allocate(9000);
    const page = allocator.allocatePage();
    const before = snapshot(allocator);
    expect(buddyError('OBJECT_INTERIOR', () => heap.free(Virt.add(small, 8))).details.object).toEqual({
      start: small,
      end: small + 48n,
    });
    const { object } = buddyError('OBJECT_INTERIOR', () => heap.free(Virt.add(large, 4096))).details;
    expect(object).toMatchObject({ start: large, end: large + 0x3000n });
    // After the last of 85 objects of 48 bytes, the page has 16 unused bytes.
    buddyError('OUTSIDE_OBJECTS', () => heap.free(virtAddr((small & ~0xfffn) + 4080n)));
    buddyError('DOUBLE_FREE_OBJECT', () => heap.free(Virt.add(small, 48)));
    buddyError('OUTSIDE_OBJECTS', () => heap.free(page));
    buddyError('OUTSIDE_OBJECTS', () => heap.sizeOf(virtAddr(0)));
    for (const no of [undefined, 12, 2n ** 64n, -1n, small + 2n ** 64n]) {
      expect(() => heap.free(untyped(no))).toThrow(expect.toSatisfy((error) => isAddressError(error)));
    }
    expect(snapshot(allocator)).toBe(before);
    heap.free(large);
    buddyError('OUTSIDE_OBJECTS', () => heap.free(large));
    heap.checkInvariants();
  });

  test('freePages refuses the pages of heaps and slabs', () => {
    const { heap, allocator } = heapOf(64);
    const small = heap.allocate(4);
    const large = heap.allocate(5 * 4096);
    for (const free of [() => allocator.freePage(small), () => allocator.freePages(small)]) {
      expect(buddyError('SLAB_PAGE', free).message).toContain('free its objects');
    }
    for (const address of [large, Virt.add(large, 4096)]) {
      const error = buddyError('HEAP_BLOCK', () => allocator.freePages(address));
      expect(error.details.block).toMatchObject({ start: large, end: large + 0x5000n });
      expect(error.message).toContain('which belongs to a heap');
    }
    allocator.checkInvariants();
  });

  test('a heap refuses the objects of another heap on the same allocator', () => {
    const { heap, allocator } = heapOf(64);
    const other = new HeapAllocator(allocator);
    for (const size of [10, 10_000]) {
      const address = heap.allocate(size);
      buddyError('OUTSIDE_OBJECTS', () => other.free(address));
      heap.free(address);
    }
  });

  test('if no page is free, nothing changes', () => {
    const { heap, allocator } = heapOf(2);
    const first = heap.allocate(2048);
    const second = heap.allocate(4096);
    const before = snapshot(allocator);
    buddyError('OUT_OF_MEMORY', () => heap.allocate(16));
    buddyError('OUT_OF_MEMORY', () => heap.reallocate(first, 5000));
    expect(snapshot(allocator)).toBe(before);
    expect(heap.sizeOf(first)).toBe(2048);
    heap.free(second);
    heap.checkInvariants();
  });
});

describe('bytes', () => {
  const buffers = {
    ArrayBuffer: () => new ArrayBuffer(64 * 4096),
    SharedArrayBuffer: () => new SharedArrayBuffer(64 * 4096),
  };

  test.each(Object.entries(buffers))('of a %s move with the object', (_name, make) => {
    const memory = new ByteMemory(Virt, make(), HEAP);
    const heap = new HeapAllocator(new PageAllocator(heapPages(0, 64), { memory }), { memory });
    let address = heap.allocate(24);
    heap.view(Uint8Array, address, 24).set(Array.from({ length: 24 }, (_, i) => i));
    for (const size of [24, 32, 33, 3000, 9000, 9001, 40, 24]) {
      const old = address;
      address = heap.reallocate(old, size);
      if (size === 32 || size === 9001) expect(address).toBe(old);
      expect([...heap.view(Uint8Array, address, 24)]).toEqual(Array.from({ length: 24 }, (_, i) => i));
    }
    expect(heap.info()).toMatchObject({ objects: 1, bytes: 32 });
    heap.checkInvariants();
  });

  test('an object is moved for its alignment', () => {
    const { heap } = heapOf(64);
    const [, second] = [heap.allocate(16), heap.allocate(16)] as const;
    const aligned = heap.reallocate(second, 16, 4096);
    expect(aligned % 4096n).toBe(0n);
    expect(heap.info().objects).toBe(2);
  });

  test('view refuses a view longer than its object, and unaligned elements', () => {
    const memory = new ByteMemory(Phys, new ArrayBuffer(0x4000), physAddr(0x1000));
    const heap = new HeapAllocator(new PageAllocator(physRegion(physAddr(0x1000), 0x4000)), { memory });
    const address = heap.allocate(48);
    const floats = heap.view(Float64Array, address, 6);
    floats[5] = 0.5;
    expect(memory.view(Float64Array, Phys.add(address, 40), 1)[0]).toBe(0.5);
    buddyError('OUTSIDE_MEMORY', () => heap.view(Float64Array, address, 7));
    buddyError('OUTSIDE_MEMORY', () => heap.view(Float64Array, address, NaN));
    buddyError('OBJECT_INTERIOR', () => heap.view(Float64Array, Phys.add(address, 4), 1));
    buddyError('NO_HEAP_MEMORY', () => heapOf(1).heap.view(Uint8Array, HEAP, 1));
  });

  test('if the contents cannot be copied, the new object is freed', () => {
    const allocator = new PageAllocator(heapPages(0, 64));
    const memory = untyped({
      copy: () => {
        throw new Error('torn');
      },
      view: () => undefined,
    });
    const heap = new HeapAllocator(allocator, { memory });
    const object = heap.allocate(100);
    const before = allocator.memoryInfo();
    for (const size of [40, 5000]) {
      expect(() => heap.reallocate(object, size)).toThrow('torn');
      expect(allocator.memoryInfo()).toEqual(before);
      expect(heap.sizeOf(object)).toBe(112);
    }
    heap.free(object);
    heap.checkInvariants();
  });

  test('reallocate to the same capacity keeps the address, if it is aligned enough', () => {
    const { allocator, heap } = heapOf(64);
    allocator.allocatePage();
    const object = heap.allocate(PAGE_SIZE);
    expect(object).toBe(HEAP + 4096n);
    expect(heap.reallocate(object, PAGE_SIZE - 5)).toBe(object);
    const moved = heap.reallocate(object, PAGE_SIZE, 2 * PAGE_SIZE);
    expect(moved).toBe(HEAP + 8192n);
    for (const size of [-1, 0.5, NaN, 2 ** 53]) {
      buddyError('INVALID_OBJECT_SIZE', () => heap.reallocate(moved, size));
    }
    expect(heap.sizeOf(moved)).toBe(PAGE_SIZE);
    heap.checkInvariants();
  });
});

test('checkInvariants finds pages that someone else has freed or allocated', () => {
  const { allocator, heap } = heapOf(64);
  const large = heap.allocate(3 * PAGE_SIZE);
  heap.allocate(16);
  heap.checkInvariants();
  // Only its three pages are left for others.
  while (allocator.memoryInfo().freePages > 0) allocator.allocatePage();
  const pages = allocator.pagesFor('heap');
  pages.free(large);
  const problem = `the object of 3 pages at ${formatAddress(large)} is not a block of the heap`;
  expect(buddyError('BROKEN_INVARIANT', () => heap.checkInvariants()).details).toEqual({
    invariant: 'slabs',
    problem,
  });
  const other = pages.allocate(2, PAGE_SIZE);
  expect(other).toBe(large);
  expect(buddyError('BROKEN_INVARIANT', () => heap.checkInvariants()).details.problem).toBe(problem);
  pages.free(other);
  allocator.allocateAt(heapPages(Number((large - HEAP) / 4096n), 3));
  expect(buddyError('BROKEN_INVARIANT', () => heap.checkInvariants()).details.problem).toBe(problem);
});
