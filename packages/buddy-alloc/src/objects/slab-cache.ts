import { type Address, type AddressKind, alignmentBytes, type Bytes, PAGE_SIZE } from '@svsm/address';
import type { PageAllocator } from '../allocator/page-allocator.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { HALVES, LOW } from '../pages/words.ts';
import { SlabDirectory } from './slab-directory.ts';
import { Slabs, slabOf } from './slabs.ts';

/** What a {@link SlabCache} may be told beside its object's size. */
export interface SlabCacheOptions {
  /** Objects start at multiples of it: bytes, a power of two up to 4096; 8 if not given. */
  readonly alignment?: Bytes | undefined;
  /** How many empty pages are kept for what comes, 1 if not given; others are given back at once. */
  readonly keepEmpty?: number | undefined;
}

/** What a {@link SlabCache} has. Frozen; a moment's copy. */
export interface SlabInfo {
  /** Objects that are allocated. */
  readonly objects: number;
  /** Objects that its pages have room for. */
  readonly capacity: number;
  /** Pages that it has from its allocator. */
  readonly pages: number;
  /** Those of them without an object. */
  readonly emptyPages: number;
}

/**
 * Objects of one size, in pages of a `PageAllocator`. Allocating and freeing are O(1); a free of what is no object, or
 * none any more, is refused. It deals in addresses only, and touches no memory.
 */
export class SlabCache<A extends Address> {
  /** Bytes from one object to the next: the size, rounded up to the alignment. */
  readonly objectBytes: number;
  readonly #allocator: PageAllocator<A>;
  readonly #directory: SlabDirectory;
  readonly #slabs: Slabs<A>;

  /**
   * A cache without a page. O(1).
   *
   * @param size - bytes of an object, 1 to 4096
   * @throws BuddyError `INVALID_OBJECT_SIZE`, `INVALID_OPTION`; AddressError `INVALID_ALIGNMENT`
   */
  constructor(allocator: PageAllocator<A>, size: number, options: SlabCacheOptions = {}) {
    const alignment = Number(alignmentBytes(options.alignment ?? 8));
    const stride = Number.isInteger(size) ? Math.ceil(Math.max(size, 8) / alignment) * alignment : 0;
    if (stride === 0 || size < 1 || stride > PAGE_SIZE) {
      throw new BuddyError('INVALID_OBJECT_SIZE', { size, max: PAGE_SIZE });
    }
    const { keepEmpty = 1 } = options;
    if (typeof keepEmpty !== 'number' || !(keepEmpty >= 0) || Math.floor(keepEmpty) !== keepEmpty) {
      const expected = 'a number of pages, an integer from 0 up or Infinity';
      throw new BuddyError('INVALID_OPTION', { option: 'keepEmpty', value: keepEmpty, expected });
    }
    this.objectBytes = stride;
    this.#allocator = allocator;
    this.#directory = new SlabDirectory(allocator.region.start);
    this.#slabs = new Slabs({
      source: allocator.pagesFor('slab'),
      directory: this.#directory,
      user: 0,
      stride,
      keepEmpty,
    });
  }

  /**
   * Allocates an object: its address. O(1); where a page is needed, what that costs.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`
   */
  allocate(): A {
    return this.#slabs.allocate();
  }

  /**
   * Frees an object. O(1); where a page is given back, what that costs.
   *
   * @throws BuddyError `OUTSIDE_OBJECTS`, `OBJECT_INTERIOR`, `DOUBLE_FREE_OBJECT`; AddressError if it is no address
   */
  free(address: A): void {
    const number = typeof address === 'bigint' ? this.#directory.at(address) : 0;
    if (number === 0 || !this.#slabs.free(address, slabOf(number), HALVES[LOW]! & 0xfff)) {
      throw objectRefusal(this.#allocator, address, number === 0 ? undefined : this.#slabs);
    }
  }

  /** How many objects and pages it has. O(1). */
  info(): SlabInfo {
    const { live, pages, slots, empty } = this.#slabs;
    return Object.freeze({ objects: live, capacity: pages * slots, pages, emptyPages: empty });
  }

  /** Gives every empty page back, also those that are kept. O(empty pages · orders). */
  trim(): void {
    this.#slabs.trim();
  }

  /**
   * Checks that the tables agree with each other. O(pages · objects in one).
   *
   * @throws BuddyError `BROKEN_INVARIANT`
   */
  checkInvariants(): void {
    const problem = this.#slabs.problem();
    if (problem !== undefined) throw new BuddyError('BROKEN_INVARIANT', { invariant: 'slabs', problem });
  }
}

/** Why `address`, in a page of `slabs` or in no page of objects, is no object to be freed. */
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
