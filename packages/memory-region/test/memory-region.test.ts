import { inspect } from 'node:util';
import {
  type Address,
  type AddressKind,
  defineAddressKind,
  PAGE_SIZE,
  PageSize,
  Phys,
  physAddr,
  Virt,
  Virt57,
  virtAddr,
} from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { MemoryRegion, physRegion, RegionMap, RegionSet, virtRegion } from '../src/index.ts';
import {
  addressError,
  END_64,
  END_PHYS,
  GiB,
  HIGH_START,
  KiB4,
  LOW_END,
  MiB2,
  region,
  regionError,
  untyped,
} from './support.ts';

const NOT_BYTE_COUNTS: readonly unknown[] = [
  ...[-1, -1n, -4096, 0.5, NaN, Infinity, -Infinity, 2 ** 53],
  ...['', '4096', null, undefined, true, {}, []],
];

/** The limits of regions: a name, the kind, and the last address before the limit. */
const LIMITS: readonly (readonly [name: string, kind: AddressKind<Address>, last: bigint])[] = [
  ['the hole', Virt, LOW_END - 1n],
  ['2^64', Virt, END_64 - 1n],
  ['the hole of 57 bits', Virt57, 2n ** 56n - 1n],
  ['2^64 at 57 bits', Virt57, END_64 - 1n],
  ['2^52', Phys, END_PHYS - 1n],
];

describe('a region that ends at its limit', () => {
  describe.each(LIMITS)('%s', (_, kind, last) => {
    const end = last + 1n;

    test('can be made by every constructor, from one byte to 2 MiB', () => {
      for (const size of [1n, 2n, 4095n, 4096n, 4097n, MiB2]) {
        const start = kind.address(end - size);
        const made = new MemoryRegion(kind, start, size);
        expect([made.kind, made.start, made.end, made.size, made.last, made.isEmpty]).toEqual([
          kind,
          start,
          end,
          size,
          last,
          false,
        ]);
        expect(MemoryRegion.fromAddresses(kind, start, end).equals(made)).toBe(true);
        expect(MemoryRegion.tryNew(kind, start, size)?.equals(made)).toBe(true);
        expect(MemoryRegion.tryNew(kind, start, Number(size))?.equals(made)).toBe(true);
      }
    });

    test('cannot be made longer by any of them', () => {
      for (const [size, bytes] of [
        [1n, 2n],
        [4096n, 4097n],
        [4096n, 2n ** 64n],
        [4096n, 2n ** 80n],
      ] as const) {
        const start = kind.address(end - size);
        const { details, message } = regionError(
          'REGION_OVERFLOW',
          () => new MemoryRegion(kind, start, bytes),
        );
        expect(details).toEqual({ kind: kind.name, start, size: bytes, limit: end });
        expect(message).toContain(`may end at 0x${end.toString(16).padStart(16, '0')} at most`);
        regionError('REGION_OVERFLOW', () => MemoryRegion.fromAddresses(kind, start, start + bytes));
        regionError('REGION_OVERFLOW', () => new MemoryRegion(kind, start, size).expand(bytes - size));
        expect(MemoryRegion.tryNew(kind, start, bytes)).toBeUndefined();
      }
    });

    test('can be one page that every method accepts', () => {
      const page = new MemoryRegion(kind, kind.address(end - KiB4), PAGE_SIZE);
      const before = new MemoryRegion(kind, kind.address(end - 2n * KiB4), PAGE_SIZE);
      const both = before.merge(page);
      expect(both.end).toBe(end);
      expect(page.pageCount()).toBe(1);
      expect([...page.iterPages(PageSize.Regular)]).toEqual([page.start]);
      expect([...page.largestPages()]).toEqual([page]);
      expect(page.contains(kind.address(last))).toBe(true);
      expect(page.contains(untyped(end))).toBe(false);
      expect(page.containsInclusive(end)).toBe(true);
      expect(page.containsInclusive(end + 1n)).toBe(false);
      expect(both.containsRegion(page)).toBe(true);
      expect(both.overlaps(page)).toBe(true);
      expect(before.overlaps(page)).toBe(false);
      expect(before.contiguous(page)).toBe(true);
      expect(both.hull(page)).toEqual(both);
      expect(both.intersect(page)).toEqual(page);
      expect(both.subtract(before)).toEqual([page]);
      expect(both.subtract(page)).toEqual([before]);
      expect(both.splitAt(page.start)).toEqual([before, page]);
      expect(page.expand(0)).toEqual(page);
      expect(before.expand(KiB4)).toEqual(both);
      expect(page.alignOutward(MiB2).end).toBe(end);
      expect(page.alignInward(PAGE_SIZE)).toEqual(page);
      expect(new MemoryRegion(kind, kind.address(last), 1).alignOutward(PAGE_SIZE)).toEqual(page);
      expect(new MemoryRegion(kind, kind.address(last), 1).alignInward(PAGE_SIZE)).toBeUndefined();
    });

    test('can be empty at the last address, but cannot start at the limit', () => {
      const empty = new MemoryRegion(kind, kind.address(last), 0);
      expect([empty.start, empty.end, empty.last]).toEqual([last, last, undefined]);
      expect(() => new MemoryRegion(kind, untyped(end), 0)).toThrow();
      expect(MemoryRegion.tryNew(kind, end, 0)).toBeUndefined();
    });
  });
});

