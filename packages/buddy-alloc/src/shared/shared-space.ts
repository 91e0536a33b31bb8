import type { Address, AddressKind } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type BlockState, blockBytes } from '../pages/block.ts';
import { refusalOf } from '../pages/block-refusal.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { infoOf } from '../pages/memory-info.ts';
import { addressOfPage, pageNumberOf } from '../pages/words.ts';
import { checkShared } from './check-shared.ts';
import { repair } from './repair-shared.ts';
import type { SharedBlock, SharedMemoryInfo } from './shared-block.ts';
import {
  ALLOCATED_BLOCKS,
  CACHE_PAGES,
  CACHE_WORDS,
  DIRTY,
  FREE_BLOCKS,
  ORDER_WORDS,
  RESERVED_PAGES,
} from './shared-layout.ts';
import type { SharedLock } from './shared-lock.ts';
import {
  ALLOCATED,
  allocate,
  CACHED,
  cachesOf,
  closeCache,
  freeBlock,
  freeCached,
  freePage,
  headOf,
  KIND,
  ORDER,
  openCache,
  RESERVED,
  type SharedTables,
} from './shared-tables.ts';

const STATES: Readonly<Record<number, BlockState | 'cached'>> = {
  [ALLOCATED]: 'allocated',
  [RESERVED]: 'reserved',
  [CACHED]: 'cached',
};

/**
 * One owner's view of a shared allocator: the region, the tables and the lock. It turns addresses into indexes, takes the lock
 * for each operation, and finds the reason of each refusal.
 */
export class SharedSpace<A extends Address> {
  readonly kind: AddressKind<A>;
  readonly region: MemoryRegion<A>;
  readonly tables: SharedTables;
  readonly lock: SharedLock;
  /** The address of index 0, which may lie before the region. */
  readonly #base: bigint;

  constructor(region: MemoryRegion<A>, tables: SharedTables, lock: SharedLock) {
    this.kind = region.kind;
    this.region = region;
    this.tables = tables;
    this.lock = lock;
    this.#base = addressOfPage(tables.origin);
  }

  /** The index of the page of the region that starts at `address`, any value; −1 if no page does. O(1). */
  indexOf(address: unknown): number {
    if (typeof address !== 'bigint') return -1;
    const { origin, first, end } = this.tables;
    const index = pageNumberOf(address) - origin;
    return index >= first && index < end ? index : -1;
  }

  /** The address of a page of the region. O(1). */
  addressOf(index: number): A {
    // Engines compile this form to 64-bit arithmetic.
    return BigInt.asUintN(64, this.#base + BigInt.asUintN(64, BigInt(index | 0) * 4096n)) as A;
  }

  /** Takes the lock and repairs the tables if its last holder left a change unfinished. @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT` */
  enter(): void {
    this.lock.acquire();
    if (this.tables.words[DIRTY] === 0) return;
    try {
      this.#repair();
    } catch (error) {
      this.lock.release();
      throw error;
    }
  }

  /**
   * Allocates a block. Returns the index of its first page. If no block is free, all caches are emptied first.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `LOCK_TIMEOUT`, `BROKEN_INVARIANT`
   */
  allocate(order: number): number {
    this.enter();
    try {
      return this.allocateLocked(order);
    } finally {
      this.lock.release();
    }
  }

  /** As `allocate`, but the caller holds the lock. */
  allocateLocked(order: number): number {
    const index = allocate(this.tables, order);
    return index >= 0 ? index : this.#allocateFromCaches(order);
  }

  /**
   * Frees the block that starts at `address`, any value. Unless `bytes` is `undefined`, the block must have that size.
   *
   * @throws BuddyError and AddressError as {@link SharedPageAllocator.freePages}
   */
  free(address: A, bytes: bigint | undefined): void {
    const { tables } = this;
    const index = this.indexOf(address);
    this.enter();
    try {
      const mark = index < 0 ? 0 : tables.marks[tables.markBase + index]!;
      const order = mark & ORDER;
      if ((mark & KIND) !== ALLOCATED || (bytes !== undefined && bytes !== blockBytes(order))) {
        throw this.#refusal(address, bytes);
      }
      if (order > 0) freeBlock(tables, index, order);
      else if (!freePage(tables, index, ALLOCATED)) throw this.#refusal(address, bytes);
    } finally {
      this.lock.release();
    }
  }

  /** The reason why the page at `address` cannot be freed. */
  refusal(address: A): BuddyError {
    this.enter();
    try {
      return this.#refusal(address, blockBytes(0));
    } finally {
      this.lock.release();
    }
  }

  /** The block that contains `address`, or `undefined`. @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT`; AddressError */
  blockOf(address: A): SharedBlock<A> | undefined {
    this.kind.assertIsAddress(address);
    this.enter();
    try {
      return this.#blockAround(address);
    } finally {
      this.lock.release();
    }
  }

  /** All blocks at the moment of the call, ascending. @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT` */
  blocks(): Generator<SharedBlock<A>, undefined, undefined> {
    const { marks, markBase, first, end } = this.tables;
    // Only the marks are copied: each tells where the next one is.
    const heads: number[] = [];
    this.enter();
    try {
      for (let index = first; index < end; ) {
        const mark = marks[markBase + index]!;
        heads.push(mark);
        index += 2 ** (mark & ORDER);
      }
    } finally {
      this.lock.release();
    }
    return this.#blocksOf(heads);
  }

  /** The pages and blocks by state and order. @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT` */
  info(): SharedMemoryInfo {
    const { words, maxOrder, treeOrder, first, end } = this.tables;
    this.enter();
    try {
      const cachedPages = this.#cachedPages();
      const info = infoOf({
        maxOrder,
        mergeOrder: treeOrder,
        freeBlocks: (order) => words[FREE_BLOCKS + ORDER_WORDS * order]!,
        allocatedBlocks: (order) =>
          words[ALLOCATED_BLOCKS + ORDER_WORDS * order]! - (order === 0 ? cachedPages : 0),
        totalPages: end - first,
        reservedPages: words[RESERVED_PAGES]!,
      });
      return Object.freeze({ ...info, cachedPages });
    } finally {
      this.lock.release();
    }
  }

  /** Checks the tables. @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT` */
  check(): void {
    this.enter();
    try {
      checkShared(this.tables);
    } finally {
      this.lock.release();
    }
  }

  /** As `SharedPageAllocator.recover`. @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT` */
  recover(owner: number): boolean {
    const { tables, lock } = this;
    const isTaken = lock.seize(owner);
    if (!isTaken) lock.acquire();
    try {
      if (tables.words[DIRTY] !== 0) this.#repair();
      for (const cache of cachesOf(this.tables)) {
        if (tables.words[cache] !== owner) continue;
        freeCached(tables, cache);
        closeCache(tables, cache);
      }
    } finally {
      lock.release();
    }
    return isTaken;
  }

  /** Opens a cache for this owner. Returns its first word. @throws BuddyError `LOCK_TIMEOUT`, `NO_CACHE_LEFT`, `BROKEN_INVARIANT` */
  openCache(): number {
    this.enter();
    try {
      const cache = openCache(this.tables, this.lock.owner);
      if (cache < 0) throw new BuddyError('NO_CACHE_LEFT', { caches: this.tables.caches });
      return cache;
    } finally {
      this.lock.release();
    }
  }

  /** Empties all caches, then allocates. @throws BuddyError `OUT_OF_MEMORY` */
  #allocateFromCaches(order: number): number {
    let freed = 0;
    for (const cache of cachesOf(this.tables)) freed += freeCached(this.tables, cache);
    const index = freed === 0 ? -1 : allocate(this.tables, order);
    if (index >= 0) return index;
    const { words, maxOrder, treeOrder } = this.tables;
    const free = Array.from(
      { length: treeOrder + 1 },
      (_, order) => words[FREE_BLOCKS + ORDER_WORDS * order]!,
    );
    const largest = free.findLastIndex((count) => count > 0);
    throw new BuddyError('OUT_OF_MEMORY', {
      order,
      pages: 2 ** order,
      largestFreeOrder: largest < 0 ? undefined : Math.min(largest, maxOrder),
      freePages: free.reduce((sum, count, order) => sum + count * 2 ** order, 0),
    });
  }

