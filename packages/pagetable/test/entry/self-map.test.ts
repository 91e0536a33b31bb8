import { physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PtePreset } from '../../src/entry/pte-flags.ts';
import { selfMap } from '../../src/entry/self-map.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { FramePool } from '../support/frame-pool.ts';

describe('selfMap', () => {
  // P44
  test('has the addresses of COCONUT-SVSM for entry 493', () => {
    const map = selfMap(493);
    expect(String(map.region)).toBe('[0xfffff68000000000-0xfffff70000000000)');
    // Here COCONUT-SVSM sees its PML4.
    expect(map.entryAddress(virtAddr(0), 3)).toBe(0xffff_f6fb_7dbe_d000n);
  });

  // P3, P4, P44
  test.each([
    [4, 493],
    [4, 0],
    [4, 511],
    [5, 256],
    [5, 3],
  ] as const)('with %i levels and entry %i, the address of an entry holds the entry', (levels, index) => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const table = PageTable.create({
      memory,
      frames: new FramePool(1, 64),
      config: pagingConfig({ levels }),
    });
    writePhys64(memory, physAddr(table.root + BigInt(8 * index)), table.root | 0x8000_0000_0000_0063n);
    const bits = levels === 5 ? 57 : 48;
    const vaddr = BigInt.asUintN(
      64,
      BigInt.asIntN(bits, (77n << BigInt(bits - 9)) | 0x12_3456_7000n),
    ) as VirtAddr;
    table.map4k(vaddr, physAddr(0x5000), PtePreset.Data);
    const map = selfMap(index, levels);
    for (const { level, entry } of table.walk(vaddr).path) {
      const at = table.translate(map.entryAddress(vaddr, level));
      expect(at).toBeDefined();
      expect(readPhys64(memory, at ?? physAddr(0))).toBe(entry.raw);
      if (level === 0) expect(map.region.contains(map.entryAddress(vaddr))).toBe(true);
    }
  });

  // P44
  test.each([4, 5] as const)('with %i levels, a table is at the page that holds its entries', (levels) => {
    const map = selfMap(300, levels);
    for (const vaddr of [virtAddr(0), virtAddr(0x7fff_ffff_f000n), virtAddr(0xffff_ffff_ffff_f000n)]) {
      expect(map.tableAddress(vaddr)).toBe(map.tableAddress(vaddr, 0));
      for (let level = 0; level < levels; level += 1) {
        const entry = map.entryAddress(vaddr, level);
        expect(map.tableAddress(vaddr, level)).toBe(entry - (entry % 4096n));
      }
    }
  });

  test.each<[string, () => unknown]>([
    ['512 cannot be used with a self-map: pass an index from 0 to 511', () => selfMap(512)],
    ['3 cannot be used with a self-map: pass 4 or 5 levels', () => selfMap(493, 3 as never)],
    ['6 cannot be used with a self-map: pass 4 or 5 levels', () => selfMap(493, 6 as never)],
    ['4 cannot be used with a self-map: levels are 0 to 3', () => selfMap(493).entryAddress(virtAddr(0), 4)],
    ['5 cannot be used with a self-map: levels are 0 to 4', () => selfMap(3, 5).tableAddress(virtAddr(0), 5)],
    ['0x0000800000000000 is not a canonical', () => selfMap(493).entryAddress(0x8000_0000_0000n as VirtAddr)],
  ])('the error says “%s”', (words, operation) => {
    expect(operation).toThrow(words);
  });

  test.each<[string, () => unknown]>([
    ['INVALID_SELF_MAP', () => selfMap(0.5)],
    ['INVALID_SELF_MAP', () => selfMap(493, 3 as never)],
    ['INVALID_SELF_MAP', () => selfMap(493).entryAddress(virtAddr(0), -1)],
    ['INVALID_SELF_MAP', () => selfMap(493).entryAddress(virtAddr(0), 0.5)],
    ['INVALID_SELF_MAP', () => selfMap(512)],
    ['INVALID_SELF_MAP', () => selfMap(-1)],
    ['INVALID_SELF_MAP', () => selfMap(493).entryAddress(virtAddr(0), 4)],
    ['NON_CANONICAL', () => selfMap(493).entryAddress(0x8000_0000_0000n as VirtAddr)],
  ])('refuses %s', (code, operation) => {
    let error: unknown;
    try {
      operation();
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error) && error.code).toBe(code);
  });
});
