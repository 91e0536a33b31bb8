import { type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PtePreset } from '../../src/entry/pte-flags.ts';
import type { PageTable } from '../../src/table/page-table.ts';
import type { MappedPage } from '../../src/walk/walk.ts';

declare const table: PageTable;
const vaddr = virtAddr(0x1000);
const paddr = physAddr(0x1000);

// Addresses go where they belong.
{
  table.map4k(vaddr, paddr, PtePreset.Data);
  // @ts-expect-error a physical address is no virtual one
  table.map4k(paddr, paddr, PtePreset.Data);
  // @ts-expect-error a virtual address is no physical one
  table.map4k(vaddr, vaddr, PtePreset.Data);
  // @ts-expect-error a bare bigint is neither
  table.setShared4k(0x1000n);
  // @ts-expect-error arithmetic drops the brand
  table.setShared4k(vaddr + 0x1000n);
}

// What comes back is typed.
{
  table.translate(vaddr) satisfies PhysAddr | undefined;
  table.walk(vaddr).page satisfies MappedPage | undefined;
  table.walk(vaddr).vaddr satisfies VirtAddr;
  // @ts-expect-error what is not mapped has no address
  table.translate(vaddr) satisfies PhysAddr;
}

// A configuration is made once and not changed.
{
  const config = pagingConfig({ cBit: 51 });
  // @ts-expect-error it is read-only
  config.levels = 5;
  // @ts-expect-error there are four levels, or five
  pagingConfig({ levels: 3 });
}

// The code of an error narrows its details.
{
  const error: unknown = undefined;
  if (isPageTableError(error, 'ALREADY_MAPPED')) error.details.entry satisfies bigint;
  // @ts-expect-error no such code
  isPageTableError(error, 'ALREADY');
  if (isPageTableError(error) && error.code === 'BUS_ERROR') error.details.memory satisfies string;
}
