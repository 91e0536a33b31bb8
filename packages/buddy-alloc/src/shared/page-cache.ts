import type { Address } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { CACHE_PAGES } from './shared-layout.ts';
import type { SharedSpace } from './shared-space.ts';
import { ALLOCATED, allocate, CACHED, closeCache, freePage } from './shared-tables.ts';

/**
 * Single pages that an owner of a `SharedPageAllocator` keeps at hand, so that most requests take no lock: `cache` of the
 * allocator makes it. For one thread.
 *
 * A page in it is marked as such in the shared tables, in one atomic step from allocated to cached and back: so freeing
 * a page twice is refused, through whichever caches or allocators, and no page is given to two. Where a request of some
 * owner would fail, all caches give their pages back first; those that move in or out of a cache at that very moment it
 * may miss.
 */
export class PageCache<A extends Address> {
  readonly #space: SharedSpace<A>;
  readonly #capacity: number;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #marks: Uint8Array<SharedArrayBuffer>;
  readonly #markBase: number;
  /** The word of the first page; 0 when closed. */
  #pages: number;
  /** Pages that were put in and not taken out here: some may have been given back by others. */
  #count = 0;

  /** `SharedPageAllocator.cache` makes these. @throws BuddyError `NO_CACHE_LEFT` */
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
   * Allocates one page: its address. O(1); one time in many, the lock is taken and half of what the cache holds fetched.
   *
   * @throws BuddyError `CLOSED_CACHE`; `OUT_OF_MEMORY`, `LOCK_TIMEOUT` as `allocatePage` of the allocator
   */
  allocatePage(): A {
    while (this.#count > 0) {
      this.#count -= 1;
      const index = this.#words[this.#pages + this.#count]! - 1;
      // Who fails to change the mark does not have the page: somebody else was in need of it.
      const at = this.#markBase + index;
      if (Atomics.compareExchange(this.#marks, at, CACHED, ALLOCATED) === CACHED)
        return this.#space.addressOf(index);
    }
    return this.#space.addressOf(this.#fetch());
  }

  /**
   * Frees a block of one page, whichever owner has allocated it. O(1); one time in many, the lock is taken and half of
   * what the cache holds freed.
   *
   * @throws BuddyError `CLOSED_CACHE`; and as `freePage` of the allocator
   */
  freePage(page: A): void {
    const index = this.#space.indexOf(page);
    const at = this.#markBase + index;
    if (index < 0 || this.#marks[at] !== ALLOCATED || this.#pages === 0) throw this.#refusal(page);
    if (this.#count === this.#capacity) this.#drain(this.#capacity >> 1);
    // In the cache first: if this thread ends here, whoever looks for pages finds it.
    this.#words[this.#pages + this.#count] = index + 1;
    if (Atomics.compareExchange(this.#marks, at, ALLOCATED, CACHED) !== ALLOCATED) throw this.#refusal(page);
    this.#count += 1;
  }

  /** Makes all of its pages free. O(pages · orders), under one lock. @throws BuddyError `CLOSED_CACHE`, `LOCK_TIMEOUT` */
  flush(): void {
    this.#requireOpen();
    if (this.#count > 0) this.#drain(this.#count);
  }

  /** As `flush`; and the cache can be used no more, but another be made. Closing again does nothing. */
  close(): void {
    if (this.#pages === 0) return;
    const space = this.#space;
    space.enter();
    try {
      this.#giveBack(this.#count);
      closeCache(space.tables, this.#pages - CACHE_PAGES);
      this.#pages = 0;
    } finally {
      space.lock.release();
    }
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Takes pages of the allocator: the index of one, the others are in the cache then. */
  #fetch(): number {
    this.#requireOpen();
    const space = this.#space;
    const { tables } = space;
    space.enter();
    try {
      const index = space.take(0);
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

  /** Frees the `count` pages that were put in first, under the lock. */
  #drain(count: number): void {
    this.#space.enter();
    try {
      this.#giveBack(count);
    } finally {
      this.#space.lock.release();
    }
  }

  /** The same, for who holds the lock. */
  #giveBack(count: number): void {
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
