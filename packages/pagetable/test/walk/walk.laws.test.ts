import { PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import type { MappedPage } from '../../src/walk/walk.ts';
import { FramePool } from '../support/frame-pool.ts';

// Pages of all sizes, two of each size in one table and one elsewhere, and holes.
const PLACES = [
  ...[0x1000, 0x2000, 0x3000, 0x20_0000, 0x20_1000, 0x40_0000, 0x60_0000, 0x8000_0000],
  ...[0xc000_0000, 0x1_0000_0000, 0x40_0000_0000, 0x80_0000_0000],
].map((at) => virtAddr(at));
const BITS = [BigInt(PteFlags.Writable), BigInt(PteFlags.User), 1n << 63n, 1n << 51n, 0x40n] as const;

function makeTable() {
  const memory = createPhysMemory({ size: 0x10_0000 });
  const table = PageTable.create({
    memory,
    frames: new FramePool(1, 60),
    config: pagingConfig({ cBit: 51, giantPages: true }),
  });
  for (const at of [0x1000, 0x2000, 0x20_0000, 0x40_0000_0000]) {
    table.map4k(virtAddr(at), physAddr(at), PtePreset.Code);
  }
  for (const at of [0x40_0000, 0x60_0000]) table.map2m(virtAddr(at), physAddr(at), PtePreset.Data);
  for (const at of [0x8000_0000, 0xc000_0000]) table.map1g(virtAddr(at), physAddr(at), PtePreset.Data);
  return { memory, table };
}

/** The page that follows from the bits of the entries of a walk. */
function pageByHand(table: PageTable, vaddr: VirtAddr): MappedPage | undefined {
  const { path } = table.walk(vaddr);
  const leaf = path[path.length - 1]!;
  if (!leaf.entry.present) return undefined;
  const size = [PageSize.Regular, PageSize.Huge, PageSize.Giant][leaf.level]!;
  const every = (bit: bigint) => path.every(({ entry }) => (entry.raw & bit) !== 0n);
  return {
    size,
    frame: leaf.entry.address,
    paddr: (leaf.entry.address + (vaddr & BigInt(size - 1))) as PhysAddr,
    shared: (leaf.entry.raw & BITS[3]) === 0n,
    flags: leaf.entry.flags,
    writable: every(BITS[0]),
    user: every(BITS[1]),
    executable: !path.some(({ entry }) => (entry.raw & BITS[2]) !== 0n),
    shadowStack:
      path.slice(0, -1).every(({ entry }) => (entry.raw & BITS[0]) !== 0n) &&
      (leaf.entry.raw & (BITS[0] | 0x40n)) === 0x40n,
  };
}

// P13, P38
test('lookup and walk find the page with the rights of all levels, whatever the call before', () => {
  const turn = fc.record({
    at: fc.constantFrom(...PLACES),
    offset: fc.nat({ max: 0xfff }),
    flip: fc.option(fc.record({ level: fc.nat({ max: 3 }), bit: fc.constantFrom(...BITS) })),
  });
  fc.assert(
    fc.property(fc.array(turn, { minLength: 5, maxLength: 30 }), (turns) => {
      const { memory, table } = makeTable();
      for (const { at, offset, flip } of turns) {
        const vaddr = virtAddr(at + BigInt(offset));
        const used = table.walk(vaddr).path.find(({ level }) => level === flip?.level);
        if (flip !== null && used?.entry.present) {
          const paddr = (used.table + BigInt(8 * used.index)) as PhysAddr;
          writePhys64(memory, paddr, readPhys64(memory, paddr) ^ flip.bit);
        }
        // Twice: by a walk from the root, and by the remembered one.
        const expected = pageByHand(PageTable.open(table.root, { memory, config: table.config }), vaddr);
        expect(table.lookup(vaddr)).toEqual(expected);
        expect(table.lookup(vaddr)).toEqual(expected);
        expect(table.walk(vaddr).page).toEqual(expected);
        expect(table.lookup(vaddr)).toEqual(expected);
        const accessed = table.access(vaddr, 'read', undefined, { update: false });
        if (accessed.type !== 'translation') continue;
        expect(accessed.page).toEqual({
          ...expected,
          flags: ((expected?.flags ?? 0) | PteFlags.Accessed) >>> 0,
        });
      }
    }),
  );
});
