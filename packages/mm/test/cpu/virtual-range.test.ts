import { PAGE_SIZE, PageSize, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { VirtualRange } from '../../src/cpu/virtual-range.ts';

const start = virtAddr(0xffff_ff00_4000_0000n);
const make = (pages = 8, options = {}): VirtualRange =>
  new VirtualRange(virtRegion(start, pages * PAGE_SIZE), options);

test('a guard page lies after each allocation', () => {
  const range = make();
  const [one, two] = [range.allocate(2), range.allocate(1)];
  expect([one.start, one.size]).toEqual([start, 0x2000n]);
  expect(two.start).toBeGreaterThanOrEqual(start + 0x3000n);
});

test('is used up when no gap with its guard is left, and again free afterwards', () => {
  const range = make();
  const all = range.allocate(7);
  expect(() => range.allocate(1)).toThrow(/NO_VIRTUAL_RANGE/);
  range.free(all);
  expect(range.allocations).toBe(0);
  expect(range.allocate(7).start).toBe(start);
  expect(() => make().allocate(8)).toThrow(/NO_VIRTUAL_RANGE/);
});

test('without guard pages, allocations are adjacent', () => {
  const range = make(8, { guardPages: 0 });
  expect(range.allocate(8).size).toBe(0x8000n);
});

test('aligns, and counts in pages of 2 MiB', () => {
  const range = new VirtualRange(virtRegion(start, 8 * PageSize.Huge), { pageSize: PageSize.Huge });
  range.allocate(1);
  expect(range.allocate(1, 4 * PageSize.Huge).start).toBe(start + 0x80_0000n);
  expect(() => range.allocate(1, PAGE_SIZE)).toThrow(/INVALID_ARGUMENT/);
});

describe('free', () => {
  test('refuses what was not allocated, a part, and the same twice', () => {
    const range = make();
    const one = range.allocate(2);
    for (const region of [
      virtRegion(start, PAGE_SIZE),
      virtRegion(virtAddr(start + 0x1000n), PAGE_SIZE),
      virtRegion(virtAddr(0), PAGE_SIZE),
    ])
      expect(() => range.free(region)).toThrow(/NOT_A_MAPPING/);
    range.free(one);
    expect(() => range.free(one)).toThrow(/NOT_A_MAPPING/);
    expect(() => range.free(undefined as never)).toThrow(/INVALID_ARGUMENT/);
  });
});

test.each<[string, () => unknown]>([
  ['a region that is not made of pages', () => new VirtualRange(virtRegion(start, 5))],
  ['an empty region', () => new VirtualRange(virtRegion(start, 0))],
  ['a value that is not a region', () => new VirtualRange(7 as never)],
  ['an option that does not exist', () => make(8, { guard: 1 })],
  ['a page size that does not exist', () => make(8, { pageSize: 5 })],
  ['no page', () => make().allocate(0)],
  ['half a page', () => make().allocate(1.5)],
  ['an alignment that is not a power of two', () => make().allocate(1, 0x3000)],
])('refuses %s', (_, run) => {
  expect(run).toThrow(/INVALID_ARGUMENT/);
});

test('a range up to the hole, and one from 2^64 downwards, allow every page', () => {
  for (const first of [0x7fff_ffff_c000n, 0xffff_ffff_ffff_c000n]) {
    const range = new VirtualRange(virtRegion(virtAddr(first), 4 * PAGE_SIZE), { guardPages: 0 });
    expect(range.allocate(4).end).toBe(first + 0x4000n);
  }
});
