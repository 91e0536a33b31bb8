import { PageSize } from '@svsm/address';

/** The page sizes by the level of their leaf: 4 KiB at 0, 2 MiB at 1, 1 GiB at 2. */
export const PAGE_SIZES: readonly PageSize[] = [PageSize.Regular, PageSize.Huge, PageSize.Giant];

/** The number of entries in a table. */
export const ENTRIES = 512;
