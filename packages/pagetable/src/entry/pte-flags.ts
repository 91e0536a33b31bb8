/** The level of an entry that maps a page: 0 for 4 KiB, 1 for 2 MiB, 2 for 1 GiB. */
export type LeafLevel = 0 | 1 | 2;

/**
 * Flags of an entry, as a number that says by its type where it may stand: at a level of pages, at any of several, or in an
 * entry that leads to a `'table'`. `leafFlags` and `tableFlags` make them, and a few {@link PteFlags} are typed so, those
 * that exist at some levels alone: passing them to `map2m` where it cannot have them is a type error.
 *
 * `|` of numbers is a plain `number` to TypeScript. That is taken everywhere too, and judged at run time.
 */
export type EntryFlags<Place extends LeafLevel | 'table' = LeafLevel> = number & {
  readonly '__entryFlags:@svsm/pagetable'?: (place: Place) => void;
};

/**
 * The bits of a page-table entry that are not address, as one number: bits 11:0 where they are, bits 63:52 moved down to
 * 31:20 (an entry's address, bits 51:12, leaves that room), and bit 12 where it is for the PAT bit of a large page.
 *
 * AMD64 APM vol. 2, §5.3.3 to 5.4.1; Intel SDM vol. 3A, tables 4-14 to 4-19.
 */
export const PteFlags = {
  /** Bit 0. */
  Present: 0x1,
  /** Bit 1, R/W. */
  Writable: 0x2,
  /** Bit 2, U/S: CPL 3 may access. */
  User: 0x4,
  /** Bit 3, PWT. */
  WriteThrough: 0x8,
  /** Bit 4, PCD. */
  CacheDisable: 0x10,
  /** Bit 5, A. */
  Accessed: 0x20,
  /** Bit 6, D: leaves only. */
  Dirty: 0x40,
  /** Bit 7 at levels 1 and 2, PS: the entry maps a page. Set by `map2m` and `map1g`. */
  Large: 0x80 as EntryFlags<1 | 2>,
  /** Bit 7 at level 0. A large page has it at bit 12: {@link PteFlags.PatLarge}. */
  Pat: 0x80 as EntryFlags<0>,
  /** Bit 8, G: leaves only. */
  Global: 0x100,
  /** Bit 9, for software. */
  Software9: 0x200,
  /** Bit 10, for software. */
  Software10: 0x400,
  /** Bit 11, for software. */
  Software11: 0x800,
  /** Bit 12 of a leaf at levels 1 and 2: PAT. */
  PatLarge: 0x1000 as EntryFlags<1 | 2>,
  /** Bit 52, the first of 58:52 for software. */
  Software52: 0x10_0000,
  /** Bits 58:52, for software. */
  SoftwareHigh: 0x07f0_0000,
  /** Bits 62:59 of a leaf: the protection key with CR4.PKE or PKS, else for software. */
  ProtectionKey: 0x7800_0000,
  /** Bit 63, NX. */
  NoExecute: 0x8000_0000,
} as const;

/** What COCONUT-SVSM maps kernel memory with: global, never faulting for an accessed or dirty bit. */
export const PtePreset = {
  /** Writable, not executable. */
  Data: 0x8000_0163,
  /** Neither writable nor executable. */
  ReadOnly: 0x8000_0121,
  /** Executable, not writable. */
  Code: 0x121,
} as const;
