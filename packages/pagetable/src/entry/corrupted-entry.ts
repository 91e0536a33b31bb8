import type { EntryFormat } from './entry-format.ts';
import { PageTableError } from './page-table-error.ts';
import { byteAt, raw } from './words.ts';

/** An entry, and the place where it was read. */
export interface EntryPlace {
  /** The virtual address of the walk. */
  readonly vaddr: bigint;
  /** 0 (PT) to 4 (PML5). */
  readonly level: number;
  /** The frame number of the table that holds the entry. */
  readonly table: number;
  /** The index of the entry in its table. */
  readonly index: number;
  /** The low word of the entry. */
  readonly low: number;
  /** The high word of the entry. */
  readonly high: number;
}

/** The error for a present entry with reserved bits set. */
export function corruptedEntry(
  format: EntryFormat,
  { vaddr, level, table, index, low, high }: EntryPlace,
): PageTableError<'RESERVED_BITS'> {
  return new PageTableError('RESERVED_BITS', {
    vaddr,
    level,
    paddr: byteAt(table, 8 * index),
    entry: raw(low, high),
    reserved: raw(low & format.reservedLo(low, level), high & format.reservedHi),
  });
}
