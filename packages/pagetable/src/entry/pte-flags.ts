/** The level of an entry that maps a page: 0 for 4 KiB, 1 for 2 MiB, 2 for 1 GiB. */
export type LeafLevel = 0 | 1 | 2;

/**
 * Flags of an entry, as a number. The type says at which levels of pages they can be used, or that they are for an entry
 * that leads to a `'table'`. `leafFlags` and `tableFlags` return such numbers, and the {@link PteFlags} that exist only at
 * some levels are typed so: passing one to a method of another page size is a type error.
 *
 * To TypeScript, `A | B` is a plain `number`. Every method accepts that too, and checks it at run time.
 */
export type EntryFlags<Place extends LeafLevel | 'table' = LeafLevel> = number & {
  readonly '__entryFlags:@svsm/pagetable'?: (place: Place) => void;
};

/**
 * The bits of a page-table entry that are not part of the address, as one number of 32 bits: bits 11:0 in their places,
 * bits 63:52 at 31:20, and bit 12, the PAT bit of a large page, in its place.
 *
 * AMD64 APM vol. 2, §5.3.3 to 5.4.1; Intel SDM vol. 3A, tables 4-14 to 4-19.
 */
export const PteFlags = {
  /** Bit 0. */
  Present: 0x1,
  /** Bit 1, R/W. */
  Writable: 0x2,
  /** Bit 2, U/S: a user page. */
  User: 0x4,
  /** Bit 3, PWT. */
  WriteThrough: 0x8,
  /** Bit 4, PCD. */
  CacheDisable: 0x10,
  /** Bit 5, A. */
  Accessed: 0x20,
  /** Bit 6, D: leaves only. */
  Dirty: 0x40,
  /** Bit 7 at levels 1 and 2, PS: the entry maps a page. `map2m` and `map1g` set it. */
  Large: 0x80 as EntryFlags<1 | 2>,
  /** Bit 7 at level 0, PAT. A large page has PAT at bit 12: {@link PteFlags.PatLarge}. */
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
  /** Bit 52, the lowest of bits 58:52 for software. */
  Software52: 0x10_0000,
  /** Bits 58:52, for software. */
  SoftwareHigh: 0x07f0_0000,
  /** Bits 62:59 of a leaf: the protection key with CR4.PKE or PKS, otherwise for software. */
  ProtectionKey: 0x7800_0000,
  /** Bit 63, NX. */
  NoExecute: 0x8000_0000,
} as const;

/** The flags with which COCONUT-SVSM maps kernel memory: global, with accessed set, and dirty too if writable. */
export const PtePreset = {
  /** Writable, not executable. */
  Data: 0x8000_0163,
  /** Neither writable nor executable. */
  ReadOnly: 0x8000_0121,
  /** Executable, not writable. */
  Code: 0x121,
} as const;
