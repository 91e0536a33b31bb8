import { type Address, Phys, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { physRegion } from '../src/memory-region.ts';
import { isRegionError } from '../src/region-error.ts';
import { RegionMap } from '../src/region-map.ts';
import type { RegionEntry } from '../src/walk-ranges.ts';
import { modelOf, placesOf, regionOf, stretch, WINDOW, WINDOWS, type Window } from './region-model.ts';

const code = (operation: () => unknown): string | undefined => {
  try {
    operation();
    return undefined;
  } catch (error) {
    if (isRegionError(error)) return error.code;
    throw error;
  }
};

/** What a map means: for each place of the window, the value there. */
const valuesOf = (
  window: Window,
  entries: Iterable<RegionEntry<Address, number>>,
): (number | undefined)[] => {
  const values: (number | undefined)[] = Array.from({ length: WINDOW });
  for (const [region, value] of entries)
    for (const place of placesOf(window, [region])) values[place] = value;
  return values;
};

describe.each(WINDOWS.map((window) => [window.name, window] as const))(
  'a map of regions at %s',
  (_, window) => {
    const step = fc.record({
      op: fc.constantFrom('set', 'overlay', 'delete'),
      given: stretch,
      value: fc.integer({ min: 0, max: 2 }),
    });

    test('is a map of addresses', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
          const map = new RegionMap<Address, number>(window.kind);
          let model: (number | undefined)[] = Array.from({ length: WINDOW });
          for (const { op, given, value } of steps) {
            const region = regionOf(window, given);
            const places = [...modelOf([given])];
            const before = [...map].map(String);
            const held = [...map].find(([other]) => other.equals(region));
            let expected: string | undefined;
            if (op === 'delete') expected = held === undefined ? 'NO_SUCH_REGION' : undefined;
            else if (places.length === 0) expected = 'EMPTY_REGION';
            else if (op === 'set' && places.some((place) => model[place] !== undefined))
              expected = 'REGION_OVERLAP';

            const outcome = code(() => {
              if (op === 'set') map.set(region, value);
              else if (op === 'overlay') map.overlay(region, value);
              else expect(map.delete(region)).toBe(held?.[1]);
            });
            expect(outcome).toBe(expected);
            if (expected === undefined) {
              model = model.map((was, place) =>
                places.includes(place) ? (op === 'delete' ? undefined : value) : was,
              );
            } else expect([...map].map(String)).toEqual(before);

            expect(valuesOf(window, map)).toEqual(model);
            expect(map.size).toBe([...map].length);
            const starts = [...map].map(([{ start }]) => start);
            expect(starts).toEqual([...starts].sort((a, b) => (a < b ? -1 : 1)));
            for (let place = 0; place < WINDOW; place += 7) {
              const address = window.kind.address(window.base + BigInt(place));
              expect(map.get(address)).toBe(model[place]);
              expect(map.entryAt(address)?.[0].contains(address) ?? false).toBe(model[place] !== undefined);
            }
            expect([...map.overlapping(region)].map(String)).toEqual(
              [...map].filter(([other]) => other.overlaps(region)).map(String),
            );
            expect(placesOf(window, map.gaps(region))).toEqual(
              places.filter((place) => model[place] === undefined),
            );
          }
          const joined = [...map.coalesced()];
          expect(valuesOf(window, joined)).toEqual(model);
          for (const [i, [region, value]] of joined.entries()) {
            const next = joined[i + 1];
            expect(next !== undefined && next[0].start === region.end && next[1] === value).toBe(false);
          }
          const again = new RegionMap(window.kind, [...map].reverse());
          expect([...again].map(String)).toEqual([...map].map(String));
        }),
      );
    });
  },
);

describe('RegionMap', () => {
  const at = (from: number, size: number) => physRegion(physAddr(from), size);

  test('refuses an overlap with an error that names both', () => {
    const map = new RegionMap(Phys, [[at(0x1000, 0x1000), 'ram']]);
    expect(() => map.set(at(0x1800, 0x1000), 'rom')).toThrow(
      '[0x0000000000001800-0x0000000000002800) overlaps [0x0000000000001000-0x0000000000002000), which is there already [REGION_OVERLAP]',
    );
    expect(
      code(
        () =>
          new RegionMap(Phys, [
            [at(0x1800, 0x1000), 1],
            [at(0x1000, 0x1000), 2],
          ]),
      ),
    ).toBe('REGION_OVERLAP');
    expect(code(() => new RegionMap(Phys, [[at(0, 0), 1]]))).toBe('EMPTY_REGION');
  });

  test('keeps a value of undefined apart from no entry', () => {
    const map = new RegionMap<ReturnType<typeof physAddr>, undefined>(Phys, [[at(0, 1), undefined]]);
    expect(map.entryAt(physAddr(0))).toBeDefined();
    expect(map.entryAt(physAddr(1))).toBeUndefined();
  });
});
