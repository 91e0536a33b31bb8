import { type Address, PAGE_SIZE } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';

/** The greatest order there is: one block of 2^52 pages is all that 64 bits address. */
export const MAX_ORDER = 52;

/** What a block is: to be handed out, handed out, or never handed out. */
export type BlockState = 'free' | 'allocated' | 'reserved';

/**
 * What a block was allocated as: a block of 2^order pages, a run of any number of pages, a reference-counted file
 * page, a page of a slab, or whole pages of a heap.
 */
export type BlockKind = 'pages' | 'run' | 'file' | 'slab' | 'heap';

/**
 * A block: 2^`order` pages that start at a multiple of their size. A run, and whole pages of a heap, may have another
 * start and number of pages: `region` says which.
 */
export interface Block<A extends Address> {
  /** Where it lies. */
  readonly region: MemoryRegion<A>;
  /** log2 of its pages, 0 to the allocator's `maxOrder`; of a run, rounded up. */
  readonly order: number;
  /** Whether it is handed out. */
  readonly state: BlockState;
  /** What it was allocated as; `undefined` unless it is allocated. */
  readonly kind: BlockKind | undefined;
}

const BLOCK_BYTES: readonly bigint[] = /* @__PURE__ */ Array.from(
  { length: MAX_ORDER + 1 },
  (_, order) => BigInt(PAGE_SIZE) << BigInt(order),
);

/** Bytes of a block of `order`, 0 to 52. O(1). */
export function blockBytes(order: number): bigint {
  return BLOCK_BYTES[order]!;
}

/** The least order whose block has `pages` pages, 1 to 2^52. O(orders). */
export function orderOfPages(pages: number): number {
  let order = 0;
  while (2 ** order < pages) order += 1;
  return order;
}
