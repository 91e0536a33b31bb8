import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { BlockKind } from '../pages/block.ts';

/** A change that an allocator has made. Refused operations make no event. */
export interface AllocatorEvent<A extends Address> {
  readonly what: 'allocate' | 'free' | 'reserve' | 'unreserve' | 'addRegion' | 'removeRegion';
  /** The pages. */
  readonly region: MemoryRegion<A>;
  /** The kind as which they were allocated or freed; `undefined` for the other changes. */
  readonly kind: BlockKind | undefined;
}

/** A function that an allocator calls after each change. See the option `trace` for what it may do. */
export type Tracer<A extends Address> = (event: AllocatorEvent<A>) => void;
