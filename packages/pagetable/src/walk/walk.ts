import type { PageSize, PhysAddr, VirtAddr } from '@svsm/address';
import { frameAddress, type PageTableEntry } from '../entry/entry-format.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
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

/** The walk for `vaddr`, entry by entry, from the cursor's top table on. */
export function walkOf(cursor: TableCursor, vaddr: VirtAddr): Walk {
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
  const leaf = path[path.length - 1]!.entry;
  if (!leaf.present) return Object.freeze({ vaddr, path: Object.freeze(path), page: undefined });
  const size = PAGE_SIZES[cursor.level]!;
  const every = (flag: number): boolean => path.every(({ entry }) => (entry.flags & flag) !== 0);
  const page: MappedPage = Object.freeze({
    size,
    frame: leaf.address,
    paddr: (leaf.address + (vaddr & BigInt(size - 1))) as PhysAddr,
    shared: leaf.shared,
    flags: leaf.flags,
    writable: every(PteFlags.Writable),
    user: every(PteFlags.User),
    executable: path.every(({ entry }) => (entry.flags & PteFlags.NoExecute) === 0),
  });
  return Object.freeze({ vaddr, path: Object.freeze(path), page });
}