test('a region may be a whole space, or a whole half', () => {
  expect(physRegion(physAddr(0), END_PHYS).pageCount()).toBe(2 ** 40);
  expect(virtRegion(virtAddr(0), LOW_END).pageCount(PageSize.Giant)).toBe(2 ** 17);
  expect(virtRegion(virtAddr(HIGH_START), LOW_END).end).toBe(END_64);
  const flat = defineAddressKind({ name: 'flat', bits: 64, signExtended: false });
  expect(new MemoryRegion(flat, flat.address(0), END_64).pageCount()).toBe(2 ** 52);
});

test('no region spans the hole', () => {
  regionError('REGION_OVERFLOW', () => virtRegion(virtAddr(0), LOW_END + 1n));
  regionError('REGION_OVERFLOW', () => virtRegion(virtAddr(0), END_64));
  regionError('REGION_OVERFLOW', () => MemoryRegion.fromAddresses(Virt, virtAddr(0), HIGH_START + KiB4));
  const low = virtRegion(virtAddr(LOW_END - KiB4), PAGE_SIZE);
  const high = virtRegion(virtAddr(HIGH_START), PAGE_SIZE);
  expect(low.contiguous(high)).toBe(false);
  expect(low.overlaps(high)).toBe(false);
  expect(high.intersect(low)).toBeUndefined();
  expect(low.subtract(high)).toEqual([low]);
  regionError('NOT_CONTIGUOUS', () => low.merge(high));
  regionError('REGION_OVERFLOW', () => low.hull(high));
  regionError('REGION_OVERFLOW', () => high.hull(low));
  addressError('NON_CANONICAL', () => virtRegion(untyped(LOW_END), 0));
});

