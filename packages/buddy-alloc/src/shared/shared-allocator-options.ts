import type { Address } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';

/** The options that each owner of a `SharedPageAllocator` chooses for itself. */
export interface SharedOwnerOptions {
  /**
   * The milliseconds that an operation waits for the lock before it throws `LOCK_TIMEOUT`. The default is 10,000; `Infinity`
   * means no limit.
   */
  readonly lockTimeout?: number | undefined;
}

/** The options that determine the buffer of a `SharedPageAllocator`. */
export interface SharedBufferOptions {
  /** The most caches (see `cache`) of all owners at a time, 0 to 1024; the default is 16. Each takes 1 KiB. */
  readonly caches?: number | undefined;
}

/** The options of `SharedPageAllocator.create`. */
export interface SharedAllocatorOptions<A extends Address> extends SharedOwnerOptions, SharedBufferOptions {
  /** The greatest order of a request, as in `PageAllocatorOptions`. */
  readonly maxOrder?: number | undefined;
  /** Parts of the region that are never allocated: whole pages, not overlapping. Empty regions add nothing. */
  readonly reserved?: Iterable<MemoryRegion<A>> | undefined;
  /** The buffer for the tables: at least `bytesFor(region)` bytes, all zeros. Without it, a new buffer is created. */
  readonly buffer?: SharedArrayBuffer | undefined;
}

/** The names of all options. `attach` and `bytesFor` accept the options of `create`, and use their own. */
export const SHARED_OPTIONS: readonly (keyof SharedAllocatorOptions<Address>)[] = [
  'maxOrder',
  'reserved',
  'caches',
  'buffer',
  'lockTimeout',
];
