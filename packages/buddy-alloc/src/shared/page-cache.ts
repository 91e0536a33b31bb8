import type { Address } from '@svsm/address';
import { showInConsoles } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { CACHE_PAGES } from './shared-layout.ts';
import type { SharedSpace } from './shared-space.ts';
import { ALLOCATED, allocate, CACHED, closeCache, freePage } from './shared-tables.ts';

/**
 * Single pages that one owner of a `SharedPageAllocator` keeps at hand, so that most requests take no lock. `cache` of the
 * allocator creates it. Only one thread may use it.
 *
 * The shared tables mark a page as allocated or as cached, and one atomic step moves it from one state to the other. So a
 * double free is refused through any cache or allocator, and no page is allocated twice. Before a request of any owner
 * fails, all caches are emptied; a page that moves in or out of a cache at that moment may be missed.
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { SharedPageAllocator } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 *
 * const allocator = SharedPageAllocator.create(physRegion(physAddr(0x10_0000), 0x10_0000));
 * {
 *   using cache = allocator.cache({ pages: 8 });
 *   const page = cache.allocatePage();
 *   console.log(allocator.memoryInfo().cachedPages); // => 3
 *   cache.freePage(page);
 *   console.log(allocator.memoryInfo().cachedPages); // => 4
 * }
 * console.log(allocator.memoryInfo().cachedPages); // => 0
 * ```
 */
export class PageCache<A extends Address> {
  static {
    showInConsoles(this, 'PageCache', (cache) => ({ pages: cache.#count, capacity: cache.#capacity }));
  }

  readonly #space: SharedSpace<A>;
  readonly #capacity: number;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #marks: Uint8Array<SharedArrayBuffer>;
  readonly #markBase: number;
  /** The word of the first page; 0 after `close`. */
  #pages: number;
  /** Pages that this object has put in and not taken out. Other owners may have freed some of them. */
  #count = 0;

  /** @internal `SharedPageAllocator.cache` creates these. */
  constructor(space: SharedSpace<A>, capacity: number) {
    const { words, marks, markBase } = space.tables;
    this.#space = space;
    this.#capacity = capacity;
    this.#words = words;
    this.#marks = marks;
    this.#markBase = markBase;
    this.#pages = space.openCache() + CACHE_PAGES;
  }

  /**
   * Allocates one page. Returns its address. O(1); when the cache is empty, it takes the lock and fetches half of its
   * capacity.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `LOCK_TIMEOUT`, `CLOSED_CACHE`, `BROKEN_INVARIANT`
   */
  allocatePage(): A {
    while (this.#count > 0) {
      this.#count -= 1;
      const index = this.#words[this.#pages + this.#count]! - 1;
      // If the mark has changed, another owner has freed the page because it needed memory.
      const at = this.#markBase + index;
      if (Atomics.compareExchange(this.#marks, at, CACHED, ALLOCATED) === CACHED)
        return this.#space.addressOf(index);
    }
    return this.#space.addressOf(this.#fetch());
  }

  /**
   * Frees a block of one page, whichever owner allocated it. O(1); when the cache is full, it takes the lock and frees half
   * of its capacity.
   *
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`,
   *   `LOCK_TIMEOUT`, `CLOSED_CACHE`, `BROKEN_INVARIANT`; AddressError for an invalid address
   */
  freePage(page: A): void {
    const index = this.#space.indexOf(page);
    const at = this.#markBase + index;
    if (index < 0 || this.#marks[at] !== ALLOCATED || this.#pages === 0) throw this.#refusal(page);
    if (this.#count === this.#capacity) this.#drain(this.#capacity >> 1);
    // The page goes into the cache before its mark changes. So if this thread ends in between, the page is not lost.
    this.#words[this.#pages + this.#count] = index + 1;
    if (Atomics.compareExchange(this.#marks, at, ALLOCATED, CACHED) !== ALLOCATED) throw this.#refusal(page);
    this.#count += 1;
  }

  /**
   * Frees all pages in the cache. O(pages · orders), under one lock.
   *
   * @throws BuddyError `LOCK_TIMEOUT`, `CLOSED_CACHE`, `BROKEN_INVARIANT`
   */
  flush(): void {
    this.#requireOpen();
    if (this.#count > 0) this.#drain(this.#count);
  }

  /**
   * Frees all pages in the cache and makes room for another cache. Only `close` may be called after that; it does nothing
   * then. O(pages · orders), under one lock.
   *
   * @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT`
   */
  close(): void {
    if (this.#pages === 0) return;
    const space = this.#space;
    space.enter();
    try {
      this.#drainLocked(this.#count);
      closeCache(space.tables, this.#pages - CACHE_PAGES);
      this.#pages = 0;
    } finally {
      space.lock.release();
    }
  }

  /** Closes the cache as `close`. @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT` */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Allocates pages. Returns the index of one; the others are in the cache then. */
  #fetch(): number {
    this.#requireOpen();
    const space = this.#space;
    const { tables } = space;
    space.enter();
    try {
      const index = space.allocateLocked(0);
      for (let rest = this.#capacity >> 1; rest > 1; rest -= 1) {
        const more = allocate(tables, 0);
        if (more < 0) break;
        this.#words[this.#pages + this.#count] = more + 1;
        this.#marks[this.#markBase + more] = CACHED;
        this.#count += 1;
      }
      return index;
    } finally {
      space.lock.release();
    }
  }

  /** Takes the lock and frees the `count` pages that were put in first. */
  #drain(count: number): void {
    this.#space.enter();
    try {
      this.#drainLocked(count);
    } finally {
      this.#space.lock.release();
    }
  }

  /** Frees the `count` pages that were put in first. The caller holds the lock. */
  #drainLocked(count: number): void {
    const words = this.#words;
    const first = this.#pages;
    for (let word = first; word < first + count; word += 1) {
      freePage(this.#space.tables, words[word]! - 1, CACHED);
    }
    words.copyWithin(first, first + count, first + this.#count);
    this.#count -= count;
  }

  #requireOpen(): void {
    if (this.#pages === 0) throw new BuddyError('CLOSED_CACHE', {});
  }

  #refusal(page: A): BuddyError {
    this.#requireOpen();
    return this.#space.refusal(page);
  }
}
