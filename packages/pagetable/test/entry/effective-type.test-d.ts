import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { type CacheControl, cacheControl } from '../../src/entry/cache-control.ts';
import { combineGuestAndHostTypes, combineMemoryTypes } from '../../src/entry/combined-type.ts';
import { type MemoryTypes, memoryTypesOf } from '../../src/entry/effective-type.ts';
import type { EffectiveMemoryType, MemoryType, MtrrType } from '../../src/entry/memory-type.ts';
import { decodeMtrrs, type Mtrrs } from '../../src/entry/mtrr.ts';
import { type MtrrVerdict, mtrrType } from '../../src/entry/mtrr-type.ts';
import { decodePat, encodePat, type Pat, patIndex } from '../../src/entry/pat.ts';
import type { PageTable } from '../../src/table/page-table.ts';
import type { MappedPage } from '../../src/walk/walk.ts';

declare const table: PageTable;
declare const page: MappedPage;
declare const mtrrs: Mtrrs;
declare const control: CacheControl;

// A page of a walk or of a look-up has what a memory type needs.
{
  memoryTypesOf(page, control) satisfies MemoryTypes;
  const found = table.walk(0n as never).page;
  if (found !== undefined)
    memoryTypesOf(found, control).effective satisfies EffectiveMemoryType | 'unspecified';
  // @ts-expect-error a page has an address
  memoryTypesOf({ flags: 0, size: PageSize.Regular }, control);
  // @ts-expect-error the size is a page size
  memoryTypesOf({ flags: 0, size: 8192, paddr: physAddr(0) }, control);
}

// MTRRs cannot hold UC-, and an effective type is never UC-.
{
  'UC-' satisfies MemoryType;
  // @ts-expect-error PAT alone has it
  'UC-' satisfies MtrrType;
  // @ts-expect-error it ends as UC or WC
  'UC-' satisfies EffectiveMemoryType;
  // @ts-expect-error neither PAT nor an MTRR holds CD
  'CD' satisfies MemoryType;
  'CD' satisfies EffectiveMemoryType;
}

// Of MTRRs, there is a verdict for each page.
{
  mtrrType(mtrrs, physAddr(0), PageSize.Giant) satisfies MtrrVerdict;
  // @ts-expect-error it may be a conflict
  mtrrType(mtrrs, physAddr(0)) satisfies MtrrType;
  mtrrs.variable.map(({ base }) => base satisfies PhysAddr);
  // @ts-expect-error registers are bigints
  decodeMtrrs({ defType: 6 });
  // @ts-expect-error a state cannot be changed
  mtrrs.enabled = false;
}

// PAT has eight entries.
{
  decodePat(0n) satisfies Pat;
  decodePat(0n)[7] satisfies MemoryType;
  // @ts-expect-error there is no ninth
  decodePat(0n)[8];
  // @ts-expect-error a list of another length
  encodePat(['WB']);
  // @ts-expect-error pages are at levels 0, 1 and 2
  patIndex(0, 3);
}

// WC+ comes from nested paging.
{
  combineMemoryTypes(combineGuestAndHostTypes('WC', 'WB'), 'WB', 'amd') satisfies EffectiveMemoryType;
  // @ts-expect-error a guest's PAT does not hold it
  combineGuestAndHostTypes('WC+', 'WB');
  // @ts-expect-error an effect of CR0.CD that does not exist
  cacheControl({ mtrrs, cacheDisable: 'none' });
}
