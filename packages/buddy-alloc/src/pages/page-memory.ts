import type { Address } from '@svsm/address';

/** The memory behind an allocator's pages. The allocator uses it only to clear pages. */
export interface PageMemory<A extends Address> {
  /** Fills the 4096 bytes from `page` with zeros. */
  clearPage(page: A): void;
}
