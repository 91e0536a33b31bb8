import { type Address, Phys, type PhysAddr, physAddr, Virt, virtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type MemoryRegion, physRegion, RegionMap, virtRegion } from '../src/index.ts';
import { regionOf, stretch, stretches, WINDOWS } from './region-model.ts';

const alignUp = (address: bigint, alignment: bigint): bigint => (address + alignment - 1n) & -alignment;

/** The first fit, gap by gap. */
function firstFit<A extends Address>(
  map: RegionMap<A, unknown>,
  within: MemoryRegion<A>,
  size: bigint,
  alignment: bigint,
): bigint | undefined {
  for (const gap of map.gaps(within)) {
    const start = alignUp(gap.start, alignment);
    if (start + size <= gap.end) return start;
  }
  return undefined;
}

describe.each(WINDOWS.map((window) => [window.name, window] as const))('findGap at %s', (_, window) => {
  test('finds the first gap with room', () => {
    const alignments = fc.constantFrom(1, 2, 4, 8, 16, 32, 64, 2048, 4096);
    fc.assert(
      fc.property(
        stretches,
        stretch,
        fc.integer({ min: 1, max: 9 }),
        alignments,
        (given, where, size, by) => {
          const map = new RegionMap<Address, number>(window.kind);
          for (const [i, one] of given.entries()) if (one[1] > 0) map.overlay(regionOf(window, one), i);
          const within = regionOf(window, where);
          const found = map.findGap(within, size, by);
          expect(found?.start).toBe(firstFit(map, within, BigInt(size), BigInt(by)));
          if (found !== undefined) expect(found.size).toBe(BigInt(size));
        },
      ),
    );
  });
});

/** Regions of some 600 entries: three chunks and more, that split and shrink. */
test('finds the first gap with room while chunks split, shrink and become empty', () => {
  const SLOTS = 4096;
  const slot = (i: number, units: number): MemoryRegion<PhysAddr> =>
    physRegion(physAddr(i * 0x800), units * 0x800);
  const step = fc.record({
    from: fc.integer({ min: 0, max: SLOTS - 512 }),
    count: fc.integer({ min: 1, max: 400 }),
    stride: fc.integer({ min: 1, max: 9 }),
    removes: fc.boolean(),
  });
  const search = fc.record({
    from: fc.integer({ min: 0, max: SLOTS }),
    size: fc.integer({ min: 1, max: 24 }),
    alignment: fc.constantFrom(1, 0x800, 0x1000, 0x2000, 0x4000, 0x20_0000),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.array(search, { maxLength: 6 })), { maxLength: 12 }), (steps) => {
      const map = new RegionMap<PhysAddr, number>(Phys);
      for (const [{ from, count, stride, removes }, searches] of steps) {
        for (let k = 0; k < count; k += 1) {
          const i = (from + k * stride) % SLOTS;
          const there = map.entryAt(physAddr(i * 0x800));
          if (removes && there !== undefined) map.delete(there[0]);
          if (!removes && there === undefined) map.set(slot(i, 1), i);
        }
        for (const { from, size, alignment } of searches) {
          const within = physRegion(physAddr(from * 0x800), (SLOTS - from) * 0x800);
          const bytes = size * 0x800 - 1;
          expect(map.findGap(within, bytes, alignment)?.start).toBe(
            firstFit(map, within, BigInt(bytes), BigInt(alignment)),
          );
        }
      }
    }),
    { numRuns: 60 },
  );
});

describe('findGap', () => {
  const page = (number: number) => physRegion(physAddr(number * 0x1000), 0x1000);

  test('finds gaps whose sizes a double cannot hold', () => {
    const all = virtRegion(virtAddr(0), 2n ** 47n);
    const low = new RegionMap(Virt, [[virtRegion(virtAddr(0), 1), 0]]);
    expect(low.findGap(all, 2n ** 47n - 1n)?.start).toBe(1n);
    expect(low.findGap(all, 2n ** 47n)).toBeUndefined();
    // The gap across the hole is the largest, but no region lies in it.
    const high = virtAddr(0xffff_ffff_ffff_f000n);
    const both = new RegionMap(Virt, [
      [virtRegion(virtAddr(0), 2n ** 47n - 0x1000n), 0],
      [virtRegion(high, 0x1000), 0],
    ]);
    expect(both.findGap(all, 0x1001)).toBeUndefined();
    expect(both.findGap(all, 0x1000)?.start).toBe(2n ** 47n - 0x1000n);
    expect(both.findGap(virtRegion(high, 0x1000), 1)).toBeUndefined();
  });

  test('refuses another kind of address, a negative size and an alignment that is not a power of two', () => {
    const map = new RegionMap(Phys, [[page(1), 0]]);
    expect(() => map.findGap(virtRegion(virtAddr(0), 1) as never, 1)).toThrow('KIND_MISMATCH');
    expect(() => map.findGap(page(0), 1, 3)).toThrow('INVALID_ALIGNMENT');
    expect(() => map.findGap(page(0), -1)).toThrow('INVALID_BYTE_COUNT');
  });

  test('finds a place for no bytes, also at the border of an entry', () => {
    const map = new RegionMap(Phys, [[page(1), 0]]);
    expect(String(map.findGap(page(1), 0))).toBe(String(physRegion(physAddr(0x1000), 0)));
    expect(String(map.findGap(physRegion(physAddr(0x1800), 0x1000), 0))).toBe(
      String(physRegion(physAddr(0x2000), 0)),
    );
  });
});
