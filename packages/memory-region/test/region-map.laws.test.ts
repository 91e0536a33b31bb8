import { type Address, Phys, physAddr, virtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { physRegion, virtRegion } from '../src/index.ts';
import { isRegionError } from '../src/region-error.ts';
import { RegionMap } from '../src/region-map.ts';
import type { RegionEntry } from '../src/walk-ranges.ts';
import { placesOf, regionOf, stretch, WINDOW, WINDOWS, type Window } from './region-model.ts';

const code = (operation: () => unknown): string | undefined => {
  try {
    operation();
    return undefined;
  } catch (error) {
    if (isRegionError(error)) return error.code;
    throw error;
  }
};

/** The meaning of a map: the value at each place of the window. */
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

    test('behaves as a map of its addresses', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
          const map = new RegionMap<Address, number>(window.kind);
          let model: (number | undefined)[] = Array.from({ length: WINDOW });
          for (const { op, given, value } of steps) {
            // A random region is hardly ever an entry, so mostly the entry at the place is deleted.
            const there = map.entryAt(window.kind.address(window.base + BigInt(given[0])))?.[0];
            const region =
              op === 'delete' && there !== undefined && value > 0 ? there : regionOf(window, given);
            const places = placesOf(window, [region]);
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

  test('refuses an overlap with an error that names both regions', () => {
    const map = new RegionMap(Phys, [[at(0x1000, 0x1000), 'ram']]);
    expect(() => map.set(at(0x1800, 0x1000), 'rom')).toThrow(
      '[0x0000000000001800-0x0000000000002800) overlaps [0x0000000000001000-0x0000000000002000), which is already in the map [REGION_OVERLAP]',
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

  // One byte each, every other byte: several chunks, whose keys differ only in the lower part.
  test('finds each of many regions, while chunks split, shrink and become empty', () => {
    const count = 1000;
    const order = Array.from({ length: count }, (_, i) => (i * 377) % count);
    const map = new RegionMap(
      Phys,
      order.map((i) => [at(2 * i, 1), i] as const),
    );
    const expectEntries = (entries: readonly number[]): void => {
      expect([...map].map(([, value]) => value)).toEqual(entries);
      expect(map.size).toBe(entries.length);
      const there = new Set(entries);
      for (let i = 0; i < count; i += 1) {
        expect(map.get(physAddr(2 * i))).toBe(there.has(i) ? i : undefined);
        expect(map.get(physAddr(2 * i + 1))).toBeUndefined();
      }
    };
    const all = Array.from({ length: count }, (_, i) => i);
    expectEntries(all);
    expect(map.get(physAddr(2 * count))).toBeUndefined();
    // From the front: the first entry of a chunk is removed, then the next, until the chunk is empty.
    for (let i = 0; i < 500; i += 1) expect(map.delete(at(2 * i, 1))).toBe(i);
    expectEntries(all.slice(500));
    expect([...map.overlapping(at(0, 1001))].map(([, value]) => value)).toEqual([500]);
    for (let i = 499; i >= 0; i -= 1) map.set(at(2 * i, 1), i);
    expectEntries(all);
    for (const i of order.filter((i) => i % 10 !== 0)) map.delete(at(2 * i, 1));
    expectEntries(all.filter((i) => i % 10 === 0));
    for (const i of all.filter((i) => i % 10 === 0)) map.delete(at(2 * i, 1));
    expectEntries([]);
    map.set(at(5, 2), 5);
    expect([...map]).toHaveLength(1);
  });

  test('made of entries in any order, finds an overlap between any two of them', () => {
    const entries = [at(0x3000, 1), at(0x1000, 1), at(0x2000, 0x1001), at(0, 1)].map(
      (region) => [region, 0] as const,
    );
    expect(code(() => new RegionMap(Phys, entries))).toBe('REGION_OVERLAP');
    expect(code(() => new RegionMap(Phys, [...entries].reverse()))).toBe('REGION_OVERLAP');
    expect([...new RegionMap(Phys, entries.slice(0, 2))].map(([{ start }]) => start)).toEqual([
      0x1000n,
      0x3000n,
    ]);
    expect(code(() => new RegionMap(Phys, [entries[0] as never, entries[0] as never]))).toBe(
      'REGION_OVERLAP',
    );
  });

  test('refuses regions and addresses of another kind, and changes nothing', () => {
    const map = new RegionMap(Phys, [[at(0x1000, 0x1000), 'ram']]);
    const other = virtRegion(virtAddr(0x1000), 0x1000) as never;
    for (const operation of [
      () => map.set(other, ''),
      () => map.overlay(other, ''),
      () => map.delete(other),
      () => [...map.overlapping(other)],
      () => [...map.gaps(other)],
      () => new RegionMap(Phys, [[other, '']]),
      () => map.set(undefined as never, ''),
    ]) {
      expect(code(operation)).toBe('KIND_MISMATCH');
    }
    for (const address of [0x1000, 1n << 52n, -1n, undefined, '4096']) {
      expect(() => map.get(address as never)).toThrow(/physical address/);
      expect(() => map.entryAt(address as never)).toThrow(/physical address/);
    }
    expect([...map].map(String)).toEqual(['[0x0000000000001000-0x0000000000002000),ram']);
    expect([...map.overlapping(at(0x1000, 0))]).toEqual([]);
  });

  test('distinguishes a value of undefined from no entry', () => {
    const map = new RegionMap<ReturnType<typeof physAddr>, undefined>(Phys, [[at(0, 1), undefined]]);
    expect(map.entryAt(physAddr(0))).toBeDefined();
    expect(map.entryAt(physAddr(1))).toBeUndefined();
  });
});
