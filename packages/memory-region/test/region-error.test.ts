import { PageSize, physAddr, Virt, virtAddr } from '@svsm/address';
import { describe, expect, test, vi } from 'vitest';
import {
  formatBounds,
  isRegionError,
  MemoryRegion,
  physRegion,
  RegionError,
  type RegionErrorCode,
  type RegionErrorDetails,
  RegionMap,
  virtRegion,
  walkRanges,
} from '../src/index.ts';
import { regionError, untyped } from './support.ts';

const first = virtRegion(virtAddr(0x1000), 0x1000);
const third = virtRegion(virtAddr(0x3000), 0x1000);
const FIRST = '[0x0000000000001000-0x0000000000002000)';

/** For every code: an action that throws it, its details, its message. */
const CODES: {
  [Code in RegionErrorCode]: [action: () => unknown, details: RegionErrorDetails[Code], message: string][];
} = {
  REGION_OVERFLOW: [
    [
      () => virtRegion(virtAddr(0x7fff_ffff_f000n), 0x1001),
      { kind: 'virtual', start: 0x7fff_ffff_f000n, size: 0x1001n, limit: 0x8000_0000_0000n },
      'a virtual region of 0x1001 bytes from 0x00007ffffffff000 would end at 0x0000800000000001: ' +
        'it may end at 0x0000800000000000 at most',
    ],
    [
      () => physRegion(physAddr(0), 2n ** 52n + 1n),
      { kind: 'physical', start: 0n, size: 2n ** 52n + 1n, limit: 2n ** 52n },
      'a physical region of 0x10000000000001 bytes from 0x0000000000000000 would end at 0x0010000000000001: ' +
        'it may end at 0x0010000000000000 at most',
    ],
  ],
  INVALID_END: [
    [
      () => MemoryRegion.fromAddresses(Virt, virtAddr(0x1000), 0xfffn),
      { kind: 'virtual', start: 0x1000n, end: 0xfffn },
      '0xfff cannot be the end of a virtual region that starts at 0x0000000000001000: ' +
        'pass a bigint that is at least the start',
    ],
  ],
  INVALID_PAGE_SIZE: [
    [
      () => first.iterPages(untyped(8192)),
      { value: 8192 },
      '8192 is not a page size: pass one of the numbers PageSize.Regular (0x1000), PageSize.Huge (0x200000) and ' +
        'PageSize.Giant (0x40000000)',
    ],
  ],
  INVALID_ARGUMENT: [
    [
      () => first.pageRuns({ offset: 0x800 }),
      { what: 'offset', value: 0x800, expected: 'pass a multiple of 0x1000 as a bigint or a safe integer' },
      'offset cannot be 2048: pass a multiple of 0x1000 as a bigint or a safe integer',
    ],
  ],
  MISALIGNED_REGION: [
    [
      () => first.iterPages(PageSize.Huge),
      { region: first, pageSize: 0x20_0000 },
      `${FIRST} does not start and end at multiples of 0x200000 bytes: call alignOutward or alignInward first`,
    ],
  ],
  NOT_ON_PAGE: [
    [
      () => first.cursor(PageSize.Regular).address,
      { hasEnded: false },
      'the cursor is not on a page: its loop has not begun; keep the address of a page, not the cursor',
    ],
    [
      () => [...first.cursor(PageSize.Regular)][0]!.low,
      { hasEnded: true },
      'the cursor is not on a page: its loop has ended; keep the address of a page, not the cursor',
    ],
  ],
  NOT_CONTIGUOUS: [
    [
      () => first.merge(third),
      { left: first, right: third },
      `${FIRST} and [0x0000000000003000-0x0000000000004000) neither touch nor overlap: use hull to cover the gap too`,
    ],
  ],
  OUTSIDE_REGION: [
    [
      () => first.splitAt(virtAddr(0x2000)),
      { region: first, at: 0x2000n },
      `0x2000 does not lie strictly inside ${FIRST}`,
    ],
  ],
  REGION_OVERLAP: [
    [
      () => new RegionMap(Virt, [[first, 'one']]).set(virtRegion(virtAddr(0x1fff), 2), 'two'),
      { region: virtRegion(virtAddr(0x1fff), 2), existing: first },
      `[0x0000000000001fff-0x0000000000002001) overlaps ${FIRST}, which is already in the map`,
    ],
  ],
  NO_SUCH_REGION: [
    [
      () => new RegionMap(Virt, [[first, 'one']]).delete(virtRegion(virtAddr(0x1000), 1)),
      { region: virtRegion(virtAddr(0x1000), 1) },
      'the map has no entry with exactly the region [0x0000000000001000-0x0000000000001001)',
    ],
  ],
  EMPTY_REGION: [
    [
      () => new RegionMap(Virt).set(virtRegion(virtAddr(0x1000), 0), 'none'),
      { region: virtRegion(virtAddr(0x1000), 0) },
      '[0x0000000000001000-0x0000000000001000) is empty: pass a region of at least one byte',
    ],
  ],
  UNSORTED_REGIONS: [
    [
      () => [
        ...walkRanges(
          [],
          [
            [third, 1],
            [first, 2],
          ],
        ),
      ],
      { side: 'right', index: 1, before: third, region: first },
      `region 1 on the right, ${FIRST}, does not come after [0x0000000000003000-0x0000000000004000): ` +
        'pass regions that are sorted and disjoint',
    ],
  ],
  KIND_MISMATCH: [
    [
      () => first.merge(untyped(physRegion(physAddr(0x2000), 0x1000))),
      { expected: 'virtual', actual: 'physical' },
      'the region must be of kind virtual, not physical',
    ],
  ],
};

