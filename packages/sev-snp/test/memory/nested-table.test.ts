import { PageSize, physAddr } from '@svsm/address';
import { createPhysMemory, pagingConfig } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { NestedTable } from '../../src/memory/nested-table.ts';
import { MiB, tableFrames } from '../support/world.ts';

const GiB = 1024 * MiB;

function nested(): NestedTable {
  const memory = createPhysMemory({ size: 4 * MiB });
  return new NestedTable({ memory, frames: tableFrames(), config: pagingConfig() });
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

test('maps addresses below 2^47, and nothing beyond', () => {
  const table = nested();
  const last = physAddr(2n ** 47n - 4096n);
  table.map(last, sysPhysAddr(0), PageSize.Regular);
  expect(table.lookup(last)?.spa).toBe(0n);
  expect(table.lookup(physAddr(2n ** 47n))).toBeUndefined();
  expect(table.lookup(physAddr(2n ** 52n - 1n))).toBeUndefined();
});