describe('a bad argument is refused', () => {
  test('a start that is not an address', () => {
    for (const start of [0x1000, '0x1000', null, undefined, NaN, {}]) {
      addressError('INVALID_ADDRESS', () => virtRegion(untyped(start), 0));
      addressError('INVALID_ADDRESS', () => MemoryRegion.fromAddresses(Virt, untyped(start), KiB4));
      expect(MemoryRegion.tryNew(Virt, start, 0)).toBeUndefined();
    }
    addressError('OUTSIDE_SPACE', () => physRegion(untyped(-1n), 0));
    addressError('OUTSIDE_SPACE', () => physRegion(untyped(END_PHYS), 0));
    expect(MemoryRegion.tryNew(Phys, -1n, 0)).toBeUndefined();
    expect(MemoryRegion.tryNew(Virt, LOW_END, 0)).toBeUndefined();
  });

  test.each(NOT_BYTE_COUNTS.map((size) => [size]))('a size of %o', (size) => {
    addressError('INVALID_BYTE_COUNT', () => virtRegion(virtAddr(0), untyped(size)));
    addressError('INVALID_BYTE_COUNT', () => physRegion(physAddr(0), untyped(size)));
    addressError('INVALID_BYTE_COUNT', () => virtRegion(virtAddr(0), 1).expand(untyped(size)));
    expect(MemoryRegion.tryNew(Virt, 0n, size)).toBeUndefined();
  });

  test('an end that is before the start or not a bigint', () => {
    for (const end of [0n, 0xfffn, -1n, 0x2000, '0x2000', null, undefined, NaN]) {
      const { details } = regionError('INVALID_END', () =>
        MemoryRegion.fromAddresses(Virt, virtAddr(0x1000), untyped(end)),
      );
      expect(details).toEqual({ kind: 'virtual', start: 0x1000n, end });
    }
    expect(MemoryRegion.fromAddresses(Virt, virtAddr(0x1000), 0x1000n).isEmpty).toBe(true);
  });

  test('but a size may be of either type, and -0', () => {
    expect(virtRegion(virtAddr(0), 4096)).toEqual(virtRegion(virtAddr(0), 4096n));
    expect(virtRegion(virtAddr(0), -0).isEmpty).toBe(true);
    expect(MemoryRegion.tryNew(Virt, 0n, -0)?.isEmpty).toBe(true);
  });
});

describe('an empty region', () => {
  const whole = virtRegion(virtAddr(0x1000), 0x1000);
  const places = [
    0n,
    0xfffn,
    0x1000n,
    0x1800n,
    0x1fffn,
    0x2000n,
    0x2001n,
    LOW_END - 1n,
    HIGH_START,
    END_64 - 1n,
  ];

  test.each(places.map((at) => [virtRegion(virtAddr(at), 0)]))('%s', (empty) => {
    expect([empty.isEmpty, empty.size, empty.last]).toEqual([true, 0n, undefined]);
    expect(empty.contains(empty.start)).toBe(false);
    expect(empty.containsInclusive(empty.start)).toBe(true);
    // It overlaps nothing, not even itself, wherever it lies.
    for (const other of [whole, empty]) {
      expect(empty.overlaps(other)).toBe(false);
      expect(other.overlaps(empty)).toBe(false);
      expect(other.intersect(empty)).toBeUndefined();
      expect(other.contiguous(empty)).toBe(true);
      expect(empty.contiguous(other)).toBe(true);
    }
    // It lies inside everything and adds nothing, not even across the hole.
    expect(whole.containsRegion(empty)).toBe(true);
    expect(empty.containsRegion(whole)).toBe(false);
    expect(empty.containsRegion(empty)).toBe(true);
    expect(whole.merge(empty)).toEqual(whole);
    expect(empty.merge(whole)).toEqual(whole);
    expect(whole.hull(empty)).toEqual(whole);
    expect(empty.hull(whole)).toEqual(whole);
    expect(whole.subtract(empty)).toEqual([whole]);
    expect(empty.subtract(whole)).toEqual([]);
    expect(empty.subtract(empty)).toEqual([]);
    expect(empty.alignInward(1)).toBeUndefined();
    regionError('OUTSIDE_REGION', () => empty.splitAt(empty.start));
  });

  test('still has a place', () => {
    const [here, there] = [virtRegion(virtAddr(0), 0), virtRegion(virtAddr(HIGH_START), 0)];
    expect(here.equals(there)).toBe(false);
    // Of two empty regions, merge and hull return the left one.
    expect(here.merge(there)).toEqual(here);
    expect(there.merge(here)).toEqual(there);
    expect(virtRegion(virtAddr(0x1234), 0).alignOutward(PAGE_SIZE)).toEqual(virtRegion(virtAddr(0x1000), 0));
  });

  test('has no pages if it is aligned, and is refused if it is not', () => {
    const empty = virtRegion(virtAddr(0x1000), 0);
    expect(empty.pageCount()).toBe(0);
    expect([...empty.iterPages(PageSize.Regular)]).toEqual([]);
    expect([...empty.largestPages()]).toEqual([]);
    const misaligned = virtRegion(virtAddr(0x1001), 0);
    regionError('MISALIGNED_REGION', () => misaligned.pageCount());
    regionError('MISALIGNED_REGION', () => misaligned.iterPages(PageSize.Regular));
    regionError('MISALIGNED_REGION', () => misaligned.largestPages());
  });
});

