/** Filters of listings of random tables and of a real kernel, compared with filtering all leaves. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DumpView } from '../../src/view/dump-view.ts';
import { listLeaves, listRuns } from '../../src/view/listing.ts';
import type { MappingFilter } from '../../src/view/mapping-filter.ts';
import type { LeafRecord } from '../../src/view/record.ts';
import { summarize } from '../../src/view/summary.ts';
import { built, entry } from '../support/random-tables.ts';
import { fixture, open, view } from '../support/support.ts';

const maybe = fc.option(fc.boolean(), { nil: undefined });
const filters: fc.Arbitrary<MappingFilter> = fc.record({
  user: maybe,
  writable: maybe,
  executable: maybe,
  pageSize: fc.option(fc.constantFrom(0x1000, 0x20_0000, 0x4000_0000), { nil: undefined }),
  shared: maybe,
  physical: fc.option(
    fc
      .record({
        first: fc.nat(12),
        pages: fc.integer({ min: 1, max: 0x3_0000 }),
        before: fc.constantFrom(0, 0, 1, 4095),
        after: fc.constantFrom(0, 0, 1, 4095),
      })
      .map(({ first, pages, before, after }) => ({
        start: BigInt(first * 4096 + before),
        end: BigInt((first + pages) * 4096 + after),
      })),
    { nil: undefined },
  ),
});

function leavesOf(of: DumpView, filter?: MappingFilter): LeafRecord[] {
  return [...listLeaves(of, { all: true, filter })].filter((record) => record.type === 'leaf');
}

function agrees(leaf: LeafRecord, filter: MappingFilter): boolean {
  for (const name of ['user', 'writable', 'executable', 'pageSize', 'shared'] as const) {
    if (filter[name] !== undefined && filter[name] !== leaf[name]) return false;
  }
  const { physical } = filter;
  return (
    physical === undefined ||
    (leaf.paddr < physical.end && leaf.paddr + BigInt(leaf.pageSize) > physical.start)
  );
}

/** The pages of 4 KiB that a physical range has a part of. */
function pagesOf({ physical }: MappingFilter): MappingFilter['physical'] {
  return physical && { start: (physical.start >> 12n) << 12n, end: ((physical.end + 4095n) >> 12n) << 12n };
}

/** The bytes of a leaf in the pages of a physical range. */
function bytesIn({ paddr, pageSize }: LeafRecord, filter: MappingFilter): bigint {
  const physical = pagesOf(filter);
  const end = paddr + BigInt(pageSize);
  const from = physical !== undefined && physical.start > paddr ? physical.start : paddr;
  const to = physical !== undefined && physical.end < end ? physical.end : end;
  return to - from;
}

function check(of: DumpView, all: readonly LeafRecord[], filter: MappingFilter): void {
  const expected = all.filter((leaf) => agrees(leaf, filter));
  expect(leavesOf(of, filter)).toEqual(expected);
  const bytes = expected.reduce((sum, leaf) => sum + bytesIn(leaf, filter), 0n);
  let listed = 0n;
  for (const record of listRuns(of, { all: true, filter })) {
    if (record.type !== 'run') continue;
    listed += record.size;
    const physical = pagesOf(filter);
    if (physical === undefined) continue;
    expect(record.paddr).toBeGreaterThanOrEqual(physical.start);
    expect(record.paddr + record.size).toBeLessThanOrEqual(physical.end);
  }
  expect(listed).toBe(bytes);
  const totals = [...summarize(of, { all: true, filter })].find((record) => record.type === 'summary');
  expect(totals?.bytes).toBe(bytes);
  // A page that is cut counts as one.
  expect(totals?.pages).toBe(expected.length);
}

test.each([{}, { encryption: { mode: 'c-bit', bit: 39 } as const }])('random tables with %j', (options) => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 12 }), filters, (entries, filter) => {
      const of = built(entries, options);
      const all: LeafRecord[] = [];
      for (const record of listLeaves(of, { all: true })) {
        if (record.type === 'leaf') all.push(record);
        if (all.length > 3000) return;
      }
      check(of, all, filter);
    }),
  );
});

test('a real kernel', async () => {
  const of = view(await open(fixture('case-f.frames.gz')));
  const all = leavesOf(of);
  for (const filter of [
    { writable: true, executable: true },
    { user: true, pageSize: 0x20_0000 },
    { user: false, physical: { start: 0x10_1000n, end: 0x300_2000n } },
    { shared: true },
  ]) {
    check(of, all, filter);
  }
});
