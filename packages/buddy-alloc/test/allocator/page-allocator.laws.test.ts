import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PageAllocator } from '../../src/index.ts';
import { blocksOf, flatRegion } from '../support/allocators.ts';
import { countAllStates, countStates, type Explored, explore, type World } from '../support/explore.ts';

const world = (units: number, more: Partial<World> = {}): World => ({
  start: 0,
  units,
  unitOrder: 0,
  maxOrder: 52,
  reserved: 0,
  pieces: 'blocks',
  ...more,
});

describe('every state, every operation', () => {
  const total: Explored = { states: 0, done: 0, refused: 0 };
  const exploreAll = (world: World): number => {
    const { states, done, refused } = explore(world);
    expect(states).toBe(world.pieces === 'all' ? countAllStates(world) : countStates(world));
    total.states += states;
    total.done += done;
    total.refused += refused;
    return states;
  };

  const worlds = [
    // Regions that are aligned, and regions that are cut off at one end.
    ...[1, 2, 3, 4, 5, 6, 7, 8].map((units) => world(units)),
    ...[1, 2, 3, 4, 5, 6, 7].map((units) => world(units, { start: 1 })),
    ...[3, 5, 7].map((units) => world(units, { start: 3 })),
    world(7, { start: 6 }),
    world(7, { start: 1024 - 4 }),
    // Limits of the order.
    ...[0, 1, 2].map((maxOrder) => world(7, { maxOrder })),
    world(6, { start: 1, maxOrder: 1 }),
    // Blocks that cross the levels of the tables. The last two worlds end at 2^64.
    world(6, { unitOrder: 8 }),
    world(6, { unitOrder: 9, start: 1 }),
    world(7, { unitOrder: 10 }),
    world(6, { unitOrder: 18 }),
    world(5, { unitOrder: 27, start: 3 }),
    world(7, { unitOrder: 49, start: 1 }),
    world(2, { unitOrder: 51 }),
    // All kinds of pages, and pages that are reserved and removed at any time.
    ...[1, 2, 3].map((units) => world(units, { pieces: 'all' })),
    world(3, { pieces: 'all', start: 1 }),
    world(3, { pieces: 'all', start: 1022 }),
    world(3, { pieces: 'all', maxOrder: 0 }),
    world(3, { pieces: 'all', start: 1, unitOrder: 9 }),
    world(3, { pieces: 'all', unitOrder: 19 }),
    world(3, { pieces: 'all', start: 5, unitOrder: 49 }),
  ];

  test.each(worlds.map((world) => [JSON.stringify(world), world] as const))('%s', (_name, world) => {
    exploreAll(world);
  });

  test('with every subset of 1 to 5 pages reserved', () => {
    let states = 0;
    for (const start of [0, 1, 2, 3]) {
      for (let units = 1; units <= 5; units += 1) {
        for (let reserved = 1; reserved < 2 ** units; reserved += 1) {
          states += exploreAll(world(units, { start, reserved }));
        }
      }
    }
    expect(states).toBe(1396);
  });

  test('the worlds have thousands of states', () => {
    expect([1, 2, 4, 8, 16].map((units) => countStates(world(units)))).toEqual([2, 5, 26, 677, 458_330]);
    expect([1, 2, 3, 4, 5].map((units) => countAllStates(world(units)))).toEqual([8, 66, 546, 4518, 37_386]);
    const { states, done, refused } = total;
    console.log(`${states} states; ${done} operations done and undone, ${refused} refused`);
    expect(states).toBeGreaterThan(7000);
  });
});

test('the free blocks do not depend on the order of operations', () => {
  // The same blocks, freed in any order and with other blocks in between, leave the same picture.
  fc.assert(
    fc.property(
      fc.array(fc.nat(5), { minLength: 1, maxLength: 40 }),
      fc.infiniteStream(fc.nat(0xffff)),
      (orders, choice) => {
        // There is a block of order 5 for each block, and room for three more pages.
        const make = () => new PageAllocator(flatRegion(0x3000n, 0x80_3000n));
        const first = make();
        const second = make();
        const blocks = [];
        for (const order of orders) {
          const block = first.allocatePages(order);
          expect(second.allocatePages(order).equals(block)).toBe(true);
          blocks.push(block);
        }
        const freed = blocks.filter(() => (choice.next().value ?? 0) % 2 === 0);
        for (const block of freed) first.freePages(block);
        const others = [0, 1, 2].map(() => second.allocatePages(0));
        const shuffled = freed
          .map((block) => ({ block, key: choice.next().value ?? 0 }))
          .sort((left, right) => left.key - right.key);
        for (const { block } of shuffled) second.freePages(block.start);
        for (const page of others) second.freePages(page);
        expect(blocksOf(second)).toBe(blocksOf(first));
        expect(second.memoryInfo()).toEqual(first.memoryInfo());
      },
    ),
  );
});
