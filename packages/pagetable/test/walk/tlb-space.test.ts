import { PageSize, physAddr, Virt, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FlushDebts } from '../../src/walk/flush-debts.ts';
import { type HeldEntry, TlbSpace } from '../../src/walk/tlb-space.ts';
import { mapSteps } from '../support/counted.ts';

/** The pages of 4 KiB, and the number of a page of 2 MiB that holds them. */
const PAGES = 2048;
const HUGE = PageSize.Huge / PageSize.Regular;

function entryOf(page: number, level: number): HeldEntry {
  const size = level === 0 ? PageSize.Regular : PageSize.Huge;
  const start = BigInt(page * PageSize.Regular) as VirtAddr;
  const found = { size, frame: physAddr(0), paddr: physAddr(0), shared: false, flags: 1 };
  const rights = { writable: true, user: false, executable: true, shadowStack: false };
  return {
    region: MemoryRegion.unchecked(Virt, start, BigInt(size)),
    page: { ...found, ...rights },
    pcid: 0,
    isGlobal: false,
    isStale: false,
    staleBy: undefined,
  };
}

/** A place of an entry: a page and the level. */
const place = fc.record({ page: fc.integer({ min: 0, max: PAGES - 1 }), level: fc.constantFrom(0, 0, 0, 1) });
type Place = typeof place extends fc.Arbitrary<infer T> ? T : never;

/** A space, and the same entries in a list. An entry is `first` to `end`, in pages. */
function filled(places: readonly Place[], stale: readonly number[]) {
  const space = new TlbSpace();
  const list = new Map<string, { first: number; end: number; entry: HeldEntry }>();
  for (const { page, level } of places) {
    const first = level === 0 ? page : page - (page % HUGE);
    const entry = entryOf(first, level);
    space.remove(level, page);
    space.set(level, page, entry);
    list.set(`${level} ${first}`, { first, end: first + (level === 0 ? 1 : HUGE), entry });
  }
  for (const page of stale) space.mark(page, page + 1, 'unmap4k');
  for (const { first, end, entry } of list.values()) {
    expect(entry.isStale).toBe(stale.some((page) => first <= page && page < end));
  }
  return { space, list: [...list.values()] };
}

const heldBy = (space: TlbSpace): HeldEntry[] => {
  const found = new Set<HeldEntry>();
  for (let page = 0; page < PAGES; page += 1) {
    for (const level of [0, 1]) {
      const entry = space.at(level, page);
      if (entry !== undefined) found.add(entry);
    }
  }
  return [...found];
};
const sorted = (entries: Iterable<HeldEntry>): HeldEntry[] =>
  [...entries].sort((a, b) => Number(a.region.start - b.region.start) || Number(a.page.size - b.page.size));

test('a flush of pages at a distance drops the entries that hold one of them, and no other', () => {
  const runs = fc.array(place, { maxLength: 40 });
  const pages = fc.array(fc.integer({ min: 0, max: PAGES - 1 }), { maxLength: 10 });
  const first = fc.integer({ min: 0, max: PAGES - 1 });
  const count = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 64 }));
  fc.assert(
    fc.property(
      runs,
      pages,
      first,
      count,
      fc.constantFrom(1, 3, HUGE),
      (places, stale, first, count, step) => {
        const { space, list } = filled(places, stale);
        expect(space.size).toBe(list.length);
        const named = Array.from({ length: count }, (_, k) => first + k * step);
        const rest = list.filter((one) => !named.some((page) => one.first <= page && page < one.end));
        space.dropEach(first, count, step);
        expect(sorted(heldBy(space))).toEqual(sorted(rest.map(({ entry }) => entry)));
        expect(space.size).toBe(rest.length);
        const stillStale = rest.map(({ entry }) => entry).filter(({ isStale }) => isStale);
        expect(sorted(space.stale)).toEqual(sorted(stillStale));
        for (const page of stale) {
          const isHeld = rest.some(({ first, end, entry }) => entry.isStale && first <= page && page < end);
          expect(space.isStale(page)).toBe(isHeld);
        }
        const end = first + 3 * HUGE;
        const within = rest.filter((one) => one.entry.isStale && one.first < end && first < one.end);
        expect(sorted(space.staleWithin(first, end))).toEqual(sorted(within.map(({ entry }) => entry)));
        space.clear();
        expect([space.size, space.stale.size]).toEqual([0, 0]);
      },
    ),
    { numRuns: Math.max(200, Number(process.env['FC_NUM_RUNS'])) },
  );
});

