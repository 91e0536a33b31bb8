import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  crossesPage,
  distance,
  isAligned,
  isPageAligned,
  pageNumber,
  pageOffset,
  pageTableIndex,
  type VirtAddr,
} from '../src/index.ts';
import { addresses, alignments, byteCounts, SPACES } from './support.ts';

describe.each(SPACES)('%s', (_, space) => {
  test('page number and offset add up to the address', () => {
    fc.assert(
      fc.property(addresses(space), (address) => {
        expect(BigInt(pageNumber(address)) * 4096n + BigInt(pageOffset(address))).toBe(address);
        expect(pageOffset(address)).toBeGreaterThanOrEqual(0);
        expect(pageOffset(address)).toBeLessThan(4096);
        expect(Number.isSafeInteger(pageNumber(address))).toBe(true);
      }),
    );
  });

  test('an address is aligned exactly if it is divisible', () => {
    fc.assert(
      fc.property(addresses(space), alignments, (address, alignment) => {
        expect(isAligned(address, alignment)).toBe(address % BigInt(alignment) === 0n);
        expect(isPageAligned(address)).toBe(address % 4096n === 0n);
      }),
    );
  });

  test('bytes cross a page exactly if the first and the last lie in different pages', () => {
    fc.assert(
      fc.property(addresses(space), fc.oneof(byteCounts, fc.nat(8192)), (address, bytes) => {
        const last = address + BigInt(bytes) - 1n;
        expect(crossesPage(address, bytes)).toBe(BigInt(bytes) > 0n && address / 4096n !== last / 4096n);
      }),
    );
  });

  test('distance is the difference, in both directions', () => {
    fc.assert(
      fc.property(addresses(space), addresses(space), (a, b) => {
        expect(a + distance(a, b)).toBe(b);
        expect(distance(b, a)).toBe(-distance(a, b));
        const holes = space.runs.length > 1 && a < space.runs[1]![0] !== b < space.runs[1]![0];
        if (!holes) expect(distance(a, b)).toBe(space.kind.stepsBetween(a, b));
      }),
    );
  });
});

test.each(SPACES.filter(([name]) => name.startsWith('virtual')))(
  'the page table indexes and the page offset of a %s address add up to it',
  (_, space) => {
    fc.assert(
      fc.property(addresses(space) as fc.Arbitrary<VirtAddr>, (address) => {
        const indexes = [4, 3, 2, 1, 0].map((level) => pageTableIndex(address, level));
        for (const index of indexes) expect(index >= 0 && index < 512).toBe(true);
        const low57 = indexes.reduce((value, index) => value * 512n + BigInt(index), 0n) * 4096n;
        const truncated = space.kind.truncate(low57 + BigInt(pageOffset(address)));
        expect(truncated).toBe(address);
      }),
    );
  },
);
