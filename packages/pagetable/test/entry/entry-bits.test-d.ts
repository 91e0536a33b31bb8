import { type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { leafBits, leafFlags, nameEntry, tableFlags } from '../../src/entry/entry-bits.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { type EntryFlags, PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import type { PageTable } from '../../src/table/page-table.ts';

declare const table: PageTable;
const vaddr = virtAddr(0);
const paddr = physAddr(0);

// Flags for one page size are not accepted for another.
{
  const regular = leafFlags(0, { writable: true, pat: true });
  const huge = leafFlags(1, { writable: true, pat: true });
  table.map4k(vaddr, paddr, regular);
  table.map2m(vaddr, paddr, huge);
  table.map1g(vaddr, paddr, leafFlags(2));
  // @ts-expect-error PAT is bit 12 of a 2 MiB page, and bit 7 of a 4 KiB page
  table.map4k(vaddr, paddr, huge);
  // @ts-expect-error PAT is bit 7 of a 4 KiB page, and bit 12 of a 2 MiB page
  table.map2m(vaddr, paddr, regular);
  // @ts-expect-error the flags are for 2 MiB
  table.map1g(vaddr, paddr, huge);
  // @ts-expect-error the flags are for an entry that leads to a table
  table.map4k(vaddr, paddr, tableFlags({ writable: true }));
  table.mapRegion(virtRegion(vaddr, 0x1000), paddr, regular);
  // @ts-expect-error a region takes the flags of 4 KiB pages
  table.mapRegion(virtRegion(vaddr, 0x1000), paddr, huge);
  regular satisfies number;
}

// The constants that exist only at some levels are typed so.
{
  table.map4k(vaddr, paddr, PteFlags.Pat);
  table.map2m(vaddr, paddr, PteFlags.PatLarge);
  table.map1g(vaddr, paddr, PteFlags.PatLarge);
  // @ts-expect-error bit 7 of a 2 MiB page is PS
  table.map2m(vaddr, paddr, PteFlags.Pat);
  // @ts-expect-error bit 12 of a 4 KiB page is an address bit
  table.map4k(vaddr, paddr, PteFlags.PatLarge);
  // @ts-expect-error bit 7 of a 4 KiB page is PAT
  table.map4k(vaddr, paddr, PteFlags.Large);
  // @ts-expect-error a change of flags takes PAT of a 4 KiB page
  table.protect4k(vaddr, { set: PteFlags.PatLarge });
}

// A plain number is accepted everywhere, and checked at run time.
{
  table.map4k(vaddr, paddr, PteFlags.Writable | PteFlags.NoExecute);
  table.map2m(vaddr, paddr, PtePreset.Data);
  const anywhere: EntryFlags = 0;
  table.map4k(vaddr, paddr, anywhere);
  table.map1g(vaddr, paddr, anywhere);
}

// Only the bits that an entry has are accepted.
{
  // @ts-expect-error an entry that leads to a table has no dirty bit
  tableFlags({ dirty: true });
  // @ts-expect-error an entry that leads to a table has no protection key
  tableFlags({ protectionKey: 1 });
  // @ts-expect-error the name is misspelt
  leafFlags(0, { writeable: true });
  // @ts-expect-error pages are at levels 0, 1 and 2
  leafFlags(3);
  leafBits(0, 1).protectionKey satisfies number;
}

// The kind of an entry says which bits it has.
{
  const entry = nameEntry(0n, 1, pagingConfig());
  // @ts-expect-error the entry can be absent
  entry.writable;
  if (entry.kind === 'table') {
    entry.address satisfies PhysAddr;
    // @ts-expect-error an entry that leads to a table has no dirty bit
    entry.dirty;
    // @ts-expect-error an entry that leads to a table has no size
    entry.size;
  }
  if (entry.kind === 'page') {
    entry.level satisfies 0 | 1 | 2;
    entry.dirty satisfies boolean;
  }
}
