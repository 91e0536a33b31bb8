import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PageAllocator, type PageCache, SharedPageAllocator } from '../../src/index.ts';
import { codeOf, type FlatAddr, flatRegion } from '../support/allocators.ts';
import { attached, picture } from '../support/shared-allocators.ts';
import { countStates, exploreShared, type World } from '../support/shared-explore.ts';

const world = (units: number, more: Partial<World> = {}): World => ({
  start: 0,
  units,
  unitOrder: 0,
  maxOrder: 52,
  reserved: 0,
  ...more,
});

describe('every state, every operation', () => {
  const worlds = [
    ...[1, 2, 3, 4, 5, 6, 7].map((units) => world(units)),
    ...[1, 2, 3, 5, 7].map((units) => world(units, { start: 1 })),
    world(7, { start: 3 }),
    world(6, { start: 1024 - 3 }),
    ...[0, 1].map((maxOrder) => world(7, { maxOrder })),
    // Regions that cross chunks.
    world(7, { unitOrder: 8 }),
    world(7, { unitOrder: 9, start: 1 }),
    world(7, { unitOrder: 10 }),
    world(3, { unitOrder: 18, start: 5 }),
  ];

  test.each(worlds.map((world) => [JSON.stringify(world), world] as const))('%s', (_name, world) => {
    expect(exploreShared(world)).toBe(countStates(world));
  });

  test('with every subset of 1 to 4 pages reserved', () => {
    for (const start of [0, 1, 3]) {
      for (let units = 1; units <= 4; units += 1) {
        for (let reserved = 1; reserved < 2 ** units; reserved += 1) {
          const one = world(units, { start, reserved });
          expect(exploreShared(one)).toBe(countStates(one));
        }
      }
    }
  });
});

/** A shared allocator, and a `PageAllocator` that allocates the same blocks. */
interface Twins {
  readonly shared: SharedPageAllocator<FlatAddr>;
  readonly single: PageAllocator<FlatAddr>;
}

function twins(start: number, pages: number, maxOrder: number, reserved: number): Twins {
  const region = flatRegion(BigInt(start) * 4096n, BigInt(start + pages) * 4096n);
  const holes = Array.from({ length: Math.min(pages, 16) }, (_, page) => start + page)
    .filter((page) => (reserved >> (page - start)) & 1)
    .map((page) => flatRegion(BigInt(page) * 4096n, BigInt(page + 1) * 4096n));
  const options = { maxOrder, reserved: holes };
  return {
    shared: SharedPageAllocator.create(region, { ...options, caches: 4 }),
    single: new PageAllocator(region, options),
  };
}

const regions = {
  start: fc.oneof(fc.nat(64), fc.integer({ min: 960, max: 1088 }), fc.constant(2 ** 40 + 77)),
  pages: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1000, max: 5000 })),
  maxOrder: fc.constantFrom(52, 52, 0, 3, 5, 11),
  reserved: fc.oneof(fc.constant(0), fc.nat(0xffff)),
};

test('operations, refusals and counters agree with PageAllocator', () => {
  const steps = fc.array(
    fc.tuple(fc.constantFrom('allocate', 'allocate', 'free', 'free', 'any'), fc.nat(0xffff)),
    {
      maxLength: 300,
      size: 'max',
    },
  );
  fc.assert(
    fc.property(fc.record(regions), steps, ({ start, pages, maxOrder, reserved }, steps) => {
      const { shared, single } = twins(start, pages, maxOrder, reserved);
      const owners = [shared, attached(shared)];
      const live: FlatAddr[] = [];
      const initial = picture(shared);
      for (const [index, [what, value]] of steps.entries()) {
        const owner = owners[index % 2]!;
        if (what === 'allocate') {
          const order = Math.min(Math.clz32(value | 1) - 16, 12);
          let block: ReturnType<typeof owner.allocatePages> | undefined;
          const code = codeOf(() => {
            block = owner.allocatePages(order);
          });
          if (block === undefined) {
            expect(code).toBe(codeOf(() => single.allocatePages(order)));
          } else {
            single.allocateAt(block);
            live.push(block.start);
          }
        } else if (what === 'free' && live.length > 0) {
          const [address] = live.splice(value % live.length, 1) as [FlatAddr];
          owner.freePages(value % 2 === 0 ? address : (owner.blockOf(address)?.region ?? address));
          single.freePages(address);
        } else {
          const page = BigInt(Math.max(0, start - 2 + (value % (pages + 4))));
          const address = (page * 4096n + (value % 5 === 0 ? 8n : 0n)) as FlatAddr;
          if (live.includes(address)) continue;
          expect(codeOf(() => owner.freePages(address))).toBe(codeOf(() => single.freePages(address)));
          expect(codeOf(() => owner.freePage(address))).toBe(codeOf(() => single.freePage(address)));
        }
        const { cachedPages, ...info } = owner.memoryInfo();
        expect(info).toEqual(single.memoryInfo());
        expect(cachedPages).toBe(0);
        if (index % 16 === 0) shared.checkInvariants();
      }
      const blocks = (all: Iterable<{ region: object; order: number; state: string }>) =>
        Array.from(all, ({ region, order, state }) => `${region} ${order} ${state}`);
      expect(blocks(shared.blocks())).toEqual(blocks(single.blocks()));
      for (const address of live) shared.freePages(address);
      expect(picture(shared)).toBe(initial);
      shared.checkInvariants();
    }),
  );
});

