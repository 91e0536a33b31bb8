/** Regions and sets of another installed copy of the package, and values that are neither. */
import { Phys, physAddr, Virt, Virt57, virtAddr } from '@svsm/address';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import * as own from '../src/index.ts';
import { REVOKED } from './hostile.ts';
import { addressError, END_64, LOW_END, regionError, untyped } from './support.ts';

const { formatBounds, MemoryRegion, physRegion, RegionMap, RegionSet, virtRegion } = own;

let copy: typeof own;
beforeAll(async () => {
  vi.resetModules();
  copy = await import('../src/index.ts');
  expect(copy.MemoryRegion).not.toBe(MemoryRegion);
});

const page = virtRegion(virtAddr(0x1000), 0x1000);
const theirs = () => untyped(copy.virtRegion(virtAddr(0x1800), 0x1000));
const half = virtRegion(virtAddr(0x1800), 0x800);

/** Values that have some properties of a region of virtual addresses, or none. */
const NOT_REGIONS: readonly unknown[] = [
  ...[undefined, null, 0, 0x1000n, '4096', true, Symbol('4096'), {}, [], () => page],
  ...[
    { kind: Virt },
    { kind: 'virtual', start: 0n, end: 4n, size: 4n },
    { kind: Virt, start: 0, end: 4, size: 4 },
  ],
  // Bounds that disagree, or lie outside the space.
  ...[
    { kind: Virt, start: 0n, end: 5n, size: 4n },
    { kind: Virt, start: 4n, end: 0n, size: -4n },
  ],
  { kind: Virt, start: LOW_END - 1n, end: LOW_END + 1n, size: 2n },
  ...[
    { kind: Virt, start: -1n, end: 0n, size: 1n },
    { kind: Virt, start: END_64, end: END_64 + 1n, size: 1n },
  ],
  ...[new RegionMap(Virt), [page], [page, 1]],
  ...[REVOKED, new Proxy(page, {}), Object.create(page), MemoryRegion.prototype],
];

describe('MemoryRegion.from', () => {
  test('returns a region of this copy as it is', () => {
    expect(MemoryRegion.from(Virt, page)).toBe(page);
    // A kind is the same if its name, width and end are.
    expect(MemoryRegion.from(untyped(Object.assign({}, Virt, kindMethods())), page)).toBe(page);
  });

  test('copies a region of another copy', () => {
    const region = MemoryRegion.from(Virt, theirs());
    expect(region).toBeInstanceOf(MemoryRegion);
    expect(region.equals(virtRegion(virtAddr(0x1800), 0x1000))).toBe(true);
    expect(MemoryRegion.from(Virt, { kind: Virt, start: 0n, end: 4n, size: 4n })).toEqual(
      virtRegion(virtAddr(0), 4),
    );
  });

  test('refuses everything else, and names it', () => {
    for (const value of NOT_REGIONS) {
      const { details } = regionError('KIND_MISMATCH', () => MemoryRegion.from(Virt, value));
      expect(details.expected).toBe('virtual');
    }
    const mismatch = (value: unknown): unknown =>
      regionError('KIND_MISMATCH', () => MemoryRegion.from(Virt, value)).details.actual;
    expect(mismatch(physRegion(physAddr(0), 1))).toBe('physical');
    expect(mismatch(untyped(copy.physRegion(physAddr(0), 1)))).toBe('physical');
    expect(mismatch(new MemoryRegion(Virt57, virtAddr(0), 1))).toBe('virtual57');
    expect(mismatch(0x1000n)).toBe('0x1000');
    expect(mismatch({ kind: Virt })).toBe('a value of type object');
  });

  function kindMethods(): object {
    return { isAddress: (value: unknown) => Virt.isAddress(value), runEnd: () => LOW_END };
  }
});

describe('regions of two copies', () => {
  test('compare and combine', () => {
    expect(page.overlaps(theirs())).toBe(true);
    expect(page.contiguous(theirs())).toBe(true);
    expect(page.containsRegion(theirs())).toBe(false);
    expect(page.equals(untyped(copy.virtRegion(virtAddr(0x1000), 0x1000)))).toBe(true);
    expect(page.equals(theirs())).toBe(false);
    expect(page.intersect(theirs())).toEqual(half);
    expect(page.subtract(theirs())).toEqual([virtRegion(virtAddr(0x1000), 0x800)]);
    const merged = page.merge(theirs());
    expect(merged).toEqual(virtRegion(virtAddr(0x1000), 0x1800));
    // Of an empty region and another one, the other is the union: as a region of this copy.
    expect(virtRegion(virtAddr(0), 0).hull(theirs())).toBeInstanceOf(MemoryRegion);
  });

  test('mix in sets and maps, which hold regions of their own copy', () => {
    const set = new RegionSet(Virt, [theirs(), page]);
    expect([...set]).toEqual([virtRegion(virtAddr(0x1000), 0x1800)]);
    set.remove(theirs()).add(theirs());
    expect([...set][0]).toBeInstanceOf(MemoryRegion);
    expect(set.containsRegion(theirs())).toBe(true);
    const map = new RegionMap(Virt, [[theirs(), 1]]);
    expect(map.entryAt(virtAddr(0x1800))?.[0]).toBeInstanceOf(MemoryRegion);
    expect(map.overlay(theirs(), 2).delete(theirs())).toBe(2);
    map.set(theirs(), 3);
    expect([...map.overlapping(theirs())]).toHaveLength(1);
    expect([...own.intersectRanges([page], [theirs()])]).toEqual([half]);
  });

  test('sets of two copies combine', () => {
    const set = new RegionSet(Virt, [page]);
    const other = untyped(new copy.RegionSet(Virt, [theirs()]));
    expect([...set.union(other)]).toEqual([virtRegion(virtAddr(0x1000), 0x1800)]);
    expect([...set.intersect(other)]).toEqual([half]);
    expect(set.equals(other)).toBe(false);
    expect(set.equals(untyped(new copy.RegionSet(Virt, [untyped(page)])))).toBe(true);
    regionError('KIND_MISMATCH', () => set.union(untyped(new copy.RegionSet(Phys))));
  });
});

