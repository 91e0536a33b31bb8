import type { Address, AddressKind } from '@svsm/address';
import { showInConsoles } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { blockBytes, MAX_ORDER } from '../pages/block.ts';
import { BuddyError, type SharedBufferProblem } from '../pages/buddy-error.ts';
import { requireInteger, requireMaxOrder, requireOrder } from '../pages/integers.ts';
import { readOptions, requireMethods } from '../pages/options.ts';
import { largestOrderIn, type PageRange } from '../pages/page-range.ts';
import { asRegion, pagesOfRegion, requireKind, reservedRanges } from '../pages/region-pages.ts';
import { addressOfPage } from '../pages/words.ts';
import { PageCache } from './page-cache.ts';
import { layBlocks } from './repair-shared.ts';
import {
  SHARED_OPTIONS,
  type SharedAllocatorOptions,
  type SharedBufferOptions,
  type SharedOwnerOptions,
} from './shared-allocator-options.ts';
import type { SharedBlock, SharedMemoryInfo } from './shared-block.ts';
import {
  HEADER_WORDS,
  hashOf,
  layoutOf,
  MAX_CACHE_PAGES,
  MAX_CACHES,
  MAX_SHARED_PAGES,
  readHeader,
  type SharedLayout,
  writeHeader,
} from './shared-layout.ts';
import { SharedLock } from './shared-lock.ts';
import { SharedSpace } from './shared-space.ts';
import { sharedTables } from './shared-tables.ts';

/**
 * A buddy allocator that several workers use at the same time. Its tables lie in a `SharedArrayBuffer` and are protected by a
 * lock. One thread calls `create` and sends `buffer` to the others, which call `attach`. Each of them is an *owner* with a
 * number. An owner may free what another one allocated.
 *
 * It allocates blocks of one region as `PageAllocator` does, and checks every free in the same way. The tables for the whole
 * region, about 1.5 bytes a page, exist from the start, but as zeros: they take memory only where pages are used.
 *
 * An operation that throws has released the lock and changed nothing, except that it may have emptied caches. O(orders) is
 * at most 31 steps under the lock. It calls no callbacks. Every method that takes the lock can throw BuddyError `LOCK_TIMEOUT`, and
 * `BROKEN_INVARIANT` if a thread ended while it held the lock and its change cannot be repaired.
 *
 * @example
 * ```ts
 * import { Phys, physAddr } from '@svsm/address';
 * import { SharedPageAllocator } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 *
 * const allocator = SharedPageAllocator.create(physRegion(physAddr(0x10_0000), 0x10_0000));
 * // A worker attaches to the buffer that it was sent, and posts its number.
 * const worker = SharedPageAllocator.attach(Phys, allocator.buffer);
 * worker.allocatePages(3);
 * const number = worker.owner;
 *
 * // When the worker has ended, whatever it was doing:
 * console.log(allocator.recover(number)); // => false
 * console.log(allocator.memoryInfo().allocatedPages); // => 8
 * ```
 */
export class SharedPageAllocator<A extends Address> {
  static {
    showInConsoles(this, 'SharedPageAllocator', ({ region, maxOrder, owner }) => ({
      region,
      maxOrder,
      owner,
    }));
  }

  /** The buffer with the tables, to be passed to `attach`. */
  readonly buffer: SharedArrayBuffer;
  readonly #space: SharedSpace<A>;
  readonly #kind: AddressKind<A>;
  readonly #maxOrder: number;

  private constructor(
    region: MemoryRegion<A>,
    layout: SharedLayout,
    buffer: SharedArrayBuffer,
    lockTimeout: number,
    reserved?: readonly PageRange[],
  ) {
    const tables = sharedTables(layout, buffer);
    if (reserved !== undefined) {
      const indexes = reserved.map(({ start, end }) => ({
        start: start - layout.origin,
        end: end - layout.origin,
      }));
      layBlocks(tables, indexes);
      writeHeader(tables.words, layout);
    }
    this.buffer = buffer;
    this.#space = new SharedSpace(region, tables, new SharedLock(tables.words, lockTimeout));
    this.#kind = region.kind;
    this.#maxOrder = layout.maxOrder;
  }

