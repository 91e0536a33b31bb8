/** With a self-map, a change of an upper entry makes translations of the tables themselves stale: no such flush is forgotten. */
import { type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import { FramePool } from '../support/frame-pool.ts';

const PART = 511;
const BASES = [0xffff_8000_0000_0000n, 0xffff_ff80_0000_0000n];
const OFFSETS = [0n, 0x1000n, 0x20_0000n, 0x4000_0000n];
const step = fc.record({
  op: fc.constantFrom('map4k', 'map2m', 'map1g', 'unmap', 'split', 'collapse', 'share', 'protect', 'detach'),
  base: fc.constantFrom(...BASES),
  offset: fc.constantFrom(...OFFSETS),
  pages: fc.constantFrom(1, 512, 1024, 262_144),
});

test('what a TLB holds through the self-map is right, or marked as stale', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 5, maxLength: 25 }),
      fc.constantFrom<4 | 5>(4, 5),
      fc.boolean(),
      (steps, levels, freeEmptyTables) => {
        const memory = createPhysMemory({ size: 0x100_0000 });
        const frames = new FramePool(1, 3000);
        const config = pagingConfig({ cBit: 51, levels, giantPages: true });
        const tlb = new Tlb({ levels });
        const options = { memory, frames, config, freeEmptyTables };
        const table = PageTable.create({ ...options, tlb, selfMap: 493 });
        const part = PageTablePart.create(PART, options);
        part.attach(table);
        const selfMap = table.selfMap!;
        const shown = BASES.flatMap((base) =>
          OFFSETS.flatMap((offset) =>
            Array.from({ length: levels }, (_, level) =>
              selfMap.entryAddress((base + offset) as VirtAddr, level),
            ),
          ),
        );
        for (const { op, base, offset, pages } of steps) {
          // A processor uses the tables through the self-map.
          for (const vaddr of shown) {
            if (tlb.lookup(vaddr) !== undefined) continue;
            const page = table.lookup(vaddr);
            if (page !== undefined) tlb.insert(vaddr, page);
          }
          const vaddr = (base + offset) as VirtAddr;
          try {
            if (op === 'map4k') table.map4k(vaddr, physAddr(offset), PteFlags.Writable, { remap: true });
            else if (op === 'map2m')
              table.map2m(vaddr, physAddr(offset & ~0x1f_ffffn), 2, { remap: pages > 1 });
            else if (op === 'map1g') table.map1g(vaddr, physAddr(offset & ~0x3fff_ffffn), 2);
            else if (op === 'split') table.split4k(vaddr);
            else if (op === 'collapse') table.collapse(vaddr);
            else if (op === 'detach') part.detach(table);
            else {
              const region = virtRegion(vaddr, pages * 4096);
              if (op === 'unmap') table.unmapRegion(region, { allowHoles: true });
              else if (op === 'share') table.setSharedRegion(region);
              else table.protectRegion(region, { clear: PteFlags.Writable });
            }
          } catch (error) {
            if (!isPageTableError(error)) throw error;
          }
          for (const vaddr of shown) {
            const held = tlb.lookup(vaddr);
            if (held === undefined || held.isStale) continue;
            const page = table.lookup(vaddr);
            const paddr = held.page.frame + (vaddr & BigInt(held.page.size - 1));
            expect({ op, vaddr, paddr: page?.paddr, shared: page?.shared, writable: page?.writable }).toEqual(
              {
                op,
                vaddr,
                paddr: paddr as PhysAddr,
                shared: held.page.shared,
                writable: held.page.writable,
              },
            );
          }
        }
      },
    ),
  );
});
