/** Walks, translations and the census of random tables, some corrupted, compared with the library and with listings. */
import { PageSize, physAddr, type VirtAddr, virtAddrTruncate } from '@svsm/address';
import { createPhysMemory, isPageTableError, type PageTableErrorCode, writePhys64 } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { takeCensus } from '../../src/view/census.ts';
import { listLeaves } from '../../src/view/listing.ts';
import { translationOf } from '../../src/view/translation.ts';
import type { DumpView } from '../../src/view/view.ts';
import { listWalks } from '../../src/view/walks.ts';
import { dumpOf, view } from '../support/support.ts';

const FRAMES = 8;
const SIZE = FRAMES * 0x1000;

/** Few frames and few indexes, so that tables share tables, point to themselves and outside memory. Some have reserved bits. */
interface Entry {
  readonly table: number;
  readonly index: number;
  readonly target: number;
  readonly flags: bigint;
  readonly high: bigint;
}

const entry: fc.Arbitrary<Entry> = fc.record({
  table: fc.nat(FRAMES - 1),
  index: fc.constantFrom(0, 1, 255, 256, 511),
  target: fc.nat(FRAMES + 1),
  flags: fc.constantFrom(0x1n, 0x3n, 0x7n, 0x67n, 0x83n, 0xe7n, 0x0n),
  high: fc.constantFrom(0n, 0n, 0n, 1n << 63n, 1n << 50n),
});
const vaddr = fc
  .array(fc.constantFrom(0n, 1n, 255n, 256n, 511n), { minLength: 4, maxLength: 4 })
  .map((indexes) => virtAddrTruncate(indexes.reduce<bigint>((sum, index) => (sum << 9n) | index, 0n) << 12n));

function built(entries: readonly Entry[]): DumpView {
  const memory = createPhysMemory({ size: SIZE });
  for (const { table, index, target, flags, high } of entries) {
    // The low address bits of a large page are reserved, so such an entry points to address 0.
    const address = (flags & 0x80n) !== 0n ? 0n : BigInt(target) << 12n;
    writePhys64(memory, physAddr(table * 0x1000 + 8 * index), address | flags | high);
  }
  return view(dumpOf(memory, SIZE), { cr3: 0n, physicalBits: 40 });
}

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
