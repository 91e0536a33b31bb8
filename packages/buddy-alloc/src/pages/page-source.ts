import type { Address } from '@svsm/address';

/** Where an allocator of smaller things takes its pages: they are its own, and `freePages` refuses them. */
export interface PageSource<A extends Address> {
  /** Allocates `pages` pages that start at a multiple of `alignment` bytes, a power of two: the address of the first. */
  allocate(pages: number, alignment: number): A;
  /** Frees what `allocate` has returned. */
  free(start: A): void;
}
