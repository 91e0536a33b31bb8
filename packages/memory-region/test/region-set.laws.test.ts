import { type Address, Phys, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { physRegion } from '../src/index.ts';
import { isRegionError } from '../src/region-error.ts';
import { RegionSet } from '../src/region-set.ts';
import {
  modelOf,
  placesOf,
  regionOf,
  sorted,
  stretch,
  stretches,
  WINDOW,
  WINDOWS,
  type Window,
} from './region-model.ts';

type Stretches = readonly (readonly [number, number])[];

const setOf = (window: Window, given: Stretches): RegionSet<Address> =>
  new RegionSet(
    window.kind,
    given.map((one) => regionOf(window, one)),
  );

/** Checks the form of a set: regions that are not empty, ascending, with a gap between any two. */
function expectForm(set: RegionSet<Address>): void {
  let end: bigint | undefined;
  let count = 0;
  for (const region of set) {
    expect(region.isEmpty).toBe(false);
    if (end !== undefined) expect(region.start).toBeGreaterThan(end);
    end = region.end;
    count += 1;
  }
  expect(set.regionCount).toBe(count);
}

describe.each(WINDOWS.map((window) => [window.name, window] as const))(
  'a set of regions at %s',
  (_, window) => {
    const all = regionOf(window, [0, WINDOW]);
    const places = (set: Iterable<typeof all>): number[] => placesOf(window, set);

    test('behaves as the set of its addresses, in whatever order they are added and removed', () => {
      const step = fc.record({ add: fc.boolean(), given: stretch });
      fc.assert(
        fc.property(stretches, fc.array(step, { maxLength: 30 }), (initial, steps) => {
          const set = setOf(window, initial);
          const model = modelOf(initial);
          for (const { add, given } of steps) {
            if (add) set.add(regionOf(window, given));
            else set.remove(regionOf(window, given));
            for (const place of modelOf([given])) add ? model.add(place) : model.delete(place);
            expect(places(set)).toEqual(sorted(model));
            expectForm(set);
          }
          expect(set.size).toBe(BigInt(model.size));
          expect(set.isEmpty).toBe(model.size === 0);
          expect(set.equals(new RegionSet(window.kind, [...set].reverse()))).toBe(true);
        }),
      );
    });

    test('answers like the set of its addresses', () => {
      fc.assert(
        fc.property(stretches, stretch, (given, asked) => {
          const set = setOf(window, given);
          const model = modelOf(given);
          const region = regionOf(window, asked);
          const inside = sorted(modelOf([asked]));
          expect(set.containsRegion(region)).toBe(inside.every((place) => model.has(place)));
          expect(set.overlaps(region)).toBe(inside.some((place) => model.has(place)));
          expect(set.contains(region.start)).toBe(model.has(asked[0]));
          expect(set.regionAt(region.start)?.contains(region.start) ?? false).toBe(model.has(asked[0]));
          expect([...set.overlapping(region)].map(String)).toEqual(
            [...set].filter((other) => other.overlaps(region)).map(String),
          );
          const gaps = [...set.gaps(region)];
          expect(places(gaps)).toEqual(inside.filter((place) => !model.has(place)));
          expectForm(new RegionSet(window.kind, gaps));
        }),
      );
    });

    test('combines like sets, and changes neither', () => {
      fc.assert(
        fc.property(stretches, stretches, (first, second) => {
          const [a, b] = [setOf(window, first), setOf(window, second)];
          const [inA, inB] = [modelOf(first), modelOf(second)];
          const where = (keep: (place: number) => boolean): number[] =>
            Array.from({ length: WINDOW }, (_, place) => place).filter(keep);
          const before = [String(a), String(b)];
          for (const [result, expected] of [
            [a.union(b), where((p) => inA.has(p) || inB.has(p))],
            [a.intersect(b), where((p) => inA.has(p) && inB.has(p))],
            [a.subtract(b), where((p) => inA.has(p) && !inB.has(p))],
            [a.difference(b), where((p) => inA.has(p) !== inB.has(p))],
          ] as const) {
            expect(places(result)).toEqual(expected);
            expectForm(result);
          }
          expect(a.subtract(b).union(a.intersect(b)).equals(a)).toBe(true);
          expect(a.equals(b)).toBe(String(sorted(inA)) === String(sorted(inB)));
          expect(
            new RegionSet(window.kind, a.gaps(all)).union(a).equals(new RegionSet(window.kind, [all])),
          ).toBe(true);
          expect([String(a), String(b)]).toEqual(before);
        }),
      );
    });
  },
);

describe('a set of many regions', () => {
  test('keeps its regions sorted and finds them while chunks split and become empty', () => {
    const set = new RegionSet(Phys);
    const at = (i: number) => physRegion(physAddr(i * 0x2000), 0x1000);
    const order = Array.from({ length: 3000 }, (_, i) => (i * 1789) % 3000);
    for (const i of order) set.add(at(i));
    expect(set.regionCount).toBe(3000);
    expectForm(set as unknown as RegionSet<Address>);
    for (const i of order) expect(set.regionAt(physAddr(i * 0x2000 + 0xfff))?.start).toBe(BigInt(i * 0x2000));
    expect(set.contains(physAddr(0x1000))).toBe(false);
    for (const i of order.filter((i) => i % 3 !== 0)) set.remove(at(i));
    expect(set.regionCount).toBe(1000);
    expect([...set].map(({ start }) => Number(start) / 0x6000)).toEqual(
      Array.from({ length: 1000 }, (_, i) => i),
    );
    set.add(physRegion(physAddr(0), 3000 * 0x2000));
    expect(String(set)).toBe('{[0x0000000000000000-0x0000000001770000)}');
    set.remove(physRegion(physAddr(0), 3000 * 0x2000));
    expect(set.isEmpty).toBe(true);
  });

  test('refuses regions and sets of another kind, and changes nothing', () => {
    const set = new RegionSet(Phys, [physRegion(physAddr(0), 1)]);
    const [, , virtual] = WINDOWS;
    const other = regionOf(virtual as Window, [0, 1]) as never;
    for (const operation of [
      () => set.add(other),
      () => set.remove(other),
      () => set.overlaps(other),
      () => [...set.gaps(other)],
      () => set.equals(new RegionSet((virtual as Window).kind) as never),
      () => set.subtract(new RegionSet((virtual as Window).kind) as never),
      () => set.containsRegion(other),
      () => set.union(new RegionSet((virtual as Window).kind, [other]) as never),
      () => new RegionSet(Phys, [other]),
    ]) {
      let error: unknown;
      try {
        operation();
      } catch (thrown) {
        error = thrown;
      }
      expect(isRegionError(error, 'KIND_MISMATCH')).toBe(true);
    }
    for (const address of [0, 1n << 52n, -1n, undefined]) {
      expect(() => set.contains(address as never)).toThrow(/physical address/);
      expect(() => set.regionAt(address as never)).toThrow(/physical address/);
    }
    expect(String(set)).toBe('{[0x0000000000000000-0x0000000000000001)}');
    expect(String(set.add(physRegion(physAddr(4), 1)))).toBe(
      '{[0x0000000000000000-0x0000000000000001), [0x0000000000000004-0x0000000000000005)}',
    );
  });
});
