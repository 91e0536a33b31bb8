import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { createPhysMemory, pagingConfig } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { NestedTable } from '../../src/memory/nested-table.ts';
import { MiB, tableFrames } from '../support/world.ts';

const GiB = 1024 * MiB;

function nested(levels: 4 | 5 = 4, options: { accessedDirty?: boolean } = {}): NestedTable {
  const memory = createPhysMemory({ size: 4 * MiB });
  return new NestedTable({ memory, frames: tableFrames(), config: pagingConfig({ levels }), ...options });
}

test('maps, finds and unmaps pages of each size', () => {
  const table = nested();
  const cases = [
    [0, 8 * GiB, PageSize.Giant],
    [GiB, 6 * MiB, PageSize.Huge],
    [2 * GiB, 0x5000, PageSize.Regular],
  ] as const;
  for (const [gpa, spa, size] of cases) {
    table.map(physAddr(gpa), sysPhysAddr(spa), size);
    expect(table.lookup(physAddr(gpa + size - 1))).toEqual({
      spa: BigInt(spa + size - 1),
      size,
      writable: true,
      user: true,
      executable: true,
      accessed: true,
      dirty: true,
    });
    expect(table.lookup(physAddr(gpa + size))).toBeUndefined();
    table.unmap(physAddr(gpa));
    expect(table.lookup(physAddr(gpa))).toBeUndefined();
  }
  expect(() => table.unmap(physAddr(0))).toThrow('NOT_MAPPED');
});

test('splits a page without changing a translation', () => {
  const table = nested();
  table.map(physAddr(0), sysPhysAddr(GiB), PageSize.Huge);
  table.split4k(physAddr(0x5123));
  expect(table.lookup(physAddr(0x5123))).toMatchObject({ spa: BigInt(GiB + 0x5123), size: PageSize.Regular });
});

// P85
describe.each([
  [4, 48n],
  [5, 52n],
] as const)('%i levels', (levels, width) => {
  test('map every bit of the width, and each address to itself', () => {
    const table = nested(levels);
    expect(table.end).toBe(1n << width);
    const frame = (1n << width) - BigInt(PAGE_SIZE);
    const bits = Array.from({ length: Number(width) - 12 }, (_, k) => 1n << BigInt(k + 12));
    const addresses = [0n, frame, ...bits, ...bits.map((bit) => frame ^ bit)].map((gpa) => physAddr(gpa));
    for (const [k, gpa] of addresses.entries()) {
      table.map(gpa, sysPhysAddr(k * PAGE_SIZE), PageSize.Regular, { writable: k % 2 === 0 });
    }
    for (const [k, gpa] of addresses.entries()) {
      table.markUsed(gpa, false);
      expect(table.lookup(physAddr(gpa + 0xfffn))).toMatchObject({
        spa: BigInt(k * PAGE_SIZE + 0xfff),
        writable: k % 2 === 0,
      });
    }
    for (const gpa of addresses) table.unmap(gpa);
    for (const gpa of addresses) expect(table.lookup(gpa)).toBeUndefined();
  });

  test('split, unmap and mark large pages in the upper half', () => {
    const table = nested(levels, { accessedDirty: true });
    const gpa = physAddr((1n << (width - 1n)) + BigInt(GiB));
    table.map(gpa, sysPhysAddr(4 * GiB), PageSize.Huge);
    table.markUsed(gpa, true);
    expect(table.lookup(gpa)).toMatchObject({ accessed: true, dirty: true });
    table.split4k(gpa);
    expect(table.lookup(physAddr(gpa + 0x1234n))).toMatchObject({
      size: PageSize.Regular,
      spa: BigInt(4 * GiB + 0x1234),
    });
    table.unmap(gpa);
    expect([table.lookup(gpa), table.lookup(physAddr(gpa + 0x1000n))?.spa]).toEqual([
      undefined,
      BigInt(4 * GiB + 0x1000),
    ]);
  });

  test('map nothing beyond, and no second address of a page', () => {
    const table = nested(levels);
    table.map(physAddr(0), sysPhysAddr(0), PageSize.Regular);
    table.map(physAddr((1n << width) - BigInt(PAGE_SIZE)), sysPhysAddr(0), PageSize.Regular);
    for (const gpa of [1n << 48n, (1n << 52n) - BigInt(PAGE_SIZE), (1n << 48n) + (1n << 47n)].map(
      (it) => it as PhysAddr,
    )) {
      if (gpa < table.end) continue;
      expect(table.lookup(gpa)).toBeUndefined();
      expect(() => table.map(gpa, sysPhysAddr(0), PageSize.Regular)).toThrow('NON_CANONICAL');
      expect(() => table.unmap(gpa)).toThrow();
      expect(() => table.split4k(gpa)).toThrow();
    }
  });
});
