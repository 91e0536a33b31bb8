import { virtAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { SharedPageAllocator } from '../../src/index.ts';
import { LOCK } from '../../src/shared/shared-layout.ts';
import { buddyError, HEAP, heapPages, untyped } from '../support/allocators.ts';
import { attached, picture } from '../support/shared-allocators.ts';

const at = (page: number) => virtAddr(HEAP + BigInt(page * 4096));

test('a cache fetches half of its capacity, and frees as many pages when it is full', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 64));
  const cache = allocator.cache({ pages: 8 });
  const pages = Array.from({ length: 5 }, () => cache.allocatePage());
  expect(new Set(pages).size).toBe(5);
  expect(allocator.memoryInfo()).toMatchObject({ allocatedPages: 5, cachedPages: 3, freePages: 56 });
  for (const page of pages) cache.freePage(page);
  expect(allocator.memoryInfo()).toMatchObject({ allocatedPages: 0, cachedPages: 8, freePages: 56 });
  cache.freePage(allocator.allocatePage());
  expect(allocator.memoryInfo()).toMatchObject({ allocatedPages: 0, cachedPages: 5, freePages: 59 });
  cache.flush();
  cache.flush();
  expect(picture(allocator)).toBe('0:6f');
  allocator.checkInvariants();
});

test('the page that was freed last is allocated first', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 64));
  using cache = allocator.cache();
  const page = allocator.allocatePage();
  cache.freePage(page);
  expect(cache.allocatePage()).toBe(page);
});

test('a cached page is not allocated to others, and freeing it is a double free through any owner', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 8));
  const other = attached(allocator);
  using mine = allocator.cache({ pages: 2 });
  using theirs = other.cache({ pages: 2 });
  const page = mine.allocatePage();
  mine.freePage(page);
  expect(other.blockOf(page)).toMatchObject({ order: 0, state: 'cached', kind: undefined });
  for (const free of [
    () => mine.freePage(page),
    () => theirs.freePage(page),
    () => other.freePage(page),
    () => other.freePages(page),
  ]) {
    expect(buddyError('DOUBLE_FREE', free).details.order).toBe(0);
  }
  buddyError('MISALIGNED_ADDRESS', () => mine.freePage(virtAddr(page + 8n)));
  buddyError('OUTSIDE_REGION', () => mine.freePage(at(8)));
  expect(() => mine.freePage(untyped(7))).toThrow();
  const block = other.allocatePages(1);
  buddyError('WRONG_SIZE', () => mine.freePage(block.start));
  buddyError('BLOCK_TAIL', () => mine.freePage(virtAddr(block.start + 4096n)));
  expect(allocator.memoryInfo()).toMatchObject({ allocatedPages: 2, cachedPages: 1 });
});

test('a request that would fail empties the caches, whose owners still work', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 4));
  const other = attached(allocator);
  const mine = allocator.cache({ pages: 8 });
  const theirs = other.cache({ pages: 8 });
  const first = mine.allocatePage();
  expect(allocator.memoryInfo()).toMatchObject({ cachedPages: 3, freePages: 0 });
  // The owner of the cache still lists these pages.
  const taken = [other.allocatePage(), theirs.allocatePage(), theirs.allocatePage()];
  buddyError('OUT_OF_MEMORY', () => mine.allocatePage());
  // One of them comes into the other cache. Both caches list it now, but it counts as one page.
  theirs.freePage(taken[0]!);
  expect(allocator.memoryInfo()).toMatchObject({ allocatedPages: 3, cachedPages: 1 });
  allocator.checkInvariants();
  expect(mine.allocatePage()).toBe(taken[0]);
  buddyError('OUT_OF_MEMORY', () => theirs.allocatePage());
  for (const page of [first, ...taken]) theirs.freePage(page);
  expect(allocator.allocatePages(2).pageCount()).toBe(4);
  allocator.checkInvariants();
});

test('a cache has 2 to 252 pages, and the number of caches is limited', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 100), { caches: 1 });
  for (const pages of [0, 1, 253, 2.5, NaN, '4']) {
    buddyError('INVALID_OPTION', () => allocator.cache(untyped({ pages })));
  }
  const cache = allocator.cache({ pages: 252 });
  expect(buddyError('NO_CACHE_LEFT', () => allocator.cache()).details).toEqual({ caches: 1 });
  cache.allocatePage();
  expect(allocator.memoryInfo()).toMatchObject({ cachedPages: 99, allocatedPages: 1, freePages: 0 });
  expect(allocator.allocatePages(5).pageCount()).toBe(32);
  expect(allocator.memoryInfo().cachedPages).toBe(0);
  cache.close();
  using another = allocator.cache({ pages: 2 });
  another.allocatePage();
});

test('a closed cache refuses everything but `close`', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 8));
  const cache = allocator.cache();
  const page = cache.allocatePage();
  cache.close();
  cache.close();
  cache[Symbol.dispose]();
  buddyError('CLOSED_CACHE', () => cache.allocatePage());
  buddyError('CLOSED_CACHE', () => cache.freePage(page));
  buddyError('CLOSED_CACHE', () => cache.flush());
  expect(picture(allocator)).toMatch(/^([0-9]+:[0-9]+f )*[0-7]:0a( [0-9]+:[0-9]+f)*$/);
});

test('while another owner holds the lock, a cache works as far as it can, and otherwise changes nothing', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 64), { lockTimeout: 1 });
  const words = new Int32Array(allocator.buffer);
  const cache = allocator.cache({ pages: 4 });
  const pages = Array.from({ length: 5 }, () => cache.allocatePage());
  const before = picture(allocator);
  words[LOCK] = 99;
  cache.freePage(pages[0]!);
  expect(cache.allocatePage()).toBe(pages[0]);
  for (const page of pages.slice(0, 3)) cache.freePage(page);
  // The cache is full now, so the next free needs the lock.
  for (const action of [
    () => cache.freePage(pages[3]!),
    () => cache.flush(),
    () => cache.close(),
    () => allocator.allocatePage(),
    () => allocator.freePage(pages[3]!),
    () => allocator.memoryInfo(),
    () => allocator.blocks(),
    () => allocator.blockOf(HEAP),
    () => allocator.checkInvariants(),
    () => allocator.recover(5),
    () => allocator.cache(),
  ]) {
    expect(buddyError('LOCK_TIMEOUT', action).details.holder).toBe(99);
  }
  for (let page = 0; page < 3; page += 1) cache.allocatePage();
  expect(allocator.recover(99)).toBe(true);
  expect(allocator.recover(99)).toBe(false);
  expect(picture(allocator)).toBe(before);
  allocator.checkInvariants();
});

test('recover empties and closes the caches of an owner', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 64), { caches: 2 });
  const gone = attached(allocator);
  const [one, two] = [gone.cache({ pages: 8 }), gone.cache({ pages: 4 })];
  const pages = [one.allocatePage(), two.allocatePage(), one.allocatePage()];
  expect(allocator.memoryInfo().cachedPages).toBe(3);
  for (const owner of [0, -1, 1.5, NaN, 2 ** 31]) {
    buddyError('INVALID_OPTION', () => allocator.recover(owner));
  }
  expect(allocator.recover(allocator.owner + 77)).toBe(false);
  expect(allocator.memoryInfo().cachedPages).toBe(3);
  expect(allocator.recover(gone.owner)).toBe(false);
  expect(allocator.memoryInfo()).toMatchObject({ cachedPages: 0, allocatedPages: 3 });
  allocator.cache();
  allocator.cache();
  for (const page of pages) allocator.freePage(page);
  expect(picture(allocator)).toBe('0:6f');
  allocator.checkInvariants();
});