describe('pageCount', () => {
  test.each([
    [0n, MiB2, PageSize.Regular, 512],
    [0n, MiB2, PageSize.Huge, 1],
    [MiB2, 2n * MiB2, PageSize.Huge, 1],
    [0n, GiB, PageSize.Regular, 512 * 512],
    [0n, GiB, PageSize.Huge, 512],
    [0n, GiB, PageSize.Giant, 1],
    [0n, LOW_END, PageSize.Regular, 2 ** 35],
  ] as const)('from %s to %s by %s: %s', (start, end, size, count) => {
    expect(region(Virt, start, end).pageCount(size)).toBe(count);
  });

  test('counts 4 KiB pages if no size is given', () => {
    expect(virtRegion(virtAddr(0), 0x3000).pageCount()).toBe(3);
    expect(virtRegion(virtAddr(0), 0x3000).pageCount(undefined)).toBe(3);
  });
});

describe('alignOutward and alignInward', () => {
  test.each([
    [0x1000n, 0x2000n, PAGE_SIZE, 0x1000n, 0x2000n, [0x1000n, 0x2000n]],
    [0x1001n, 0x2000n, PAGE_SIZE, 0x1000n, 0x2000n, undefined],
    [0x1000n, 0x1fffn, PAGE_SIZE, 0x1000n, 0x2000n, undefined],
    [0x1fffn, 0x2001n, PAGE_SIZE, 0x1000n, 0x3000n, undefined],
    [0x1fffn, 0x4001n, PAGE_SIZE, 0x1000n, 0x5000n, [0x2000n, 0x4000n]],
    [0x1001n, 0x1002n, 1, 0x1001n, 0x1002n, [0x1001n, 0x1002n]],
    [MiB2 - KiB4, 2n * MiB2 + KiB4, PageSize.Huge, 0n, 3n * MiB2, [MiB2, 2n * MiB2]],
    [1n, 2n, LOW_END, 0n, LOW_END, undefined],
    [0n, LOW_END, LOW_END, 0n, LOW_END, [0n, LOW_END]],
    [HIGH_START + 1n, END_64, LOW_END, HIGH_START, END_64, undefined],
    [END_64 - 1n, END_64, GiB, END_64 - GiB, END_64, undefined],
    [LOW_END - 1n, LOW_END, GiB, LOW_END - GiB, LOW_END, undefined],
  ] as const)('[%s, %s) to %s', (start, end, alignment, outStart, outEnd, inward) => {
    const from = region(Virt, start, end);
    expect(from.alignOutward(alignment)).toEqual(region(Virt, outStart, outEnd));
    expect(from.alignInward(alignment)).toEqual(inward && region(Virt, inward[0], inward[1]));
  });

  test('refuse a value that is not an alignment', () => {
    for (const alignment of [...NOT_BYTE_COUNTS, 0, 0n, 3, 4095, 2n ** 48n]) {
      for (const one of [virtRegion(virtAddr(0x1234), 1), virtRegion(virtAddr(0), 0)]) {
        addressError('INVALID_ALIGNMENT', () => one.alignOutward(untyped(alignment)));
        addressError('INVALID_ALIGNMENT', () => one.alignInward(untyped(alignment)));
      }
    }
  });

  test('alignOutward throws if the space ends inside the last unit', () => {
    const small = defineAddressKind({ name: 'small', bits: 12, signExtended: false });
    const last = new MemoryRegion(small, small.address(0xfff), 1);
    expect(regionError('REGION_OVERFLOW', () => last.alignOutward(0x2000)).details.limit).toBe(0x1000n);
    expect(last.alignOutward(0x1000).size).toBe(0x1000n);
  });
});

