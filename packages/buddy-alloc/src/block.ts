import { type Address, PAGE_SIZE } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';

/** The greatest order there is: one block of 2^52 pages is all that 64 bits address. */
export const MAX_ORDER = 52;

/** What a block is: to be handed out, handed out, or never handed out. */
export type BlockState = 'free' | 'allocated' | 'reserved';

/** A block: 2^`order` pages that start at a multiple of their size. */
export interface Block<A extends Address> {
  /** Where it lies. */
  readonly region: MemoryRegion<A>;
  /** log2 of its pages: 0 to the allocator's `maxOrder`. */
  readonly order: number;
  /** Whether it is handed out. */
  readonly state: BlockState;
}

const BLOCK_BYTES: readonly bigint[] = /* @__PURE__ */ Array.from(
  { length: MAX_ORDER + 1 },
  (_, order) => BigInt(PAGE_SIZE) << BigInt(order),
);

/** Bytes of a block of `order`, 0 to 52. O(1). */
export function blockBytes(order: number): bigint {
  return BLOCK_BYTES[order] as bigint;
}
