/** After a walk that fails, the next operation goes to its own address, not to the leaf table of the last change. */
import { type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { FramePool } from '../support/frame-pool.ts';

const options = () => ({
  memory: createPhysMemory({ size: 0x10_0000 }),
  frames: new FramePool(1, 60),
  config: pagingConfig({ cBit: 51 }),
});

test('a table outside memory: setShared4k of an address with the same low bits throws, and changes nothing', () => {
  const shared = options();
  const table = PageTable.create(shared);
  const page = 0x1000n as VirtAddr;
  const broken = 0x80_0000_1000n as VirtAddr;
  table.map4k(page, physAddr(0x8000), PteFlags.Writable);
  writePhys64(shared.memory, (table.root + 8n) as PhysAddr, 0x7000_0027n); // root entry 1 leads outside memory
  table.setShared4k(page);
  table.setEncrypted4k(page);
  expect(() => table.translate(broken)).toThrow(/BUS_ERROR/);
  expect(() => table.setShared4k(broken)).toThrow(/BUS_ERROR/);
  expect(table.lookup(page)?.shared).toBe(false);
});

test('an address outside a part: setShared4k throws, and changes nothing', () => {
  const part = PageTablePart.create(0, options());
  const page = 0x1000n as VirtAddr;
  const outside = 0x80_0000_1000n as VirtAddr;
  part.map4k(page, physAddr(0x8000), PteFlags.Writable);
  part.setShared4k(page);
  part.setEncrypted4k(page);
  expect(() => part.translate(outside)).toThrow(/OUTSIDE_PART/);
  expect(() => part.setShared4k(outside)).toThrow(/OUTSIDE_PART/);
  expect(part.lookup(page)?.shared).toBe(false);
});