describe('a value that is not a region', () => {
  test('is refused wherever a region is expected', () => {
    for (const value of [...NOT_REGIONS, new RegionSet(Virt, [page])]) {
      const region = untyped(value);
      const [set, map] = [new RegionSet(Virt, [page]), new RegionMap(Virt, [[page, 1]])];
      for (const operation of [
        () => page.containsRegion(region),
        () => page.overlaps(region),
        () => page.contiguous(region),
        () => page.merge(region),
        () => page.hull(region),
        () => page.intersect(region),
        () => page.subtract(region),
        () => set.add(region),
        () => set.remove(region),
        () => set.containsRegion(region),
        () => set.overlaps(region),
        () => set.overlapping(region),
        () => set.gaps(region),
        () => map.set(region, 1),
        () => map.overlay(region, 1),
        () => map.delete(region),
        () => map.overlapping(region),
        () => map.gaps(region),
        () => new RegionSet(Virt, [region]),
        () => new RegionMap(Virt, [[region, 1]]),
        () => [...own.walkRanges([[page, 1]], [[region, 1]])],
        () => [...own.walkRanges([[region, 1]], [[page, 1]])],
        () => [...own.unionRanges([region], [])],
      ]) {
        regionError('KIND_MISMATCH', operation);
      }
      expect(page.equals(region)).toBe(false);
    }
  });

  test('is refused where a set is expected', () => {
    const set = new RegionSet(Virt, [page]);
    for (const value of [...NOT_REGIONS, page, theirs()]) {
      for (const method of ['union', 'intersect', 'subtract', 'difference', 'equals'] as const) {
        const { details } = regionError('KIND_MISMATCH', () => set[method](untyped(value)));
        expect(details.expected).toBe('virtual');
      }
    }
    expect(regionError('KIND_MISMATCH', () => set.union(untyped(new RegionSet(Phys)))).details.actual).toBe(
      'physical',
    );
  });
});

test('a value that is not a kind is refused by everything that takes one', () => {
  for (const value of [
    undefined,
    null,
    'virtual',
    48,
    {},
    { name: 'virtual' },
    REVOKED,
    new Proxy(Virt, {}),
    page,
  ]) {
    const kind = untyped(value);
    for (const operation of [
      () => new MemoryRegion(kind, virtAddr(0), 1),
      () => MemoryRegion.fromAddresses(kind, virtAddr(0), 1n),
      () => MemoryRegion.tryNew(kind, virtAddr(0), 1),
      () => MemoryRegion.from(kind, page),
      () => MemoryRegion.from(kind, undefined),
      () => new RegionSet(kind),
      () => new RegionMap(kind),
    ]) {
      expect(addressError('INVALID_KIND', operation).details.kind).toBe(value);
    }
  }
});

test('an address that is not a bigint is refused, also by a region', () => {
  for (const value of [undefined, null, 0x1000, NaN, '4096', {}, Object(0x1000n), REVOKED]) {
    addressError('INVALID_ADDRESS', () => page.contains(untyped(value)));
    addressError('INVALID_ADDRESS', () => page.containsInclusive(untyped(value)));
    expect(regionError('OUTSIDE_REGION', () => page.splitAt(untyped(value))).message).toContain(
      'pass a bigint',
    );
  }
});

test('lists that are not iterable, and entries that are not pairs, are refused', () => {
  for (const value of [null, 5, '', page, {}, REVOKED]) {
    const list = untyped(value);
    for (const [what, operation] of [
      ['regions', () => new RegionSet(Virt, list)],
      ['entries', () => new RegionMap(Virt, list)],
      // At the call, not at the first step.
      ['left', () => own.walkRanges(list, [])],
      ['right', () => own.walkRanges([], list)],
      ['left', () => own.unionRanges(list, [])],
      ['right', () => own.subtractRanges([], list)],
    ] as const) {
      expectRefused(operation, what, value);
    }
  }
  for (const value of [undefined, 5, 'ab', page, {}, [], [page], [page, 1, 2], REVOKED]) {
    const entry = untyped(value);
    expectRefused(() => new RegionMap(Virt, [[page, 1], entry]), 'entry 1', value);
    expectRefused(() => [...own.walkRanges([], [entry])], 'item 0 on the right', value);
  }
  expect(() => new RegionMap(Virt).coalesced(untyped(5))).toThrow('equal cannot be 5: pass a function');
  for (const value of [undefined, null, 5, {}, { start: 0, end: 1 }, { start: 0n }, REVOKED]) {
    expect(regionError('INVALID_ARGUMENT', () => formatBounds(untyped(value))).details.what).toBe('bounds');
  }
});

function expectRefused(operation: () => unknown, what: string, value: unknown): void {
  const { details } = regionError('INVALID_ARGUMENT', operation);
  expect(details.what).toBe(what);
  expect(details.value).toBe(value);
}
