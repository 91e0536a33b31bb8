/** A failed operation changes nothing: each table that it allocates fails in turn, callbacks throw, memory runs out. */
import { Phys, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { type AllocatorEvent, ByteMemory, HeapAllocator, PageAllocator, SlabCache } from '../../src/index.ts';
import { buddyError, HEAP, heapPages, snapshot } from '../support/allocators.ts';
import { withoutRoom } from '../support/faults.ts';

/** The whole visible state: blocks, kinds, references, ranges and counters. */
function pictureOf(allocator: PageAllocator<typeof HEAP>): string {
  const text = (_: string, value: unknown) => (typeof value === 'bigint' ? value.toString(16) : value);
  return JSON.stringify([snapshot(allocator), allocator.snapshot(), allocator.regions.map(String)], text);
}

/** Runs `steps` one after another. Each step first fails at every table that it allocates, and then succeeds. */
function performWithFaults(
  allocator: PageAllocator<typeof HEAP>,
  steps: readonly [name: string, step: () => unknown][],
  check: () => string = () => '',
): number {
  let faults = 0;
  for (const [name, step] of steps) {
    const before = [pictureOf(allocator), check()];
    for (let failing = 0; withoutRoom(failing, step); failing += 1) {
      faults += 1;
      allocator.checkInvariants();
      expect([pictureOf(allocator), check()], `${name}, table ${failing}`).toEqual(before);
    }
  }
  return faults;
}

describe('if a table cannot grow, nothing changes', () => {
  const NODE = 1024;

  test.each([
    ['two levels', HEAP, 64],
    ['three levels', HEAP, 4096 * 4],
  ])('operations on pages, %s', (_name, _start, nodes) => {
    const allocator = new PageAllocator([heapPages(0, nodes * NODE)], {
      space: heapPages(0, 2 * nodes * NODE),
    });
    // Both ends lie inside 4 MiB that were never divided.
    const across = (node: number) => heapPages(node * NODE + 1000, 2 * NODE);
    const live: MemoryRegion<typeof HEAP>[] = [];
    const faults = performWithFaults(allocator, [
      ['allocatePage', () => allocator.allocatePage()],
      ['allocateAt, a page', () => allocator.allocateAt(heapPages(3 * NODE + 5, 1))],
      ['allocateAt, a run', () => live.push(allocator.allocateAt(across(8)))],
      ['reserve', () => allocator.reserve(across(12))],
      ['removeRegion', () => allocator.removeRegion(across(16))],
      ['addRegion', () => allocator.addRegion(across(nodes + 8))],
      ['addRegion of removed pages', () => allocator.addRegion(across(16))],
      ['unreserve', () => allocator.unreserve(across(12))],
      ['allocateRun', () => live.push(allocator.allocateRun(5 * NODE + 3, 8 * NODE * 4096))],
      ['allocateFilePage', () => allocator.allocateFilePage()],
      ['own', () => allocator.own(9)],
      ['a heap’s pages', () => allocator.pagesFor('heap').allocate(3 * NODE + 1, 4096)],
      ['freePages', () => allocator.freePages(live.pop() as MemoryRegion<typeof HEAP>)],
      ['freePages', () => allocator.freePages(live.pop() as MemoryRegion<typeof HEAP>)],
    ]);
    expect(faults).toBeGreaterThan(30);
  });

  test('creation and restoring fail without a trace, and succeed afterwards', () => {
    const options = { reserved: [heapPages(5, NODE), heapPages(8 * NODE - 3, 1)] };
    let faults = 0;
    while (withoutRoom(faults, () => new PageAllocator(heapPages(1, 9 * NODE), options))) faults += 1;
    expect(faults).toBeGreaterThan(10);
    const { freePages } = new PageAllocator(heapPages(1, 9 * NODE), options).memoryInfo();
    expect(freePages).toBe(9 * NODE - NODE - 1);
  });

  test('slabs and heaps', () => {
    const allocator = new PageAllocator(heapPages(0, 64 * NODE));
    const cache = new SlabCache(allocator, 2048);
    const heap = new HeapAllocator(allocator);
    const check = () => {
      cache.checkInvariants();
      heap.checkInvariants();
      return JSON.stringify([cache.info(), heap.info()]);
    };
    const object = heap.allocate(100);
    const faults = performWithFaults(
      allocator,
      [
        ...Array.from(
          { length: 24 },
          (_, index) => [`object ${index}`, () => cache.allocate()] as [string, () => unknown],
        ),
        ['a small object', () => heap.allocate(1)],
        ['one that is aligned', () => heap.allocate(1, 2048)],
        ['a large one', () => heap.allocate(2 * NODE * 4096 + 1)],
        ['reallocate', () => heap.reallocate(object, 3000)],
      ],
      check,
    );
    expect(faults).toBeGreaterThan(20);
  });
});

test('if no page is free, slabs and heaps do not change', () => {
  const memory = new ByteMemory(Phys, new ArrayBuffer(0x4000), physAddr(0));
  const allocator = new PageAllocator(physRegion(physAddr(0), 0x4000));
  const heap = new HeapAllocator(allocator, { memory });
  const cache = new SlabCache(allocator, 4096, { keepEmpty: 0 });
  const objects = [heap.allocate(2000), heap.allocate(5000)] as const;
  heap.view(Uint8Array, objects[0], 2000).fill(7);
  const last = cache.allocate();
  const state = () => JSON.stringify([snapshot(allocator), heap.info(), cache.info()]);
  const before = state();
  for (const attempt of [
    () => cache.allocate(),
    () => heap.allocate(16),
    () => heap.allocate(2048, 4096),
    () => heap.allocate(4097),
    () => heap.allocate(2 ** 52),
    () => heap.reallocate(objects[0], 2049),
    () => heap.reallocate(objects[1], 8193),
    () => heap.reallocate(objects[1], 100),
    () => heap.reallocate(objects[0], 2000, 8192),
  ]) {
    buddyError('OUT_OF_MEMORY', attempt);
    expect(state()).toBe(before);
    heap.checkInvariants();
    cache.checkInvariants();
  }
  expect(heap.view(Uint8Array, objects[0], 2000).every((byte) => byte === 7)).toBe(true);
  for (const object of objects) heap.free(object);
  cache.free(last);
  heap.trim();
  expect(allocator.memoryInfo().freePages).toBe(4);
});

test('if copying fails, the object stays in place', () => {
  const source = { buffer: new ArrayBuffer(0x3000) };
  const memory = new ByteMemory(Phys, source, physAddr(0));
  const allocator = new PageAllocator(physRegion(physAddr(0), 0x3000));
  const heap = new HeapAllocator(allocator, { memory });
  const object = heap.allocate(64);
  // The last two pages lose their bytes.
  source.buffer = new ArrayBuffer(0x1000);
  const before = JSON.stringify([snapshot(allocator), heap.info()]);
  buddyError('OUTSIDE_MEMORY', () => heap.reallocate(object, 5000));
  expect(JSON.stringify([snapshot(allocator), heap.info()])).toBe(before);
  expect(heap.sizeOf(object)).toBe(64);
  heap.checkInvariants();
});

describe('if the tracer throws, the change stays, and the operation throws CALLBACK_FAILED', () => {
  /** An allocator whose tracer throws at events of one kind. */
  function traced(what: AllocatorEvent<typeof HEAP>['what']) {
    const events: string[] = [];
    let armed = false;
    const allocator = new PageAllocator(heapPages(0, 64), {
      space: heapPages(0, 128),
      memory: { clearPage: () => undefined },
      trace: (event) => {
        events.push(event.what);
        if (armed && event.what === what) throw new Error('traced');
      },
    });
    return {
      allocator,
      arm: (state: boolean) => {
        armed = state;
      },
      throws: (action: () => unknown) => {
        armed = true;
        expect(buddyError('CALLBACK_FAILED', action).cause).toEqual(new Error('traced'));
        armed = false;
        allocator.checkInvariants();
      },
    };
  }

  test('for allocations', () => {
    const { allocator, throws } = traced('allocate');
    for (const allocate of [
      () => allocator.allocatePages(1),
      () => allocator.allocateBlock(1),
      () => allocator.allocatePage(),
      () => allocator.allocateZeroedPage(),
      () => allocator.allocateFilePage(),
      () => allocator.allocateRun(3),
      () => allocator.allocateAt(heapPages(40, 5)),
      () => allocator.own(0),
    ]) {
      const before = allocator.memoryInfo().allocatedPages;
      throws(allocate);
      expect(allocator.memoryInfo().allocatedPages).toBeGreaterThan(before);
    }
  });

  test.each(['reserve', 'unreserve', 'addRegion', 'removeRegion'] as const)('for %s', (what) => {
    const { allocator, throws } = traced(what);
    if (what === 'unreserve') allocator.reserve(heapPages(3, 5));
    const region = what === 'addRegion' ? heapPages(64, 5) : heapPages(3, 5);
    throws(() => allocator[what](region));
    expect(allocator.memoryInfo()).toMatchObject(
      {
        reserve: { totalPages: 64, reservedPages: 5, freePages: 59 },
        unreserve: { totalPages: 64, reservedPages: 0, freePages: 64 },
        addRegion: { totalPages: 69, freePages: 69 },
        removeRegion: { totalPages: 59, freePages: 59 },
      }[what],
    );
  });

  test('for frees', () => {
    const { allocator, throws } = traced('free');
    const before = snapshot(allocator);
    for (const free of [
      [allocator.allocatePages(2)].map((block) => () => allocator.freePages(block)),
      [allocator.allocatePage()].map((page) => () => allocator.freePage(page)),
      [allocator.allocateRun(3)].map((run) => () => allocator.freePages(run.start)),
      [allocator.allocateFilePage()].map((page) => () => allocator.putFilePage(page)),
    ].flat()) {
      throws(free);
    }
    expect(snapshot(allocator)).toBe(before);
  });

  test('an owner no longer owns a block that was freed', () => {
    const { allocator, throws } = traced('free');
    const block = allocator.own(0);
    throws(() => block.release());
    expect(block.isOwned).toBe(false);
    // The old owner does not free the page of the next one.
    const next = allocator.own(0);
    block[Symbol.dispose]();
    expect(next.isOwned && allocator.blockOf(next.start)?.state).toBe('allocated');
  });

  test('the error has the object of a slab or a heap', () => {
    const { allocator, arm } = traced('allocate');
    const cache = new SlabCache(allocator, 4096, { keepEmpty: 0 });
    const heap = new HeapAllocator(allocator);
    arm(true);
    const objectOf = (operation: string, allocate: () => unknown) => {
      const { details } = buddyError('CALLBACK_FAILED', allocate);
      expect(details.operation).toBe(operation);
      cache.checkInvariants();
      heap.checkInvariants();
      return details.result as typeof HEAP;
    };
    cache.free(objectOf('SlabCache.allocate', () => cache.allocate()));
    const small = objectOf('HeapAllocator.allocate', () => heap.allocate(16));
    const large = objectOf('HeapAllocator.allocate', () => heap.allocate(9000));
    heap.free(objectOf('HeapAllocator.reallocate', () => heap.reallocate(large, 20_000)));
    heap.free(small);
    heap.trim();
    expect(allocator.memoryInfo().allocatedPages).toBe(0);
  });

  test('a slab or a heap has freed the object', () => {
    const { allocator, throws } = traced('free');
    const cache = new SlabCache(allocator, 4096, { keepEmpty: 0 });
    const heap = new HeapAllocator(allocator);
    const [object, large, small] = [cache.allocate(), heap.allocate(9000), heap.allocate(16)] as const;
    heap.free(small);
    for (const free of [() => cache.free(object), () => heap.free(large), () => heap.trim()]) {
      throws(free);
      cache.checkInvariants();
      heap.checkInvariants();
    }
    expect(cache.info()).toMatchObject({ objects: 0, pages: 0 });
    expect(heap.info()).toEqual({ objects: 0, bytes: 0, pages: 0 });
    expect(allocator.memoryInfo().allocatedPages).toBe(0);
  });
});