  /**
   * Creates an allocator for the pages of `region`. All pages are free, except for the reserved ones. O(orders) for the region
   * and each reserved region, and the time to sort the reserved ones. With a `buffer`, also O(bytes), to check that it is
   * all zeros.
   *
   * @param region - whole pages, 1 to 2^30 (4 TiB)
   * @throws BuddyError `INVALID_MAX_ORDER`, `INVALID_OPTION`, `INVALID_REGION`, `INVALID_RESERVED`, `REGION_TOO_LARGE`,
   *   `INVALID_SHARED_BUFFER`; RegionError `KIND_MISMATCH`
   */
  static create<A extends Address>(
    region: MemoryRegion<A>,
    options: SharedAllocatorOptions<A> = {},
  ): SharedPageAllocator<A> {
    const read = readOptions(options, SHARED_OPTIONS);
    const { maxOrder = MAX_ORDER, reserved = [], buffer } = read;
    const timeout = lockTimeoutOf(read);
    const [own, range] = sharedRange(region);
    requireMaxOrder(maxOrder);
    const holes = reservedRanges(reserved, own, own, [range]);
    const layout = layoutOf({
      range,
      // Adding 0 turns −0 into 0.
      maxOrder: Math.min(maxOrder, largestOrderIn(range)) + 0,
      caches: cachesOf(read),
      kindHash: hashOf(own.kind.name),
    });
    const memory = buffer === undefined ? newBuffer(layout.bytes) : requireSize(buffer, layout.bytes);
    if (buffer !== undefined && !isZero(memory, layout.bytes))
      throw bufferError('not zeros', memory, layout.bytes);
    return new SharedPageAllocator(own, layout, memory, timeout, holes);
  }

  /**
   * Creates another owner of the allocator in `buffer`. O(orders).
   *
   * @param kind - the kind of the allocator's addresses
   * @param buffer - the `buffer` of the allocator
   * @throws BuddyError `INVALID_OPTION`, `INVALID_SHARED_BUFFER`
   */
  static attach<A extends Address>(
    kind: AddressKind<A>,
    buffer: SharedArrayBuffer,
    options: SharedOwnerOptions = {},
  ): SharedPageAllocator<A> {
    requireMethods('kind', kind, 'isAddress', 'tryAddress', 'assertIsAddress', 'runEnd');
    const timeout = lockTimeoutOf(readOptions<SharedAllocatorOptions<A>>(options, SHARED_OPTIONS));
    const header = readHeader(new Int32Array(requireSize(buffer, HEADER_WORDS * 4), 0, HEADER_WORDS));
    if (typeof header === 'string') throw bufferError(header, buffer);
    if (header.kindHash !== hashOf(kind.name)) throw bufferError('kind', buffer);
    const layout = layoutOf(header);
    requireSize(buffer, layout.bytes);
    const start = kind.tryAddress(addressOfPage(header.range.start));
    const size = addressOfPage(header.range.end - header.range.start);
    const region = MemoryRegion.tryNew(kind, start, size);
    if (region === undefined) throw bufferError('corrupted', buffer);
    return new SharedPageAllocator(region, layout, buffer, timeout);
  }

  /**
   * The bytes of the buffer that an allocator of `region` needs: about 1.5 for each page, 1 KiB for each cache, and 1 KiB.
   * O(orders).
   *
   * @param region - whole pages, 1 to 2^30 (4 TiB)
   * @throws BuddyError `INVALID_OPTION`, `INVALID_REGION`, `REGION_TOO_LARGE`
   */
  static bytesFor<A extends Address>(region: MemoryRegion<A>, options: SharedBufferOptions = {}): number {
    return layoutOf({
      range: sharedRange(region)[1],
      maxOrder: 0,
      caches: cachesOf(readOptions<SharedAllocatorOptions<A>>(options, SHARED_OPTIONS)),
      kindHash: 0,
    }).bytes;
  }

