/** The units of a region: pages in the largest size that mapping, address and region allow. */
import { PAGE_SIZE, PageSize, physAddr, Virt, type VirtAddr, virtAddr } from '@svsm/address';
import { RegionSet, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, PtePreset, pagingConfig } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import {
  pagesIn,
  physOf,
  requireMapping,
  splitTo,
  type Unit,
  unitsOf,
} from '../../src/guest/region-units.ts';
import { messageOf } from '../support/message-of.ts';

const MiB = 1 << 20;
/** 4 KiB pages from here on, then pages of 2 MiB, and one of 1 GiB. */
const SMALL = virtAddr(0x4000_0000n);
const HUGE = virtAddr(0x8000_0000n);
const GIANT = virtAddr(0xc000_0000n);

function mapped(): PageTable {
  let frame = 0;
  const table = PageTable.create({
    memory: createPhysMemory({ size: 1 * MiB }),
    frames: { allocateFrame: () => physAddr(PAGE_SIZE * frame++), freeFrame: () => {} },
    config: pagingConfig({ encryption: { mode: 'c-bit', bit: 51 } }),
  });
  for (let page = 0; page < 512; page += 1) {
    table.map4k((SMALL + BigInt(page * PAGE_SIZE)) as VirtAddr, physAddr(page * PAGE_SIZE), PtePreset.Data);
  }
  for (let page = 0; page < 2; page += 1) {
    table.map2m((HUGE + BigInt(page * 2 * MiB)) as VirtAddr, physAddr((4 + 2 * page) * MiB), PtePreset.Data);
  }
  table.map1g(GIANT, physAddr(1024 * MiB), PtePreset.Data);
  return table;
}

const unitsIn = (table: PageTable, start: bigint, size: number): Unit[] => [
  ...unitsOf(table, new RegionSet(Virt, [virtRegion(virtAddr(start), size)])),
];

test.each<[string, start: bigint, size: number, units: number, first: PageSize, mappedSize: PageSize]>([
  ['2 MiB in 4 KiB pages', SMALL, 2 * MiB, 512, PageSize.Regular, PageSize.Regular],
  ['a page of 2 MiB', HUGE, 2 * MiB, 1, PageSize.Huge, PageSize.Huge],
  ['2 pages of 2 MiB', HUGE, 4 * MiB, 2, PageSize.Huge, PageSize.Huge],
  ['2 MiB less a page at its end', HUGE, 2 * MiB - 4096, 511, PageSize.Regular, PageSize.Huge],
  ['2 MiB that begin a page later', HUGE + 4096n, 2 * MiB, 512, PageSize.Regular, PageSize.Huge],
  ['2 MiB in a page of 1 GiB', GIANT + 0x20_0000n, 2 * MiB, 1, PageSize.Huge, PageSize.Giant],
  ['4 KiB in a page of 1 GiB', GIANT + 0x1000n, 4096, 1, PageSize.Regular, PageSize.Giant],
])('%s', (_, start, size, count, first, mappedSize) => {
  const units = unitsIn(mapped(), start, size);
  expect(units).toHaveLength(count);
  expect(units[0]).toMatchObject({ gva: start, size: first, mappedSize, isShared: false });
  expect(units.map(({ region }) => region.start)).toEqual(units.map(({ gva }) => gva));
  expect(units.reduce((sum, unit) => sum + unit.size, 0)).toBe(size);
});

test('a page that is not mapped has no unit', () => {
  expect(messageOf(() => unitsIn(mapped(), SMALL - 4096n, 8192))).toBe(
    '0x000000003ffff000 must be mapped private or shared, but is not mapped [WRONG_MAPPING]',
  );
});

test('a unit has to be mapped as the change needs it', () => {
  const [unit] = unitsIn(mapped(), HUGE, 2 * MiB) as [Unit];
  requireMapping(unit, false);
  requireMapping({ ...unit, isShared: true }, true);
  expect([
    messageOf(() => requireMapping(unit, true)),
    messageOf(() => requireMapping({ ...unit, isShared: true }, false)),
  ]).toEqual([
    '0x0000000080000000 must be mapped shared, but is private [WRONG_MAPPING]',
    '0x0000000080000000 must be mapped private, but is shared [WRONG_MAPPING]',
  ]);
});

test.each<[string, start: bigint, size: number, found: PageSize]>([
  ['a page of 1 GiB to 2 MiB', GIANT + 0x20_0000n, 2 * MiB, PageSize.Huge],
  ['a page of 1 GiB to 4 KiB', GIANT + 0x20_0000n, 4096, PageSize.Regular],
  ['a page of 2 MiB to 4 KiB', HUGE, 4096, PageSize.Regular],
  ['a page of 2 MiB, which fits, not at all', HUGE, 2 * MiB, PageSize.Huge],
])('splits %s', (_, start, size, found) => {
  const table = mapped();
  splitTo(table, unitsIn(table, start, size)[0]!);
  expect(table.lookup(start as VirtAddr)?.size).toBe(found);
});

test('the physical addresses of a part of a unit', () => {
  const [unit] = unitsIn(mapped(), HUGE, 2 * MiB) as [Unit];
  const part = physOf(unit, virtRegion(virtAddr(HUGE + 0x3000n), 0x2000));
  expect([part.start, part.size]).toEqual([physAddr(4 * MiB + 0x3000), 0x2000n]);
});

test('the pages of a unit that are in a set: all of it, some, or none', () => {
  const [unit] = unitsIn(mapped(), HUGE, 2 * MiB) as [Unit];
  const at = (offset: number, size: number) =>
    new RegionSet(Virt, [virtRegion(virtAddr(HUGE + BigInt(offset)), size)]);
  expect(pagesIn(at(0, 4 * MiB), unit)).toEqual([unit]);
  expect(pagesIn(at(2 * MiB, 2 * MiB), unit)).toEqual([]);
  expect(pagesIn(at(0x3000, 0x2000), unit).map(({ gva, gpa, size }) => [gva, gpa, size])).toEqual([
    [HUGE + 0x3000n, physAddr(4 * MiB + 0x3000), PageSize.Regular],
    [HUGE + 0x4000n, physAddr(4 * MiB + 0x4000), PageSize.Regular],
  ]);
});