describe.each(Object.keys(CODES) as RegionErrorCode[])('%s', (code) => {
  const rows = CODES[code].map(([action, details, message]) => [message, action, details] as const);

  test.each(rows)('%s', (message, action, details) => {
    const error = regionError(code, action);
    expect(error.details).toEqual(details);
    expect(error.message).toBe(`${message} [${code}]`);
    expect(error.code).toBe(code);
    expect(error.name).toBe('RegionError');
    expect(error).toBeInstanceOf(RegionError);
    expect(Object.isFrozen(error.details)).toBe(true);
    expect(() => Object.assign(error.details, { region: 0 })).toThrow(TypeError);
  });
});

test('a RegionError carries its cause', () => {
  const cause = new Error('why');
  expect(new RegionError('INVALID_PAGE_SIZE', { value: 1 }, { cause }).cause).toBe(cause);
});

describe('isRegionError', () => {
  const error = regionError('NOT_CONTIGUOUS', () => first.merge(third));

  test('accepts a RegionError, and only one with the code if a code is given', () => {
    expect(isRegionError(error)).toBe(true);
    expect(isRegionError(error, 'NOT_CONTIGUOUS')).toBe(true);
    expect(isRegionError(error, 'INVALID_END')).toBe(false);
  });

  test('accepts the errors of another copy of the package, with its regions in the details', async () => {
    vi.resetModules();
    const copy = await import('../src/index.ts');
    expect(copy.RegionError).not.toBe(RegionError);
    let other: unknown;
    try {
      copy.virtRegion(virtAddr(0), 1).merge(copy.virtRegion(virtAddr(2), 1));
    } catch (thrown) {
      other = thrown;
    }
    expect(other).not.toBeInstanceOf(RegionError);
    expect(isRegionError(other, 'NOT_CONTIGUOUS')).toBe(true);
    if (isRegionError(other, 'NOT_CONTIGUOUS')) expect(other.details.right.start).toBe(2n);
    expect(copy.isRegionError(error, 'NOT_CONTIGUOUS')).toBe(true);
    // Regions of two copies work together.
    const theirs = copy.virtRegion(virtAddr(0x1800), 0x1000);
    expect(first.intersect(untyped(theirs))?.size).toBe(0x800n);
  });

  test('refuses look-alikes and the errors of other packages', () => {
    for (const value of [
      undefined,
      null,
      'RegionError',
      new Error('no'),
      { name: 'RegionError', code: 'INVALID_END', details: {}, message: 'plain data' },
      Object.assign(new Error('no'), { name: 'RegionError', code: 'INVALID_END', details: null }),
      Object.assign(new Error('no'), { name: 'AddressError', code: 'INVALID_END', details: {} }),
    ]) {
      expect(isRegionError(value)).toBe(false);
    }
  });
});

test('formatBounds shows anything that has bounds, up to the end of the space', () => {
  expect(formatBounds({ start: 0n, end: 0n })).toBe('[0x0000000000000000-0x0000000000000000)');
  expect(formatBounds({ start: 2n ** 64n - 4096n, end: 2n ** 64n })).toBe(
    '[0xfffffffffffff000-0x10000000000000000)',
  );
});
