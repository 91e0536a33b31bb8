import type { PageSize, PhysAddr } from '@svsm/address';
import { decodeEntry } from './entry-codec.ts';
import { ANY, Fields } from './fields.ts';
import { requireWord } from './mapping-checks.ts';
import { PAGE_SIZES } from './page-sizes.ts';
import { PageTableError } from './page-table-error.ts';
import type { PagingConfig } from './paging-config.ts';
import { type EntryFlags, type LeafLevel, PteFlags } from './pte-flags.ts';

/** The named bits of every present entry (AMD64 APM vol. 2, §5.3.3 to 5.4.1). */
export interface TableBits {
  /** Bit 0, P. */
  readonly present: boolean;
  /** Bit 1, R/W. */
  readonly writable: boolean;
  /** Bit 2, U/S. */
  readonly user: boolean;
  /** Bit 3, PWT. */
  readonly writeThrough: boolean;
  /** Bit 4, PCD. */
  readonly cacheDisable: boolean;
  /** Bit 5, A. */
  readonly accessed: boolean;
  /** Bits 11:9, for software: 0 to 7. */
  readonly softwareLow: number;
  /** Bits 58:52, for software: 0 to 127. */
  readonly softwareHigh: number;
  /** Bit 63, NX. */
  readonly noExecute: boolean;
}

/** The named bits of an entry that maps a page: those of {@link TableBits}, and four that only such an entry has. */
export interface LeafBits extends TableBits {
  /** Bit 6, D. */
  readonly dirty: boolean;
  /** Bit 8, G. */
  readonly global: boolean;
  /** PAT: bit 7 of a 4 KiB page, bit 12 of a larger one. */
  readonly pat: boolean;
  /** Bits 62:59: 0 to 15. */
  readonly protectionKey: number;
}

/** An entry with its bits by name. Its `kind` decides which bits it has. */
export type NamedEntry =
  | {
      /** The entry is not present. Such an entry has no format. */
      readonly kind: 'absent';
      readonly level: number;
    }
  | (TableBits & {
      /** The entry leads to a table. */
      readonly kind: 'table';
      readonly level: number;
      /** The physical address of the table, without the encryption bit. */
      readonly address: PhysAddr;
    })
  | (LeafBits & {
      /** The entry maps a page. */
      readonly kind: 'page';
      readonly level: LeafLevel;
      /** The size of the page in bytes. */
      readonly size: PageSize;
      /** The physical address of the page, without the encryption bit. */
      readonly address: PhysAddr;
      /** Whether the page is shared with the hypervisor. */
      readonly shared: boolean;
    });

const SWITCHES: Readonly<Record<string, number>> = {
  present: PteFlags.Present,
  writable: PteFlags.Writable,
  user: PteFlags.User,
  writeThrough: PteFlags.WriteThrough,
  cacheDisable: PteFlags.CacheDisable,
  accessed: PteFlags.Accessed,
  noExecute: PteFlags.NoExecute,
};
const LEAF_SWITCHES: Readonly<Record<string, number>> = {
  dirty: PteFlags.Dirty,
  global: PteFlags.Global,
};
/** The lowest bit and the largest value of each field that has several bits. */
const FIELDS: Readonly<Record<string, readonly [shift: number, most: number]>> = {
  softwareLow: [9, 7],
  softwareHigh: [20, 127],
};
const LEAF_FIELDS: Readonly<Record<string, readonly [shift: number, most: number]>> = {
  protectionKey: [27, 15],
};

/**
 * Makes the flags of a page of one size from the names of its bits. The result is a number whose type names the level.
 * Bits that are not given are clear, except `present`. Above level 0, PS is set. O(1).
 *
 * @param level - 0 for 4 KiB, 1 for 2 MiB, 2 for 1 GiB
 * @throws PageTableError `INVALID_FLAGS` if a name or a value does not exist; `INVALID_ENTRY` if the level has no pages
 */
export function leafFlags<Level extends LeafLevel>(
  level: Level,
  bits: Partial<LeafBits> = {},
): EntryFlags<Level> {
  requireLeafLevel(level);
  BITS.require(bits);
  const { pat = false, ...rest } = bits;
  requireSwitch('pat', pat);
  const own = level === 0 ? (pat ? PteFlags.Pat : 0) : PteFlags.Large | (pat ? PteFlags.PatLarge : 0);
  const all = { ...SWITCHES, ...LEAF_SWITCHES };
  return ((own | flagsOf(rest, all, { ...FIELDS, ...LEAF_FIELDS })) >>> 0) as EntryFlags<Level>;
}

/**
 * Makes the flags of an entry that leads to a table, as {@link leafFlags} does for a page. O(1).
 *
 * @throws PageTableError `INVALID_FLAGS`
 */
