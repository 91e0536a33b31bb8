import { type Address, type AddressKind, PageSize, Phys, Virt, Virt57 } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
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

/** Offsets in pages: multiples of each page size, and others. */
const offsets: fc.Arbitrary<number> = fc
  .tuple(
    fc.constantFrom(0, PAGES_1G, PAGES_2M, 1),
    fc.oneof(
      fc.constant(0),
      fc.integer({ min: -700, max: 700 }),
      fc.integer({ min: -(2 ** 32), max: 2 ** 32 }),
    ),
  )
  .map(([unit, count]) => unit * count);

const maxima = fc.constantFrom<PageSize>(PageSize.Regular, PageSize.Huge, PageSize.Giant);

/**
 * The least number of pages that cover the pages from `from` up to `to`, by dynamic programming from the end: it tries
 * every size at every page, and checks both addresses of each.
 */
function fewest(from: number, to: number, offset: number, maxPageSize: PageSize): number {
  const cost = new Int32Array(to - from + 1);
  const isAligned = (page: number, pages: number): boolean =>
    page % pages === 0 && (page + offset) % pages === 0;
  for (let i = to - 1; i >= from; i--) {
    let least = cost[i + 1 - from]!;
    for (const pages of [PAGES_2M, PAGES_1G]) {
      if (pages * 4096 > maxPageSize || i + pages > to || !isAligned(i, pages)) continue;
      least = Math.min(least, cost[i + pages - from]!);
    }
    cost[i - from] = least + 1;
  }
  return cost[0]!;
}

describe.each(PLACES)('pageRuns %s', (_, kind, base) => {
  test('cover the region exactly, with as few pages as possible that are aligned at both addresses', () => {
    fc.assert(
      fc.property(indexes, indexes, offsets, maxima, fc.boolean(), (a, b, pages, maxPageSize, isBig) => {
        const [from, to] = a <= b ? [a, b] : [b, a];
        if (from === SPACE) return;
        const whole = region(kind, base + BigInt(from) * KiB4, base + BigInt(to) * KiB4);
        const bytes = BigInt(pages) * KiB4;
        const isSafe = Number.isSafeInteger(Number(bytes));
        const options = { offset: isBig || !isSafe ? bytes : Number(bytes), maxPageSize };
        const runs = [...whole.pageRuns(options)];
        let at: bigint = whole.start;
        let count = 0;
        for (const [i, run] of runs.entries()) {
          const size = BigInt(run.pageSize);
          // Each run begins where the one before ends: they are ascending and disjoint, without a gap.
          expect(run.start).toBe(at);
          expect([KiB4, MiB2, GiB].includes(size) && size <= maxPageSize).toBe(true);
          expect([run.start % size, (run.start + bytes) % size]).toEqual([0n, 0n]);
          expect(run.count).toBeGreaterThan(0);
          // Runs of one size are one run.
          expect(run.pageSize).not.toBe(runs[i + 1]?.pageSize);
          at += size * BigInt(run.count);
          count += run.count;
        }
        expect(at).toBe(whole.end);
        expect(runs.length).toBeLessThanOrEqual(5);
        expect(count).toBe(fewest(from, to, pages, maxPageSize));
      }),
    );
  });

  test('are the pages of largestPages', () => {
    fc.assert(
      fc.property(indexes, fc.nat(2000), offsets, maxima, (from, count, pages, maxPageSize) => {
        const to = Math.min(from + count, SPACE);
        if (from === SPACE) return;
        const whole = region(kind, base + BigInt(from) * KiB4, base + BigInt(to) * KiB4);
        const options = { offset: BigInt(pages) * KiB4, maxPageSize };
        const expected: string[] = [];
        for (const { start, pageSize, count } of whole.pageRuns(options)) {
          for (let i = 0n; i < count; i += 1n) {
            const page = start + i * BigInt(pageSize);
            expected.push(String(region(kind, page, page + BigInt(pageSize))));
          }
        }
        expect([...whole.largestPages(options)].map(String)).toEqual(expected);
      }),
    );
  });
});

test('the oracle finds the fewest pages in known cases', () => {
  const { Giant, Huge, Regular } = PageSize;
  expect(fewest(0, 0, 0, Giant)).toBe(0);
  expect(fewest(0, PAGES_1G, 0, Giant)).toBe(1);
  expect(fewest(0, PAGES_1G, 0, Huge)).toBe(512);
  expect(fewest(0, PAGES_1G, PAGES_2M, Giant)).toBe(512);
  expect(fewest(0, PAGES_1G, -PAGES_1G, Giant)).toBe(1);
  expect(fewest(0, PAGES_2M, 1, Giant)).toBe(512);
  expect(fewest(0, PAGES_2M, 0, Regular)).toBe(512);
});