describe('subtract', () => {
  const from = (start: bigint, end: bigint) => region(Virt, start, end);
  test.each([
    ['before it', 0x2000n, 0x4000n, [[0x4000n, 0x6000n]]],
    ['its first part', 0x3000n, 0x5000n, [[0x5000n, 0x6000n]]],
    [
      'its middle',
      0x4800n,
      0x5000n,
      [
        [0x4000n, 0x4800n],
        [0x5000n, 0x6000n],
      ],
    ],
    ['its last part', 0x5000n, 0x6000n, [[0x4000n, 0x5000n]]],
    ['after it', 0x6000n, 0x7000n, [[0x4000n, 0x6000n]]],
    ['all of it', 0x4000n, 0x6000n, []],
    ['more than it', 0x3fffn, 0x6001n, []],
  ] as const)('%s', (_, start, end, rest) => {
    const parts = from(0x4000n, 0x6000n).subtract(from(start, end));
    expect(parts).toEqual(rest.map(([start, end]) => from(start, end)));
  });

  test('returns a new array each time', () => {
    const one = from(0n, KiB4);
    one.subtract(from(KiB4, MiB2)).pop();
    expect(one.subtract(from(KiB4, MiB2))).toEqual([one]);
  });
});

test('splitAt refuses the start, the end, an address outside, and a value that is not an address', () => {
  const one = virtRegion(virtAddr(0x1000), 0x1000);
  for (const at of [
    0n,
    0xfffn,
    0x1000n,
    0x2000n,
    0x2001n,
    END_64,
    -1n,
    0x1800,
    '0x1800',
    NaN,
    undefined,
    null,
  ]) {
    const { details } = regionError('OUTSIDE_REGION', () => one.splitAt(untyped(at)));
    expect(details).toEqual({ region: one, at });
  }
  expect(one.splitAt(virtAddr(0x1001))).toEqual([
    region(Virt, 0x1000n, 0x1001n),
    region(Virt, 0x1001n, 0x2000n),
  ]);
});

describe('a region of another kind', () => {
  const virt = virtRegion(virtAddr(0x1000), 0x1000);
  const phys = physRegion(physAddr(0x1000), 0x1000);
  const wide = new MemoryRegion(Virt57, virtAddr(0x1000), 0x1000);

  test.each(['containsRegion', 'overlaps', 'contiguous', 'merge', 'hull', 'intersect', 'subtract'] as const)(
    '%s refuses it, even if one of the two is empty',
    (method) => {
      for (const [one, other] of [
        [virt, phys],
        [virt, wide],
        [wide, virt],
        [virt, physRegion(physAddr(0x1000), 0)],
        [virtRegion(virtAddr(0x1000), 0), phys],
      ] as const) {
        const { details } = regionError('KIND_MISMATCH', () => one[method](untyped(other)));
        expect(details).toEqual({ expected: one.kind.name, actual: other.kind.name });
      }
    },
  );

  test.each(['containsRegion', 'overlaps', 'contiguous', 'merge', 'hull', 'intersect', 'subtract'] as const)(
    '%s refuses a value that is not a region',
    (method) => {
      for (const [other, actual] of [
        [undefined, 'undefined'],
        [null, 'null'],
        [0x1000n, '0x1000'],
        ['0x1000', '"0x1000"'],
        [{}, 'a value of type object'],
      ]) {
        const { details } = regionError('KIND_MISMATCH', () => virt[method](untyped(other)));
        expect(details).toEqual({ expected: 'virtual', actual });
      }
    },
  );

  test('equals returns false for it, and for a value that is not a region', () => {
    expect(virt.equals(untyped(phys))).toBe(false);
    expect(virt.equals(wide)).toBe(false);
    for (const other of [undefined, null, {}, 0x1000n]) expect(virt.equals(untyped(other))).toBe(false);
  });

  test('a kind of another copy of the package is the same kind', () => {
    const copy = defineAddressKind<typeof virt.start>({ name: 'virtual', bits: 48, signExtended: true });
    expect(copy).not.toBe(Virt);
    const other = new MemoryRegion(copy, virtAddr(0x1800), 0x1000);
    expect(virt.intersect(other)?.size).toBe(0x800n);
    expect(virt.equals(new MemoryRegion(copy, virtAddr(0x1000), 0x1000))).toBe(true);
  });

  test('a kind that has only the same name or only the same width is another kind', () => {
    const make = (name: string, bits: number, signExtended: boolean) =>
      new MemoryRegion(
        defineAddressKind<typeof virt.start>({ name, bits, signExtended }),
        virtAddr(0x1000),
        0x1000,
      );
    for (const other of [make('virtual', 57, true), make('virtual', 48, false), make('v', 48, true)]) {
      regionError('KIND_MISMATCH', () => virt.overlaps(other));
      expect(virt.equals(other)).toBe(false);
    }
  });
});

