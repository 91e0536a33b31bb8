import { PageSize, physAddr, Virt, Virt57, type VirtAddr, virtAddr } from '@svsm/address';
import { MemoryRegion, virtRegion } from '@svsm/memory-region';
import { beforeEach, describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import type { OnListingFault } from '../../src/walk/leaf-scan.ts';
import type { Mapping } from '../../src/walk/mappings.ts';
import { FramePool } from '../support/frame-pool.ts';

const VA = virtAddr(0xffff_8000_0000_0000n);
const at = (offset: number): VirtAddr => (VA + BigInt(offset)) as VirtAddr;

let memory: PhysMemory;
let table: PageTable;

beforeEach(() => {
  memory = createPhysMemory({ size: 0x40_0000 });
  table = PageTable.create({ memory, frames: new FramePool(1, 64), config: pagingConfig({ cBit: 51 }) });
});

const shown = (mappings: Iterable<Mapping>): string[] =>
  [...mappings].map(({ region, paddr, pageSize, writable, user, executable, shared }) => {
    const rights = `${user ? 'u' : '-'}${writable ? 'w' : '-'}${executable ? 'x' : '-'}${shared ? 's' : 'p'}`;
    return `${region} ${paddr.toString(16)} ${pageSize.toString(16)} ${rights}`;
  });

describe('mappings', () => {
  test('are empty for an empty page table', () => {
    expect(shown(table.mappings())).toEqual([]);
  });

  test('join pages that are contiguous in both memories, with one size and the same rights', () => {
    for (let i = 0; i < 4; i += 1)
      table.map4k(at(i * 0x1000), physAddr(0x10_0000 + i * 0x1000), PtePreset.Data);
    table.map4k(at(0x4000), physAddr(0x50_0000), PtePreset.Data);
    table.map4k(at(0x5000), physAddr(0x50_1000), PtePreset.ReadOnly);
    table.map4k(at(0x6000), physAddr(0x50_2000), PtePreset.Code);
    table.map4k(at(0x7000), physAddr(0x50_3000), PtePreset.Code | PteFlags.User);
    table.map4k(at(0x8000), physAddr(0x50_4000), PtePreset.Code | PteFlags.User, { shared: true });
    table.map2m(at(0x20_0000), physAddr(0x20_0000), PtePreset.Data);
    table.map2m(at(0x40_0000), physAddr(0x40_0000), PtePreset.Data);
    table.map1g(at(0x4000_0000), physAddr(0x4000_0000), PtePreset.Data);
    expect(shown(table.mappings())).toEqual([
      '[0xffff800000000000-0xffff800000004000) 100000 1000 -w-p',
      '[0xffff800000004000-0xffff800000005000) 500000 1000 -w-p',
      '[0xffff800000005000-0xffff800000006000) 501000 1000 ---p',
      '[0xffff800000006000-0xffff800000007000) 502000 1000 --xp',
      '[0xffff800000007000-0xffff800000008000) 503000 1000 u-xp',
      '[0xffff800000008000-0xffff800000009000) 504000 1000 u-xs',
      '[0xffff800000200000-0xffff800000600000) 200000 200000 -w-p',
      '[0xffff800040000000-0xffff800080000000) 40000000 40000000 -w-p',
    ]);
  });

  test('do not join the two halves of the space', () => {
    table.map4k(virtAddr(0x7fff_ffff_f000n), physAddr(0x1000), PtePreset.Data);
    table.map4k(VA, physAddr(0x2000), PtePreset.Data);
    table.map4k(virtAddr(0xffff_ffff_ffff_f000n), physAddr(0x3000), PtePreset.Data);
    expect(shown(table.mappings()).map((line) => line.split(' ')[0])).toEqual([
      '[0x00007ffffffff000-0x0000800000000000)',
      '[0xffff800000000000-0xffff800000001000)',
      '[0xfffffffffffff000-0x10000000000000000)',
    ]);
  });

  test('are cut at the bounds of `within`', () => {
    table.map2m(VA, physAddr(0x20_0000), PtePreset.Data);
    table.map4k(at(0x20_0000), physAddr(0x1000), PtePreset.Data);
    table.map1g(at(0x4000_0000), physAddr(0x4000_0000), PtePreset.Data);
    expect(shown(table.mappings({ within: virtRegion(at(0x1000), 0x2000) }))).toEqual([
      '[0xffff800000001000-0xffff800000003000) 201000 200000 -w-p',
    ]);
    expect(shown(table.mappings({ within: virtRegion(at(0x1f_f000), 0x3fe0_2000) }))).toEqual([
      '[0xffff8000001ff000-0xffff800000200000) 3ff000 200000 -w-p',
      '[0xffff800000200000-0xffff800000201000) 1000 1000 -w-p',
      '[0xffff800040000000-0xffff800040001000) 40000000 40000000 -w-p',
    ]);
    expect(shown(table.mappings({ within: virtRegion(at(0x20_1000), 0x1000) }))).toEqual([]);
    expect(shown(table.mappings({ within: virtRegion(at(0x1000), 0) }))).toEqual([]);
    expect([...table.leaves({ within: virtRegion(at(0x1000), 0x1000) })].map(({ vaddr }) => vaddr)).toEqual([
      VA,
    ]);
  });

  // P2
  test('have regions of 57-bit addresses with five levels', () => {
    table = PageTable.create({ memory, frames: new FramePool(64, 64), config: pagingConfig({ levels: 5 }) });
    table.map4k(0xff00_0000_0000_0000n as VirtAddr, physAddr(0x1000), PtePreset.Data);
    const [mapping] = table.mappings();
    expect(mapping?.region.kind).toBe(Virt57);
    expect([...table.leaves()].map(({ vaddr }) => vaddr)).toEqual([0xff00_0000_0000_0000n]);
    expect(mapping?.region.start).toBe(0xff00_0000_0000_0000n);
  });

  test('have regions of 48-bit addresses with four levels', () => {
    table.map4k(VA, physAddr(0x1000), PtePreset.Data);
    expect([...table.mappings()][0]?.region.kind).toBe(Virt);
  });

  test('are read step by step', () => {
    table.map4k(VA, physAddr(0x1000), PtePreset.Data);
    table.map4k(at(0x2000), physAddr(0x1000), PtePreset.Data);
    const listing = table.leaves();
    expect(listing.next().value?.vaddr).toBe(VA);
    table.unmap4k(at(0x2000));
    table.map4k(at(0x3000), physAddr(0x1000), PtePreset.Data);
    expect(listing.next().value?.vaddr).toBe(at(0x3000));
    expect(listing.next().done).toBe(true);
  });

  test('have the same rights as the leaves', () => {
    // Without encryption, no other bit of the high word is set.
    table = PageTable.create({ memory, frames: new FramePool(64, 64) });
    const rights = [
      [PteFlags.Writable, true, false, true],
      [PteFlags.User, false, true, true],
      [PteFlags.NoExecute, false, false, false],
      [PteFlags.Writable | PteFlags.User, true, true, true],
    ] as const;
    for (const [i, [flags]] of rights.entries()) table.map4k(at(i * 0x2000), physAddr(0x1000), flags);
    const found = [...table.leaves()].map(({ writable, user, executable }) => [writable, user, executable]);
    expect(found).toEqual(rights.map(([, ...rest]) => rest));
    expect(
      [...table.mappings()].map(({ writable, user, executable }) => [writable, user, executable]),
    ).toEqual(found);
  });

  test('end a run where the frame, the size or a right differs', () => {
    // Page 0: its number is 0, like the initial value.
    const low = virtAddr(0);
    table.map4k(low, physAddr(0x5000), PtePreset.Data);
    table.map4k(virtAddr(0x1000), physAddr(0x7000), PtePreset.Data);
    // The large page continues the small ones in both memories, but has another size.
    for (let i = 0; i < 512; i += 1) {
      table.map4k(virtAddr(0x20_0000 + i * 0x1000), physAddr(0x20_0000 + i * 0x1000), PtePreset.Data);
    }
    table.map2m(virtAddr(0x40_0000), physAddr(0x40_0000), PtePreset.Data);
    expect(shown(table.mappings())).toEqual([
      '[0x0000000000000000-0x0000000000001000) 5000 1000 -w-p',
      '[0x0000000000001000-0x0000000000002000) 7000 1000 -w-p',
      '[0x0000000000200000-0x0000000000400000) 200000 1000 -w-p',
      '[0x0000000000400000-0x0000000000600000) 400000 200000 -w-p',
    ]);
  });

  // P13
  test('have the rights that all levels leave', () => {
    table.map4k(VA, physAddr(0x1000), PteFlags.Writable | PteFlags.User);
    writePhys64(memory, physAddr(table.root + 8n * 256n), 0x8000_0000_0000_0001n | 0x2000n);
    const [mapping] = table.mappings();
    expect(mapping).toMatchObject({ writable: false, user: false, executable: false });
  });

  test.each([
    ['NON_CANONICAL', 0x8000_0000_0000n, 0x8000_0000_1000n],
    ['NON_CANONICAL', 0n, 0x8000_0000_1000n],
    ['NON_CANONICAL', 0n, 1n << 64n],
    ['MISALIGNED', 0x800n, 0x1000n],
    ['MISALIGNED', 0x1000n, 0x1800n],
  ])('refuse bounds that are %s', (code, start, end) => {
    let error: unknown;
    try {
      table.mappings({ within: { start: start as VirtAddr, end } });
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error) && error.code).toBe(code);
  });

  test('accept a 57-bit region that 4 levels can map', () => {
    table.map4k(VA, physAddr(0x1000), PtePreset.Data);
    expect(shown(table.mappings({ within: new MemoryRegion(Virt57, VA, 0x1000) }))).toHaveLength(1);
  });
});

