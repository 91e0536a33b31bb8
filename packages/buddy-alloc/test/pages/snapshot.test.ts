import { PAGE_SIZE, Virt } from '@svsm/address';
import { isRegionError } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type AllocatorEvent,
  type AllocatorSnapshot,
  HeapAllocator,
  PageAllocator,
} from '../../src/index.ts';
import { buddyError, HEAP, heapPages, snapshot, untyped } from '../support/allocators.ts';

const busy = () => {
  const allocator = new PageAllocator([heapPages(0, 40), heapPages(64, 9)], {
    reserved: [heapPages(3, 2)],
    space: heapPages(0, 128),
    maxOrder: 4,
  });
  allocator.allocatePages(2);
  allocator.allocateRun(5);
  const page = allocator.allocateFilePage();
  allocator.getFilePage(page);
  allocator.allocateFilePage();
  const heap = new HeapAllocator(allocator);
  heap.allocate(10);
  heap.allocate(3 * PAGE_SIZE);
  return { allocator, page };
};

test('restore returns an allocator in the same state', () => {
  const { allocator, page } = busy();
  const restored = PageAllocator.restore(Virt, structuredClone(allocator.snapshot()));
  expect(snapshot(restored)).toBe(snapshot(allocator));
  expect(restored.snapshot()).toEqual(allocator.snapshot());
  expect(restored.regions.map(String)).toEqual(allocator.regions.map(String));
  restored.checkInvariants();
  expect([restored.putFilePage(page), restored.putFilePage(page)]).toEqual([1, 0]);
  restored.addRegion(heapPages(100, 1));
});

test('restore takes a snapshot without regions', () => {
  const allocator = new PageAllocator([], { space: heapPages(0, 8) });
  const restored = PageAllocator.restore(Virt, allocator.snapshot());
  restored.addRegion(heapPages(0, 8));
  expect(restored.memoryInfo().freePages).toBe(8);
});

test('after random steps, the restored allocator behaves like the original', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(0xffff), { maxLength: 100 }), (choices) => {
      const allocator = new PageAllocator(heapPages(5, 300));
      const live: bigint[] = [];
      for (const choice of choices) {
        if (choice % 3 > 0) live.push(allocator.allocateRun(1 + (choice % 7)).start);
        else if (live.length > 0) allocator.freePages(untyped(live.splice(choice % live.length, 1)[0]));
      }
      const restored = PageAllocator.restore(Virt, allocator.snapshot());
      expect(snapshot(restored)).toBe(snapshot(allocator));
      for (const start of live) {
        allocator.freePages(untyped(start));
        restored.freePages(untyped(start));
      }
      expect(snapshot(restored)).toBe(snapshot(allocator));
      restored.checkInvariants();
    }),
  );
});

const wrong: [name: string, change: (block: AllocatorSnapshot['blocks'][number]) => object][] = [
  [
    'has the wrong kind for its pages',
    (block) => ({ ...block, kind: block.kind === 'run' ? 'pages' : 'run' }),
  ],
  ['has an unknown kind', (block) => ({ ...block, kind: 'other' })],
  ['has an invalid number of references', (block) => ({ ...block, references: 0 })],
  ['has an invalid number of references', (block) => ({ ...block, kind: 'file', references: undefined })],
];

test.each(wrong)('restore refuses a block that %s', (problem, change) => {
  const page = { start: HEAP, end: HEAP + 0x1000n, kind: 'pages', references: undefined } as const;
  const taken = { ...busy().allocator.snapshot(), reserved: [] };
  const error = buddyError('INVALID_SNAPSHOT', () =>
    PageAllocator.restore(Virt, { ...taken, blocks: [untyped(change(page))] }),
  );
  expect(error.details).toEqual({ block: { start: HEAP, end: HEAP + 0x1000n }, problem });
});

test('restore refuses a file page of two pages, blocks that overlap, and invalid bounds', () => {
  const taken = busy().allocator.snapshot();
  const restore = (block: object) => () =>
    PageAllocator.restore(Virt, { ...taken, blocks: [untyped(block)] });
  const two = { start: HEAP, end: HEAP + 0x2000n, kind: 'file', references: 1 };
  expect(buddyError('INVALID_SNAPSHOT', restore(two)).message).toContain('must be a single page');
  const reserved = { start: HEAP, end: HEAP + 0x4000n, kind: 'pages', references: undefined };
  buddyError('NOT_FREE', restore(reserved));
  expect(restore({ ...two, end: 0n })).toThrow(expect.toSatisfy((error) => isRegionError(error)));
});

test('a tracer gets an event for each change, and none for a refusal', () => {
  const events: string[] = [];
  const trace = ({ what, region, kind }: AllocatorEvent<typeof HEAP>) =>
    events.push(`${what} ${Number(region.start - HEAP) / 4096}+${region.pageCount()} ${kind}`);
  const allocator = new PageAllocator(heapPages(0, 64), {
    trace,
    space: heapPages(0, 128),
    memory: { clearPage() {} },
  });
  allocator.freePages(allocator.allocatePages(1));
  allocator.freePages(allocator.allocateBlock(2));
  allocator.freePage(allocator.allocateZeroedPage());
  allocator.freePages(allocator.allocateRun(3).start);
  allocator.freePages(allocator.allocateAt(heapPages(9, 1)));
  const page = allocator.allocateFilePage();
  allocator.getFilePage(page);
  allocator.putFilePage(page);
  allocator.putFilePage(page);
  allocator.reserve(heapPages(8, 8));
  expect(() => allocator.reserve(heapPages(8, 8))).toThrow();
  expect(() => allocator.freePage(HEAP)).toThrow();
  expect(() => allocator.freePages(untyped(5))).toThrow();
  allocator.unreserve(heapPages(8, 8));
  allocator.addRegion(heapPages(64, 64));
  allocator.removeRegion(heapPages(64, 64));
  const heap = new HeapAllocator(allocator);
  heap.free(heap.allocate(3 * 4096));
  heap.allocate(1);
  {
    using _block = allocator.own(0);
  }
  expect(events).toEqual([
    'allocate 0+2 pages',
    'free 0+2 pages',
    'allocate 0+4 pages',
    'free 0+4 pages',
    'allocate 0+1 pages',
    'free 0+1 pages',
    'allocate 0+3 run',
    'free 0+3 run',
    'allocate 9+1 pages',
    'free 9+1 pages',
    'allocate 0+1 file',
    'free 0+1 file',
    'reserve 8+8 undefined',
    'unreserve 8+8 undefined',
    'addRegion 64+64 undefined',
    'removeRegion 64+64 undefined',
    'allocate 0+3 heap',
    'free 0+3 heap',
    'allocate 0+1 slab',
    'allocate 1+1 pages',
    'free 1+1 pages',
  ]);
});
