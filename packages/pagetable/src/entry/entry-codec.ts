import type { PhysAddr } from '@svsm/address';
import { EntryFormat, type PageTableEntry } from './entry-format.ts';
import { ANY, BOOLEAN, Fields, optional } from './fields.ts';
import { requireFlags, requirePhysical } from './mapping-checks.ts';
import { PageTableError } from './page-table-error.ts';
import type { PagingConfig } from './paging-config.ts';
import { PteFlags } from './pte-flags.ts';
import { CELL, frameHigh, frameLow, HALVES, is64Bit, raw } from './words.ts';

/** The fields from which {@link encodeEntry} makes an entry. The result of {@link decodeEntry} has them. */
export interface EntryFields {
  /** The physical address of the page or table, without the encryption bit. */
  readonly address: PhysAddr;
  /** The flags: a combination of {@link PteFlags}. The entry is present only if they contain `Present`. */
  readonly flags: number;
  /** Whether the page is shared with the hypervisor. `false` if not given: private. */
  readonly shared?: boolean;
  /** Whether the entry maps a page. If not given, `true` at level 0 and `false` above. */
  readonly leaf?: boolean;
}

/**
 * Decodes an entry of a table at `level`. It does not check reserved bits: see {@link reservedBits}. O(1).
 *
 * @param level - 0 (PT) to 4 (PML5)
 * @throws PageTableError `INVALID_CONFIG`; `INVALID_ENTRY` if `entry` is not a bigint of 64 bits, or the level does not exist
 * @example
 * ```ts
 * import { decodeEntry, PteFlags, pagingConfig } from '@svsm/pagetable';
 *
 * // An entry of a PD: 2 MiB, private, not executable.
 * const entry = decodeEntry(0x8008_0000_8020_00e3n, 1, pagingConfig({ cBit: 51 }));
 * console.log(entry.leaf, entry.shared, entry.address === 0x8020_0000n); // => true false true
 * console.log((entry.flags & PteFlags.NoExecute) !== 0); // => true
 * ```
 */
export function decodeEntry(entry: bigint, level: number, config: PagingConfig): PageTableEntry {
  const format = new EntryFormat(config);
  requireLevel(level, config);
  splitEntry(entry);
  return format.decode(HALVES[0]! | 0, HALVES[1]! | 0, level);
}

/**
 * The bits that are set in an entry although they are reserved at its level. A processor raises a page fault with RSVD if
 * there is one. 0n for an entry that is not present, which has no format (Intel SDM vol. 3A, §4.5, §4.7). O(1).
 *
 * @throws PageTableError as {@link decodeEntry}
 */
export function reservedBits(entry: bigint, level: number, config: PagingConfig): bigint {
  const format = new EntryFormat(config);
  requireLevel(level, config);
  splitEntry(entry);
  const low = HALVES[0]! | 0;
  const high = HALVES[1]! | 0;
  if ((low & PteFlags.Present) === 0) return 0n;
  return raw(low & format.reservedLo(low, level), high & format.reservedHi);
}

/**
 * Encodes an entry at `level` as 64 bits. In a leaf above level 0, PS is set. O(1).
 *
 * @param level - 0 (PT) to 4 (PML5)
 * @throws PageTableError `INVALID_CONFIG`; `INVALID_ENTRY`, `INVALID_FLAGS`, `OUTSIDE_PHYSICAL_RANGE`, `MISALIGNED`; `NO_ENCRYPTION` if the
 *   entry is shared and `config` has no encryption
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { encodeEntry, leafFlags, pagingConfig } from '@svsm/pagetable';
 *
 * const flags = leafFlags(1, { writable: true, noExecute: true });
 * const page = { address: physAddr(0x8020_0000), flags, leaf: true, shared: true };
 * console.log(encodeEntry(page, 1, pagingConfig({ cBit: 51 })).toString(16)); // => 8000000080200083
 * ```
 */
export function encodeEntry(fields: EntryFields, level: number, config: PagingConfig): bigint {
  const format = new EntryFormat(config);
  requireLevel(level, config);
  FIELDS.require(fields);
  const { address, flags, shared = false, leaf = level === 0 } = fields;
  if (leaf ? level > 2 : level === 0) {
    const problem = leaf ? 'only levels 0, 1 and 2 have pages' : 'an entry at level 0 maps a page';
    throw new PageTableError('INVALID_ENTRY', { value: level, problem });
  }
  if (shared && !format.hasEncryption) {
    throw new PageTableError('NO_ENCRYPTION', { operation: 'a shared entry' });
  }
  // An entry that leads to a table has its address and flags where the entry of a 4 KiB page has them.
  requireFlags(flags, leaf ? level : 0, format, config);
  const frame = requirePhysical(address, leaf ? level : 0, format);
  const low = frameLow(frame) | (flags & 0x1fff) | (leaf && level > 0 ? PteFlags.Large : 0);
  const refused = leaf ? 0 : low & (format.reservedLo(low, level) | (level <= 2 ? PteFlags.Large : 0));
  if (refused !== 0) {
    throw new PageTableError('INVALID_FLAGS', {
      flags,
      refused,
      reason: 'they are reserved in an entry that leads to a table',
    });
  }
  const high = frameHigh(frame) | (flags & 0xfff0_0000) | (shared ? format.sharedHi : format.privateHi);
  return raw(low, high);
}

/** Puts the two words of `entry` into {@link HALVES}. */
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

/** A decoded entry has more fields than these. */
const FIELDS: Fields = /* @__PURE__ */ new Fields(
  'fields',
  {
    address: ANY,
    flags: ANY,
    shared: /* @__PURE__ */ optional(BOOLEAN),
    leaf: /* @__PURE__ */ optional(BOOLEAN),
  },
  (field, value, expected, options) =>
    new PageTableError('INVALID_ENTRY', { value, problem: `${field}: ${expected}` }, options),
  true,
);
