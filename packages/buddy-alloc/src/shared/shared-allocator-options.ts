import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';

/** What every owner of a `SharedPageAllocator` may choose for itself. */
export interface SharedOwnerOptions {
  /**
   * Milliseconds that an operation waits for the lock before it throws `LOCK_TIMEOUT`: 10,000 if not given; `Infinity`
   * for no limit.
   */
  readonly lockTimeout?: number | undefined;
}

/** What a buffer for a `SharedPageAllocator` is made for. */
export interface SharedBufferOptions {
  /** How many caches (see `cache`) there may be at a time, of all owners: 0 to 1024; 16 if not given. Each is 1 KiB. */
  readonly caches?: number | undefined;
}

/** What a `SharedPageAllocator` may be told beside its region. */
export interface SharedAllocatorOptions<A extends Address> extends SharedOwnerOptions, SharedBufferOptions {
  /** The greatest order to hand out, as in `PageAllocatorOptions`. */
  readonly maxOrder?: number | undefined;
  /** What of the region is never handed out: whole pages, no two regions overlapping. Empty ones add nothing. */
  readonly reserved?: Iterable<MemoryRegion<A>> | undefined;
  /**
   * Where its tables lie: `bytesFor(region)` bytes at least, all zeros, as a new buffer is. Without it, one is made.
   */
  readonly buffer?: SharedArrayBuffer | undefined;
}
