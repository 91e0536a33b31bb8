import { type Address, Phys, physAddr, virtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { physRegion, virtRegion } from '../src/index.ts';
import { isRegionError } from '../src/region-error.ts';
import { RegionMap } from '../src/region-map.ts';
import { type RegionEntry, walkRanges } from '../src/walk-ranges.ts';
import { placesOf, regionOf, stretch, WINDOW, WINDOWS, type Window } from './region-model.ts';

/** Sorted and disjoint entries, numbered, some of them touching. */
function entriesOf(
  window: Window,
  given: readonly (readonly [number, number])[],
): RegionEntry<Address, number>[] {
  const map = new RegionMap<Address, number>(window.kind);
  for (const [i, one] of given.entries()) if (one[1] > 0) map.overlay(regionOf(window, one), i);
  return [...map];
}

const failure = (operation: () => unknown): unknown => {
  try {
    return operation();
  } catch (error) {
    return error;
  }
};

describe.each(WINDOWS.map((window) => [window.name, window] as const))(
  'a sweep over two lists at %s',
  (_, window) => {
    test('yields for each address the entries of both sides, and ends a piece where either side begins or ends one', () => {
      const some = fc.array(stretch, { maxLength: 8 });
      fc.assert(
        fc.property(some, some, (first, second) => {
          const [left, right] = [entriesOf(window, first), entriesOf(window, second)];
          const at = (entries: typeof left, place: number) =>
            entries.find(([region]) => placesOf(window, [region]).includes(place));
          const pieces = [...walkRanges(left, right)];
          const seen = pieces.flatMap((piece) =>
            placesOf(window, [piece.region]).map((place) => [place, piece] as const),
          );
          for (const [place, piece] of seen) {
            expect(piece.left).toBe(at(left, place));
            expect(piece.right).toBe(at(right, place));
          }
          const covered = Array.from({ length: WINDOW }, (_, place) => place).filter(
            (place) => at(left, place) !== undefined || at(right, place) !== undefined,
          );
          expect(seen.map(([place]) => place)).toEqual(covered);
          for (const [i, piece] of pieces.entries()) {
            const next = pieces[i + 1];
            const goesOn = next?.region.start === piece.region.end;
            expect(goesOn && next?.left === piece.left && next?.right === piece.right).toBe(false);
          }
        }),
      );
    });
  },
);

describe('walkRanges', () => {
  const at = (from: number, size: number) => [physRegion(physAddr(from), size), from] as const;

  test('skips empty regions, wherever they lie', () => {
    const pieces = [...walkRanges([at(4, 0), at(5, 2), at(6, 0), at(7, 0)], [at(0, 0)])];
    expect(pieces.map(({ region }) => [region.start, region.size])).toEqual([[5n, 2n]]);
  });

  test('names the side and the index of a region that is not sorted or overlaps', () => {
    const error = failure(() => [...walkRanges([], [at(0, 4), at(8, 4), at(10, 4)])]);
    expect(isRegionError(error, 'UNSORTED_REGIONS') && error.details).toMatchObject({
      side: 'right',
      index: 2,
    });
    expect(String(error)).toMatch(
      /region 2 on the right, \[0x000000000000000a-0x000000000000000e\), does not come after/,
    );
    expect(
      isRegionError(
        failure(() => [...walkRanges([at(8, 4), at(0, 4)], [])]),
        'UNSORTED_REGIONS',
      ),
    ).toBe(true);
  });

  test('refuses two kinds of address', () => {
    const virtual = [[virtRegion(virtAddr(0), 4), 0]] as never;
    expect(
      isRegionError(
        failure(() => [...walkRanges([at(0, 4)], virtual)]),
        'KIND_MISMATCH',
      ),
    ).toBe(true);
  });

  test('is lazy', () => {
    const entries = function* () {
      yield at(0, 4);
      throw new Error('read too far');
    };
    expect(walkRanges(entries(), new RegionMap(Phys)).next().value?.region.size).toBe(4n);
  });
});
