/** Bad input of a shared allocator: each value is refused with a coded error, the lock is free, and nothing has changed. */
import { isCodedError, Phys, Virt, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { type PageCache, SharedPageAllocator } from '../../src/index.ts';
import { LOCK } from '../../src/shared/shared-layout.ts';
import { HEAP, heapPages, untyped } from '../support/allocators.ts';
import { NOT_ADDRESSES, NOT_NUMBERS, NOT_REGIONS } from '../support/hostile.ts';
import { picture } from '../support/shared-allocators.ts';

/** An address is not a region, but may be freed. */
const NEITHER = NOT_REGIONS.filter((value) => value !== HEAP);

interface Sample {
  readonly allocator: SharedPageAllocator<typeof HEAP>;
  readonly cache: PageCache<typeof HEAP>;
}

function sample(): Sample {
  const allocator = SharedPageAllocator.create(heapPages(0, 64), { reserved: [heapPages(60, 2)] });
  allocator.allocatePages(2);
  const cache = allocator.cache({ pages: 4 });
  cache.freePage(allocator.allocatePage());
  return { allocator, cache };
}

const CASES: Record<string, [values: readonly unknown[], action: (sample: Sample, value: never) => unknown]> =
  {
    allocatePages: [[...NOT_NUMBERS, undefined, 7], ({ allocator }, order) => allocator.allocatePages(order)],
    allocateBlock: [[...NOT_NUMBERS, undefined, 7], ({ allocator }, order) => allocator.allocateBlock(order)],
    freePages: [
      [...NOT_ADDRESSES, ...NEITHER, heapPages(0, 0), heapPages(63, 2), virtRegion(virtAddr(HEAP + 1n), 1)],
      ({ allocator }, block) => allocator.freePages(block),
    ],
    freePage: [[...NOT_ADDRESSES, heapPages(0, 1)], ({ allocator }, page) => allocator.freePage(page)],
    'freePage of a cache': [[...NOT_ADDRESSES, heapPages(0, 1)], ({ cache }, page) => cache.freePage(page)],
    blockOf: [[...NOT_ADDRESSES, heapPages(0, 1)], ({ allocator }, address) => allocator.blockOf(address)],
    recover: [[...NOT_NUMBERS, undefined, 0, 2 ** 31], ({ allocator }, owner) => allocator.recover(owner)],
    'a cache of pages': [[...NOT_NUMBERS, 0, 1, 253], ({ allocator }, pages) => allocator.cache({ pages })],
    'an allocator of a region': [
      [...NOT_REGIONS.filter((value) => !(value instanceof Object && 'kind' in value)), heapPages(0, 0)],
      (_, region) => SharedPageAllocator.create(region),
    ],
    'the bytes for a region': [
      [...NOT_REGIONS.filter((value) => !(value instanceof Object && 'kind' in value)), heapPages(0, 0)],
      (_, region) => SharedPageAllocator.bytesFor(region),
    ],
    'an allocator that reserves': [
      [
        0,
        1n,
        true,
        {},
        heapPages(0, 1),
        [heapPages(0, 1), heapPages(0, 2)],
        ...NOT_REGIONS.map((one) => [one]),
      ],
      (_, reserved) => SharedPageAllocator.create(heapPages(0, 64), { reserved }),
    ],
    'an allocator with caches': [
      [...NOT_NUMBERS, 1025],
      (_, caches) => SharedPageAllocator.create(heapPages(0, 64), { caches }),
    ],
    'an allocator with a limit': [
      [...NOT_NUMBERS, 53],
      (_, maxOrder) => SharedPageAllocator.create(heapPages(0, 64), { maxOrder }),
    ],
    'an allocator that waits': [
      // Any number of milliseconds from 0 is a timeout.
      NOT_NUMBERS.filter((value) => !(typeof value === 'number' && value >= 0)),
      (_, lockTimeout) => SharedPageAllocator.create(heapPages(0, 64), { lockTimeout }),
    ],
    'an allocator in a buffer': [
      [...NOT_NUMBERS, new ArrayBuffer(65536), new Uint8Array(65536), new SharedArrayBuffer(8)],
      (_, buffer) => SharedPageAllocator.create(heapPages(0, 64), { buffer }),
    ],
    'attaching to a buffer': [
      [
        ...NOT_NUMBERS,
        undefined,
        new ArrayBuffer(65536),
        new SharedArrayBuffer(0),
        new SharedArrayBuffer(65536),
      ],
      (_, buffer) => SharedPageAllocator.attach(Virt, buffer),
    ],
    'attaching for another kind': [
      [Phys, undefined, null, {}, 0, 'virtual'],
      ({ allocator }, kind) => SharedPageAllocator.attach(kind, allocator.buffer),
    ],
  };

test.each(Object.entries(CASES))('%s', (_name, [values, action]) => {
  for (const value of values) {
    const here = sample();
    const before = picture(here.allocator);
    let outcome: unknown;
    try {
      outcome = `returned ${String(action(here, untyped(value)))}`;
    } catch (error) {
      outcome = error;
    }
    const isCoded = ['BuddyError', 'AddressError', 'RegionError'].some((name) => isCodedError(outcome, name));
    expect(isCoded, `${typeof value}: ${outcome}`).toBe(true);
    expect(new Int32Array(here.allocator.buffer)[LOCK]).toBe(0);
    expect(picture(here.allocator)).toBe(before);
    here.allocator.checkInvariants();
  }
});

test('−0 counts as 0', () => {
  const { allocator } = sample();
  expect(allocator.allocatePages(-0).size).toBe(4096n);
  expect(allocator.blockOf(allocator.allocateBlock(-0))?.order).toBe(0);
  expect(SharedPageAllocator.create(heapPages(0, 64), { maxOrder: -0, caches: -0 }).maxOrder).toBe(0);
  allocator.checkInvariants();
});
