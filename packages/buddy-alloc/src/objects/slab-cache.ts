import {
  type Address,
  type AddressKind,
  alignmentBytes,
  type Bytes,
  PAGE_SIZE,
  showInConsoles,
} from '@svsm/address';
import type { PageAllocator } from '../allocator/page-allocator.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { Steps } from '../pages/call-guard.ts';
import { readOptions, requireMethods } from '../pages/options.ts';
import type { PageSource } from '../pages/page-source.ts';
import { HALVES, LOW } from '../pages/words.ts';
import { SlabDirectory } from './slab-directory.ts';
import { Slabs, slabOf } from './slabs.ts';

/** The options of a {@link SlabCache}. */
export interface SlabCacheOptions {
  /** The alignment of objects: bytes, a power of two up to 4096; the default is 8. */
  readonly alignment?: Bytes | undefined;
  /** The number of empty pages to keep; the default is 1. Other empty pages are freed at once. */
  readonly keepEmpty?: number | undefined;
}

/** The objects and pages of a {@link SlabCache}. A frozen copy of one moment. */
export interface SlabInfo {
  /** Allocated objects. */
  readonly objects: number;
  /** Objects for which the pages have room. */
  readonly capacity: number;
  /** Pages that the cache has from its allocator. */
  readonly pages: number;
  /** Pages without an allocated object. */
  readonly emptyPages: number;
}

/**
 * A cache of objects of one size, in pages of a `PageAllocator`. Allocating and freeing are O(1), and every free is checked.
 * The cache manages addresses and touches no memory.
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { isBuddyError, PageAllocator, SlabCache } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 *
 * const allocator = new PageAllocator(physRegion(physAddr(0x10_0000), 0x10_0000));
 * const cache = new SlabCache(allocator, 100, { alignment: 16 });
 * console.log(cache.objectBytes); // => 112
 *
 * const first = cache.allocate();
 * const second = cache.allocate();
 * cache.free(first);
 * try {
 *   cache.free(first);
 * } catch (error) {
 *   console.log(isBuddyError(error, 'DOUBLE_FREE_OBJECT')); // => true
 * }
 * cache.free(second);
 * ```
 */
export class SlabCache<A extends Address> {
  static {
    showInConsoles(this, 'SlabCache', (slabs) => ({ objectBytes: slabs.objectBytes, ...slabs.info() }));
  }

  /** The bytes from one object to the next: the size, at least 8, rounded up to the alignment. */
  readonly objectBytes: number;
  readonly #allocator: PageAllocator<A>;
  readonly #directory: SlabDirectory;
  readonly #slabs: Slabs<A>;
  readonly #guard: PageSource<A>['guard'];

  /**
   * Creates a cache without pages. O(1).
   *
   * @param size - bytes of an object, 1 to 4096
   * @throws BuddyError `INVALID_OBJECT_SIZE`, `INVALID_OPTION`, `BUSY`; AddressError `INVALID_ALIGNMENT`
   */
  constructor(allocator: PageAllocator<A>, size: number, options: SlabCacheOptions = {}) {
    requireMethods('allocator', allocator, 'pagesFor');
    const { alignment: bytes = 8, keepEmpty = 1 } = readOptions(options, ['alignment', 'keepEmpty']);
    const alignment = Number(alignmentBytes(bytes));
    const stride = Number.isInteger(size) ? Math.ceil(Math.max(size, 8) / alignment) * alignment : 0;
    if (stride === 0 || size < 1 || stride > PAGE_SIZE) {
      throw new BuddyError('INVALID_OBJECT_SIZE', { size, max: PAGE_SIZE });
    }
    if (typeof keepEmpty !== 'number' || !(keepEmpty >= 0) || Math.floor(keepEmpty) !== keepEmpty) {
      const expected = 'a number of pages, an integer from 0 up or Infinity';
      throw new BuddyError('INVALID_OPTION', { option: 'keepEmpty', value: keepEmpty, expected });
    }
    this.objectBytes = stride;
    this.#allocator = allocator;
    this.#directory = new SlabDirectory(allocator.region.start);
    const source = allocator.pagesFor('slab');
    this.#guard = source.guard;
    this.#slabs = new Slabs({
      source,
      owner: 'SlabCache',
      directory: this.#directory,
      user: 0,
      stride,
      keepEmpty,
    });
  }

  /**
   * Allocates an object. Returns its address. O(1); if a page is needed, also the cost of its allocation.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`, `OUTSIDE_MEMORY`, `POISON_OVERWRITTEN`, `BUSY`, `CALLBACK_FAILED`
   */
  allocate(): A {
    this.#guard?.enter('SlabCache.allocate');
    return this.#slabs.allocate();
  }

  /**
   * Frees an object. O(1); if a page becomes empty, also the cost of freeing it.
   *
   * @throws BuddyError `OUTSIDE_OBJECTS`, `OBJECT_INTERIOR`, `DOUBLE_FREE_OBJECT`, `OUTSIDE_MEMORY`, `BUSY`,
   *   `CALLBACK_FAILED`; AddressError for an invalid address
   */
  free(address: A): void {
    this.#guard?.enter('SlabCache.free');
    const number = typeof address === 'bigint' ? this.#directory.at(address) : 0;
    if (number === 0 || !this.#slabs.free(address, slabOf(number), HALVES[LOW]! & 0xfff)) {
      throw objectRefusal(this.#allocator, address, number === 0 ? undefined : this.#slabs);
    }
  }

  /** The numbers of objects and pages. O(1). @throws BuddyError `BUSY` */
  info(): SlabInfo {
    this.#guard?.enter('SlabCache.info');
    const { live, pages, slots, empty } = this.#slabs;
    return Object.freeze({ objects: live, capacity: pages * slots, pages, emptyPages: empty });
  }

  /**
   * Frees every empty page, also the kept ones, one after another: if the memory cannot poison one of them, those before it
   * have been freed. O(empty pages · orders).
   *
   * @throws BuddyError `OUTSIDE_MEMORY`, `BUSY`, `CALLBACK_FAILED`
   */
  trim(): void {
    this.#guard?.enter('SlabCache.trim');
    const steps = new Steps();
    this.#slabs.trim(steps);
    steps.end('SlabCache.trim');
  }

  /**
   * Checks that the tables agree with each other. O(pages · objects in one).
   *
   * @throws BuddyError `BROKEN_INVARIANT`, `BUSY`
   */
  checkInvariants(): void {
    this.#guard?.enter('SlabCache.checkInvariants');
    const problem = this.#slabs.problem();
    if (problem !== undefined) throw new BuddyError('BROKEN_INVARIANT', { invariant: 'slabs', problem });
  }
}

/**
 * The reason why no allocated object starts at `address`.
 *
 * @param slabs - the slabs whose page contains `address`; `undefined` if it is not in a page of objects
 */
export function objectRefusal<A extends Address>(
  allocator: PageAllocator<A>,
  address: A,
  slabs: Slabs<A> | undefined,
): BuddyError {
  const kind: AddressKind<A> = allocator.region.kind;
  kind.assertIsAddress(address);
  if (slabs === undefined) return new BuddyError('OUTSIDE_OBJECTS', { address });
  const slot = Math.floor(Number(address & 0xfffn) / slabs.stride);
  if (slot >= slabs.slots) return new BuddyError('OUTSIDE_OBJECTS', { address });
  const start = (address & ~0xfffn) + BigInt(slot * slabs.stride);
  const object = { start, end: start + BigInt(slabs.stride) };
  return new BuddyError(address === start ? 'DOUBLE_FREE_OBJECT' : 'OBJECT_INTERIOR', { address, object });
}