describe('immutability', () => {
  const one = virtRegion(virtAddr(0x1000), 0x1000);

  test.each(['kind', 'start', 'end', 'size', 'last', 'isEmpty'])('%s cannot be assigned', (property) => {
    expect(() => Object.assign(one, { [property]: 0n })).toThrow(TypeError);
    expect(() => Object.defineProperty(one, property, { value: 0n }) && one.toString()).not.toThrow();
    expect(virtRegion(virtAddr(0x1000), 0x1000)[property as 'start']).not.toBe(0n);
  });

  test('a property that shadows another does not change results', () => {
    const shadowed = virtRegion(virtAddr(0x1000), 0x1000);
    Object.defineProperty(shadowed, 'start', { value: 0n });
    expect(shadowed.contains(virtAddr(0))).toBe(false);
    expect([...shadowed.iterPages(PageSize.Regular)]).toEqual([0x1000n]);
  });
});

describe('showing', () => {
  test('toString returns both bounds with sixteen digits', () => {
    expect(String(virtRegion(virtAddr(0x1000), 0x1000))).toBe('[0x0000000000001000-0x0000000000002000)');
    expect(`${virtRegion(virtAddr(END_64 - KiB4), 0x1000)}`).toBe('[0xfffffffffffff000-0x10000000000000000)');
  });

  test('a console shows kind and bounds', () => {
    const region = physRegion(physAddr(0), 0x1000);
    expect(inspect([region])).toBe('[ MemoryRegion physical [0x0000000000000000-0x0000000000001000) ]');
    expect(inspect(new RegionSet(Phys, [region]))).toBe(
      "RegionSet {\n  kind: 'physical',\n  regions: [ MemoryRegion physical [0x0000000000000000-0x0000000000001000) ]\n}",
    );
  });

  test('JSON has kind and bounds', () => {
    const region = virtRegion(virtAddr(END_64 - KiB4), 0x1000);
    const json = { kind: 'virtual', start: '0xfffffffffffff000', end: '0x10000000000000000' };
    expect(JSON.parse(JSON.stringify(region))).toEqual(json);
    const map = new RegionMap(Virt, [[region, 1n]]);
    expect(JSON.parse(JSON.stringify(map))).toEqual({ kind: 'virtual', entries: [[json, '0x1']] });
  });

  test('JSON has the page of a cursor, if it is on one', () => {
    const cursor = virtRegion(virtAddr(END_64 - KiB4), 0x1000).cursor(PageSize.Regular);
    expect(JSON.stringify(cursor)).toBe('{"count":1,"pageSize":4096}');
    cursor.next();
    expect(JSON.parse(JSON.stringify(cursor))).toMatchObject({ address: '0xfffffffffffff000', index: 0 });
  });

  test('deep equality of assertion libraries tells regions apart', () => {
    expect(virtRegion(virtAddr(0), 1)).toEqual(virtRegion(virtAddr(0), 1));
    expect(virtRegion(virtAddr(0), 1)).not.toEqual(virtRegion(virtAddr(0), 2));
    expect(virtRegion(virtAddr(0), 1)).not.toEqual(virtRegion(virtAddr(1), 1));
    expect(virtRegion(virtAddr(0), 1)).not.toEqual(physRegion(physAddr(0), 1));
  });
});

