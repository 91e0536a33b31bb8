import type { Address, AddressKind } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { blockBytes, MAX_ORDER } from '../pages/block.ts';
import { BuddyError, type SharedBufferProblem } from '../pages/buddy-error.ts';
import { requireInteger, requireMaxOrder, requireOrder } from '../pages/integers.ts';
import { largestOrderIn, type PageRange } from '../pages/page-range.ts';
import { pagesOfRegion, reservedRanges } from '../pages/region-pages.ts';
import { addressOfPage } from '../pages/words.ts';
import { PageCache } from './page-cache.ts';
import { layBlocks } from './repair-shared.ts';
import type {
  SharedAllocatorOptions,
  SharedBufferOptions,
  SharedOwnerOptions,
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
 * A buddy allocator that several workers use at once: its tables lie in a `SharedArrayBuffer`, under a lock. One thread
 * makes it with `create` and sends its `buffer` to others, which `attach`; each then is an *owner*, with a number. What
 * one allocates, another may free.
 *
 * It gives blocks as `PageAllocator` does, of one region, and checks every free the same way. Tables are in place for the
 * whole region from the start, about 1.5 bytes a page, but as zeros: memory is taken where pages are used.
 *
 * What fails throws, has given the lock back, and changes nothing. O(orders) is at most 31 steps under the lock. Every
 * method that takes the lock may throw BuddyError `LOCK_TIMEOUT`, and `BROKEN_INVARIANT` where a thread that has ended
 * under the lock has left what cannot be repaired.
 */
export class SharedPageAllocator<A extends Address> {
  /** The tables: what others attach to. */
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
   * An allocator for the pages of `region`, all of them free but the reserved ones. O(orders) for the region and for each
   * of the reserved ones, which are sorted; with a `buffer`, O(its bytes), to see that they are zeros.
   *
   * @param region - whole pages, 1 to 2^30: 4 TiB
   * @throws BuddyError `INVALID_REGION`, `REGION_TOO_LARGE`, `INVALID_MAX_ORDER`, `INVALID_RESERVED`,
   *   `INVALID_OPTION`, `INVALID_SHARED_BUFFER`; RegionError `KIND_MISMATCH`
   */
  static create<A extends Address>(
    region: MemoryRegion<A>,
    options: SharedAllocatorOptions<A> = {},
  ): SharedPageAllocator<A> {
    const { maxOrder = MAX_ORDER, reserved = [], buffer } = options;
    const timeout = lockTimeoutOf(options);
    const range = sharedRange(region);
    requireMaxOrder(maxOrder);
    const holes = reservedRanges(reserved, region, region, [range]);
    const layout = layoutOf({
      range,
      // Of a zero with a sign, one without.
      maxOrder: Math.min(maxOrder, largestOrderIn(range)) + 0,
      caches: cachesOf(options),
      kindHash: hashOf(region.kind.name),
    });
    const memory = buffer === undefined ? newBuffer(layout.bytes) : requireSize(buffer, layout.bytes);
    if (buffer !== undefined && !isZero(memory, layout.bytes))
      throw bufferError('not zeros', memory, layout.bytes);
    return new SharedPageAllocator(region, layout, memory, timeout, holes);
  }

  /**
   * Another owner of the allocator that `buffer` was made for. O(orders).
   *
   * @param kind - the kind of its addresses
   * @throws BuddyError `INVALID_SHARED_BUFFER`, `INVALID_OPTION`
   */
  static attach<A extends Address>(
    kind: AddressKind<A>,
    buffer: SharedArrayBuffer,
    options: SharedOwnerOptions = {},
  ): SharedPageAllocator<A> {
    requireKindOf('kind', kind, kind, 'a kind of address');
    const timeout = lockTimeoutOf(options);
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
   * Bytes of the buffer for an allocator of `region`: 1.5 for each page, and up to 19 KiB. O(orders).
   *
   * @throws BuddyError `INVALID_REGION`, `REGION_TOO_LARGE`, `INVALID_OPTION`
   */
  static bytesFor<A extends Address>(region: MemoryRegion<A>, options: SharedBufferOptions = {}): number {
    return layoutOf({ range: sharedRange(region), maxOrder: 0, caches: cachesOf(options), kindHash: 0 })
      .bytes;
  }

  /** What it allocates from. */
  get region(): MemoryRegion<A> {
    return this.#space.region;
  }

  /** The greatest order that it hands out. */
  get maxOrder(): number {
    return this.#maxOrder;
  }

  /** The number of this owner: what `recover` wants when its thread is no more. No two have the same. */
  get owner(): number {
    return this.#space.lock.owner;
  }

  /**
   * Allocates a block of 2^`order` pages. If none is free, pages in caches are given back, and may make one. O(orders);
   * with caches to empty, O(pages in them · orders).
   *
   * @param order - 0 to `maxOrder`; `getOrder` has the one for a byte count
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`
   */
  allocatePages(order: number): MemoryRegion<A> {
    return new MemoryRegion(this.#kind, this.allocateBlock(order), blockBytes(order));
  }

  /**
   * As `allocatePages`, but returns the address only, which costs less.
   *
   * @throws BuddyError `INVALID_ORDER`, `OUT_OF_MEMORY`
   */
  allocateBlock(order: number): A {
    requireOrder(order, this.#maxOrder);
    return this.#space.addressOf(this.#space.allocate(order));
  }

  /** Allocates one page: its address. As `allocatePages`. @throws BuddyError `OUT_OF_MEMORY` */
  allocatePage(): A {
    return this.#space.addressOf(this.#space.allocate(0));
  }

  /**
   * Frees a block, whichever owner has allocated it. O(orders).
   *
   * @param block - the region, which must be the whole block, or the address that it starts at
   * @throws BuddyError `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `BLOCK_TAIL`, `DOUBLE_FREE`, `RESERVED_PAGE`,
   *   `WRONG_SIZE`; AddressError if an address is none of this kind; RegionError `KIND_MISMATCH` if a region is
   */
  freePages(block: MemoryRegion<A> | A): void {
    if (typeof block !== 'object' || block === null) {
      this.#space.free(block, undefined);
      return;
    }
    // Of another kind, or no region: `overlaps` throws.
    if (block.kind !== this.#kind) this.#space.region.overlaps(block);
    this.#space.free(block.start, block.size);
  }

  /**
   * Frees a block of one page. O(orders).
   *
   * @throws BuddyError and AddressError as `freePages`, and `WRONG_SIZE` for the start of a larger block
   */
  freePage(page: A): void {
    this.#space.free(page, blockBytes(0));
  }

  /**
   * A store of single pages for this owner, that takes the lock once for many of them. Its pages are `cached`: neither
   * free nor allocated, until a request of any owner would fail without them. O(caches).
   *
   * @param options.pages - how many it holds at most: 2 to 252; 64 if not given. Half of them come and go at a time.
   * @throws BuddyError `INVALID_OPTION`, `NO_CACHE_LEFT`
   */
  cache(options: { readonly pages?: number | undefined } = {}): PageCache<A> {
    const { pages = 64 } = options;
    requireInteger('pages', pages, 2, MAX_CACHE_PAGES);
    return new PageCache(this.#space, pages);
  }

  /**
   * Clears up after an owner whose thread has ended, in whatever it was doing: takes the lock from it if it held it, puts
   * right what it has left half done, and gives the pages of its caches back. What it had allocated stays allocated.
   * Never call it for an owner that may still be at work. Costs as `checkInvariants` if there is something to put right.
   *
   * @param owner - its number, as its `owner` said
   * @returns whether it held the lock
   */
  recover(owner: number): boolean {
    requireInteger('owner', owner, 1, 0x7fff_ffff);
    return this.#space.recover(owner);
  }

  /**
   * The block that `address`, its start or any other in it, belongs to; `undefined` if it is not in the region. O(orders).
   *
   * @throws AddressError if `address` is none of this kind
   */
  blockOf(address: A): SharedBlock<A> | undefined {
    return this.#space.blockOf(address);
  }

  /**
   * Every block at the moment of the call, ascending: together they are the region. Only which single pages are
   * `allocated` and which `cached` may change while it looks. O(blocks) under the lock, and as many numbers of memory.
   */
  blocks(): Generator<SharedBlock<A>, undefined, undefined> {
    return this.#space.blocks();
  }

  /** How much is free, allocated, reserved and cached, and in what blocks. O(orders + pages of caches). */
  memoryInfo(): SharedMemoryInfo {
    return this.#space.info();
  }

  /**
   * Checks that the tables agree with each other and with the header. O(blocks + pages that ever were in blocks of less
   * than 1024), all under the lock; ends, whatever the buffer holds.
   *
   * @throws BuddyError `BROKEN_INVARIANT`, with the invariant's name and what contradicts it
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

/** Callers without types may pass anything. @throws BuddyError `INVALID_OPTION` */
function requireKindOf(option: string, kind: unknown, value: unknown, expected: string): void {
  if (typeof (kind as AddressKind<Address> | undefined | null)?.isAddress === 'function') return;
  throw new BuddyError('INVALID_OPTION', { option, value, expected });
}

/** @throws BuddyError `INVALID_REGION`, `REGION_TOO_LARGE` */
function sharedRange<A extends Address>(region: MemoryRegion<A>): PageRange {
  requireKindOf('region', region?.kind, region, 'a MemoryRegion');
  const range = pagesOfRegion(region);
  if (range.end - range.start <= MAX_SHARED_PAGES) return range;
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
    // A page that is not isolated has no such class; a machine may not have the memory.
    throw bufferError('unavailable', undefined, bytes, { cause });
  }
}

/** `buffer`, if it has `bytes` bytes. @throws BuddyError `INVALID_SHARED_BUFFER` */
function requireSize(buffer: SharedArrayBuffer, bytes: number): SharedArrayBuffer {
  // By its tag: it may be of another realm.
  if (Object.prototype.toString.call(buffer) !== '[object SharedArrayBuffer]') throw bufferError('type');
  if (buffer.byteLength < bytes) throw bufferError('too small', buffer, bytes);
  return buffer;
}

function isZero(buffer: SharedArrayBuffer, bytes: number): boolean {
  return new Int32Array(buffer, 0, bytes / 4).every((word) => word === 0);
}
