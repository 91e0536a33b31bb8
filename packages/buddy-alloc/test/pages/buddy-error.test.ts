import { CodedError, formatAddress, Virt, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import {
  BuddyError,
  type BuddyErrorCode,
  type BuddyErrorDetails,
  ByteMemory,
  getOrder,
  HeapAllocator,
  isBuddyError,
  PageAllocator,
  renderMap,
  SharedPageAllocator,
  SlabCache,
} from '../../src/index.ts';
import { LOCK } from '../../src/shared/shared-layout.ts';
import { buddyError, HEAP, heapPages, untyped } from '../support/allocators.ts';
import { busyAllocator, countedPage, failingAllocator } from '../support/special-allocators.ts';

const at = (page: number, byte = 0) => virtAddr(HEAP + BigInt(page * 4096 + byte));
const bounds = (page: number, count: number) => ({
  start: at(page),
  end: HEAP + BigInt((page + count) * 4096),
});

/** Pages 2 to 9: an order-1 block at 2, a page at 4, page 5 free, 6 and 7 reserved, an order-1 block at 8. */
function sample(): PageAllocator<typeof HEAP> {
  const allocator = new PageAllocator(heapPages(2, 8), { reserved: [heapPages(6, 2)] });
  for (let block = 0; block < 3; block += 1) allocator.allocatePages(1);
  allocator.freePages(at(4));
  allocator.allocatePage();
  return allocator;
}

test('the sample has the blocks that its comment names', () => {
  const allocator = sample();
  const blocks = Array.from({ length: 12 }, (_, page) => {
    const block = allocator.blockOf(at(page));
    return block === undefined
      ? '-'
      : `${(block.region.start - HEAP) / 4096n}:${block.order}${block.state[0]}`;
  });
  expect(blocks.join(' ')).toBe('- - 2:1a 2:1a 4:0a 5:0f 6:1r 6:1r 8:1a 8:1a - -');
});

/** Codes that need a corrupted allocator, or objects: other files test them. */
type Elsewhere =
  | 'METADATA_FULL'
  | 'BROKEN_INVARIANT'
  | 'SLAB_PAGE'
  | 'HEAP_BLOCK'
  | 'INVALID_SNAPSHOT'
  | 'INVALID_OBJECT_SIZE'
  | 'OUTSIDE_OBJECTS'
  | 'OBJECT_INTERIOR'
  | 'DOUBLE_FREE_OBJECT'
  | 'OUTSIDE_MEMORY'
  | 'MISALIGNED_VIEW'
  | 'NO_HEAP_MEMORY';

/** A memory of this many pages from {@link HEAP}. */
const memoryOf = (pages: number) => new ByteMemory(Virt, new ArrayBuffer(pages * 4096), HEAP);

/** For every other code: an action that throws it, its details and its message. */
const CODES: {
  [Code in Exclude<BuddyErrorCode, Elsewhere>]: [
    action: () => unknown,
    details: BuddyErrorDetails[Code],
    message: string,
  ][];
} = {
  TOO_MANY_REFERENCES: [
    [
      () => countedPage(Number.MAX_SAFE_INTEGER).getFilePage(HEAP),
      { address: HEAP, references: Number.MAX_SAFE_INTEGER },
      '0xffff800000000000 has 9007199254740991 references: more cannot be counted exactly',
    ],
  ],
  MEMORY_MISMATCH: [
    [
      () => new HeapAllocator(new PageAllocator(heapPages(0, 4)), { memory: memoryOf(3) }),
      { region: bounds(0, 4), memory: bounds(0, 3) },
      'the allocator has [0xffff800000000000-0xffff800000004000), ' +
        'but the memory has only [0xffff800000000000-0xffff800000003000)',
    ],
  ],
  POISON_OVERWRITTEN: [
    [
      () => {
        const memory = memoryOf(4);
        const allocator = new PageAllocator(heapPages(0, 4), { memory, poison: true });
        allocator.freePages(allocator.allocatePages(1));
        memory.bytes(at(1, 7), 1)[0] = 1;
        allocator.checkInvariants();
      },
      { address: at(1, 7), found: 1, expected: 0xaa },
      'the byte at 0xffff800000001007 is 0x1, not 0xaa: someone wrote to the page after it was freed',
    ],
  ],
  BUSY: [
    [
      () => {
        const { allocator, around } = busyAllocator();
        around(() => allocator.memoryInfo());
      },
      { operation: 'PageAllocator.memoryInfo', running: 'PageAllocator.allocatePage' },
      'PageAllocator.memoryInfo was called from a callback of PageAllocator.allocatePage: ' +
        'call it when PageAllocator.allocatePage has returned',
    ],
  ],
  CALLBACK_FAILED: [
    [
      () => failingAllocator().allocator.unreserve(heapPages(30, 1)),
      { operation: 'PageAllocator.unreserve', result: undefined },
      'PageAllocator.unreserve has made its change, but a callback threw an error afterwards: see `cause`',
    ],
  ],
  SIZE_TOO_LARGE: [
    [
      () => getOrder(2n ** 64n + 1n),
      { size: 2n ** 64n + 1n, max: 2n ** 64n },
      'no block holds 0x10000000000000001 bytes: the largest, of order 52, has 0x10000000000000000',
    ],
  ],
  INVALID_ORDER: [
    [
      () => sample().allocatePages(3),
      { order: 3, maxOrder: 2 },
      '3 is not an order of this allocator: pass an integer from 0 to 2',
    ],
    [
      () => sample().allocatePages(-1),
      { order: -1, maxOrder: 2 },
      '-1 is not an order of this allocator: pass an integer from 0 to 2',
    ],
    [
      () => sample().allocatePages(NaN),
      { order: NaN, maxOrder: 2 },
      'NaN is not an order of this allocator: pass an integer from 0 to 2',
    ],
  ],
  INVALID_PAGE_INDEX: [
    [
      () => sample().indexed.free(-1),
      { index: -1, last: 7 },
      '-1 is not an index of a page: pass an integer from 0 to 7',
    ],
  ],
  INVALID_MAX_ORDER: [
    [
      () => new PageAllocator(heapPages(0, 8), { maxOrder: 53 }),
      { maxOrder: 53 },
      '53 cannot limit the order: pass an integer from 0 to 52',
    ],
  ],
  OUT_OF_MEMORY: [
    [
      () => sample().allocatePages(1),
      { order: 1, pages: 2, largestFreeOrder: 0, freePages: 1 },
      'no free block of order 1: the largest free block has order 0, free pages: 1',
    ],
    [
      () => {
        const allocator = new PageAllocator(heapPages(0, 1));
        allocator.allocatePage();
        allocator.allocatePage();
      },
      { order: 0, pages: 1, largestFreeOrder: undefined, freePages: 0 },
      'no free block of order 0: no page is free',
    ],
    [
      () => sample().allocateRun(3),
      { order: 2, pages: 3, largestFreeOrder: 0, freePages: 1 },
      'no free run of 3 pages: the largest free block has order 0, free pages: 1',
    ],
  ],
  REGION_TOO_LARGE: [
    [
      () => SharedPageAllocator.create(virtRegion(HEAP, 2 ** 42 + 4096)),
      { region: bounds(0, 2 ** 30 + 1), maxPages: 2 ** 30 },
      '[0xffff800000000000-0xffff840000001000) is too large for a shared allocator: its tables have room for 1073741824 pages',
    ],
  ],
  INVALID_SHARED_BUFFER: [
    [
      () => SharedPageAllocator.attach(Virt, new SharedArrayBuffer(4096)),
      { reason: 'uninitialized', byteLength: 4096, needed: undefined },
      'the buffer cannot be used for a shared allocator: it holds no allocator: call `create` first; it has 4096 bytes',
    ],
    [
      () => SharedPageAllocator.create(heapPages(0, 8), { caches: 0, buffer: new SharedArrayBuffer(64) }),
      { reason: 'too small', byteLength: 64, needed: 792 },
      'the buffer cannot be used for a shared allocator: it is too small; it has 64 bytes; 792 are needed',
    ],
  ],
  LOCK_TIMEOUT: [
    [
      () => {
        const allocator = SharedPageAllocator.create(heapPages(0, 8), { lockTimeout: 0 });
        new Int32Array(allocator.buffer)[LOCK] = 7;
        const { now } = Date;
        Date.now = () => 0;
        try {
          allocator.allocatePage();
        } finally {
          Date.now = now;
        }
      },
      { holder: 7, waited: 0 },
      'after 0 ms, owner 7 still holds the lock: if its thread has ended, pass that number to `recover`',
    ],
  ],
  NO_CACHE_LEFT: [
    [
      () => SharedPageAllocator.create(heapPages(0, 8), { caches: 0 }).cache(),
      { caches: 0 },
      'all 0 caches are in use: close one, or create the allocator with more `caches`',
    ],
  ],
  CLOSED_CACHE: [
    [
      () => {
        const cache = SharedPageAllocator.create(heapPages(0, 8)).cache();
        cache.close();
        cache.freePage(HEAP);
      },
      {},
      'the cache is closed: create another one',
    ],
  ],
  NO_REGION: [[() => new PageAllocator([]), {}, 'an allocator needs a region, or a space to add one to']],
  RELEASED_BLOCK: [
    [
      () => {
        const block = sample().own(0);
        block.release();
        block.release();
      },
      { block: bounds(5, 1), gone: 'released' },
      '[0xffff800000005000-0xffff800000006000) was released: this owner no longer has it',
    ],
  ],
  INVALID_PAGE_COUNT: [
    [
      () => sample().allocateRun(0),
      { pages: 0 },
      '0 is not a number of pages: pass an integer from 1 to 2^52',
    ],
    [
      () => sample().allocateRun(2.5),
      { pages: 2.5 },
      '2.5 is not a number of pages: pass an integer from 1 to 2^52',
    ],
  ],
  NOT_FREE: [
    [
      () => sample().allocateAt(heapPages(5, 2)),
      { region: bounds(5, 2), block: bounds(6, 2), state: 'reserved' },
      '[0xffff800000005000-0xffff800000007000) is not free: ' +
        '[0xffff800000006000-0xffff800000008000) is reserved',
    ],
    [
      () => sample().reserve(heapPages(3, 1)),
      { region: bounds(3, 1), block: bounds(2, 2), state: 'allocated' },
      '[0xffff800000003000-0xffff800000004000) is not free: ' +
        '[0xffff800000002000-0xffff800000004000) is allocated',
    ],
  ],
  NOT_RESERVED: [
    [
      () => sample().unreserve(heapPages(5, 2)),
      { region: bounds(5, 2), block: bounds(5, 1), state: 'free' },
      '[0xffff800000005000-0xffff800000007000) is not reserved: ' +
        '[0xffff800000005000-0xffff800000006000) is free',
    ],
  ],
  INVALID_OPTION: [
    [
      () => renderMap(sample(), { columns: 0 }),
      { option: 'columns', value: 0, expected: 'an integer from 1 up' },
      '0 cannot be `columns`: pass an integer from 1 up',
    ],
    [
      () => new SlabCache(sample(), 8, { keepEmpty: 0.5 }),
      { option: 'keepEmpty', value: 0.5, expected: 'a number of pages, an integer from 0 up or Infinity' },
      '0.5 cannot be `keepEmpty`: pass a number of pages, an integer from 0 up or Infinity',
    ],
    [
      () => new PageAllocator(heapPages(0, 1), { reserved: untyped(5) }),
      { option: 'reserved', value: 5, expected: 'an array of regions' },
      '5 cannot be `reserved`: pass an array of regions',
    ],
  ],
  WRONG_KIND: [
    [
      () => sample().pagesFor('heap').free(at(3)),
      { address: at(3), block: bounds(2, 2), kind: 'pages', expected: 'heap' },
      '0xffff800000003000 lies in [0xffff800000002000-0xffff800000004000) of kind "pages", not "heap"',
    ],
    [
      () => {
        const allocator = sample();
        allocator.pagesFor('slab').free(allocator.allocateFilePage());
      },
      { address: at(5), block: bounds(5, 1), kind: 'file', expected: 'slab' },
      '0xffff800000005000 lies in [0xffff800000005000-0xffff800000006000) of kind "file", not "slab"',
    ],
  ],
  FILE_PAGE: [
    [
      () => {
        const allocator = sample();
        const page = allocator.allocateFilePage();
        allocator.getFilePage(page);
        allocator.freePages(page);
      },
      { address: at(5), references: 2 },
      '0xffff800000005000 is a file page: release its references with putFilePage; it has 2',
    ],
  ],
  NOT_FILE_PAGE: [
    [
      () => sample().getFilePage(at(3)),
      { address: at(3), block: bounds(2, 2), state: 'allocated', kind: 'pages' },
      '0xffff800000003000 is not a file page: it lies in the allocated block ' +
        '[0xffff800000002000-0xffff800000004000) of kind "pages"',
    ],
    [
      () => sample().putFilePage(at(5)),
      { address: at(5), block: bounds(5, 1), state: 'free', kind: undefined },
      '0xffff800000005000 is not a file page: it lies in the free block ' +
        '[0xffff800000005000-0xffff800000006000)',
    ],
  ],
  NO_PAGE_MEMORY: [
    [() => sample().allocateZeroedPage(), {}, 'pages cannot be cleared: create the allocator with `memory`'],
  ],
  INVALID_REGION: [
    [
      () => sample().addRegion(heapPages(20, 1)),
      { region: bounds(20, 1), reason: 'outside' },
      '[0xffff800000014000-0xffff800000015000) cannot be pages of the allocator: ' +
        "it lies outside the allocator's space",
    ],
    [
      () => sample().addRegion(heapPages(4, 1)),
      { region: bounds(4, 1), reason: 'overlapping' },
      '[0xffff800000004000-0xffff800000005000) cannot be pages of the allocator: it overlaps a region of the allocator',
    ],
    [
      () => new PageAllocator(heapPages(1, 0)),
      { region: bounds(1, 0), reason: 'empty' },
      '[0xffff800000001000-0xffff800000001000) cannot be pages of the allocator: it is empty',
    ],
    [
      () => new PageAllocator(virtRegion(at(0), 4097)),
      { region: { start: at(0), end: HEAP + 4097n }, reason: 'misaligned' },
      '[0xffff800000000000-0xffff800000001001) cannot be pages of the allocator: ' +
        'it does not start and end at multiples of 0x1000 bytes',
    ],
    [
      () => new PageAllocator(virtRegion(at(0, 1), 4096)),
      { region: { start: at(0, 1), end: HEAP + 4097n }, reason: 'misaligned' },
      '[0xffff800000000001-0xffff800000001001) cannot be pages of the allocator: ' +
        'it does not start and end at multiples of 0x1000 bytes',
    ],
  ],
  INVALID_RESERVED: [
    [
      () => new PageAllocator(heapPages(0, 4), { reserved: [virtRegion(at(1), 100)] }),
      {
        reserved: { start: at(1), end: at(1, 100) },
        region: bounds(0, 4),
        reason: 'misaligned',
      },
      '[0xffff800000001000-0xffff800000001064) cannot be reserved: ' +
        'it does not start and end at multiples of 0x1000 bytes',
    ],
    [
      () => new PageAllocator(heapPages(0, 4), { reserved: [heapPages(3, 2)] }),
      { reserved: bounds(3, 2), region: bounds(0, 4), reason: 'outside' },
      '[0xffff800000003000-0xffff800000005000) cannot be reserved: ' +
        'the allocator has only [0xffff800000000000-0xffff800000004000)',
    ],
    [
      () => new PageAllocator(heapPages(0, 4), { reserved: [heapPages(1, 2), heapPages(0, 2)] }),
      { reserved: bounds(1, 2), region: bounds(0, 4), reason: 'overlapping' },
      '[0xffff800000001000-0xffff800000003000) cannot be reserved: it overlaps another reserved region',
    ],
  ],
  OUTSIDE_REGION: [
    [
      () => sample().freePage(at(1)),
      { address: at(1), region: bounds(2, 8), regions: [bounds(2, 8)] },
      `${formatAddress(at(1))} is outside this allocator: it has [0xffff800000002000-0xffff80000000a000)`,
    ],
    [
      () => sample().freePages(at(10, 7)),
      { address: at(10, 7), region: bounds(2, 8), regions: [bounds(2, 8)] },
      `${formatAddress(at(10, 7))} is outside this allocator: it has [0xffff800000002000-0xffff80000000a000)`,
    ],
    [
      () => sample().freePages(virtRegion(virtAddr(0), 4096)),
      { address: 0n, region: bounds(2, 8), regions: [bounds(2, 8)] },
      '0x0000000000000000 is outside this allocator: it has [0xffff800000002000-0xffff80000000a000)',
    ],
  ],
  MISALIGNED_ADDRESS: [
    [
      () => sample().freePages(at(2, 8)),
      { address: at(2, 8), block: bounds(2, 2), order: 1, state: 'allocated' },
      '0xffff800000002008 is not the start of a page: ' +
        'it lies in the allocated block [0xffff800000002000-0xffff800000004000) of order 1',
    ],
    [
      () => sample().freePage(at(5, 4095)),
      { address: at(5, 4095), block: bounds(5, 1), order: 0, state: 'free' },
      '0xffff800000005fff is not the start of a page: ' +
        'it lies in the free block [0xffff800000005000-0xffff800000006000) of order 0',
    ],
  ],
  BLOCK_TAIL: [
    [
      () => sample().freePage(at(3)),
      { address: at(3), block: bounds(2, 2), order: 1 },
      '0xffff800000003000 is not the start of a block: ' +
        'it lies in the allocated block [0xffff800000002000-0xffff800000004000) of order 1',
    ],
  ],
  DOUBLE_FREE: [
    [
      () => sample().freePage(at(5)),
      { address: at(5), block: bounds(5, 1), order: 0 },
      '0xffff800000005000 is not allocated: ' +
        'it lies in the free block [0xffff800000005000-0xffff800000006000) of order 0',
    ],
  ],
  RESERVED_PAGE: [
    [
      () => sample().freePage(at(7)),
      { address: at(7), reserved: bounds(6, 2) },
      '0xffff800000007000 is not allocated: ' +
        'it lies in [0xffff800000006000-0xffff800000008000), which is reserved',
    ],
  ],
  WRONG_SIZE: [
    [
      () => sample().freePages(heapPages(2, 1)),
      { freed: bounds(2, 1), block: bounds(2, 2), order: 1 },
      '[0xffff800000002000-0xffff800000003000) is not the block that starts there: ' +
        'that is [0xffff800000002000-0xffff800000004000) of order 1',
    ],
    [
      () => sample().freePages(heapPages(2, 8)),
      { freed: bounds(2, 8), block: bounds(2, 2), order: 1 },
      '[0xffff800000002000-0xffff80000000a000) is not the block that starts there: ' +
        'that is [0xffff800000002000-0xffff800000004000) of order 1',
    ],
    [
      () => sample().freePages(heapPages(4, 0)),
      { freed: bounds(4, 0), block: bounds(4, 1), order: 0 },
      '[0xffff800000004000-0xffff800000004000) is not the block that starts there: ' +
        'that is [0xffff800000004000-0xffff800000005000) of order 0',
    ],
    [
      () => sample().freePage(at(2)),
      { freed: bounds(2, 1), block: bounds(2, 2), order: 1 },
      '[0xffff800000002000-0xffff800000003000) is not the block that starts there: ' +
        'that is [0xffff800000002000-0xffff800000004000) of order 1',
    ],
  ],
};

describe.each(Object.keys(CODES) as (keyof typeof CODES)[])('%s', (code) => {
  const rows = CODES[code].map(([action, details, message]) => [message, action, details] as const);

  test.each(rows)('%s', (message, action, details) => {
    const error = buddyError(code, action);
    expect(error.details).toMatchObject(details);
    expect(error.message).toBe(`${message} [${code}]`);
    expect(error.name).toBe('BuddyError');
    expect(error).toBeInstanceOf(BuddyError);
    expect(error).toBeInstanceOf(CodedError);
    expect(Object.isFrozen(error.details)).toBe(true);
  });
});

test('a free that fails changes nothing, whatever the reason', () => {
  const allocator = sample();
  const before = JSON.stringify([[...allocator.blocks()].map(String), allocator.memoryInfo()]);
  for (const code of ['OUTSIDE_REGION', 'MISALIGNED_ADDRESS', 'BLOCK_TAIL', 'DOUBLE_FREE'] as const) {
    for (const [, details] of CODES[code]) {
      buddyError(code, () => allocator.freePages(virtAddr(details.address)));
    }
  }
  expect(JSON.stringify([[...allocator.blocks()].map(String), allocator.memoryInfo()])).toBe(before);
  allocator.checkInvariants();
});

test('isBuddyError compares only the name and the code', () => {
  const error = buddyError('DOUBLE_FREE', () => sample().freePage(at(5)));
  expect(isBuddyError(error)).toBe(true);
  expect(isBuddyError(error, 'DOUBLE_FREE')).toBe(true);
  expect(isBuddyError(error, 'BLOCK_TAIL')).toBe(false);
  const ofAnotherCopy = Object.assign(new Error('x'), {
    name: 'BuddyError',
    code: 'DOUBLE_FREE',
    details: {},
  });
  expect(isBuddyError(ofAnotherCopy, 'DOUBLE_FREE')).toBe(true);
  for (const other of [new Error('x'), undefined, null, 'BuddyError', { name: 'RegionError', code: 'X' }]) {
    expect(isBuddyError(other)).toBe(false);
  }
});
