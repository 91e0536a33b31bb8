import { type Address, Phys, physAddr, virtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  differenceRanges,
  intersectRanges,
  MemoryRegion,
  physRegion,
  RegionMap,
  RegionSet,
  subtractRanges,
  unionRanges,
  virtRegion,
} from '../src/index.ts';
import { modelOf, placesOf, regionOf, stretch, WINDOW, WINDOWS, type Window } from './region-model.ts';
import { regionError, untyped } from './support.ts';

/** Each operation, the one on sets, and its meaning for one address. */
const OPERATIONS = [
  ['unionRanges', unionRanges, 'union', (left: boolean, right: boolean) => left || right],
  ['intersectRanges', intersectRanges, 'intersect', (left: boolean, right: boolean) => left && right],
  ['subtractRanges', subtractRanges, 'subtract', (left: boolean, right: boolean) => left && !right],
  ['differenceRanges', differenceRanges, 'difference', (left: boolean, right: boolean) => left !== right],
] as const;

/** Sorted and disjoint regions. Some touch, and some are empty. */
function listOf(window: Window, given: readonly (readonly [number, number])[]): MemoryRegion<Address>[] {
  const map = new RegionMap<Address, number>(window.kind);
  for (const [i, one] of given.entries()) if (one[1] > 0) map.overlay(regionOf(window, one), i);
  return [...map].flatMap(([region, value]) =>
    value % 3 === 0 ? [MemoryRegion.unchecked(window.kind, region.start, 0n), region] : [region],
  );
}

const lists = fc.array(stretch, { maxLength: 8 });

describe.each(OPERATIONS)('%s', (_, operation, method, keeps) => {
  test.each(WINDOWS.map((window) => [window.name, window] as const))(
    'yields the regions of the operation on sets, at %s',
    (_, window) => {
      fc.assert(
        fc.property(lists, lists, (first, second) => {
          const [left, right] = [listOf(window, first), listOf(window, second)];
          const found = [...operation(left, right)];
          const [inLeft, inRight] = [modelOf(first), modelOf(second)];
          expect(placesOf(window, found)).toEqual(
            Array.from({ length: WINDOW }, (_, place) => place).filter((place) =>
              keeps(inLeft.has(place), inRight.has(place)),
            ),
          );
          const sets = [new RegionSet(window.kind, left), new RegionSet(window.kind, right)] as const;
          // Also the same regions: none is empty, and no two touch.
          expect(found.map(String)).toEqual([...sets[0][method](sets[1])].map(String));
          expect([...operation(sets[0], sets[1])].map(String)).toEqual(found.map(String));
        }),
      );
    },
  );

  const at = (from: number, size: number) => physRegion(physAddr(from), size);

  test('names the side and the index of a region that is not sorted or overlaps', () => {
    const bad = [at(0, 4), at(8, 4), at(10, 4)];
    for (const side of ['left', 'right'] as const) {
      const { details } = regionError('UNSORTED_REGIONS', () => [
        ...(side === 'left' ? operation(bad, [at(0, 32)]) : operation([at(0, 32)], bad)),
      ]);
      expect(details).toEqual({ side, index: 2, before: bad[1], region: bad[2] });
    }
  });

  test('refuses two kinds of address, in two lists and in one', () => {
    const virtual = untyped(virtRegion(virtAddr(16), 4));
    regionError('KIND_MISMATCH', () => [...operation([at(0, 4)], [virtual])]);
    regionError('KIND_MISMATCH', () => [...operation([virtual], [at(0, 4)])]);
    regionError('KIND_MISMATCH', () => [...operation([at(0, 4), virtual], [])]);
    regionError('KIND_MISMATCH', () => [...operation([], [at(0, 4), virtual])]);
  });

  test('is lazy', () => {
    const endless = function* (from: number, size: number) {
      for (let i = from; ; i += 16) yield at(i, size);
    };
    const regions = operation(endless(0, 8), endless(4, 8));
    for (let i = 0; i < 100; i += 1) expect(regions.next().done).toBe(false);
  });
});

test('a list that changes is read with the rule of its own iterator', () => {
  const page = (i: number) => physRegion(physAddr(i * 4096), 4096);
  const free = new RegionSet(Phys, [page(0), page(2), page(4), page(6)]);
  for (const region of intersectRanges(free, [physRegion(physAddr(0), 5 * 4096)])) free.remove(region);
  expect(String(free)).toBe(`{${page(6)}}`);
});
