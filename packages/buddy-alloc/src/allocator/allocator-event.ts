import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { Block, BlockKind } from '../pages/block.ts';
import { pageNumberOf } from '../pages/words.ts';
import type { PageSpace } from './page-space.ts';

/** What an allocator has done, for a tracer. It is told when it is done; what is refused is not told. */
export interface AllocatorEvent<A extends Address> {
  readonly what: 'allocate' | 'free' | 'reserve' | 'unreserve' | 'addRegion' | 'removeRegion';
  /** The pages. */
  readonly region: MemoryRegion<A>;
  /** What they were allocated as, or freed as. */
  readonly kind: BlockKind | undefined;
}

/** Whom an allocator tells what it does. */
export type Tracer<A extends Address> = (event: AllocatorEvent<A>) => void;

/** Tells `trace` of the block at `start`, just allocated. O(orders). */
export function traceAllocated<A extends Address>(space: PageSpace<A>, trace: Tracer<A>, start: A): void {
  const block = space.blockAround(pageNumberOf(start));
  if (block !== undefined) trace({ what: 'allocate', region: block.region, kind: block.kind });
}

/** The block that a caller wants to free, if it is one: told of when it is free. O(orders). */
export function blockToFree<A extends Address>(
  space: PageSpace<A>,
  block: MemoryRegion<A> | A,
): Block<A> | undefined {
  const start: unknown = typeof block === 'object' && block !== null ? block.start : block;
  return space.kind.isAddress(start) ? space.blockAround(pageNumberOf(start)) : undefined;
}
