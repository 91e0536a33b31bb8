/** Walks, translations and the census of random tables, some corrupted, compared with the library and with listings. */
import { PageSize, type VirtAddr, virtAddrTruncate } from '@svsm/address';
import { isPageTableError, type PageTableErrorCode } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { takeCensus } from '../../src/view/census.ts';
import type { DumpView } from '../../src/view/dump-view.ts';
import { listLeaves } from '../../src/view/listing.ts';
import { translationOf } from '../../src/view/translation.ts';
import { listWalks } from '../../src/view/walks.ts';
import { built, entry, SIZE } from '../support/random-tables.ts';

const vaddr = fc
  .array(fc.constantFrom(0n, 1n, 255n, 256n, 511n), { minLength: 4, maxLength: 4 })
  .map((indexes) => virtAddrTruncate(indexes.reduce<bigint>((sum, index) => (sum << 9n) | index, 0n) << 12n));

function codeOf(run: () => void): PageTableErrorCode | undefined {
  try {
    run();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

test('a walk and a translation agree with the library', () => {
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 40 }),
      fc.array(vaddr, { minLength: 1, maxLength: 8 }),
      (entries, vaddrs) => {
        const opened = built(entries);
        for (const at of vaddrs) {
          const { steps, result } = [...listWalks(opened, [at])].find((record) => record.type === 'walk')!;
          const code = codeOf(() => opened.table.walk(at as VirtAddr));
          expect(translationOf(opened, at)).toEqual(result);
          if (code !== undefined) {
            expect(result.obstacle).toBe(code === 'RESERVED_BITS' ? 'reserved-bits' : 'bus-error');
            const last = steps.at(-1);
            if (code === 'RESERVED_BITS') expect(last?.reserved).not.toBe(0n);
            else expect(Number(last?.address)).toBeGreaterThanOrEqual(SIZE);
            continue;
          }
          const walk = opened.table.walk(at as VirtAddr);
          expect(steps.map(({ level, table, index, entry: raw }) => [level, table, index, raw])).toEqual(
            walk.path.map(({ level, table, index, entry: { raw } }) => [level, table, index, raw]),
          );
          expect(result.paddr).toBe(walk.page?.paddr ?? null);
          expect(result.page?.writable).toBe(walk.page?.writable);
        }
      },
    ),
  );
});

test('the census has the number of pages of the listing, or slightly more if tables are corrupted', () => {
  const count = (opened: DumpView, within?: { start: VirtAddr; end: bigint }): number =>
    [...listLeaves(opened, { within, all: true })].filter(({ type }) => type === 'leaf').length;
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 14 }), vaddr, fc.nat(600), (entries, at, pages) => {
      const opened = built(entries);
      const { pages: expected, entries: once } = takeCensus(opened, undefined);
      // Tables that point to themselves are counted, but not listed.
      fc.pre(expected < 20_000);
      const isWhole = entries.every(({ flags }) => (flags & 0x81n) !== 0x81n);
      const found = count(opened);
      if (isWhole) expect(expected).toBe(found);
      expect(expected).toBeGreaterThanOrEqual(found);
      expect(once).toBeLessThanOrEqual(expected);
      const end = BigInt.asUintN(64, at) + BigInt(pages + 1) * BigInt(PageSize.Regular);
      fc.pre(end >> 47n === at >> 47n || end === 1n << 64n);
      const part = takeCensus(opened, { start: at as VirtAddr, end }).pages;
      if (isWhole) expect(part).toBe(count(opened, { start: at as VirtAddr, end }));
      else expect(part).toBeGreaterThanOrEqual(count(opened, { start: at as VirtAddr, end }));
    }),
  );
});

test('512 entries that point to their own table are counted fast, and not listed', () => {
  const entries = Array.from({ length: 512 }, (_, index) => ({
    table: 0,
    index,
    target: 0,
    flags: 3n,
    high: 0n,
  }));
  const opened = built(entries);
  expect(takeCensus(opened, undefined)).toMatchObject({
    pages: 512 ** 4,
    entries: 512,
    tables: 1,
    selfMapped: [0],
  });
  expect(() => [...listLeaves(opened, { within: undefined, all: false })]).toThrow(
    /68719476736 pages from only 512 entries, because the table at 0x0 is reached at several levels/,
  );
  const within = { start: 0x1234_5000n as VirtAddr, end: 0x1234_7000n };
  expect([...listLeaves(opened, { within, all: false })].filter(({ type }) => type === 'leaf')).toHaveLength(
    2,
  );
});
