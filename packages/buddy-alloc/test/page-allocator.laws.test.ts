import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isBuddyError, PageAllocator } from '../src/index.ts';
import { countAllStates, countStates, type Explored, explore, type World } from './explore.ts';
import { blocksOf, Flat, type FlatAddr, flatRegion, snapshot } from './support.ts';

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
    // Aligned, and cut off on either side.
    ...[1, 2, 3, 4, 5, 6, 7, 8].map((units) => world(units)),
    ...[1, 2, 3, 4, 5, 6, 7].map((units) => world(units, { start: 1 })),
    ...[3, 5, 7].map((units) => world(units, { start: 3 })),
    world(7, { start: 6 }),
    world(7, { start: 1024 - 4 }),
    // Limited orders.
    ...[0, 1, 2].map((maxOrder) => world(7, { maxOrder })),
    world(6, { start: 1, maxOrder: 1 }),
    // Blocks that cross the levels of the tables; the last two worlds end at 2^64.
    world(6, { unitOrder: 8 }),
    world(6, { unitOrder: 9, start: 1 }),
    world(7, { unitOrder: 10 }),
    world(6, { unitOrder: 18 }),
    world(5, { unitOrder: 27, start: 3 }),
    world(7, { unitOrder: 49, start: 1 }),
    world(2, { unitOrder: 51 }),
    // Of all kinds, reserved and taken away at any time.
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

  test('these are thousands of states', () => {
    expect([1, 2, 4, 8, 16].map((units) => countStates(world(units)))).toEqual([2, 5, 26, 677, 458_330]);
    expect([1, 2, 3, 4, 5].map((units) => countAllStates(world(units)))).toEqual([8, 66, 546, 4518, 37_386]);
    const { states, done, refused } = total;
    console.log(`${states} states; ${done} operations done and undone, ${refused} refused`);
    expect(states).toBeGreaterThan(7000);
  });
});

/** What an allocator should do, with one entry for each unit that is in use. */
class Model {
  /** Live blocks: first unit and order. */
  readonly live: { readonly first: number; readonly order: number }[] = [];
  readonly #world: Omit<World, 'pieces'>;
  readonly #used = new Set<number>();

  constructor(world: Omit<World, 'pieces'>) {
    this.#world = world;
  }

  isInside(unit: number): boolean {
    return unit >= this.#world.start && unit < this.#world.start + this.#world.units;
  }

