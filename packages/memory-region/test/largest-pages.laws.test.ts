import { type Address, type AddressKind, PageSize, Phys, Virt, Virt57 } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MemoryRegion } from '../src/index.ts';
import { END_64, END_PHYS, GiB, HIGH_START, KiB4, LOW_END, MiB2, region } from './support.ts';

const PAGES_2M = 512;
const PAGES_1G = 512 * 512;
/** Pages in a place: enough for one 1 GiB page with some 2 MiB and 4 KiB pages on both sides. */
const SPACE = 2 * PAGES_1G;

/** Runs of `SPACE` pages that start at a multiple of 1 GiB; most of them end at the limit of a region. */
const PLACES: readonly (readonly [name: string, kind: AddressKind<Address>, base: bigint])[] = [
  ['from 0 on', Virt, 0n],
  ['below the hole', Virt, LOW_END - 2n * GiB],
  ['above the hole', Virt, HIGH_START],
  ['below 2^64', Virt, END_64 - 2n * GiB],
  ['below the hole of 57 bits', Virt57, 2n ** 56n - 2n * GiB],
  ['below 2^52', Phys, END_PHYS - 2n * GiB],
];

/** Page indexes at a boundary of a large page, or a few pages away from one. */
const indexes: fc.Arbitrary<number> = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(0, PAGES_1G, SPACE),
      fc.nat(SPACE / PAGES_2M).map((huge) => huge * PAGES_2M),
    ),
    fc.oneof(fc.constant(0), fc.integer({ min: -3, max: 3 }), fc.integer({ min: -600, max: 600 })),
  )
  .map(([boundary, offset]) => Math.min(Math.max(boundary + offset, 0), SPACE));

/**
 * The least number of pages that cover the pages from `from` up to `to`, by dynamic programming from the end: it tries
 * every size at every page.
 */
function fewest(from: number, to: number): number {
  const cost = new Int32Array(to - from + 1);
  for (let i = to - 1; i >= from; i--) {
    let least = cost[i + 1 - from]!;
    if (i % PAGES_2M === 0 && i + PAGES_2M <= to) least = Math.min(least, cost[i + PAGES_2M - from]!);
    if (i % PAGES_1G === 0 && i + PAGES_1G <= to) least = Math.min(least, cost[i + PAGES_1G - from]!);
    cost[i - from] = least + 1;
  }
  return cost[0]!;
}

describe.each(PLACES)('largestPages %s', (_, kind, base) => {
  test('returns as few aligned, sorted, disjoint pages as possible, and they cover the region exactly', () => {
    fc.assert(
      fc.property(indexes, indexes, (a, b) => {
        const [from, to] = a <= b ? [a, b] : [b, a];
        if (from === SPACE) return;
        const whole = region(kind, base + BigInt(from) * KiB4, base + BigInt(to) * KiB4);
        const pages = [...whole.largestPages()];
        let at: bigint = whole.start;
        for (const page of pages) {
          // Each page begins where the one before ends: they are sorted and disjoint, without a gap.
          if (page.start !== at) expect(page.start).toBe(at);
          if (![KiB4, MiB2, GiB].includes(page.size)) expect.fail(`${page} does not have a page size`);
          if (page.start % page.size !== 0n) expect.fail(`${page} is not aligned`);
          at = page.end;
        }
        expect(at).toBe(whole.end);
        expect(pages.length).toBe(fewest(from, to));
      }),
    );
  });
});

test('the oracle finds the fewest pages in known cases', () => {
  expect(fewest(0, 0)).toBe(0);
  expect(fewest(0, 1)).toBe(1);
  expect(fewest(0, 511)).toBe(511);
  expect(fewest(0, 512)).toBe(1);
  expect(fewest(1, 513)).toBe(512);
  expect(fewest(1, 1024)).toBe(512);
  expect(fewest(0, PAGES_1G)).toBe(1);
  expect(fewest(0, PAGES_1G - 1)).toBe(511 + 511);
});

describe('iterPages', () => {
  test('yields what a hand-written loop yields, for each size and at every edge', () => {
    const sizes = fc.constantFrom(PageSize.Regular, PageSize.Huge, PageSize.Giant);
    // An edge, and the direction of the pages from it.
    const edges = fc.constantFrom<readonly [AddressKind<Address>, bigint, 1n | -1n]>(
      [Virt, 0n, 1n],
      [Virt, LOW_END, -1n],
      [Virt, HIGH_START, 1n],
      [Virt, END_64, -1n],
      [Phys, 0n, 1n],
      [Phys, END_PHYS, -1n],
    );
    fc.assert(
      fc.property(edges, sizes, fc.nat(40), fc.nat(40), ([kind, edge, direction], size, skip, count) => {
        const step = BigInt(size);
        const near = edge + direction * step * BigInt(skip);
        const far = near + direction * step * BigInt(count);
        const start = direction === 1n ? near : far;
        if (!kind.isAddress(start)) return;
        const pages = region(kind, start, direction === 1n ? far : near);
        const expected: bigint[] = [];
        for (let page: bigint = start; page < pages.end; page += step) expected.push(page);
        expect([...pages.iterPages(size)]).toEqual(expected);
        expect(pages.pageCount(size)).toBe(count);
      }),
    );
  });

  test('yields the pages of largestPages, each cut into 4 KiB', () => {
    fc.assert(
      fc.property(fc.nat(1500), fc.nat(1500), (from, count) => {
        const whole: MemoryRegion<Address> = region(Virt, BigInt(from) * KiB4, BigInt(from + count) * KiB4);
        const cut = [...whole.largestPages()].flatMap((page) => [...page.iterPages(PageSize.Regular)]);
        expect(cut).toEqual([...whole.iterPages(PageSize.Regular)]);
      }),
    );
  });
});
