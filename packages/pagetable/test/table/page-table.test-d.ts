import { type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PtePreset } from '../../src/entry/pte-flags.ts';
import type { PageTable } from '../../src/table/page-table.ts';
import type { MappedPage } from '../../src/walk/walk.ts';

declare const table: PageTable;
const vaddr = virtAddr(0x1000);
const paddr = physAddr(0x1000);

// Virtual and physical addresses cannot be exchanged.
{
  table.map4k(vaddr, paddr, PtePreset.Data);
  // @ts-expect-error a physical address is not a virtual one
  table.map4k(paddr, paddr, PtePreset.Data);
  // @ts-expect-error a virtual address is not a physical one
  table.map4k(vaddr, vaddr, PtePreset.Data);
  // @ts-expect-error a plain bigint is not an address
  table.setShared4k(0x1000n);
  // @ts-expect-error the result of arithmetic is a plain bigint
  table.setShared4k(vaddr + 0x1000n);
}

// Results are typed.
{
  table.translate(vaddr) satisfies PhysAddr | undefined;
  table.lookup(vaddr) satisfies MappedPage | undefined;
  table.walk(vaddr).page satisfies MappedPage | undefined;
  table.walk(vaddr).vaddr satisfies VirtAddr;
  // @ts-expect-error the address can be unmapped
  table.translate(vaddr) satisfies PhysAddr;
}

// A configuration is read-only.
{
  const config = pagingConfig({ cBit: 51 });
  // @ts-expect-error a field is read-only
  config.levels = 5;
  // @ts-expect-error levels are 4 or 5
  pagingConfig({ levels: 3 });
}

// The code of an error narrows its details.
{
  const error: unknown = undefined;
  if (isPageTableError(error, 'ALREADY_MAPPED')) error.details.entry satisfies bigint;
  // @ts-expect-error the code does not exist
  isPageTableError(error, 'ALREADY');
  if (isPageTableError(error) && error.code === 'BUS_ERROR') error.details.memory satisfies string;
}