test('with caches of several owners, every page has one owner', () => {
  const steps = fc.array(
    fc.tuple(
      fc.constantFrom('allocate', 'allocate', 'free', 'free', 'block', 'freeAny', 'flush', 'close'),
      fc.nat(0xffff),
    ),
    { maxLength: 300, size: 'max' },
  );
  fc.assert(
    fc.property(fc.record(regions), steps, fc.integer({ min: 2, max: 20 }), (region, steps, capacity) => {
      const { shared } = twins(region.start, region.pages, region.maxOrder, region.reserved);
      const owners = [shared, attached(shared)] as const;
      const caches: PageCache<FlatAddr>[] = owners.map((owner) => owner.cache({ pages: capacity }));
      const initial = picture(shared);
      const live = new Map<FlatAddr, number>();
      let used = 0;
      for (const [what, value] of steps) {
        const which = value % 2;
        const cache = caches[which]!;
        const owner = owners[which]!;
        const pick = [...live.keys()][value % Math.max(1, live.size)];
        if (what === 'allocate' || what === 'block') {
          const order = what === 'block' ? (value >> 1) % 5 : 0;
          let got: FlatAddr | undefined;
          const code = codeOf(() => {
            got = what === 'block' ? owner.allocateBlock(order) : cache.allocatePage();
          });
          if (got === undefined) {
            // Even the cached pages would not have been enough.
            expect(code).toBe(order > owner.maxOrder ? 'INVALID_ORDER' : 'OUT_OF_MEMORY');
            const info = owner.memoryInfo();
            if (code === 'OUT_OF_MEMORY') {
              expect(info.cachedPages).toBe(0);
              expect(info.largestFreeOrder ?? -1).toBeLessThan(order);
            }
          } else {
            const first = Number(got / 4096n);
            for (const [other, otherOrder] of live) {
              const start = Number(other / 4096n);
              expect(first + 2 ** order <= start || start + 2 ** otherOrder <= first).toBe(true);
            }
            live.set(got, order);
            used += 2 ** order;
          }
        } else if (what === 'free' && pick !== undefined) {
          const order = live.get(pick) as number;
          if (order === 0 && value % 3 > 0) cache.freePage(pick);
          else if (order === 0) owner.freePage(pick);
          else {
            expect(codeOf(() => cache.freePage(pick))).toBe('WRONG_SIZE');
            owner.freePages(pick);
          }
          live.delete(pick);
          used -= 2 ** order;
          expect(codeOf(() => cache.freePage(pick))).toMatch(/^(DOUBLE_FREE)$/);
          expect(codeOf(() => owner.freePage(pick))).toBe('DOUBLE_FREE');
        } else if (what === 'freeAny') {
          const page = BigInt(Math.max(0, region.start - 2 + ((value >> 1) % (region.pages + 4)))) * 4096n;
          if (live.has(page as FlatAddr)) continue;
          const code = codeOf(() => cache.freePage(page as FlatAddr));
          expect(code).toBe(codeOf(() => owner.freePage(page as FlatAddr)));
          expect(code).toMatch(/^(OUTSIDE_REGION|RESERVED_PAGE|DOUBLE_FREE|BLOCK_TAIL)$/);
        } else if (what === 'flush') {
          cache.flush();
        } else if (what === 'close' && value % 8 < 2) {
          cache.close();
          expect(codeOf(() => cache.allocatePage())).toBe('CLOSED_CACHE');
          caches[which] = owner.cache({ pages: capacity });
        }
        const info = shared.memoryInfo();
        expect(info.allocatedPages).toBe(used);
        expect(info.freePages + info.allocatedPages + info.reservedPages + info.cachedPages).toBe(
          info.totalPages,
        );
      }
      shared.checkInvariants();
      for (const cache of caches) cache.close();
      expect(shared.memoryInfo().cachedPages).toBe(0);
      for (const block of live.keys()) shared.freePages(block);
      expect(picture(shared)).toBe(initial);
      shared.checkInvariants();
    }),
  );
});
