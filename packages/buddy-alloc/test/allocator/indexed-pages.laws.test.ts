import { type Address, PAGE_SIZE, physAddr } from '@svsm/address';
import { MemoryRegion, physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AllocatorEvent, PageAllocator, type PageAllocatorOptions } from '../../src/index.ts';
import {
  buddyError,
  changesNothing,
  Flat,
  type FlatAddr,
  flatRegion,
  HEAP,
  heapPages,
  pageStart,
  snapshot,
  untyped,
} from '../support/allocators.ts';

const flat = (first: number, pages: number) => flatRegion(pageStart(first), pageStart(first + pages));

interface World {
  readonly name: string;
  readonly regions: MemoryRegion<FlatAddr>[];
  readonly options?: PageAllocatorOptions<FlatAddr>;
}

const WORLDS: readonly World[] = [
  { name: 'a few pages', regions: [flat(0, 9)] },
  { name: 'an unaligned start', regions: [flat(0x12_3457, 700)] },
  { name: 'two roots, around a multiple of 4 GiB', regions: [flat(0x2f_ff00, 0x300)] },
  { name: 'more than two levels', regions: [flat(0x3_4567_89ab, 2 ** 34)] },
  { name: 'the end of 64 bits', regions: [flat(2 ** 52 - 5000, 5000)] },
  { name: 'all of 64 bits', regions: [flat(0, 2 ** 52)] },
  {
    name: 'two regions in a space that starts earlier, part of one reserved',
    regions: [flat(5000, 64), flat(2 ** 33, 1024)],
    options: { space: flat(4321, 2 ** 34), reserved: [flat(5001, 3)], maxOrder: 9 },
  },
];

describe.each(WORLDS)('$name', ({ regions, options = {} }) => {
  const make = () => new PageAllocator(regions, options);
  const start = (options.space ?? regions[0]!).start;

  test('allocates the same blocks and refuses the same frees as the allocator by address', () => {
    const { maxOrder } = make();
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ order: fc.nat(Math.min(maxOrder, 12)) }) },
      { weight: 1, arbitrary: fc.record({ order: fc.nat(maxOrder) }) },
      { weight: 3, arbitrary: fc.record({ victim: fc.nat(50), past: fc.constantFrom(0, 0, 0, 1) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const [byAddress, byIndex] = [make(), make()];
        const { indexed } = byIndex;
        const live: number[] = [];
        const both = (one: () => void, other: () => void) => {
          const outcome = (action: () => void) => {
            try {
              action();
              return 'done';
            } catch (error) {
              return String((error as Error).message);
            }
          };
          expect(outcome(one)).toBe(outcome(other));
        };
        for (const step of steps) {
          if ('order' in step) {
            both(
              () => live.push(indexed.allocate(step.order)),
              () => {
                const address = byAddress.allocateBlock(step.order);
                expect(address).toBe(start + pageStart(live.at(-1) as number));
                expect(indexed.indexOf(address)).toBe(live.at(-1));
              },
            );
          } else if (live.length > 0) {
            const [index] = live.splice(step.victim % live.length, 1) as [number];
            const victim = index + step.past;
            if (start + pageStart(victim) >= (options.space ?? byIndex.region).end) continue;
            const address = indexed.addressOf(victim);
            expect(address).toBe(start + pageStart(victim));
            both(
              () => indexed.free(victim),
              () => byAddress.freePages(address),
            );
          }
          expect(byIndex.memoryInfo()).toEqual(byAddress.memoryInfo());
        }
        byIndex.checkInvariants();
        expect(byIndex.snapshot()).toEqual(byAddress.snapshot());
      }),
    );
  });

  test('may be mixed with addresses', () => {
    const allocator = make();
    const before = snapshot(allocator);
    const { indexed } = allocator;
    const index = indexed.allocate(0);
    const address = allocator.allocatePage();
    expect(indexed.addressOf(index)).not.toBe(address);
    allocator.freePage(indexed.addressOf(index));
    indexed.free(indexed.indexOf(address));
    const run = allocator.allocateRun(3);
    indexed.free(indexed.indexOf(run.start));
    expect(snapshot(allocator)).toBe(before);
  });

  test('refuses values that are not an index of a page', () => {
    const allocator = make();
    const pages = Number((options.space ?? allocator.region).size / pageStart(1));
    allocator.indexed.allocate(0);
    for (const index of [-1, 0.5, NaN, Infinity, -Infinity, pages, 2 ** 60, '0', 0n, undefined, null, {}]) {
      changesNothing(allocator, () => {
        for (const action of ['free', 'addressOf'] as const) {
          const error = buddyError('INVALID_PAGE_INDEX', () => allocator.indexed[action](untyped(index)));
          expect(error.details).toEqual({ index, last: pages - 1 });
        }
        throw new Error('as expected');
      });
    }
    expect(allocator.indexed.addressOf(pages - 1)).toBe(start + pageStart(pages - 1));
  });
});