  #repair(): void {
    const problem = repair(this.tables);
    if (problem === undefined) return;
    throw new BuddyError('BROKEN_INVARIANT', { invariant: 'metadata', problem });
  }

  #cachedPages(): number {
    const { words, marks, markBase } = this.tables;
    // A page that was freed and has come into another cache since is listed in both.
    const cached = new Set<number>();
    for (const cache of cachesOf(this.tables)) {
      for (let word = cache + CACHE_PAGES; word < cache + CACHE_WORDS; word += 1) {
        const index = words[word]! - 1;
        if (index >= 0 && marks[markBase + index] === CACHED) cached.add(index);
      }
    }
    return cached.size;
  }

  #refusal(address: A, size: bigint = blockBytes(0)): BuddyError {
    this.kind.assertIsAddress(address);
    const found = this.#blockAround(address);
    if (found === undefined) {
      return new BuddyError('OUTSIDE_REGION', { address, region: this.region, regions: [this.region] });
    }
    // For callers that free it, a page in a cache is free.
    const state = found.state === 'cached' ? 'free' : found.state;
    return refusalOf({ ...found, state }, address, size, 0);
  }

  #blockAround(address: A): SharedBlock<A> | undefined {
    const index = this.indexOf(address & ~0xfffn);
    if (index < 0) return undefined;
    const { marks, markBase, maxOrder } = this.tables;
    const head = headOf(this.tables, index);
    const mark = marks[markBase + head]!;
    const order = Math.min(mark & ORDER, maxOrder);
    return this.#blockAt(index - (index % 2 ** order), mark & KIND, order);
  }

  *#blocksOf(marks: readonly number[]): Generator<SharedBlock<A>, undefined, undefined> {
    const { first, end: last, maxOrder } = this.tables;
    let index = first;
    for (const mark of marks) {
      // In tables that were overwritten, a block may end anywhere.
      const end = Math.min(last, index + 2 ** (mark & ORDER));
      const order = Math.min(mark & ORDER, maxOrder);
      for (; index < end; index += 2 ** order) yield this.#blockAt(index, mark & KIND, order);
    }
  }

  #blockAt(index: number, kind: number, order: number): SharedBlock<A> {
    const region = new MemoryRegion(this.kind, this.addressOf(index), blockBytes(order));
    const state = STATES[kind] ?? 'free';
    return Object.freeze({ region, order, state, kind: state === 'allocated' ? 'pages' : undefined });
  }
}
