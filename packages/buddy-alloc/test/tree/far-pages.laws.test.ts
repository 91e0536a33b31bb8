import { PAGE_SIZE } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageAllocator } from '../../src/index.ts';
import { blocksOf, codeOf, Flat, type FlatAddr, flatRegion, pageStart } from '../support/allocators.ts';

// Trees of three to five levels, with blocks far apart in nodes that are opened in any order. Other addresses differ from
// those of the blocks only in the bits that select a node of one level.

const worlds = fc.record({
  start: fc.oneof(fc.nat(3000), fc.integer({ min: 2 ** 30 - 3000, max: 2 ** 30 }), fc.nat(2 ** 51)),
  pages: fc.constantFrom(2 ** 20 + 5000, 2 ** 22, 2 ** 24 - 1, 2 ** 31, 2 ** 34 + 1, 2 ** 45),
});

/** A number with few different digits in base 1024, so that two numbers often differ in only one digit. */
const places = fc.array(fc.oneof(fc.nat(2), fc.constantFrom(511, 1022, 1023)), {
  minLength: 5,
  maxLength: 5,
});

const steps = fc.array(
  fc.record({
    what: fc.constantFrom('take', 'take', 'allocate', 'free', 'free by index', 'free a neighbour', 'run'),
    place: places,
    order: fc.constantFrom(0, 0, 0, 1, 3, 9, 10, 11, 19, 20, 21),
  }),
  { minLength: 1, maxLength: 60, size: 'max' },
);

const addressOf = (page: number): FlatAddr => Flat.address(pageStart(page));

test('blocks far apart do not affect each other', () => {
  let taken = 0;
  let refused = 0;
  const property = fc.property(worlds, steps, ({ start, pages }, steps) => {
    const allocator = new PageAllocator(flatRegion(pageStart(start), pageStart(start + pages)));
    const initial = blocksOf(allocator);
    // The allocated blocks: the number of pages by the first page.
    const live = new Map<number, number>();
    const around = (first: number, count: number) =>
      [...live].find(([other, size]) => other < first + count && first < other + size);
    const regionOf = (first: number, count: number): MemoryRegion<FlatAddr> =>
      MemoryRegion.fromAddresses(Flat, addressOf(first), pageStart(first + count));

    for (const { what, place, order } of steps) {
      const number = place.reduce((number, digit) => number * 1024 + digit, 0);
      const known = [...live.keys()];
      const victim = known[number % known.length];
      const size = 2 ** Math.min(order, allocator.maxOrder);
      const first = Math.floor((start + (number % pages)) / size) * size;
      const isInside = first >= start && first + size <= start + pages;
      if (what === 'take') {
        if (!isInside) continue;
        const code = codeOf(() => allocator.allocateAt(regionOf(first, size)));
        expect(code).toBe(around(first, size) === undefined ? undefined : 'NOT_FREE');
        if (code === undefined) live.set(first, size);
      } else if (what === 'allocate' || what === 'run') {
        const count = what === 'run' ? size + (number % 3) : size;
        const code = codeOf(() => {
          const block =
            what === 'run' ? allocator.allocateRun(count) : allocator.allocatePages(Math.log2(count));
          const at = Number(block.start / 4096n);
          expect(around(at, count)).toBeUndefined();
          expect(Number(block.size)).toBe(count * PAGE_SIZE);
          live.set(at, count);
        });
        if (live.size < 2) expect(count > pages / 8 || code === undefined).toBe(true);
      } else if (victim !== undefined && what === 'free') {
        allocator.freePages(addressOf(victim));
        live.delete(victim);
      } else if (victim !== undefined && what === 'free by index') {
        allocator.indexed.free(victim - start);
        live.delete(victim);
      } else if (victim !== undefined) {
        // A page at the distance of a node of some level: it is mostly free, or outside the tree.
        const distance = 1024 ** (1 + (number % 4)) * (1 + (order % 3)) * (number % 2 === 0 ? 1 : -1);
        const other = victim + distance;
        if (other < 0 || other >= 2 ** 52 || live.has(other)) continue;
        const expected =
          other < start || other >= start + pages
            ? 'OUTSIDE_REGION'
            : around(other, 1) === undefined
              ? 'DOUBLE_FREE'
              : 'BLOCK_TAIL';
        const address = addressOf(other);
        expect(codeOf(() => allocator.freePage(address))).toBe(expected);
        expect(codeOf(() => allocator.freePages(address))).toBe(expected);
        if (expected !== 'OUTSIDE_REGION') {
          expect(codeOf(() => allocator.indexed.free(other - start))).toBe(expected);
        }
        refused += 1;
      }
      for (const [at, count] of live) {
        const block = allocator.blockOf(addressOf(at + count - 1));
        expect(block?.state).toBe('allocated');
        expect(block?.region.equals(regionOf(at, count))).toBe(true);
      }
    }
    taken += live.size;
    allocator.checkInvariants();
    for (const first of live.keys()) allocator.indexed.free(first - start);
    allocator.checkInvariants();
    expect(blocksOf(allocator)).toBe(initial);
  });
  fc.assert(property);
  expect(taken).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(100);
});
