/** `blocks()` while the allocator changes, compared with a scan of the list of blocks at each step. */
import type { VirtAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageAllocator } from '../../src/index.ts';
import { HEAP, heapPages } from '../support/allocators.ts';

const PAGES = 64;

type Change = {
  what: 'allocate' | 'run' | 'free' | 'reserve' | 'unreserve' | 'add' | 'remove' | 'next';
  n: number;
  size: number;
};

const change: fc.Arbitrary<Change> = fc.record({
  what: fc.constantFrom(
    'allocate',
    'run',
    'free',
    'reserve',
    'unreserve',
    'add',
    'remove',
    'next',
    'next',
    'next',
  ),
  n: fc.nat(PAGES - 1),
  size: fc.integer({ min: 1, max: 9 }),
});

function perform(allocator: PageAllocator<VirtAddr>, { what, n, size }: Change): void {
  const region = heapPages(n, size);
  try {
    if (what === 'allocate') allocator.allocateAt(heapPages(n, 1));
    else if (what === 'run') allocator.allocateAt(region);
    else if (what === 'free') {
      const block = allocator.blockOf(region.start);
      if (block?.state === 'allocated') allocator.freePages(block.region);
    } else if (what === 'reserve') allocator.reserve(region);
    else if (what === 'unreserve') allocator.unreserve(region);
    else if (what === 'add') allocator.addRegion(region);
    else if (what === 'remove') allocator.removeRegion(region);
  } catch {
    // Not possible here.
  }
}

test.each([undefined, 2])(
  'goes on after the last block, with what is there then, maxOrder %s',
  (maxOrder) => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 120 }), (changes) => {
        const allocator = new PageAllocator(heapPages(0, PAGES), {
          maxOrder,
          space: heapPages(0, 2 * PAGES),
        });
        const iterator = allocator.blocks();
        let place = 0n;
        let hasEnded = false;
        for (const one of changes) {
          if (one.what !== 'next') {
            perform(allocator, one);
            continue;
          }
          const { done, value } = iterator.next();
          const expected = hasEnded
            ? undefined
            : [...allocator.blocks()].find(({ region }) => region.start >= place);
          expect(done).toBe(expected === undefined);
          if (value === undefined) hasEnded = true;
          else {
            expect(`${value.region} ${value.state} ${value.kind}`).toBe(
              `${expected?.region} ${expected?.state} ${expected?.kind}`,
            );
            place = value.region.end;
          }
        }
      }),
    );
  },
);

test('a loop may free each block that it is given', () => {
  const allocator = new PageAllocator(heapPages(0, PAGES));
  for (let page = 0; page < PAGES; page += 1) allocator.allocatePage();
  let freed = 0;
  for (const { region, state } of allocator.blocks()) {
    expect(state).toBe('allocated');
    allocator.freePages(region);
    freed += 1;
  }
  expect(freed).toBe(PAGES);
  expect(allocator.memoryInfo().freePages).toBe(PAGES);
});

test('a block that begins before the place is not returned', () => {
  const allocator = new PageAllocator(heapPages(0, 8));
  const pages = Array.from({ length: 8 }, () => allocator.allocatePage()).sort();
  const iterator = allocator.blocks();
  expect(iterator.next().value?.region.start).toBe(HEAP);
  for (const page of pages) allocator.freePage(page);
  expect(iterator.next().done).toBe(true);
  allocator.allocatePage();
  expect(iterator.next().done).toBe(true);
});
