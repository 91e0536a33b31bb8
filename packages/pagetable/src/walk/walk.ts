import type { PageSize, PhysAddr, VirtAddr } from '@svsm/address';
import type { EntryFormat, PageTableEntry } from '../entry/entry-format.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { CELL, frameAddress, HALVES } from '../entry/words.ts';
import type { TableCursor } from './table-cursor.ts';

/** One step of a walk: the entry that it used at one level. */
export interface WalkStep {
  /** 0 (PT) to 4 (PML5). */
  readonly level: number;
  /** The table. */
  readonly table: PhysAddr;
  /** The entry's index in it, 0 to 511. */
  readonly index: number;
  /** What it says. */
  readonly entry: PageTableEntry;
}

/** The page that a walk has found. */
export interface MappedPage {
  /** Its size in bytes. */
  readonly size: PageSize;
  /** Its first physical address. */
  readonly frame: PhysAddr;
  /** Where the address that was walked for lies in it. */
  readonly paddr: PhysAddr;
  /** Whether it is shared with the hypervisor. */
  readonly shared: boolean;
  /** The flags of its leaf. */
  readonly flags: number;
  /** R/W of all levels. */
  readonly writable: boolean;
  /** U/S of all levels. */
  readonly user: boolean;
  /** No level has NX. */
  readonly executable: boolean;
}

/** A walk: every entry that it used, and the page at its end if there is one. */
export interface Walk {
  /** What was walked for. */
  readonly vaddr: VirtAddr;
  /** From the root down; the last one is the leaf, or the entry that is not present. */
  readonly path: readonly WalkStep[];
  /** `undefined` if the last entry is not present. */
  readonly page: MappedPage | undefined;
}

/** The page that the cursor stands at, or `undefined` if its entry is not present. */
export function pageAt(cursor: TableCursor, format: EntryFormat): MappedPage | undefined {
  const { entryLow: low, entryHigh: high, level } = cursor;
  if ((low & PteFlags.Present) === 0) return undefined;
  return mappedPage(
    { low, high, level, rights: cursor.rightsAbove & low, noExecute: cursor.noExecuteAbove | high },
    cursor.low,
    format,
  );
}

/** A leaf: its entry, and the rights that all entries on the way leave. */
export interface Leaf {
  readonly low: number;
  readonly high: number;
  readonly level: number;
  /** R/W and U/S of all entries, ANDed. */
  readonly rights: number;
  /** NX of all entries, ORed: the sign. */
  readonly noExecute: number;
}

/** The page of a leaf. @param vaddrLow - the low word of the virtual address that led there */
export function mappedPage(leaf: Leaf, vaddrLow: number, format: EntryFormat): MappedPage {
  const { low, high, level, rights } = leaf;
  const size = PAGE_SIZES[level]!;
  const offset = vaddrLow & (size - 1);
  const frame = format.byteAddress(low, high, size, 0);
  let paddr = frame;
  if (offset !== 0) {
    HALVES[0] = (low & -size) | offset;
    paddr = CELL[0] as PhysAddr;
  }
  return {
    size,
    frame,
    paddr,
    shared: format.isShared(high),
    flags: format.flags(low, high, level),
    writable: (rights & PteFlags.Writable) !== 0,
    user: (rights & PteFlags.User) !== 0,
    executable: leaf.noExecute >= 0,
  };
}

/** The walk for `vaddr`, entry by entry, from the cursor's top table down. */
export function walkOf(cursor: TableCursor, vaddr: VirtAddr, format: EntryFormat): Walk {
  const path: WalkStep[] = [];
  const note = (): void => {
    const { level, index, entry } = cursor;
    path.push(
      Object.freeze({ level, table: frameAddress(cursor.table), index, entry: Object.freeze(entry) }),
    );
  };
  cursor.start(vaddr);
  note();
  while (cursor.isTable) {
    cursor.descend();
    note();
  }
  const page = pageAt(cursor, format);
  return Object.freeze({ vaddr, path: Object.freeze(path), page: page && Object.freeze(page) });
}
