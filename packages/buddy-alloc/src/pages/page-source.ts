import type { Address } from '@svsm/address';

/** The pages of an allocator of smaller objects, such as a slab cache or a heap. `freePages` refuses them. */
export interface PageSource<A extends Address> {
  /**
   * Throws `BUSY` from `enter` while a callback of the page allocator runs; `undefined` if it has no callbacks. An allocator
   * that is built on the source calls `guard?.enter(name)` first in each operation.
   */
  readonly guard?: { enter(operation: string): void } | undefined;
  /**
   * Allocates pages. Returns the address of the first one.
   *
   * @param pages - 1 to 2^52
   * @param alignment - bytes, a power of two: the first page starts at a multiple of it
   * @throws BuddyError `INVALID_PAGE_COUNT`, `OUT_OF_MEMORY`, `METADATA_FULL`, `BUSY`, `CALLBACK_FAILED`, `OUTSIDE_MEMORY`,
   *   `POISON_OVERWRITTEN`; AddressError `INVALID_ALIGNMENT`
   */
  allocate(pages: number, alignment: number): A;
  /**
   * Frees pages that `allocate` returned.
   *
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_KIND`,
   *   `BUSY`, `CALLBACK_FAILED`, `OUTSIDE_MEMORY`; AddressError for an invalid address
   */
  free(start: A): void;
}
