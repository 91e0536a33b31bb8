import { Phys, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import {
  ByteMemory,
  HeapAllocator,
  PageAllocator,
  renderMap,
  SharedPageAllocator,
  SlabCache,
} from '../../src/index.ts';
import { buddyError, untyped } from '../support/allocators.ts';

const REGION = physRegion(physAddr(0x4000), 0x4000);
const allocator = new PageAllocator(REGION);
const shared = SharedPageAllocator.create(REGION);

const MAKERS: Record<string, (options: never) => unknown> = {
  PageAllocator: (options) => new PageAllocator(REGION, options),
  'PageAllocator.restore': (options) => PageAllocator.restore(Phys, allocator.snapshot(), options),
  SlabCache: (options) => new SlabCache(allocator, 8, options),
  HeapAllocator: (options) => new HeapAllocator(allocator, options),
  renderMap: (options) => renderMap(allocator, options),
  'SharedPageAllocator.create': (options) => SharedPageAllocator.create(REGION, options),
  'SharedPageAllocator.attach': (options) => SharedPageAllocator.attach(Phys, shared.buffer, options),
  'SharedPageAllocator.bytesFor': (options) => SharedPageAllocator.bytesFor(REGION, options),
  'SharedPageAllocator.cache': (options) => shared.cache(options),
};

test.each(Object.entries(MAKERS))('%s names an option that does not exist', (_name, make) => {
  const { details, message } = buddyError('INVALID_OPTION', () => make(untyped({ maxOdrer: 3 })));
  expect(details).toMatchObject({ option: 'maxOdrer', value: 3 });
  expect(message).toContain('3 cannot be `maxOdrer`: pass only options that exist: ');
});

test.each(Object.entries(MAKERS))('%s refuses options that are not an object', (_name, make) => {
  for (const options of [null, 5, 'maxOrder', true, 1n, () => 5]) {
    expect(buddyError('INVALID_OPTION', () => make(untyped(options))).details.option).toBe('options');
  }
});

test('the message shows control characters of a name as escapes', () => {
  const { message } = buddyError(
    'INVALID_OPTION',
    () => new PageAllocator(REGION, untyped({ 'a\u001b[31m': 1 })),
  );
  expect(message).toContain('"a\\u001b[31m"');
});

test('the snapshot of a restored allocator decides what is part of it', () => {
  const options = { maxOrder: 3 };
  expect(
    buddyError('INVALID_OPTION', () => PageAllocator.restore(Phys, allocator.snapshot(), untyped(options)))
      .details.option,
  ).toBe('maxOrder');
});

test('a heap is refused if its memory does not have all bytes of its region', () => {
  const memoryAt = (start: number, bytes: number) =>
    new ByteMemory(Phys, new ArrayBuffer(bytes), physAddr(start));
  for (const [start, bytes] of [
    [0x4000, 0x3fff],
    [0x4001, 0x4000],
    [0x8000, 0x4000],
    [0, 0x7fff],
    [0, 0],
  ] as const) {
    const { details } = buddyError(
      'MEMORY_MISMATCH',
      () => new HeapAllocator(allocator, { memory: memoryAt(start, bytes) }),
    );
    expect(details).toEqual({
      region: { start: 0x4000n, end: 0x8000n },
      memory: { start: BigInt(start), end: BigInt(start + bytes) },
    });
  }
  for (const memory of [memoryAt(0x4000, 0x4000), memoryAt(0, 0x8000), memoryAt(1, 0x9000)]) {
    expect(new HeapAllocator(allocator, { memory }).info().pages).toBe(0);
  }
  const space = physRegion(physAddr(0), 0x10_0000);
  expect(new HeapAllocator(new PageAllocator([], { space }), { memory: memoryAt(0, 0) }).info().pages).toBe(
    0,
  );
});

test('the memory of a heap may not call the heap', () => {
  const buffer = new ArrayBuffer(0x8000);
  let attack: (() => unknown) | undefined;
  const source = {
    get buffer() {
      const now = attack;
      attack = undefined;
      now?.();
      return buffer;
    },
  };
  const memory = new ByteMemory(Phys, source, physAddr(0));
  const heap = new HeapAllocator(allocator, { memory });
  const object = heap.allocate(64);
  for (const action of [
    () => heap.free(object),
    () => heap.allocate(8),
    () => heap.reallocate(object, 8),
    () => heap.sizeOf(object),
    () => heap.view(Uint8Array, object, 1),
    () => heap.info(),
    () => heap.trim(),
    () => heap.checkInvariants(),
  ]) {
    for (const [running, run] of [
      ['HeapAllocator.reallocate', () => heap.reallocate(object, 3000)],
      ['HeapAllocator.view', () => heap.view(Uint8Array, object, 64)],
    ] as const) {
      const before = [heap.info(), allocator.memoryInfo()];
      attack = action;
      expect(buddyError('BUSY', run).details.running).toBe(running);
      heap.checkInvariants();
      expect([heap.info(), allocator.memoryInfo()]).toEqual(before);
    }
  }
  heap.free(object);
});
