import { type Address, PAGE_SIZE } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';

/** The greatest order: a block of 2^52 pages is the whole 64-bit address space. */
export const MAX_ORDER = 52;

/** The state of a block. A reserved block is never allocated. */
export type BlockState = 'free' | 'allocated' | 'reserved';

/**
 * The kind of an allocated block.
 *
 * - `pages`: a block of 2^order pages.
 * - `run`: any number of pages.
 * - `file`: a page that counts its references.
 * - `slab`: a page of a slab.
 * - `heap`: whole pages of a heap.
 */
export type BlockKind = 'pages' | 'run' | 'file' | 'slab' | 'heap';

/**
 * A block: 2^`order` pages that start at a multiple of their size. Runs and pages of a heap may start at any page and have
 * any number of pages; see `region`.
 */
export interface Block<A extends Address> {
  /** Its pages. */
  readonly region: MemoryRegion<A>;
  /** log2 of the number of pages, 0 to the allocator's `maxOrder`; rounded up for a run. */
  readonly order: number;
  /** Whether it is free, allocated or reserved. */
  readonly state: BlockState;
  /** The kind of an allocated block; otherwise `undefined`. */
  readonly kind: BlockKind | undefined;
}

const BLOCK_BYTES: readonly bigint[] = /* @__PURE__ */ Array.from(
  { length: MAX_ORDER + 1 },
  (_, order) => BigInt(PAGE_SIZE) << BigInt(order),
);

/** The size of a block of `order`, 0 to 52, in bytes. O(1). */
export function blockBytes(order: number): bigint {
  return BLOCK_BYTES[order]!;
}

/** The least order whose block has at least `pages` pages, 1 to 2^52. O(orders). */
export function orderOfPages(pages: number): number {
  let order = 0;
  while (2 ** order < pages) order += 1;
  return order;
}
