import { PAGE_SIZE, PAGE_SIZE_1G, PAGE_SIZE_2M, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { createPhysMemory, type FrameAllocator, pagingConfig } from '@svsm/pagetable';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { type NestedRange, NestedTable } from '../../src/memory/nested-table.ts';
import { MiB } from '../support/world.ts';

/*
 * Memory that is mapped from the start has no entries until one of the same table is needed. Whatever is done, each answer is
 * that of a table in which every page was mapped one by one.
 */

/** Frames from the bottom of memory, up to a limit, and those that were given back. */
function counted(first: number, limit = 400): FrameAllocator & { taken: number; freed: PhysAddr[] } {
  return {
    taken: 0,
    freed: [],
    allocateFrame() {
      if (this.taken === limit) throw new Error('no frame is left');
      this.taken += 1;
      return physAddr((first + this.taken) * PAGE_SIZE);
    },
    freeFrame(frame) {
      this.freed.push(frame);
    },
  };
}

/** The first address of each part: pages of 4 KiB up to the end of a table, then 2 MiB, then 1 GiB. */
const PARTS = [
  { size: PageSize.Regular, from: 0n, slots: 1600 },
  { size: PageSize.Huge, from: BigInt(PAGE_SIZE_1G), slots: 1024 },
  { size: PageSize.Giant, from: 4n * BigInt(PAGE_SIZE_1G), slots: 4 },
] as const;
const BASES: Readonly<Record<4 | 5, readonly bigint[]>> = {
  4: [0n, 1n << 46n, 1n << 47n, (1n << 48n) - (1n << 39n)],
  5: [0n, 1n << 47n, 1n << 48n, 1n << 51n],
};

const range = fc.record({
  part: fc.nat(2),
  at: fc.oneof(fc.nat(3), fc.integer({ min: 500, max: 520 }), fc.nat(1200)),
  count: fc.oneof(fc.nat(4), fc.integer({ min: 505, max: 520 })),
  to: fc.constantFrom(0, 1, 512, 513),
});
const place = fc.record({
  part: fc.nat(2),
  slot: fc.nat(1600),
  offset: fc.constantFrom(0, 0x1000, 0x1f_f000),
});
const step = fc.record({
  op: fc.constantFrom('map', 'unmap', 'split', 'read', 'write'),
  place,
  size: fc.constantFrom(PageSize.Regular, PageSize.Huge, PageSize.Giant),
});
type Place = typeof place extends fc.Arbitrary<infer T> ? T : never;

const gpaOf = (base: bigint, { part, slot, offset }: Place): PhysAddr => {
  const { size, from, slots } = PARTS[part]!;
  return physAddr(base + from + BigInt((slot % slots) * size) + BigInt(part === 0 ? 0 : offset));
};

/** Ranges that do not overlap. */
function rangesOf(
  base: bigint,
  given: readonly (typeof range extends fc.Arbitrary<infer T> ? T : never)[],
): NestedRange[] {
  const found: NestedRange[] = [];
  for (const [part, { size, from, slots }] of PARTS.entries()) {
    let next = 0;
    for (const { at, count, to } of given.filter((one) => one.part === part)) {
      const first = Math.max(next, at % slots);
      const fitting = Math.max(0, Math.min(count, slots - first));
      if (first >= slots) continue;
      const spa = sysPhysAddr(BigInt(first + to) * BigInt(size) + (1n << 44n));
      found.push({ gpa: physAddr(base + from + BigInt(first * size)), spa, size, count: fitting });
      next = first + fitting;
    }
  }
  return found;
}

function outcome(run: () => unknown): unknown {
  try {
    return run() ?? 'done';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

describe.each([4, 5] as const)('with %i levels', (levels) => {
  const config = pagingConfig({ levels });
  const base = fc.constantFrom(...BASES[levels]);

  test('a table of ranges answers as a table of pages', () => {
    fc.assert(
      fc.property(
        base,
        fc.array(range, { maxLength: 4 }),
        fc.boolean(),
        fc.array(step, { maxLength: 8 }),
        (base, given, accessedDirty, steps) => {
          const ranges = rangesOf(base, given);
          const tableOf = (ranges: readonly NestedRange[]): NestedTable => {
            const memory = createPhysMemory({ size: 4 * MiB });
            return new NestedTable({ memory, frames: counted(0), config, accessedDirty, ranges });
          };
          const [lazy, eager] = [tableOf(ranges), tableOf([])];
          for (const { gpa, spa, size, count } of ranges)
            for (let k = 0; k < count; k += 1) {
              const at = BigInt(k * size);
              eager.map((gpa + at) as PhysAddr, (spa + at) as SysPhysAddr, size);
            }
          const places = ranges.flatMap(({ gpa, size, count }) =>
            [-1n, 0n, 1n, 511n, 512n, 513n, BigInt(count - 1), BigInt(count)].map(
              (k) => gpa + k * BigInt(size),
            ),
          );
          const check = (): void => {
            for (const gpa of places) {
              if (gpa < 0n) continue;
              const at = (gpa | 0x123n) as PhysAddr;
              if (gpa < lazy.end) expect([at, lazy.walk(at)]).toEqual([at, eager.walk(at)]);
            }
          };
          check();
          for (const { op, place, size } of steps) {
            const gpa = gpaOf(base, place);
            places.push(gpa, gpa + BigInt(PAGE_SIZE), gpa + BigInt(PAGE_SIZE_2M));
            const before = eager.lookup(gpa);
            const [found, twin] = [lazy, eager].map((table) =>
              outcome(() => {
                const to = sysPhysAddr(1n << 45n);
                const start = (of: number): PhysAddr => physAddr(gpa & -BigInt(of));
                if (op === 'map') return table.map(start(size), to, size, { writable: false });
                if (op === 'unmap') return table.unmap(start(before?.size ?? PAGE_SIZE));
                if (op === 'split') return table.split4k(gpa);
                return table.markUsed(gpa, op === 'write');
              }),
            );
            expect([op, gpa, found]).toEqual([op, gpa, twin]);
            check();
          }
        },
      ),
    );
  });
});

describe('the entries of a range', () => {
  const first = BigInt(PAGE_SIZE_1G);
  const range = (count: number): NestedRange => ({
    gpa: physAddr(first),
    spa: sysPhysAddr(first),
    size: PageSize.Regular,
    count,
  });
  const made = (limit?: number) => {
    const memory = createPhysMemory({ size: 4 * MiB });
    const [frames, rangeFrames] = [counted(0), counted(512, limit)];
    const ranges = [range(1024)];
    const table = new NestedTable({ memory, frames, config: pagingConfig(), ranges, rangeFrames });
    return { table, frames, rangeFrames, counts: () => [frames.taken, rangeFrames.taken] };
  };
  const page = (k: number): PhysAddr => physAddr(first + BigInt(k * PAGE_SIZE));

  test('are written when one of their table is changed, in frames of their own', () => {
    const { table, frames, counts } = made();
    expect(table.lookup(page(512))?.spa).toBe(page(512));
    expect(counts()).toEqual([1, 0]);
    // The root has another frame: three tables lead to an entry.
    table.unmap(page(0));
    expect(counts()).toEqual([1, 3]);
    table.unmap(page(511));
    expect(counts()).toEqual([1, 3]);
    table.unmap(page(512));
    expect(counts()).toEqual([1, 4]);
    // What lies in no range takes the other frames, after a range was filled as well.
    table.map(physAddr(0), sysPhysAddr(0), PageSize.Regular);
    expect(counts()).toEqual([3, 4]);
    table.unmap(physAddr(0));
    expect(frames.freed).toHaveLength(2);
  });

  test('are tried again after their frames were used up, and take no other frames', () => {
    const { table, rangeFrames, counts } = made(2);
    for (let k = 0; k < 2; k += 1) {
      expect(() => table.unmap(page(5))).toThrow('no frame is left');
      expect(table.lookup(page(5))?.spa).toBe(page(5));
    }
    expect(rangeFrames.taken).toBeLessThanOrEqual(2);
    table.map(physAddr(0), sysPhysAddr(0), PageSize.Regular);
    expect(counts()[0]).toBeGreaterThan(1);
  });

  test('are as many as the range has in the table', () => {
    const { table } = made();
    table.unmap(page(1023));
    expect(table.lookup(page(1024))).toBeUndefined();
    expect(table.lookup(page(1022))?.spa).toBe(page(1022));
  });

  test('are not written for a page before them, or for marks that nobody sets', () => {
    const { table, counts } = made();
    table.map(page(-1), sysPhysAddr(0), PageSize.Regular);
    table.markUsed(page(0), true);
    expect([counts()[1], table.lookup(page(0))?.spa]).toEqual([0, page(0)]);
  });
});
