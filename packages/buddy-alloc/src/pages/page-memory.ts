import type { Address } from '@svsm/address';

/** The memory behind an allocator's pages, for what must touch it: nothing else of the allocator does. */
export interface PageMemory<A extends Address> {
  /** Fills the page of 4096 bytes that starts at `page` with zeros. */
  clearPage(page: A): void;
}
