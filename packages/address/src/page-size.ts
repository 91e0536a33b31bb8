/** log2 of {@link PAGE_SIZE}. */
export const PAGE_SHIFT = 12;

/** Bytes of a regular page: 4 KiB. */
export const PAGE_SIZE = 0x1000;

/** Bytes of a page that a level-1 (PD) entry maps: 2 MiB. */
export const PAGE_SIZE_2M = 0x20_0000;

/** Bytes of a page that a level-2 (PDPT) entry maps: 1 GiB. */
export const PAGE_SIZE_1G = 0x4000_0000;

/** The page sizes of x86-64 in bytes (AMD64 APM vol. 2, §5.3: 4-Kbyte, 2-Mbyte and 1-Gbyte page translation). */
export const PageSize = {
  /** 4 KiB, mapped by a level-0 entry. */
  Regular: 0x1000,
  /** 2 MiB, mapped by a level-1 entry. */
  Huge: 0x20_0000,
  /** 1 GiB, mapped by a level-2 entry. */
  Giant: 0x4000_0000,
} as const;

/** One of the page sizes of x86-64, in bytes. */
export type PageSize = (typeof PageSize)[keyof typeof PageSize];