// The 14 doc tests of COCONUT-SVSM's `utils/memory_region.rs`, as far as the two agree. The names are theirs.
describe('upstream doc tests', () => {
  const addr = virtAddr(0xffff_ff00_0000_0000n);
  const base = virtRegion(addr, PAGE_SIZE);
  const next = virtRegion(Virt.add(addr, PAGE_SIZE), PAGE_SIZE);
  const gap = virtRegion(Virt.add(addr, 2 * PAGE_SIZE), PAGE_SIZE);

  test('checked_new: undefined past the last address', () => {
    expect(MemoryRegion.tryNew(Virt, 0xffff_ffff_ffff_ffffn, PAGE_SIZE)).toBeUndefined();
  });
  test('is_empty: a region of length 0', () => {
    expect(virtRegion(addr, 0).isEmpty).toBe(true);
    expect(base.isEmpty).toBe(false);
  });
  test('end: base + 4096', () => {
    expect(base.end).toBe(addr + 4096n);
  });
  test('overlap: not with a gap between', () => {
    expect(base.overlaps(gap)).toBe(false);
  });
  test('overlap: with a part of itself', () => {
    expect(base.overlaps(virtRegion(addr, PAGE_SIZE / 2))).toBe(true);
  });
  test('overlap: contiguous regions do not', () => {
    expect(base.overlaps(next)).toBe(false);
  });
  test('contiguous: adjacent regions are', () => {
    expect(base.contiguous(next)).toBe(true);
  });
  test('contiguous: not with a gap between', () => {
    expect(base.contiguous(gap)).toBe(false);
  });
  test('merge: of adjacent regions', () => {
    const merged = base.merge(next);
    expect([merged.start, merged.size, merged.end]).toEqual([addr, 8192n, addr + 8192n]);
  });
  test('iter_pages: over two pages', () => {
    const pages = virtRegion(addr, 2 * PAGE_SIZE).iterPages(PageSize.Regular);
    expect(pages.next().value).toBe(addr);
    expect(pages.next().value).toBe(addr + 4096n);
    expect(pages.next()).toEqual({ done: true, value: undefined });
  });
  test('contains: first and last byte, not the end', () => {
    expect(base.contains(addr)).toBe(true);
    expect(base.contains(Virt.add(addr, PAGE_SIZE - 1))).toBe(true);
    expect(base.contains(Virt.add(addr, PAGE_SIZE))).toBe(false);
  });
  test('contains_inclusive: the end, not what follows', () => {
    expect(base.containsInclusive(base.end)).toBe(true);
    expect(base.containsInclusive(base.end + 1n)).toBe(false);
  });
  test('contains_region: the smaller one, but not the larger one, and not in part', () => {
    const big = virtRegion(addr, 2 * PAGE_SIZE);
    const partial = virtRegion(Virt.add(addr, PAGE_SIZE), 2 * PAGE_SIZE);
    expect(big.containsRegion(base)).toBe(true);
    expect(base.containsRegion(big)).toBe(false);
    expect(big.containsRegion(partial)).toBe(false);
    expect(partial.containsRegion(big)).toBe(false);
  });
  test('expand: by a page doubles a region of one', () => {
    expect(base.expand(PAGE_SIZE)).toEqual(virtRegion(addr, 2 * PAGE_SIZE));
  });
});

// Known weaknesses of upstream's MemoryRegion that this one does not have.
describe('where upstream differs', () => {
  test('an end is not canonicalised: the last page below the hole ends at the hole', () => {
    expect(virtRegion(virtAddr(LOW_END - KiB4), PAGE_SIZE).end).toBe(LOW_END);
  });
  test('an empty region inside another one does not overlap it', () => {
    expect(virtRegion(virtAddr(0x1800), 0).overlaps(virtRegion(virtAddr(0x1000), 0x1000))).toBe(false);
  });
  test('merge does not swallow a gap', () => {
    regionError('NOT_CONTIGUOUS', () => virtRegion(virtAddr(0), 1).merge(virtRegion(virtAddr(2), 1)));
  });
  test('iterPages yields only aligned addresses, and only pages that lie inside entirely', () => {
    regionError('MISALIGNED_REGION', () => virtRegion(virtAddr(1), PAGE_SIZE).iterPages(PageSize.Regular));
    regionError('MISALIGNED_REGION', () =>
      virtRegion(virtAddr(0), PAGE_SIZE + 1).iterPages(PageSize.Regular),
    );
  });
});
