import type { PageSize, PhysAddr, VirtAddr } from '@svsm/address';
import type { EntryFormat, PageTableEntry } from '../entry/entry-format.ts';
import { BOOLEAN, type Field, Fields, oneOf } from '../entry/fields.ts';
import { invalidArgument } from '../entry/invalid-argument.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { CELL, frameAddress, HALVES, raw } from '../entry/words.ts';
import type { TableCursor } from './table-cursor.ts';

/** One step of a walk: the entry that the walk used at one level. */
export interface WalkStep {
  /** 0 (PT) to 4 (PML5). */
  readonly level: number;
  /** The first byte of the table that holds the entry. */
  readonly table: PhysAddr;
  /** The index of the entry in its table, 0 to 511. */
  readonly index: number;
  /** The entry, decoded. */
  readonly entry: PageTableEntry;
}

/** The page that a walk has found. */
export interface MappedPage {
  /** Its size in bytes. */
  readonly size: PageSize;
  /** Its first physical address. */
  readonly frame: PhysAddr;
  /** The physical address of the virtual address that was looked up. */
  readonly paddr: PhysAddr;
  /** Whether it is shared with the hypervisor. */
  readonly shared: boolean;
  /** The flags of its leaf: a combination of `PteFlags`. */
  readonly flags: number;
  /** Whether the entries of all levels have R/W. */
  readonly writable: boolean;
  /** Whether the entries of all levels have U/S. */
  readonly user: boolean;
  /** Whether no entry of any level has NX. */
  readonly executable: boolean;
  /**
   * Whether it is a shadow-stack page: R/W is 1 in all entries above the leaf and 0 in the leaf, and D is 1 in the leaf
   * (Intel SDM vol. 3A, §4.6; AMD64 APM vol. 2, §18.3).
   */
  readonly shadowStack: boolean;
}

/** A walk: every entry that it used, and the page that it found. */
export interface Walk {
  /** The virtual address of the walk. */
  readonly vaddr: VirtAddr;
  /** The entries from the root down. The last one is the leaf, or an entry that is not present. */
  readonly path: readonly WalkStep[];
  /** `undefined` if the last entry is not present. */
  readonly page: MappedPage | undefined;
}

/** The page that the cursor's entry maps; `undefined` if the entry is not present. */
export function pageAt(cursor: TableCursor, format: EntryFormat): MappedPage | undefined {
  const { entryLow: low, entryHigh: high, level } = cursor;
  if ((low & PteFlags.Present) === 0) return undefined;
  return mappedPage(
    { low, high, level, rightsAbove: cursor.rightsAbove, noExecute: cursor.noExecuteAbove | high },
    cursor.low,
    format,
  );
}

/** A leaf: its entry, and the rights that the entries of all levels leave. */
export interface Leaf {
  readonly low: number;
  readonly high: number;
  readonly level: number;
  /** R/W and U/S of the entries above it, ANDed. Only these two bits are valid. */
  readonly rightsAbove: number;
  /** NX of all entries, ORed, in the sign. */
  readonly noExecute: number;
}

/** The page of a leaf. @param vaddrLow - the low word of the virtual address of the walk */
export function mappedPage(leaf: Leaf, vaddrLow: number, format: EntryFormat): MappedPage {
  const { low, high, level, rightsAbove } = leaf;
  const rights = rightsAbove & low;
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
    shadowStack: isShadowStackPage(low, rightsAbove),
  };
}

/** Whether a leaf maps a shadow-stack page, from its low word and R/W of the entries above it. */
export function isShadowStackPage(low: number, rightsAbove: number): boolean {
  const leaf = low & (PteFlags.Writable | PteFlags.Dirty);
  return leaf === PteFlags.Dirty && (rightsAbove & PteFlags.Writable) !== 0;
}

/** Walks to an address from the cursor's top table down, and records every entry. */
export function walkOf(cursor: TableCursor, low: number, high: number, format: EntryFormat): Walk {
  const path: WalkStep[] = [];
  const note = (): void => {
    const { level, index, entry } = cursor;
    path.push(
      Object.freeze({ level, table: frameAddress(cursor.table), index, entry: Object.freeze(entry) }),
    );
  };
  cursor.start(low, high);
  note();
  while (cursor.isTable) {
    cursor.descend();
    note();
  }
  const page = pageAt(cursor, format);
  const vaddr = raw(low, high) as VirtAddr;
  return Object.freeze({ vaddr, path: Object.freeze(path), page: page && Object.freeze(page) });
}

/** Requires a page as `lookup` returns it. @throws PageTableError `INVALID_ARGUMENT` */
export function requirePage(page: MappedPage): void {
  if (!isPage(page)) PAGE.require(page);
}

/** The check of each fill of a TLB. The fields of {@link PAGE} find out what is wrong. */
function isPage(page: MappedPage): boolean {
  try {
    return (
      PAGE_SIZES.includes(page.size) &&
      Number.isInteger(page.flags) &&
      typeof page.frame === 'bigint' &&
      typeof page.paddr === 'bigint' &&
      typeof page.shared === 'boolean' &&
      typeof page.writable === 'boolean' &&
      typeof page.user === 'boolean' &&
      typeof page.executable === 'boolean' &&
      typeof page.shadowStack === 'boolean'
    );
  } catch {
    return false;
  }
}

const ADDRESS: Field = {
  accepts: (value) => typeof value === 'bigint',
  expected: 'pass a physical address',
};
const FLAGS: Field = {
  accepts: (value) => Number.isInteger(value),
  expected: 'pass flags of 32 bits',
};
const PAGE: Fields = /* @__PURE__ */ new Fields(
  'page',
  {
    size: /* @__PURE__ */ oneOf(0x1000, 0x20_0000, 0x4000_0000),
    frame: ADDRESS,
    paddr: ADDRESS,
    shared: BOOLEAN,
    flags: FLAGS,
    writable: BOOLEAN,
    user: BOOLEAN,
    executable: BOOLEAN,
    shadowStack: BOOLEAN,
  },
  invalidArgument,
  true,
);
