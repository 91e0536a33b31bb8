import { isAddressError, Virt, type VirtAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { PageAllocator, SlabCache } from '../../src/index.ts';
import { buddyError, HEAP, heapPages, snapshot, untyped } from '../support/allocators.ts';

const cacheOf = (pages: number, size: number, options = {}) => {
  const allocator = new PageAllocator(heapPages(0, pages));
  return { allocator, cache: new SlabCache(allocator, size, options) };
};

test.each([
  [1, {}, 8, 512],
  [8, {}, 8, 512],
  [9, {}, 16, 256],
  [48, { alignment: 32 }, 64, 64],
  [33, { alignment: 1 }, 33, 124],
  [1, { alignment: 1 }, 8, 512],
  [1000, {}, 1000, 4],
  [4096, {}, 4096, 1],
  [10, { alignment: 4096 }, 4096, 1],
])('objects of %i bytes with %j are %i bytes apart, %i in a page', (size, options, stride, slots) => {
  const { cache, allocator } = cacheOf(2, size, options);
  expect(cache.objectBytes).toBe(stride);
  const objects = Array.from({ length: 2 * slots }, () => cache.allocate());
  expect(new Set(objects).size).toBe(2 * slots);
  expect(cache.info()).toEqual({ objects: 2 * slots, capacity: 2 * slots, pages: 2, emptyPages: 0 });
  for (const object of objects) expect((object & 0xfffn) % BigInt(stride)).toBe(0n);
  const before = snapshot(allocator);
  buddyError('OUT_OF_MEMORY', () => cache.allocate());
  expect(snapshot(allocator)).toBe(before);
  cache.checkInvariants();
  for (const object of objects) cache.free(object);
  cache.checkInvariants();
  cache.trim();
  expect(allocator.memoryInfo().allocatedPages).toBe(0);
  cache.checkInvariants();
});

test.each([0, -1, 4097, 1.5, NaN, '8', undefined])('%s is not a size', (size) => {
  expect(buddyError('INVALID_OBJECT_SIZE', () => cacheOf(1, untyped(size))).details.max).toBe(4096);
});

test('3000 bytes at multiples of 8192 do not fit a page', () => {
  buddyError('INVALID_OBJECT_SIZE', () => cacheOf(1, 3000, { alignment: 8192 }));
});

describe('free', () => {
  test('refuses free objects, addresses inside objects, and other addresses', () => {
    const { cache, allocator } = cacheOf(16, 48);
    const [first, second] = [cache.allocate(), cache.allocate()];
    cache.free(first);
    const { object } = buddyError('DOUBLE_FREE_OBJECT', () => cache.free(first)).details;
    expect(object).toEqual({ start: first, end: first + 48n });
    buddyError('OBJECT_INTERIOR', () => cache.free(Virt.add(second, 47)));
    buddyError('OUTSIDE_OBJECTS', () => cache.free(virtAddr((first & ~0xfffn) + 4080n)));
    buddyError('OUTSIDE_OBJECTS', () => cache.free(allocator.allocatePage()));
    buddyError('OUTSIDE_OBJECTS', () => cache.free(virtAddr(0)));
    for (const no of [undefined, 1, second + 2n ** 64n, second - 2n ** 64n]) {
      expect(() => cache.free(untyped(no))).toThrow(expect.toSatisfy((error) => isAddressError(error)));
    }
    expect(cache.info().objects).toBe(1);
    cache.checkInvariants();
  });

  test('refuses objects of another cache', () => {
    const { cache, allocator } = cacheOf(16, 64);
    const other = new SlabCache(allocator, 64);
    other.allocate();
    buddyError('OUTSIDE_OBJECTS', () => other.free(cache.allocate()));
  });

  test('of the allocator refuses the page of a slab', () => {
    const { cache, allocator } = cacheOf(16, 64);
    const object = cache.allocate();
    const { details, message } = buddyError('SLAB_PAGE', () => allocator.freePages(object));
    expect(details).toEqual({ address: object });
    expect(message).toContain('free its objects');
    expect(allocator.blockOf(object)?.kind).toBe('slab');
  });

  test('refuses an object whose page has been freed', () => {
    const { cache } = cacheOf(16, 4096, { keepEmpty: 0 });
    const object = cache.allocate();
    cache.free(object);
    buddyError('OUTSIDE_OBJECTS', () => cache.free(object));
  });
});

describe('the object that was freed last', () => {
  test('is allocated next, and is free until then', () => {
    const { cache } = cacheOf(16, 64);
    const objects = Array.from({ length: 40 }, () => cache.allocate());
    const [first, second, third] = objects as [VirtAddr, VirtAddr, VirtAddr];
    cache.free(second);
    expect(cache.info().objects).toBe(39);
    buddyError('DOUBLE_FREE_OBJECT', () => cache.free(second));
    cache.free(first);
    cache.free(third);
    for (const object of [first, second, third]) {
      buddyError('DOUBLE_FREE_OBJECT', () => cache.free(object));
      cache.checkInvariants();
    }
    expect(cache.allocate()).toBe(second);
    expect(new Set([cache.allocate(), cache.allocate()])).toEqual(new Set([first, third]));
    expect(cache.info().objects).toBe(40);
    cache.checkInvariants();
  });

  test.each([0, 1, 2, 3])(
    'is freed with its page when no other object is left: object %i is last',
    (last) => {
      const { cache, allocator } = cacheOf(16, 1024, { keepEmpty: 0 });
      const objects = Array.from({ length: 4 }, () => cache.allocate());
      for (const [index, object] of objects.entries()) if (index !== last) cache.free(object);
      expect(cache.info()).toEqual({ objects: 1, capacity: 4, pages: 1, emptyPages: 0 });
      cache.checkInvariants();
      cache.free(objects[last]!);
      expect(cache.info()).toEqual({ objects: 0, capacity: 0, pages: 0, emptyPages: 0 });
      expect(allocator.memoryInfo().allocatedPages).toBe(0);
      cache.checkInvariants();
      expect(new Set(Array.from({ length: 4 }, () => cache.allocate())).size).toBe(4);
    },
  );

  test('does not keep another page from being freed', () => {
    const { cache } = cacheOf(16, 1024, { keepEmpty: 0 });
    const objects = Array.from({ length: 8 }, () => cache.allocate());
    cache.free(objects[0]!);
    for (const object of objects.slice(4)) cache.free(object);
    expect(cache.info()).toEqual({ objects: 3, capacity: 4, pages: 1, emptyPages: 0 });
    expect(cache.allocate()).toBe(objects[0]);
    cache.checkInvariants();
  });
});

test.each([0, 1, 3])('%i empty pages are kept', (keepEmpty) => {
  const { cache, allocator } = cacheOf(16, 1024, { keepEmpty });
  const objects = Array.from({ length: 20 }, () => cache.allocate());
  for (const object of objects) cache.free(object);
  expect(cache.info()).toMatchObject({ pages: keepEmpty, emptyPages: keepEmpty });
  expect(allocator.memoryInfo().allocatedPages).toBe(keepEmpty);
});

test('an object that comes and goes at the edge of a page costs no page each time', () => {
  const { cache, allocator } = cacheOf(16, 1024);
  for (let object = 0; object < 4; object += 1) cache.allocate();
  const pages = new Set<number>();
  cache.free(cache.allocate());
  for (let round = 0; round < 10; round += 1) {
    cache.free(cache.allocate());
    pages.add(allocator.memoryInfo().allocatedPages);
  }
  expect([...pages]).toEqual([2]);
});

test('pages far from the start are found like near ones', () => {
  const allocator = new PageAllocator([heapPages(0, 1), heapPages(2 ** 30, 1)]);
  const cache = new SlabCache(allocator, 4096, { keepEmpty: 0 });
  const objects = [cache.allocate(), cache.allocate()];
  expect(objects.some((object) => object - HEAP > 2n ** 41n)).toBe(true);
  for (const object of objects) cache.free(object);
  expect(cache.info().pages).toBe(0);
});
