import { physAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { FramePool } from '../support/frame-pool.ts';

describe('cloneShared', () => {
  test('shares the subtree below an entry, and owns the rest', () => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const pool = new FramePool(1, 64);
    const table = PageTable.create({ memory, frames: pool, freeEmptyTables: true });
    const kernel = virtAddr(0xffff_ff80_0000_0000n);
    const own = virtAddr(0x1000);
    table.map4k(kernel, physAddr(0x5000), PtePreset.Data);
    table.map4k(own, physAddr(0x6000), PtePreset.Data);
    const clone = table.cloneShared([511]);
    expect(clone.translate(kernel)).toBe(0x5000n);
    expect(clone.translate(own)).toBeUndefined();
    const later = virtAddr(kernel + 0x1000n);
    table.map4k(later, physAddr(0x7000), PtePreset.Data);
    expect(clone.translate(later)).toBe(0x7000n);
    // The last page is unmapped through the clone: the table to which both lead stays.
    clone.unmap4k(kernel);
    clone.unmap4k(later);
    expect(table.translate(later)).toBeUndefined();
    table.map4k(later, physAddr(0x8000), PtePreset.Data);
    expect(clone.translate(later)).toBe(0x8000n);
    // It also stays if the last page is unmapped through the original.
    table.unmap4k(later);
    clone.map4k(later, physAddr(0x8000), PtePreset.Data);
    expect(table.translate(later)).toBe(0x8000n);
    clone.map4k(own, physAddr(0x9000), PtePreset.Data);
    const before = table.countTables();
    clone.destroy();
    expect(pool.inUse.size).toBe(before);
    expect([table.translate(own), table.translate(later)]).toEqual([0x6000n, 0x8000n]);
    table.destroy();
    expect(pool.inUse.size).toBe(0);
  });

  test.each([0, 512, 0.5])('refuses entry %d, and takes no frame', (index) => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const pool = new FramePool(1, 8);
    const table = PageTable.create({ memory, frames: pool });
    expect(() => table.cloneShared([index])).toThrow(/INVALID_ROOT_ENTRY/);
    expect(pool.inUse.size).toBe(1);
  });
});
