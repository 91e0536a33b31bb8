import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { createPhysMemory, pagingConfig, readPhys64, writePhys64 } from '@svsm/pagetable';
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

  test('the upper bits of an address are the index in the root', () => {
    const shift = 3n + 9n * BigInt(levels);
    for (let index = 1n; index < 1n << (width - shift); index *= 2n) {
      const memory = createPhysMemory({ size: 4 * MiB });
      const table = new NestedTable({ memory, frames: tableFrames(), config: pagingConfig({ levels }) });
      table.map(physAddr(index << shift), sysPhysAddr(0), PageSize.Regular);
      const root = Array.from({ length: 512 }, (_, k) => readPhys64(memory, physAddr(MiB + 8 * k)));
      expect(root.findIndex((entry) => entry !== 0n)).toBe(Number(index));
    }
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

test('each right is its own bit of the entry, and all are given if none is named', () => {
  for (let bits = 0; bits < 27; bits += 1) {
    const right = (digit: number): boolean | undefined =>
      [undefined, false, true][Math.floor(bits / digit) % 3];
    const rights = { writable: right(1), user: right(3), executable: right(9) };
    const given = Object.fromEntries(Object.entries(rights).filter(([, value]) => value !== undefined));
    for (const accessedDirty of [false, true]) {
      const table = nested(4, { accessedDirty });
      table.map(physAddr(0x5000), sysPhysAddr(0), PageSize.Regular, given);
      const { writable = true, user = true, executable = true } = rights;
      const [accessed, dirty] = [!accessedDirty, !accessedDirty];
      const found = { spa: 0n, size: PageSize.Regular, writable, user, executable, accessed, dirty };
      expect(table.walk(physAddr(0x5000))).toEqual(found);
    }
  }
});

test('the options have defaults, and what is marked depends on them', () => {
  const table = nested();
  expect([table.gmet, table.accessedDirty]).toEqual([false, false]);
  const marking = nested(4, { accessedDirty: true });
  marking.map(physAddr(0), sysPhysAddr(0), PageSize.Regular);
  marking.map(physAddr(0x1000), sysPhysAddr(0), PageSize.Regular);
  marking.markUsed(physAddr(0), false);
  marking.markUsed(physAddr(0x1000), true);
  const bits = [0, 0x1000].map((gpa) => marking.lookup(physAddr(gpa)));
  expect(bits.map((page) => [page?.accessed, page?.dirty])).toEqual([
    [true, false],
    [true, true],
  ]);
});

test('a reserved bit in an entry of the walk is told from an entry that is not present', () => {
  const memory = createPhysMemory({ size: 4 * MiB });
  const table = new NestedTable({ memory, frames: tableFrames(), config: pagingConfig() });
  table.map(physAddr(0), sysPhysAddr(0x20_0000), PageSize.Huge);
  // The first entry of one of the three tables maps the page: it has bit 7.
  const entries = [0, 1, 2].map((k) => physAddr(MiB + k * PAGE_SIZE));
  const entry = entries.find((at) => (readPhys64(memory, at) & 0x80n) !== 0n)!;
  writePhys64(memory, entry, readPhys64(memory, entry) | 0x2000n);
  expect(table.walk(physAddr(0))).toBe('reserved');
  expect(table.lookup(physAddr(0))).toBeUndefined();
  expect(table.walk(physAddr(0x20_0000))).toBeUndefined();
});

test('memory that cannot be read is not a reserved bit', () => {
  const memory = createPhysMemory({ size: 4 * MiB });
  const table = new NestedTable({ memory, frames: tableFrames(), config: pagingConfig() });
  table.map(physAddr(0), sysPhysAddr(0), PageSize.Regular);
  // The root leads out of the memory.
  writePhys64(memory, physAddr(MiB), (readPhys64(memory, physAddr(MiB)) & 0xfffn) | (1n << 40n));
  expect(() => table.walk(physAddr(0))).toThrow('BUS_ERROR');
});
