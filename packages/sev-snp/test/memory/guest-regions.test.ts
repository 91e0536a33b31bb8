import { PAGE_SIZE, PageSize, physAddr, virtAddr } from '@svsm/address';
import { isRegionError, type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GuestRegions } from '../../src/memory/guest-regions.ts';
import { codeOf, MiB } from '../support/world.ts';

const regionAt = (page: number, pages: number) => physRegion(physAddr(page * PAGE_SIZE), pages * PAGE_SIZE);
const map = fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 6 })), { minLength: 1, maxLength: 6 });

test('answers as a plain set of page numbers does', () => {
  fc.assert(
    fc.property(map, fc.nat(46), fc.integer({ min: 1, max: 8 }), (regions, first, count) => {
      const memory = new GuestRegions(regions.map(([page, pages]) => regionAt(page, pages)));
      const twin = new Set(
        regions.flatMap(([page, pages]) => Array.from({ length: pages }, (_, k) => page + k)),
      );
      const asked = Array.from({ length: count }, (_, k) => first + k);
      const region = regionAt(first, count);
      expect(memory.size).toBe(BigInt(twin.size * PAGE_SIZE));
      expect(memory.end).toBe(BigInt((Math.max(...twin) + 1) * PAGE_SIZE));
      expect(memory.contains(region.start)).toBe(twin.has(first));
      expect(memory.regionAt(region.start)?.contains(region.start) ?? false).toBe(twin.has(first));
      expect(memory.containsRegion(region)).toBe(asked.every((page) => twin.has(page)));
      expect(memory.overlaps(region)).toBe(asked.some((page) => twin.has(page)));
      expect(memory.containsPage(region.start, PageSize.Regular)).toBe(twin.has(first));
      const pages = [...memory.iterPages(PageSize.Regular)].map((gpa) => Number(gpa) / PAGE_SIZE);
      expect(pages).toEqual([...twin].toSorted((a, b) => a - b));
      const holes = [...memory.gaps(region)].flatMap((hole) => [...hole.iterPages(PageSize.Regular)]);
      expect(holes.map((gpa) => Number(gpa) / PAGE_SIZE)).toEqual(asked.filter((page) => !twin.has(page)));
      const again = new GuestRegions(memory);
      expect([String(again), again.regionCount]).toEqual([String(memory), [...memory].length]);
    }),
  );
});

test('one region, several in any order, and another set are the same input', () => {
  const [low, high] = [regionAt(0, 1), regionAt(1, 3)];
  expect(String(new GuestRegions([high, low]))).toBe(String(new GuestRegions(regionAt(0, 4))));
  expect(new GuestRegions(new GuestRegions(low)).regionCount).toBe(1);
});

test('prints its regions', () => {
  expect(String(new GuestRegions([regionAt(0, 1), regionAt(2, 1)]))).toBe(
    '{[0x0000000000000000-0x0000000000001000), [0x0000000000002000-0x0000000000003000)}',
  );
});

test('has no page beyond the addresses that exist', () => {
  const memory = new GuestRegions(physRegion(physAddr(2n ** 52n - BigInt(PAGE_SIZE)), PAGE_SIZE));
  expect(memory.containsPage(physAddr(2n ** 52n - BigInt(PAGE_SIZE)), PageSize.Regular)).toBe(true);
  for (const gpa of [2n ** 52n, -1n]) expect(memory.containsPage(gpa as never, PageSize.Regular)).toBe(false);
  expect(memory.containsPage(physAddr(2n ** 52n - BigInt(PAGE_SIZE)), PageSize.Huge)).toBe(false);
});

test('lists large pages of whole regions alone', () => {
  const pages = new GuestRegions([physRegion(physAddr(0), 4 * MiB), regionAt(5000, 1)]).iterPages(
    PageSize.Huge,
  );
  expect([pages.next().value, pages.next().value]).toEqual([0n, BigInt(2 * MiB)]);
  let thrown: unknown;
  try {
    pages.next();
  } catch (error) {
    thrown = error;
  }
  expect(isRegionError(thrown, 'MISALIGNED_REGION')).toBe(true);
});

test.each<[string, unknown]>([
  ['nothing', undefined],
  ['a text', 'all'],
  ['no region', []],
  ['an empty region', physRegion(physAddr(0), 0)],
  ['a part of a page', [physRegion(physAddr(0), PAGE_SIZE), physRegion(physAddr(MiB), 0x800)]],
  ['virtual addresses', virtRegion(virtAddr(0), PAGE_SIZE)],
  ['what is not a region', [{ start: 0 }]],
])('refuses %s', (_, memory) => {
  expect(codeOf(() => new GuestRegions(memory as MemoryRegion<never>))).toBe('INVALID_ARGUMENT');
});