  /** The allocator's region. */
  get region(): MemoryRegion<A> {
    return this.#space.region;
  }

  /** The greatest order of a request. */
  get maxOrder(): number {
    return this.#maxOrder;
  }

  /** The number of this owner, which is unique. After its thread has ended, pass it to `recover`. */
  get owner(): number {
    return this.#space.lock.owner;
  }

  /**
   * Allocates a block of 2^`order` pages. If no block is free, all caches are emptied first. O(orders); if caches are emptied,
   * O(pages in them · orders).
   *
   * @param order - 0 to `maxOrder`; `getOrder` returns the order for a byte count
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `LOCK_TIMEOUT`, `BROKEN_INVARIANT`
   */
  allocatePages(order: number): MemoryRegion<A> {
    return new MemoryRegion(this.#kind, this.allocateBlock(order), blockBytes(order));
  }

  /**
   * Allocates a block as `allocatePages`, but returns only its address, which costs less.
   *
   * @param order - 0 to `maxOrder`
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`, `LOCK_TIMEOUT`, `BROKEN_INVARIANT`
   */
  allocateBlock(order: number): A {
    requireOrder(order, this.#maxOrder);
    return this.#space.addressOf(this.#space.allocate(order));
  }

  /**
   * Allocates one page. Returns its address. The cost is as for `allocatePages`.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `LOCK_TIMEOUT`, `BROKEN_INVARIANT`
   */
  allocatePage(): A {
    return this.#space.addressOf(this.#space.allocate(0));
  }

  /**
   * Frees a block, whichever owner allocated it. O(orders).
   *
   * @param block - its region, which must be the whole block, or its start address
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`,
   *   `LOCK_TIMEOUT`, `BROKEN_INVARIANT`; AddressError for an invalid address; RegionError `KIND_MISMATCH`
   */
  freePages(block: MemoryRegion<A> | A): void {
    if (typeof block !== 'object' || block === null) {
      this.#space.free(block, undefined);
      return;
    }
    const { start, size } = requireKind(block, this.#space.region);
    this.#space.free(start, size);
  }

  /**
   * Frees a block of one page. O(orders).
   *
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`, `WRONG_SIZE`,
   *   `LOCK_TIMEOUT`, `BROKEN_INVARIANT`; AddressError for an invalid address
   */
  freePage(page: A): void {
    this.#space.free(page, blockBytes(0));
  }

  /**
   * Opens a cache of single pages for this owner. It takes the lock once for many pages. Its pages are `cached`, neither free
   * nor allocated, until a request of any owner would fail without them. O(caches).
   *
   * @param options.pages - the most pages in the cache, 2 to 252; the default is 64. Half as many are fetched or freed at a time.
   * @throws BuddyError `INVALID_OPTION`, `LOCK_TIMEOUT`, `NO_CACHE_LEFT`, `BROKEN_INVARIANT`
   */
  cache(options: { readonly pages?: number | undefined } = {}): PageCache<A> {
    const { pages = 64 } = readOptions(options, ['pages']);
    requireInteger('pages', pages, 2, MAX_CACHE_PAGES);
    return new PageCache(this.#space, pages);
  }

  /**
   * Cleans up after an owner whose thread has ended at any point. Takes the lock from that owner if it held it, repairs the
   * tables if it left a change unfinished, and frees the pages of its caches. The blocks that it had allocated stay
   * allocated. Never call this for an owner whose thread may still run. If there is something to repair, the cost is as for
   * `checkInvariants`.
   *
   * @param owner - the number of that owner, from its `owner`
   * @returns whether that owner held the lock
   * @throws BuddyError `INVALID_OPTION`, `LOCK_TIMEOUT`, `BROKEN_INVARIANT`
   */
  recover(owner: number): boolean {
    requireInteger('owner', owner, 1, 0x7fff_ffff);
    return this.#space.recover(owner);
  }

  /**
   * The block that contains `address`; `undefined` outside the region. O(orders).
   *
   * @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT`; AddressError for an invalid address
   */
  blockOf(address: A): SharedBlock<A> | undefined {
    return this.#space.blockOf(address);
  }

  /**
   * All blocks at the moment of the call, ascending. Together they are the region. Unlike those of `PageAllocator.blocks`,
   * they do not change during the iteration: a worker may free a block at any time. Only single pages may change between
   * `allocated` and `cached` while they are read. O(blocks) under the lock, and memory for as many numbers.
   *
   * @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT`
   */
  blocks(): Generator<SharedBlock<A>, undefined, undefined> {
    return this.#space.blocks();
  }

  /**
   * The pages and blocks by state and order. O(orders + pages of caches).
   *
   * @throws BuddyError `LOCK_TIMEOUT`, `BROKEN_INVARIANT`
   */
  memoryInfo(): SharedMemoryInfo {
    return this.#space.info();
  }

  /**
   * Checks that the tables agree with each other and with the header. It ends, whatever the buffer holds.
   * O(blocks + pages that ever were in blocks of less than 1024), all under the lock.
   *
   * @throws BuddyError `BROKEN_INVARIANT`, with the name of the invariant and the contradiction; `LOCK_TIMEOUT`
   */
  checkInvariants(): void {
    this.#space.check();
  }
}

const DEFAULT_CACHES = 16;
const DEFAULT_LOCK_TIMEOUT = 10_000;

function lockTimeoutOf({ lockTimeout = DEFAULT_LOCK_TIMEOUT }: SharedOwnerOptions): number {
  if (typeof lockTimeout === 'number' && lockTimeout >= 0) return lockTimeout;
  const expected = 'milliseconds, from 0 up';
  throw new BuddyError('INVALID_OPTION', { option: 'lockTimeout', value: lockTimeout, expected });
}

function cachesOf({ caches = DEFAULT_CACHES }: SharedBufferOptions): number {
  requireInteger('caches', caches, 0, MAX_CACHES);
  return caches;
}

/** A region, any value, and its pages. @throws BuddyError `INVALID_OPTION`, `INVALID_REGION`, `REGION_TOO_LARGE` */
function sharedRange<A extends Address>(value: MemoryRegion<A>): [region: MemoryRegion<A>, range: PageRange] {
  const region = asRegion(value);
  if (region === undefined) {
    throw new BuddyError('INVALID_OPTION', { option: 'region', value, expected: 'a MemoryRegion' });
  }
  const range = pagesOfRegion(region);
  if (range.end - range.start <= MAX_SHARED_PAGES) return [region, range];
  throw new BuddyError('REGION_TOO_LARGE', { region, maxPages: MAX_SHARED_PAGES });
}

function bufferError(
  reason: SharedBufferProblem,
  buffer?: SharedArrayBuffer,
  needed?: number,
  options?: ErrorOptions,
): BuddyError {
  const details = { reason, byteLength: buffer?.byteLength, needed };
  return new BuddyError('INVALID_SHARED_BUFFER', details, options);
}

function newBuffer(bytes: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(bytes);
  } catch (cause) {
    // A web page that is not cross-origin isolated has no such class; a machine may not have the memory.
    throw bufferError('unavailable', undefined, bytes, { cause });
  }
}

/** Returns `buffer` if it is a SharedArrayBuffer of at least `bytes` bytes. @throws BuddyError `INVALID_SHARED_BUFFER` */
function requireSize(buffer: SharedArrayBuffer, bytes: number): SharedArrayBuffer {
  // The tag also matches a buffer of another realm.
  if (tagOf(buffer) !== '[object SharedArrayBuffer]') throw bufferError('type');
  if (buffer.byteLength < bytes) throw bufferError('too small', buffer, bytes);
  return buffer;
}

function isZero(buffer: SharedArrayBuffer, bytes: number): boolean {
  return new Int32Array(buffer, 0, bytes / 4).every((word) => word === 0);
}

function tagOf(value: unknown): string | undefined {
  try {
    return Object.prototype.toString.call(value);
  } catch {
    return undefined;
  }
}
