import { isAddressError, PAGE_SIZE_1G } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  flatRmpCoverage,
  flatRmpEntryAddress,
  type SegmentedRmp,
  segmentedRmpEntryAddress,
} from '../../src/formats/rmp-location.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { codeOf, thrownBy } from '../support/world.ts';

const GiB = BigInt(PAGE_SIZE_1G);

describe('flat', () => {
  const table = { base: 0x10_0000n, end: 0x110_3fffn };

  // R7
  test('a table of 16 MiB and 16 KiB covers 4 GiB', () => {
    expect(flatRmpCoverage(table)).toBe(4n * GiB);
    expect(flatRmpCoverage({ base: 0x10_0000n, end: 0x10_0fffn })).toBe(0n);
  });

  // R4, R7
  test('entries follow each other, up to the end of the table', () => {
    const at = (spa: bigint) => flatRmpEntryAddress(sysPhysAddr(spa), table);
    expect([at(0n), at(0xfffn), at(0x1000n)]).toEqual([0x10_4000n, 0x10_4000n, 0x10_4010n]);
    expect(at(4n * GiB - 1n)).toBe(0x110_3ff0n);
    expect([at(4n * GiB), at((1n << 52n) - 1n)]).toEqual([undefined, undefined]);
  });

  // R7
  test('a page is covered if its whole entry lies in the table', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 1n << 30n }),
        fc.bigInt({ min: 0n, max: 1n << 20n }),
        (bytes, page) => {
          const table = { base: 0x10_0000n, end: 0x10_0000n + 0x4000n + bytes };
          const isCovered = flatRmpEntryAddress(sysPhysAddr(page << 12n), table) !== undefined;
          expect(isCovered).toBe(page << 12n < flatRmpCoverage(table));
        },
      ),
    );
  });
});

describe('segmented', () => {
  // Segments of 64 GiB: the first covers 64 GiB, the second 3 GiB, the third nothing.
  const words = new Map([
    [0x10_4000n, (0x4000_0000n << 0n) | 64n],
    [0x10_4008n, 0x5_0000_0000n | 3n],
    [0x10_4018n, (1n << 52n) | 64n],
  ]);
  const reads: bigint[] = [];
  const table: SegmentedRmp = {
    base: 0x10_0000n,
    segmentShift: 36,
    read: (spa) => {
      reads.push(spa);
      return words.get(spa) ?? 0n;
    },
  };
  const at = (spa: bigint, fields: Partial<SegmentedRmp> = {}) =>
    segmentedRmpEntryAddress(sysPhysAddr(spa), { ...table, ...fields });

  // R8
  test('each segment has its own place and covers its own number of GiB', () => {
    expect([at(0n), at(64n * GiB - 1n)]).toEqual([0x4000_0000n, 0x4000_0000n + (64n * GiB - 4096n) / 256n]);
    expect([at(64n * GiB), at(67n * GiB - 1n), at(67n * GiB), at(128n * GiB)]).toEqual([
      0x5_0000_0000n,
      0x5_0000_0000n + (3n * GiB - 4096n) / 256n,
      undefined,
      undefined,
    ]);
  });

  // R8
  test('one quadword is read for each page, and none past the last segment', () => {
    reads.length = 0;
    at(65n * GiB);
    expect(at(65n * GiB, { segments: 1 })).toBe(undefined);
    expect(at(512n * 64n * GiB)).toBe(undefined);
    expect(reads).toEqual([0x10_4008n]);
  });

  // R8
  test('reserved bits, and parameters that a processor cannot have, are refused', () => {
    expect(codeOf(() => at(192n * GiB))).toBe('INVALID_RMP_SEGMENT');
    for (const fields of [
      { base: 0x8000n },
      { segmentShift: 29 },
      { segmentShift: 30.5 },
      { segments: 513 },
    ]) {
      expect(codeOf(() => at(0n, fields))).toBe('INVALID_ARGUMENT');
    }
  });
});

test.each([-1n, 1n << 52n, 0x1000])('%s is not the address of a page, in neither layout', (spa) => {
  const flat = { base: 0x10_0000n, end: 2n ** 64n - 1n };
  const read = () => 64n;
  for (const find of [
    () => flatRmpEntryAddress(spa as SysPhysAddr, flat),
    () => segmentedRmpEntryAddress(spa as SysPhysAddr, { base: 0x10_0000n, segmentShift: 51, read }),
  ]) {
    let error: unknown;
    try {
      find();
    } catch (thrown) {
      error = thrown;
    }
    expect(isAddressError(error)).toBe(true);
  }
});

test.each([
  [{ base: 0x8000n }, { what: 'RMP_BASE', value: 0x8000n, expected: 'pass a multiple of 1 MiB' }],
  [
    { segmentShift: 29 },
    { what: 'the segment size', value: 29, expected: 'the binary logarithm of its bytes must be 30 to 51' },
  ],
  [
    { segments: 513 },
    { what: 'the number of segments', value: 513, expected: 'pass an integer from 0 to 512' },
  ],
])('the error for %o says what is right', (fields, details) => {
  const table = { base: 0x10_0000n, segmentShift: 36, read: () => 0n, ...fields };
  expect(thrownBy(() => segmentedRmpEntryAddress(sysPhysAddr(0), table))?.details).toEqual(details);
});
