/** The option `poison`: writes to freed pages are found. */
import { Virt, type VirtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import {
  ByteMemory,
  HeapAllocator,
  PageAllocator,
  type PageAllocatorOptions,
  SlabCache,
} from '../../src/index.ts';
import { buddyError, changesNothing, HEAP, heapPages, snapshot, untyped } from '../support/allocators.ts';

function make(options: PageAllocatorOptions<VirtAddr> = {}) {
  const source = { buffer: new ArrayBuffer(64 * 4096) };
  const memory = new ByteMemory(Virt, source, HEAP);
  const allocator = new PageAllocator(heapPages(0, 64), { memory, poison: true, ...options });
  const bytesOf = (page: VirtAddr, pages = 1) => new Set(memory.bytes(page, pages * 4096));
  return { source, memory, allocator, bytesOf };
}

const at = (page: number, byte = 0): VirtAddr => Virt.add(HEAP, page * 4096 + byte);

describe('the patterns', () => {
  test('freed pages have one, allocated pages another, and cleared pages zeros', () => {
    const { allocator, bytesOf } = make();
    const ways: [() => VirtAddr, (page: VirtAddr) => void, pages: number, byte: number][] = [
      [() => allocator.allocatePage(), (page) => allocator.freePage(page), 1, 0x5a],
      [() => allocator.allocateBlock(2), (page) => allocator.freePages(page), 4, 0x5a],
      [() => allocator.allocatePages(2).start, (page) => allocator.freePages(page), 4, 0x5a],
      [() => allocator.allocateRun(5).start, (page) => allocator.freePages(page), 5, 0x5a],
      [
        () => allocator.allocateAt(heapPages(7, 3)).start,
        (page) => allocator.freePages(heapPages(7, 3)) ?? page,
        3,
        0x5a,
      ],
      [() => allocator.own(1).leak().start, (page) => allocator.freePages(page), 2, 0x5a],
      [
        () => allocator.indexed.addressOf(allocator.indexed.allocate(1)),
        (page) => allocator.indexed.free(allocator.indexed.indexOf(page)),
        2,
        0x5a,
      ],
      [
        () => allocator.pagesFor('heap').allocate(3, 4096),
        (page) => allocator.pagesFor('heap').free(page),
        3,
        0x5a,
      ],
      [() => allocator.allocateZeroedPage(), (page) => allocator.freePage(page), 1, 0],
      [() => allocator.allocateFilePage(), (page) => allocator.putFilePage(page), 1, 0],
    ];
    for (const [allocate, free, pages, byte] of ways) {
      const page = allocate();
      expect(bytesOf(page, pages)).toEqual(new Set([byte]));
      allocator.checkInvariants();
      free(page);
      expect(bytesOf(page, pages)).toEqual(new Set([0xaa]));
      allocator.checkInvariants();
    }
  });

  test('can be chosen', () => {
    const { allocator, bytesOf } = make({ poison: { freed: 1, allocated: 2 } });
    const page = allocator.allocatePage();
    expect(bytesOf(page)).toEqual(new Set([2]));
    allocator.freePage(page);
    expect(bytesOf(page)).toEqual(new Set([1]));
  });

  test('pages that never were allocated, and pages of `unreserve`, are not checked', () => {
    const { allocator, memory } = make();
    memory.bytes(HEAP, 64 * 4096).fill(7);
    allocator.reserve(heapPages(0, 4));
    allocator.unreserve(heapPages(0, 4));
    allocator.checkInvariants();
    expect(allocator.allocatePages(6).size).toBe(64n * 4096n);
  });
});

describe('a write to a freed page', () => {
  const REQUESTS: Record<string, (allocator: PageAllocator<VirtAddr>) => unknown> = {
    allocatePage: (allocator) => allocator.allocatePage(),
    allocateBlock: (allocator) => allocator.allocateBlock(0),
    allocatePages: (allocator) => allocator.allocatePages(6),
    allocateZeroedPage: (allocator) => allocator.allocateZeroedPage(),
    allocateFilePage: (allocator) => allocator.allocateFilePage(),
    allocateRun: (allocator) => allocator.allocateRun(5),
    allocateAt: (allocator) => allocator.allocateAt(heapPages(3, 1)),
    own: (allocator) => allocator.own(6),
    indexed: (allocator) => allocator.indexed.allocate(0),
    'pages of a heap': (allocator) => allocator.pagesFor('heap').allocate(2, 4096),
    'an object': (allocator) => new SlabCache(allocator, 64).allocate(),
    'a large object': (allocator) => new HeapAllocator(allocator).allocate(9000),
    checkInvariants: (allocator) => allocator.checkInvariants(),
  };

  test.each(Object.entries(REQUESTS))('is found by %s, which changes nothing', (_name, request) => {
    const { allocator, memory } = make();
    allocator.freePages(allocator.allocatePages(6));
    for (let page = 0; page < 64; page += 1) memory.bytes(at(page, 77), 1)[0] = page + 1;
    const before = snapshot(allocator);
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const { address, found, expected } = buddyError('POISON_OVERWRITTEN', () => request(allocator)).details;
      const page = Number((address - HEAP) / 4096n);
      expect([address, found, expected]).toEqual([at(page, 77), page + 1, 0xaa]);
      expect(snapshot(allocator)).toBe(before);
    }
  });

  test('at the first or last byte is found, and of several the first', () => {
    for (const bytes of [[0], [4095], [4095, 17, 300]]) {
      const { allocator, memory } = make();
      const page = allocator.allocatePage();
      allocator.freePage(page);
      for (const byte of bytes) memory.bytes(Virt.add(page, byte), 1)[0] = 0;
      const { details } = buddyError('POISON_OVERWRITTEN', () => allocator.allocatePage());
      expect(details.address).toBe(page + BigInt(Math.min(...bytes)));
    }
  });

  test('does not matter once the page is set aside', () => {
    const { allocator, memory } = make();
    const page = allocator.allocatePage();
    allocator.freePage(page);
    memory.bytes(page, 1)[0] = 0;
    const number = Number((page - HEAP) / 4096n);
    allocator.reserve(heapPages(number, 1));
    allocator.checkInvariants();
    expect(allocator.allocatePage()).not.toBe(page);
  });
});