export function tableFlags(bits: Partial<TableBits> = {}): EntryFlags<'table'> {
  BITS.require(bits);
  return (flagsOf(bits, SWITCHES, FIELDS) >>> 0) as EntryFlags<'table'>;
}

/**
 * The bits of a page's flags by name: the reverse of {@link leafFlags}. O(1).
 *
 * @param level - 0 for 4 KiB, 1 for 2 MiB, 2 for 1 GiB
 * @throws PageTableError `INVALID_ENTRY` if the level has no pages; `INVALID_FLAGS`
 */
export function leafBits(flags: number, level: LeafLevel): LeafBits {
  requireLeafLevel(level);
  requireWord(flags);
  const pat = (flags & (level === 0 ? PteFlags.Pat : PteFlags.PatLarge)) !== 0;
  return {
    ...tableBits(flags),
    dirty: (flags & PteFlags.Dirty) !== 0,
    global: (flags & PteFlags.Global) !== 0,
    pat,
    protectionKey: (flags >>> 27) & 15,
  };
}

/**
 * The bits of a table entry's flags by name: the reverse of {@link tableFlags}. O(1).
 *
 * @throws PageTableError `INVALID_FLAGS`
 */
export function tableBits(flags: number): TableBits {
  requireWord(flags);
  return {
    present: (flags & PteFlags.Present) !== 0,
    writable: (flags & PteFlags.Writable) !== 0,
    user: (flags & PteFlags.User) !== 0,
    writeThrough: (flags & PteFlags.WriteThrough) !== 0,
    cacheDisable: (flags & PteFlags.CacheDisable) !== 0,
    accessed: (flags & PteFlags.Accessed) !== 0,
    softwareLow: (flags >>> 9) & 7,
    softwareHigh: (flags >>> 20) & 127,
    noExecute: (flags & PteFlags.NoExecute) !== 0,
  };
}

/**
 * Decodes an entry of a table at `level`, with its bits by name. O(1).
 *
 * @param level - 0 (PT) to 4 (PML5)
 * @throws PageTableError `INVALID_CONFIG`; `INVALID_ENTRY` if `entry` is not a bigint of 64 bits, or the level does not exist
 */
export function nameEntry(entry: bigint, level: number, config: PagingConfig): NamedEntry {
  const { present, leaf, address, flags, shared } = decodeEntry(entry, level, config);
  if (!present) return { kind: 'absent', level };
  if (!leaf) return { kind: 'table', level, address, ...tableBits(flags) };
  const pageLevel = level as LeafLevel;
  const size = PAGE_SIZES[level]!;
  return { kind: 'page', level: pageLevel, size, address, shared, ...leafBits(flags, pageLevel) };
}

function flagsOf(
  bits: Readonly<Record<string, unknown>>,
  switches: Readonly<Record<string, number>>,
  fields: Readonly<Record<string, readonly [shift: number, most: number]>>,
): number {
  let flags = 0;
  for (const [name, value] of Object.entries<unknown>({ present: true, ...bits })) {
    const mask = Object.hasOwn(switches, name) ? switches[name] : undefined;
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (mask !== undefined) {
      requireSwitch(name, value);
      if (value) flags |= mask;
    } else if (field !== undefined) {
      const [shift, most] = field;
      const isFitting = Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
      if (!isFitting) refuse(value, `${name} must be an integer from 0 to ${most}`);
      flags |= (value as number) << shift;
    } else refuse(value, `an entry of this kind has no bit ${name}`);
  }
  return flags;
}

function requireSwitch(name: string, value: unknown): void {
  if (typeof value !== 'boolean') refuse(value, `${name} must be true or false`);
}

function requireLeafLevel(level: number): void {
  if (level === 0 || level === 1 || level === 2) return;
  throw new PageTableError('INVALID_ENTRY', { value: level, problem: 'only levels 0, 1 and 2 have pages' });
}

function refuse(value: unknown, reason: string): never {
  throw new PageTableError('INVALID_FLAGS', { flags: value, refused: 0, reason });
}

/** `flagsOf` checks the names and the values. */
const BITS: Fields = /* @__PURE__ */ new Fields(
  'bits',
  /* @__PURE__ */ Object.fromEntries(
    ['pat', SWITCHES, LEAF_SWITCHES, FIELDS, LEAF_FIELDS]
      .flatMap((names) => (typeof names === 'string' ? names : Object.keys(names)))
      .map((name) => [name, ANY]),
  ),
  (_, flags, reason, options) => new PageTableError('INVALID_FLAGS', { flags, refused: 0, reason }, options),
  true,
);