describe('refusals have the same codes and details as by address', () => {
  const allocator = new PageAllocator(heapPages(3, 16), { reserved: [heapPages(18, 1)] });
  const { indexed } = allocator;
  const block = indexed.allocate(2);
  const file = indexed.indexOf(allocator.allocateFilePage());
  const heap = indexed.indexOf(allocator.pagesFor('heap').allocate(1, PAGE_SIZE));
  const slab = indexed.indexOf(allocator.pagesFor('slab').allocate(1, PAGE_SIZE));
  const free = indexed.allocate(0);
  indexed.free(free);

  test.each([
    ['a tail', 'BLOCK_TAIL', block + 1],
    ['a file page', 'FILE_PAGE', file],
    ['pages of a heap', 'HEAP_BLOCK', heap],
    ['a slab', 'SLAB_PAGE', slab],
    ['a free page', 'DOUBLE_FREE', free],
    ['a reserved page', 'RESERVED_PAGE', 15],
  ] as const)('%s', (_, code, index) => {
    changesNothing(allocator, () => {
      const { details } = buddyError(code, () => indexed.free(index));
      expect(details).toEqual(buddyError(code, () => allocator.freePages(indexed.addressOf(index))).details);
      throw new Error('as expected');
    });
  });

  test('allocate names the order and the free pages', () => {
    for (const order of [-1, 0.5, NaN, allocator.maxOrder + 1, '0', 0n, undefined]) {
      expect(buddyError('INVALID_ORDER', () => indexed.allocate(untyped(order))).details).toEqual({
        order,
        maxOrder: allocator.maxOrder,
      });
    }
    const last = indexed.allocate(3);
    buddyError('OUT_OF_MEMORY', () => indexed.allocate(3));
    indexed.free(last);
  });

  test('indexOf refuses an address outside the space', () => {
    expect(() => indexed.indexOf(untyped(12))).toThrow('address');
    buddyError('OUTSIDE_REGION', () => indexed.indexOf(HEAP));
    const last = indexed.addressOf(15);
    expect(indexed.indexOf((last + 4095n) as typeof last)).toBe(15);
    buddyError('OUTSIDE_REGION', () => indexed.indexOf((last + 4096n) as typeof last));
  });
});

test('adding and removing regions does not change an index', () => {
  const allocator = new PageAllocator([flat(112, 16)], { space: flat(50, 1000) });
  const { indexed } = allocator;
  expect(indexed.indexOf(Flat.address(pageStart(112)))).toBe(62);
  const index = indexed.allocate(4);
  allocator.addRegion(flat(60, 16));
  expect(indexed.addressOf(index)).toBe(pageStart(112));
  indexed.free(index);
  allocator.removeRegion(flat(112, 16));
  expect(indexed.addressOf(index)).toBe(pageStart(112));
  buddyError('OUTSIDE_REGION', () => indexed.free(index));
});

test('a tracer gets the same events as by address', () => {
  const events: AllocatorEvent<Address>[] = [];
  const region = physRegion(physAddr(0x3000), 0x2_0000);
  const allocator = new PageAllocator(region, { trace: (event) => events.push(event) });
  const { indexed } = allocator;
  const index = indexed.allocate(2);
  expect(() => indexed.free(index + 1)).toThrow();
  indexed.free(index);
  const run = allocator.allocateRun(3);
  indexed.free(indexed.indexOf(run.start));
  const block = new MemoryRegion(region.kind, indexed.addressOf(index), 4 * PAGE_SIZE);
  expect(events.map(({ what, region, kind }) => `${what} ${region} ${kind}`)).toEqual([
    `allocate ${block} pages`,
    `free ${block} pages`,
    `allocate ${run} run`,
    `free ${run} run`,
  ]);
});