describe('a memory that fails', () => {
  test('leaves each block as it was', () => {
    const { allocator, source } = make();
    const block = allocator.allocatePages(1);
    const file = allocator.allocateFilePage();
    const owned = allocator.own(0);
    const slab = allocator.pagesFor('slab').allocate(1, 4096);
    const cache = new SlabCache(allocator, 2048, { keepEmpty: 0 });
    const heap = new HeapAllocator(allocator);
    const [first, second, large] = [cache.allocate(), cache.allocate(), heap.allocate(9000)];
    cache.free(first);
    const { buffer } = source;
    source.buffer = new ArrayBuffer(0);
    const infos = () => JSON.stringify([cache.info(), heap.info()]);
    const before = infos();
    for (const action of [
      () => allocator.freePages(block),
      () => allocator.freePages(block.start),
      () => allocator.indexed.free(0),
      () => allocator.putFilePage(file),
      () => owned.release(),
      () => owned[Symbol.dispose](),
      () => allocator.pagesFor('slab').free(slab),
      () => cache.free(second),
      () => heap.free(large),
      () => heap.reallocate(large, 20_000),
      () => allocator.allocatePage(),
      () => allocator.allocateZeroedPage(),
      () => allocator.allocateRun(3),
      () => allocator.own(0),
    ]) {
      const picture = snapshot(allocator);
      buddyError('OUTSIDE_MEMORY', action);
      expect(snapshot(allocator)).toBe(picture);
      expect(infos()).toBe(before);
    }
    expect(owned.isOwned).toBe(true);
    source.buffer = buffer;
    changesNothing(allocator, () => allocator.freePage(allocator.region.start));
    cache.free(second);
    heap.free(large);
    owned.release();
    allocator.putFilePage(file);
    cache.checkInvariants();
    heap.checkInvariants();
    allocator.checkInvariants();
  });

  test('may return too few bytes', () => {
    const memory = { clearPage: () => undefined, bytes: () => new Uint8Array(5) };
    const allocator = new PageAllocator(heapPages(0, 4), { memory, poison: true });
    const { details } = buddyError('OUTSIDE_MEMORY', () => allocator.allocatePage());
    expect(details).toMatchObject({ address: HEAP, bytes: 4096, available: 5 });
    expect(allocator.memoryInfo().freePages).toBe(4);
  });
});

test('a region without memory is not added', () => {
  const { memory } = make();
  const space = heapPages(0, 80);
  const allocator = new PageAllocator(heapPages(0, 60), { poison: true, memory, space });
  const before = allocator.snapshot();
  const { details } = buddyError('MEMORY_MISMATCH', () => allocator.addRegion(heapPages(62, 5)));
  expect(details.region).toEqual({ start: heapPages(62, 5).start, end: heapPages(62, 5).end });
  expect(allocator.snapshot()).toEqual(before);
  allocator.addRegion(heapPages(62, 2));
  expect(PageAllocator.restore(Virt, allocator.snapshot(), { poison: true, memory }).regions).toHaveLength(2);
});

test('the option is checked', () => {
  const { memory } = make();
  for (const poison of [1, 'yes', null, { freed: 256 }, { freed: -1 }, { allocated: 0.5 }, { fred: 1 }]) {
    buddyError(
      'INVALID_OPTION',
      () => new PageAllocator(heapPages(0, 4), { memory, poison: untyped(poison) }),
    );
  }
  buddyError('INVALID_OPTION', () => new PageAllocator(heapPages(0, 4), { poison: true }));
  const bare = { clearPage: () => undefined };
  buddyError('INVALID_OPTION', () => new PageAllocator(heapPages(0, 4), { poison: true, memory: bare }));
  buddyError('MEMORY_MISMATCH', () => new PageAllocator(heapPages(0, 65), { poison: true, memory }));
  expect(new PageAllocator(heapPages(0, 65), { poison: false, memory }).region.size).toBe(65n * 4096n);
});