test('a mark of a range makes the entries that overlap it stale, by the first operation that reached them', () => {
  const range = fc.tuple(
    fc.integer({ min: 0, max: PAGES - 1 }),
    fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 1500 })),
  );
  fc.assert(
    fc.property(fc.array(place, { maxLength: 40 }), fc.array(range, { maxLength: 4 }), (places, ranges) => {
      const { space, list } = filled(places, []);
      for (const [first, length] of ranges) space.mark(first, first + length, `unmap of ${length}`);
      for (const { first, end, entry } of list) {
        // A range of no pages is the page at its start: only whole pages change.
        const by = ranges.find(([from, length]) => first < from + Math.max(1, length) && from < end);
        expect(entry.staleBy).toBe(by === undefined ? undefined : `unmap of ${by[1]}`);
        expect(space.stale.has(entry)).toBe(entry.isStale);
      }
    }),
    { numRuns: Math.max(200, Number(process.env['FC_NUM_RUNS'])) },
  );
});

test('a flush of pages at a distance ends with its last page, not with the large page that holds the next one', () => {
  for (const others of [0, 3]) {
    const { space } = filled(
      [
        { page: HUGE, level: 1 },
        ...Array(others)
          .keys()
          .map((page) => ({ page, level: 0 as const })),
      ],
      [],
    );
    space.dropEach(HUGE - 12, 2, 7);
    expect(space.at(1, HUGE)).toBeDefined();
    space.dropEach(HUGE - 12, 3, 7);
    expect(space.at(1, HUGE)).toBeUndefined();
  }
});

test('an operation on a range costs the smaller of its pages and of the entries', () => {
  const [many, few] = [1000, 3].map((count) => () => {
    const places = Array.from({ length: count }, (_, k) => ({ page: k, level: 0 as const }));
    return filled([...places, { page: HUGE, level: 1 }], [HUGE]).space;
  }) as [() => TlbSpace, () => TlbSpace];
  const operations: readonly ((space: TlbSpace, pages: number) => void)[] = [
    (space, pages) => space.dropAll(5, 5 + pages),
    (space, pages) => space.dropEach(5, pages, 1),
    (space, pages) => space.dropEach(5, pages, 7),
    (space, pages) => space.mark(5, 5 + pages, 'unmap'),
    (space, pages) => space.staleWithin(5, 5 + pages),
  ];
  for (const operation of operations) {
    const narrow = many();
    // A look-up for each level of each page, and one more to delete what is found.
    expect(mapSteps(() => operation(narrow, 4))).toBeLessThanOrEqual(4 * 2 * 3);
    const wide = few();
    expect(mapSteps(() => operation(wide, 2 ** 20))).toBeLessThanOrEqual(2 * 4 + 3);
  }
});

test('what is due for a range is reduced to what its entries overlap, and stays due elsewhere', () => {
  const span = fc
    .tuple(fc.integer({ min: 0, max: 63 }), fc.integer({ min: 1, max: 12 }))
    .map(([first, length]) => ({ first, end: first + length }));
  fc.assert(
    fc.property(
      fc.array(span, { maxLength: 8 }),
      span,
      fc.array(span, { maxLength: 4 }),
      (due, range, kept) => {
        const debts = new FlushDebts(Virt);
        for (const { first, end } of due) debts.add(first, end, 5);
        const entries = kept
          .filter(({ first, end }) => first < range.end && range.first < end)
          .map(({ first, end }) => ({
            ...entryOf(first, 0),
            region: MemoryRegion.unchecked(
              Virt,
              BigInt(first * 4096) as VirtAddr,
              BigInt((end - first) * 4096),
            ),
          }));
        debts.reduceWithin(range.first, range.end, entries, 5);
        const isIn = (page: number) => (one: { first: number; end: number }) =>
          one.first <= page && page < one.end;
        const expected = Array.from({ length: 80 }, (_, page) => page).filter(
          (page) => due.some(isIn(page)) && (!isIn(page)(range) || kept.some(isIn(page))),
        );
        const found = debts.regions.flatMap(({ start, size }) =>
          Array.from({ length: Number(size / 4096n) }, (_, k) => Number(start / 4096n) + k),
        );
        expect(found).toEqual(expected);
        expect(debts.scopes).toEqual(expected.length > 0 ? [5] : []);
        expect(debts.bytes).toBe(BigInt(expected.length) * 4096n);
      },
    ),
    { numRuns: Math.max(200, Number(process.env['FC_NUM_RUNS'])) },
  );
});