  isReserved(unit: number): boolean {
    const index = unit - this.#world.start;
    return this.isInside(unit) && index < 16 && ((this.#world.reserved >> index) & 1) !== 0;
  }

  isFree(unit: number): boolean {
    return this.isInside(unit) && !this.isReserved(unit) && !this.#used.has(unit);
  }

  isBlockFree(first: number, order: number): boolean {
    for (let unit = first; unit < first + 2 ** order; unit += 1) if (!this.isFree(unit)) return false;
    return true;
  }

  /** Whether some aligned run of 2^order units is free. */
  hasRoom(order: number): boolean {
    const { start, units } = this.#world;
    for (let first = Math.ceil(start / 2 ** order) * 2 ** order; first < start + units; first += 2 ** order) {
      if (this.isBlockFree(first, order)) return true;
    }
    return false;
  }

  freeUnits(): number {
    let count = 0;
    for (let unit = 0; unit < this.#world.units; unit += 1)
      count += this.isFree(this.#world.start + unit) ? 1 : 0;
    return count;
  }

  add(first: number, order: number): void {
    this.live.push({ first, order });
    for (let unit = first; unit < first + 2 ** order; unit += 1) this.#used.add(unit);
  }

  remove(index: number): { readonly first: number; readonly order: number } {
    const [block] = this.live.splice(index, 1);
    if (block === undefined) throw new Error('no such block');
    for (let unit = block.first; unit < block.first + 2 ** block.order; unit += 1) this.#used.delete(unit);
    return block;
  }

  /** The code with which freeing the address of `unit` fails. */
  refusal(unit: number): string | undefined {
    if (!this.isInside(unit)) return 'FOREIGN_ADDRESS';
    if (this.isReserved(unit)) return 'RESERVED_PAGE';
    if (this.isFree(unit)) return 'DOUBLE_FREE';
    return this.live.some(({ first }) => first === unit) ? undefined : 'BLOCK_TAIL';
  }
}

const worlds: fc.Arbitrary<Omit<World, 'pieces'>> = fc.record({
  start: fc.oneof(fc.nat(64), fc.integer({ min: 960, max: 1088 })),
  units: fc.integer({ min: 1, max: 200 }),
  unitOrder: fc.constantFrom(0, 0, 0, 6, 9, 17, 27),
  maxOrder: fc.constantFrom(52, 52, 0, 1, 3, 5),
  reserved: fc.oneof(fc.constant(0), fc.nat(0xffff)),
});

const steps = fc.array(
  fc.record({
    what: fc.constantFrom('allocate', 'allocate', 'allocate', 'free', 'free', 'freeRegion', 'freeAnything'),
    value: fc.nat(0xffff),
  }),
  { maxLength: 2000, size: 'max' },
);

test('an allocator does what a set of pages does', () => {
  let count = 0;
  const property = fc.property(worlds, steps, (world, steps) => {
    count += steps.length;
    const { start, units, unitOrder, reserved } = world;
    const unit = 4096n << BigInt(unitOrder);
    const at = (first: number): FlatAddr => Flat.address(unit * BigInt(first));
    const region = (first: number, count: number) => flatRegion(at(first), at(first + count));
    const allocator = new PageAllocator(region(start, units), {
      maxOrder: Math.min(52, unitOrder + world.maxOrder),
      reserved: Array.from({ length: Math.min(16, units) }, (_, index) => start + index)
        .filter((first) => (reserved >> (first - start)) & 1)
        .map((first) => region(first, 1)),
    });
    const model = new Model(world);
    const initial = snapshot(allocator);

    const codeOf = (action: () => void): string | undefined => {
      try {
        action();
      } catch (error) {
        if (isBuddyError(error)) return error.code;
        throw error;
      }
      return undefined;
    };

    for (const { what, value } of steps) {
      if (what === 'allocate') {
        // Small orders more often than large ones.
        const order = Math.clz32(value | 1) - 16 - (value % 7 === 0 ? 0 : (value >> 4) % 8);
        const wanted = Math.max(0, Math.min(order, 9));
        let block: ReturnType<typeof region> | undefined;
        const code = codeOf(() => {
          block = allocator.allocatePages(unitOrder + wanted);
        });
        if (block === undefined) {
          const possible = unitOrder + wanted <= allocator.maxOrder;
          expect(code).toBe(possible ? 'OUT_OF_MEMORY' : 'INVALID_ORDER');
          if (possible) expect(model.hasRoom(wanted), `false: no room for order ${wanted}`).toBe(false);
        } else {
          const first = Number(block.start / unit);
          expect(block.size).toBe(unit * BigInt(2 ** wanted));
          expect(first % 2 ** wanted).toBe(0);
          expect(model.isBlockFree(first, wanted)).toBe(true);
          model.add(first, wanted);
        }
      } else if (what === 'freeAnything') {
        const first = Math.max(0, start - 2 + (value % (units + 4)));
        const code = model.refusal(first);
        if (code !== undefined) expect(codeOf(() => allocator.freePages(at(first)))).toBe(code);
      } else if (model.live.length > 0) {
        const { first, order } = model.remove(value % model.live.length);
        allocator.freePages(what === 'free' ? at(first) : region(first, 2 ** order));
      }
      allocator.checkInvariants();
    }

    const info = allocator.memoryInfo();
    const scale = 2 ** unitOrder;
    expect(info.freePages).toBe(model.freeUnits() * scale);
    expect(info.allocatedPages).toBe(model.live.reduce((sum, { order }) => sum + 2 ** order, 0) * scale);
    expect(info.freePages + info.allocatedPages + info.reservedPages).toBe(info.totalPages);
    for (const block of allocator.blocks()) {
      const first = Number(block.region.start / unit);
      const live = model.live.find((live) => live.first === first);
      expect(block.state === 'allocated').toBe(live !== undefined);
      if (live !== undefined) expect(block.order - unitOrder).toBe(live.order);
    }

    while (model.live.length > 0) allocator.freePages(at(model.remove(0).first));
    expect(snapshot(allocator)).toBe(initial);
  });
  fc.assert(property);
  console.log(`${count} steps against the model`);
});

test('what is free does not depend on the way there', () => {
  // The same blocks, freed in any order and with others in between, leave the same picture.
  fc.assert(
    fc.property(
      fc.array(fc.nat(5), { minLength: 1, maxLength: 40 }),
      fc.infiniteStream(fc.nat(0xffff)),
      (orders, choice) => {
        const make = () => new PageAllocator(flatRegion(0x3000n, 0x10_3000n));
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
