import type { PhysAddr } from '@svsm/address';
import { EntryFormat, type PageTableEntry } from './entry-format.ts';
import { requireFlags, requirePhysical } from './mapping-checks.ts';
import { PageTableError } from './page-table-error.ts';
import type { PagingConfig } from './paging-config.ts';
import { PteFlags } from './pte-flags.ts';
import { CELL, frameHigh, frameLow, HALVES, is64Bit, raw } from './words.ts';

/** What {@link encodeEntry} makes an entry of; what {@link decodeEntry} gives is such a thing. */
export interface EntryFields {
  /** The page or table that it points to. */
  readonly address: PhysAddr;
  /** {@link PteFlags}, present only if it says so. */
  readonly flags: number;
  /** Whether what it maps is shared with the hypervisor. `false` if not given: private. */
  readonly shared?: boolean;
  /** Whether it maps a page. If not given: at level 0, yes; above, no. */
  readonly leaf?: boolean;
}

/**
 * An entry of a table at `level`, 0 (PT) to 4 (PML5), taken apart. Reserved bits are {@link reservedBits}. O(1).
 *
 * @throws PageTableError `INVALID_ENTRY` for what is no entry of 64 bits, or no level
 */
export function decodeEntry(entry: bigint, level: number, config: PagingConfig): PageTableEntry {
  requireLevel(level, config);
  splitEntry(entry);
  return new EntryFormat(config).decode(HALVES[0]! | 0, HALVES[1]! | 0, level);
}

/**
 * The bits of an entry that must be 0 at its level and are not: the processor raises a page fault with RSVD for them. 0n
 * for an entry that is not present, which has no format (Intel SDM vol. 3A, §4.5, §4.7). O(1).
 *
 * @throws PageTableError as {@link decodeEntry}
 */
export function reservedBits(entry: bigint, level: number, config: PagingConfig): bigint {
  requireLevel(level, config);
  splitEntry(entry);
  const low = HALVES[0]! | 0;
  const high = HALVES[1]! | 0;
  if ((low & PteFlags.Present) === 0) return 0n;
  const format = new EntryFormat(config);
  return raw(low & format.reservedLo(low, level), high & format.reservedHi);
}

/**
 * The 64 bits of an entry at `level`. A leaf above level 0 gets the bit that says so. O(1).
 *
 * @throws PageTableError `INVALID_ENTRY`, `INVALID_FLAGS`, `OUTSIDE_PHYSICAL_RANGE`, `MISALIGNED`; `NO_ENCRYPTION` for a shared
 *   entry without encryption
 */
export function encodeEntry(fields: EntryFields, level: number, config: PagingConfig): bigint {
  requireLevel(level, config);
  const format = new EntryFormat(config);
  const { address, flags, shared = false, leaf = level === 0 } = fields;
  if (leaf ? level > 2 : level === 0) {
    const problem = leaf ? 'no page is that large' : 'level 0 leads to no table';
    throw new PageTableError('INVALID_ENTRY', { value: level, problem });
  }
  if (shared && !format.hasEncryption) {
    throw new PageTableError('NO_ENCRYPTION', { operation: 'a shared entry' });
  }
  // The address of a table is aligned, and its flags lie, as those of a 4 KiB page.
  requireFlags(flags, leaf ? level : 0, format, config);
  const frame = requirePhysical(address, leaf ? level : 0, format);
  const low = frameLow(frame) | (flags & 0x1fff) | (leaf && level > 0 ? PteFlags.Large : 0);
  const refused = leaf ? 0 : low & (format.reservedLo(low, level) | (level <= 2 ? PteFlags.Large : 0));
  if (refused !== 0) {
    throw new PageTableError('INVALID_FLAGS', {
      flags,
      refused,
      reason: 'they are reserved where a table follows',
    });
  }
  const high = frameHigh(frame) | (flags & 0xfff0_0000) | (shared ? format.sharedHi : format.privateHi);
  return raw(low, high);
}

function splitEntry(entry: bigint): void {
  if (!is64Bit(entry)) {
    throw new PageTableError('INVALID_ENTRY', { value: entry, problem: 'pass a bigint of 64 bits' });
  }
  CELL[0] = entry;
}

function requireLevel(level: number, { levels }: PagingConfig): void {
  if (Number.isInteger(level) && level >= 0 && level < levels) return;
  throw new PageTableError('INVALID_ENTRY', { value: level, problem: `levels are 0 to ${levels - 1}` });
}
