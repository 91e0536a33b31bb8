/** Bad input: each value is refused with a coded error that names it, and nothing has changed. */
import { isCodedError, Virt, virtAddr } from '@svsm/address';
import { MemoryRegion, virtRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import {
  type BuddyErrorCode,
  ByteMemory,
  getOrder,
  HeapAllocator,
  PageAllocator,
  renderMap,
  SlabCache,
} from '../../src/index.ts';
import { buddyError, HEAP, heapPages, snapshot, untyped } from '../support/allocators.ts';
import { BAD_REGIONS, NOT_ADDRESSES, NOT_NUMBERS, NOT_REGIONS } from '../support/hostile.ts';

function sample() {
  const memory = new ByteMemory(Virt, new ArrayBuffer(64 * 4096), HEAP);
  const allocator = new PageAllocator(heapPages(0, 64), { memory, reserved: [heapPages(60, 2)] });
  const block = allocator.allocatePages(2);
  const run = allocator.allocateRun(5);
  const file = allocator.allocateFilePage();
  allocator.getFilePage(file);
  const cache = new SlabCache(allocator, 64);
  const heap = new HeapAllocator(allocator, { memory });
  const object = heap.allocate(48);
  const large = heap.allocate(9000);
  cache.free(cache.allocate());
  return { memory, allocator, block, run, file, cache, heap, object, large };
}

type Sample = ReturnType<typeof sample>;

const CASES: Record<string, [values: readonly unknown[], action: (sample: Sample, value: never) => unknown]> =
  {
    getOrder: [
      [...NOT_NUMBERS.filter((value) => value !== 2 ** 53 && value !== 1n), undefined],
      (_, bytes) => getOrder(bytes),
    ],
    allocatePages: [[...NOT_NUMBERS, undefined], ({ allocator }, order) => allocator.allocatePages(order)],
    allocateBlock: [[...NOT_NUMBERS, undefined], ({ allocator }, order) => allocator.allocateBlock(order)],
    allocateRun: [
      [...NOT_NUMBERS, undefined, 0, -0, 2 ** 52 + 1],
      ({ allocator }, pages) => allocator.allocateRun(pages),
    ],
    'allocateRun, alignment': [
      [...NOT_NUMBERS.filter((value) => value !== 2 ** 53 && value !== 1n), 0, 3, 4097, 0n, 3n, 2n ** 64n],
      ({ allocator }, alignment) => allocator.allocateRun(1, alignment),
    ],
    own: [
      [...NOT_NUMBERS, ...NOT_REGIONS.filter((value) => value !== 0), ...BAD_REGIONS],
      ({ allocator }, block) => allocator.own(block),
    ],
    allocateAt: [[...NOT_REGIONS, ...BAD_REGIONS], ({ allocator }, region) => allocator.allocateAt(region)],
    reserve: [[...NOT_REGIONS, ...BAD_REGIONS], ({ allocator }, region) => allocator.reserve(region)],
    unreserve: [[...NOT_REGIONS, ...BAD_REGIONS], ({ allocator }, region) => allocator.unreserve(region)],
    addRegion: [[...NOT_REGIONS, ...BAD_REGIONS], ({ allocator }, region) => allocator.addRegion(region)],
    removeRegion: [
      [...NOT_REGIONS, ...BAD_REGIONS],
      ({ allocator }, region) => allocator.removeRegion(region),
    ],
    freePages: [
      [...NOT_ADDRESSES, ...NOT_REGIONS.filter((value) => value !== HEAP), ...BAD_REGIONS],
      ({ allocator }, block) => allocator.freePages(block),
    ],
    freePage: [[...NOT_ADDRESSES, heapPages(0, 1)], ({ allocator }, page) => allocator.freePage(page)],
    getFilePage: [[...NOT_ADDRESSES, heapPages(0, 1)], ({ allocator }, page) => allocator.getFilePage(page)],
    putFilePage: [[...NOT_ADDRESSES, heapPages(0, 1)], ({ allocator }, page) => allocator.putFilePage(page)],
    blockOf: [[...NOT_ADDRESSES, heapPages(0, 1)], ({ allocator }, address) => allocator.blockOf(address)],
    'pagesFor, kind': [
      [...NOT_NUMBERS, undefined, 'pages', 'Slab', 'toString', ['slab']],
      ({ allocator }, kind) => allocator.pagesFor(kind),
    ],
    'pagesFor, pages': [
      [...NOT_NUMBERS, undefined, 0, -0, 2 ** 52 + 1],
      ({ allocator }, pages) => allocator.pagesFor('heap').allocate(pages, 4096),
    ],
    'pagesFor, alignment': [
      [...NOT_NUMBERS.filter((value) => value !== 2 ** 53 && value !== 1n), 0, 3, 4097],
      ({ allocator }, alignment) => allocator.pagesFor('slab').allocate(1, alignment),
    ],
    'pagesFor, slab': [
      [...NOT_ADDRESSES, HEAP],
      ({ allocator }, page) => allocator.pagesFor('slab').free(page),
    ],
    'pagesFor, heap': [
      [...NOT_ADDRESSES, HEAP],
      ({ allocator }, page) => allocator.pagesFor('heap').free(page),
    ],
    'a slab cache of a size': [
      [...NOT_NUMBERS, undefined, 0, 4097],
      ({ allocator }, size) => new SlabCache(allocator, size),
    ],
    'a slab cache of an alignment': [
      // `undefined` and `null` mean the default.
      [...NOT_NUMBERS.filter((value) => value !== 1n && value !== null), 0, 3, 8192],
      ({ allocator }, alignment) => new SlabCache(allocator, 8, { alignment }),
    ],
    'a slab cache that keeps': [
      [-1, 0.5, NaN, -Infinity, 1n, '1', '', true, null, {}, [], Symbol('s')],
      ({ allocator }, keepEmpty) => new SlabCache(allocator, 8, { keepEmpty }),
    ],
    'SlabCache.free': [
      [...NOT_ADDRESSES, HEAP, heapPages(0, 1)],
      ({ cache }, address) => cache.free(address),
    ],
    'HeapAllocator.allocate': [[...NOT_NUMBERS, undefined], ({ heap }, size) => heap.allocate(size)],
    'HeapAllocator.allocate, align': [
      [...NOT_NUMBERS.filter((value) => value !== 2 ** 53 && value !== 1n), 0, 3, 3n],
      ({ heap }, align) => heap.allocate(8, align),
    ],
    'HeapAllocator.reallocate': [
      [...NOT_NUMBERS, undefined],
      ({ heap, object }, size) => heap.reallocate(object, size),
    ],
    'HeapAllocator.reallocate, of an address': [
      [...NOT_ADDRESSES, HEAP],
      ({ heap }, address) => heap.reallocate(address, 8),
    ],
    'HeapAllocator.reallocate, align': [
      [...NOT_NUMBERS.filter((value) => value !== 2 ** 53 && value !== 1n), 0, 3, 3n],
      ({ heap, object }, align) => heap.reallocate(object, 48, align),
    ],
    'HeapAllocator.free': [
      [...NOT_ADDRESSES, HEAP, heapPages(0, 1)],
      ({ heap }, address) => heap.free(address),
    ],
    'HeapAllocator.sizeOf': [
      [...NOT_ADDRESSES, HEAP, heapPages(0, 1)],
      ({ heap }, address) => heap.sizeOf(address),
    ],
    'HeapAllocator.view': [
      [...NOT_ADDRESSES, HEAP],
      ({ heap }, address) => heap.view(Uint8Array, address, 1),
    ],
    'HeapAllocator.view, length': [
      [...NOT_NUMBERS, undefined, 49],
      ({ heap, object }, length) => heap.view(Uint8Array, object, length),
    ],
    'HeapAllocator.view, type': [
      [undefined, null, 1, 'Uint8Array', new Uint8Array(8), class {}, () => {}],
      ({ heap, object }, type) => heap.view(type, object, 1),
    ],
    'ByteMemory.view, type': [
      [undefined, null, 1, 'Uint8Array', new Uint8Array(8), class {}, () => {}],
      ({ memory }, type) => memory.view(type, HEAP, 1),
    ],
    'ByteMemory of a kind': [
      [undefined, null, 1, 'virtual', {}],
      (_, kind) => new ByteMemory(kind, new ArrayBuffer(8), HEAP),
    ],
    'ByteMemory of a source': [
      [undefined, null, 1, 'bytes', {}, [], new Date(0), { buffer: 1 }, { buffer: [] }],
      (_, source) => new ByteMemory(Virt, source, HEAP),
    ],
    'renderMap, blocks': [
      [
        undefined,
        null,
        1,
        {},
        [undefined],
        [{}],
        [{ region: heapPages(0, 1), state: 'lost', kind: undefined }],
      ],
      (_, blocks) => renderMap({ region: heapPages(0, 4), blocks: () => blocks }),
    ],
    'an allocator with a memory whose bytes are not a method': [
      [null, 1, {}, 'bytes'],
      (_, bytes) => new PageAllocator(heapPages(0, 4), { memory: { clearPage: () => {}, bytes } }),
    ],
    'a snapshot, reserved': [
      [undefined, null, 1, '', {}, () => []],
      ({ allocator }, reserved) => PageAllocator.restore(Virt, { ...allocator.snapshot(), reserved }),
    ],
    'a snapshot, blocks': [
      [undefined, null, 1, '', {}, () => []],
      ({ allocator }, blocks) => PageAllocator.restore(Virt, { ...allocator.snapshot(), blocks }),
    ],
    'a snapshot, maxOrder': [
      [undefined, ...NOT_NUMBERS],
      ({ allocator }, maxOrder) => PageAllocator.restore(Virt, { ...allocator.snapshot(), maxOrder }),
    ],
    'ByteMemory.bytes': [NOT_ADDRESSES, ({ memory }, address) => memory.bytes(address, 1)],
    'ByteMemory.bytes, length': [
      [...NOT_NUMBERS, undefined],
      ({ memory }, length) => memory.bytes(HEAP, length),
    ],
    'ByteMemory.clearPage': [NOT_ADDRESSES, ({ memory }, address) => memory.clearPage(address)],
    'renderMap, columns': [
      [...NOT_NUMBERS, 0],
      ({ allocator }, columns) => renderMap(allocator, { columns }),
    ],
    'renderMap, rows': [[...NOT_NUMBERS, 0], ({ allocator }, rows) => renderMap(allocator, { rows })],
    'an allocator with reserved regions': [
      [null, 1, '', 'x', {}, [undefined]],
      (_, reserved) => new PageAllocator(heapPages(0, 4), { reserved }),
    ],
    'an allocator of regions': [
      [
        ...NOT_REGIONS.filter((value) => !Array.isArray(value) && !(value instanceof MemoryRegion)),
        heapPages(0, 0),
        BAD_REGIONS[3],
        BAD_REGIONS[4],
        [],
        [undefined],
        [null],
        [heapPages(0, 1), heapPages(0, 1)],
      ],
      (_, regions) => new PageAllocator(regions),
    ],
    'an allocator that reserves': [
      [
        0,
        1n,
        true,
        {},
        heapPages(0, 1),
        [heapPages(0, 1), heapPages(0, 2)],
        ...[...NOT_REGIONS, ...BAD_REGIONS.slice(1)].map((region) => [region]),
      ],
      (_, reserved) => new PageAllocator(heapPages(0, 64), { reserved }),
    ],
    'an allocator of a space': [
      [
        ...NOT_REGIONS.filter((value) => value !== undefined),
        ...BAD_REGIONS.filter((region) => !region.containsRegion(heapPages(0, 64))),
      ],
      (_, space) => new PageAllocator(heapPages(0, 64), { space }),
    ],
  };

/** The visible state of a sample. */
function pictureOf({ allocator, heap, cache }: Sample): string {
  return `${snapshot(allocator)} ${JSON.stringify([heap.info(), cache.info()])}`;
}

function isCoded(error: unknown): boolean {
  return ['BuddyError', 'AddressError', 'RegionError'].some((name) => isCodedError(error, name));
}

test.each(Object.entries(CASES))('%s', (_name, [values, action]) => {
  for (const value of values) {
    const here = sample();
    const before = pictureOf(here);
    let outcome: unknown;
    try {
      outcome = `returned ${String(action(here, untyped(value)))}`;
    } catch (error) {
      outcome = error;
    }
    expect(isCoded(outcome), `${describe(value)}: ${outcome}`).toBe(true);
    expect(pictureOf(here), describe(value)).toBe(before);
    here.allocator.checkInvariants();
    here.heap.checkInvariants();
    here.cache.checkInvariants();
  }
});

test('−0 counts as 0', () => {
  const { allocator } = sample();
  for (const block of [allocator.allocatePages(-0), allocator.own(-0).region]) expect(block.size).toBe(4096n);
  expect(allocator.blockOf(allocator.allocateBlock(-0))?.order).toBe(0);
  allocator.checkInvariants();
});

test('each free of a page or object of another kind or owner has its own code', () => {
  const { allocator, block, run, file, object, large, heap, cache } = sample();
  const other = new PageAllocator(heapPages(64, 64));
  const [slabs, pages] = [allocator.pagesFor('slab'), allocator.pagesFor('heap')];
  const small = cache.allocate();
  const cases: [code: BuddyErrorCode, action: () => void][] = [
    ['OUTSIDE_REGION', () => other.freePages(block)],
    ['OUTSIDE_REGION', () => allocator.freePages(other.allocatePage())],
    ['BLOCK_TAIL', () => allocator.freePages(Virt.add(block.start, 4096))],
    ['BLOCK_TAIL', () => allocator.freePages(Virt.add(run.start, 4096))],
    ['MISALIGNED_ADDRESS', () => allocator.freePages(Virt.add(block.start, 8))],
    ['WRONG_SIZE', () => allocator.freePage(block.start)],
    ['WRONG_SIZE', () => allocator.freePages(virtRegion(run.start, 0x4000))],
    ['FILE_PAGE', () => allocator.freePage(file)],
    ['SLAB_PAGE', () => allocator.freePages(virtAddr(small & ~0xfffn))],
    ['HEAP_BLOCK', () => allocator.freePages(large)],
    ['NOT_FILE_PAGE', () => allocator.putFilePage(large)],
    ['RESERVED_PAGE', () => allocator.freePage(Virt.add(HEAP, 60 * 4096))],
    ['WRONG_KIND', () => slabs.free(large)],
    ['WRONG_KIND', () => pages.free(virtAddr(small & ~0xfffn))],
    ['WRONG_KIND', () => pages.free(block.start)],
    ['BLOCK_TAIL', () => pages.free(Virt.add(large, 4096))],
    ['OUTSIDE_OBJECTS', () => cache.free(large)],
    ['OUTSIDE_OBJECTS', () => cache.free(object)],
    ['OUTSIDE_OBJECTS', () => heap.free(small)],
    ['OUTSIDE_OBJECTS', () => heap.free(block.start)],
    ['OBJECT_INTERIOR', () => heap.free(Virt.add(object, 1))],
    ['OBJECT_INTERIOR', () => heap.free(Virt.add(large, 4096))],
  ];
  const before = pictureOf({ allocator, heap, cache } as Sample);
  for (const [code, action] of cases) {
    buddyError(code, action);
    expect(pictureOf({ allocator, heap, cache } as Sample)).toBe(before);
  }
});

function describe(value: unknown): string {
  return typeof value === 'object' && !(value instanceof MemoryRegion) ? `${typeof value}` : String(value);
}