describe('a corrupted table', () => {
  test('ends a listing, or is reported to onFault and skipped', () => {
    table.map4k(VA, physAddr(0x1000), PtePreset.Data);
    table.map4k(at(0x4000_0000), physAddr(0x1000), PtePreset.Data);
    const [pdpt] = [table.walk(VA).path[1]?.table ?? 0n];
    writePhys64(memory, physAddr(pdpt + 16n), 0x7_0000_0003n);
    table.map4k(at(0xc000_0000), physAddr(0x1000), PtePreset.Data);
    writePhys64(memory, physAddr(table.root + 8n * 300n), 0x83n);
    const seen: VirtAddr[] = [];
    const list = (onFault?: (error: { code: string }) => void): void => {
      for (const { vaddr } of table.leaves(onFault && { onFault })) seen.push(vaddr);
    };
    expect(() => list()).toThrow(/no memory at physical address 0x0000000700000000/);
    expect(seen.splice(0)).toEqual([VA, at(0x4000_0000)]);
    const faults: string[] = [];
    list(({ code }) => faults.push(code));
    expect(seen).toEqual([VA, at(0x4000_0000), at(0xc000_0000)]);
    expect(faults).toEqual(['BUS_ERROR', 'RESERVED_BITS']);
  });

  test('is reported with the first address that is left out, and the level', () => {
    table.map4k(at(0x4000_0000), physAddr(0x1000), PtePreset.Data);
    const pdpt = table.walk(VA).path[1]?.table ?? 0n;
    writePhys64(memory, physAddr(pdpt), 0x7_0000_0003n);
    writePhys64(memory, physAddr(table.root + 8n * 300n), 0x83n);
    const list = (within?: MemoryRegion<VirtAddr>): unknown[] => {
      const places: unknown[] = [];
      const options = {
        onFault: (...[{ code }, place]: Parameters<OnListingFault>) => places.push([code, place]),
      };
      for (const _ of table.leaves(within === undefined ? options : { ...options, within }));
      return places;
    };
    const reserved = ['RESERVED_BITS', { vaddr: 0xffff_9600_0000_0000n, level: 3 }];
    expect(list()).toEqual([['BUS_ERROR', { vaddr: VA, level: 1 }], reserved]);
    expect(list(virtRegion(at(0x5000), 0x1000))).toEqual([['BUS_ERROR', { vaddr: at(0x5000), level: 1 }]]);
    expect(list(virtRegion(virtAddr(0xffff_9600_0000_1000n), 0x1000))).toEqual([
      ['RESERVED_BITS', { vaddr: 0xffff_9600_0000_1000n, level: 3 }],
    ]);
  });

  test('is reported with all details, or thrown with them', () => {
    const entry = table.root + 8n * 300n;
    writePhys64(memory, physAddr(entry), 0x83n);
    const details = { vaddr: 0xffff_9600_0000_0000n, level: 3, paddr: entry, entry: 0x83n, reserved: 0x80n };
    const reported: unknown[] = [];
    for (const _ of table.leaves({ onFault: (fault) => reported.push(fault.details) }));
    expect(reported).toEqual([details]);
    try {
      expect.fail(`${[...table.leaves()].length} leaves`);
    } catch (error) {
      expect(isPageTableError(error, 'RESERVED_BITS') && error.details).toEqual(details);
    }
  });

  test('is listed quickly if it leads to an empty table 512 times at each level', () => {
    for (const [level, target] of [
      [0x30_0000, 0x30_1000],
      [0x30_1000, 0x30_2000],
      [0x30_2000, 0x30_3000],
    ] as const) {
      for (let i = 0; i < 512; i += 1) writePhys64(memory, physAddr(level + 8 * i), BigInt(target) | 3n);
    }
    const looped = PageTable.open(physAddr(0x30_0000), { memory });
    expect([...looped.mappings()]).toEqual([]);
    // Also in memory that can change at any time.
    const own = createPhysMemory({ buffer: new ArrayBuffer(0x4000) });
    for (let level = 0; level < 3; level += 1) {
      for (let i = 0; i < 512; i += 1) {
        writePhys64(own, physAddr(level * 0x1000 + 8 * i), BigInt(level + 1) * 0x1000n + 3n);
      }
    }
    expect([...PageTable.open(physAddr(0), { memory: own }).mappings()]).toEqual([]);
  });

  test('is listed as the processor sees it if it leads to itself', () => {
    writePhys64(memory, table.root, table.root | 3n);
    expect([...table.leaves()].map(({ vaddr, frame, size }) => [vaddr, frame, size])).toEqual([
      [0n, table.root, PageSize.Regular],
    ]);
  });
});
