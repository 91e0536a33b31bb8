import { type Address, alignmentBytes, type Bytes, PAGE_SIZE } from '@svsm/address';
import type { PageAllocator } from '../allocator/page-allocator.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { isIntegerUpTo } from '../pages/integers.ts';
import type { PageSource } from '../pages/page-source.ts';
import { HALVES, LOW } from '../pages/words.ts';
import type { ByteMemory, ViewConstructor } from './byte-memory.ts';
import { objectRefusal } from './slab-cache.ts';
import { SlabDirectory } from './slab-directory.ts';
import { Slabs, slabOf, USER_BITS } from './slabs.ts';

/** What a {@link HeapAllocator} may be told. */
export interface HeapOptions<A extends Address> {
  /** The bytes behind its addresses: without them, it deals in addresses only, and `reallocate` copies nothing. */
  readonly memory?: ByteMemory<A> | undefined;
}

/** What a {@link HeapAllocator} has. Frozen; a moment's copy. */
export interface HeapInfo {
  /** Objects that are allocated, those of whole pages too. */
  readonly objects: number;
  /** Bytes of them: what each may hold, not what was asked for. */
  readonly bytes: number;
  /** Pages that the heap has from its allocator. */
  readonly pages: number;
}

/** The sizes of small objects. Each power of two is one, so every alignment has a class. */
const CLASSES: readonly number[] = [
  16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1360, 2048,
];
const LARGEST_CLASS = 2048;
const GRAIN = 16;
/** For each number of grains, the index of the least class that has as many. */
const CLASS_OF: Uint8Array<ArrayBuffer> = /* @__PURE__ */ Uint8Array.from(
  { length: LARGEST_CLASS / GRAIN + 1 },
  (_, grains) => CLASSES.findIndex((size) => size >= grains * GRAIN),
);
const USER_MASK = 2 ** USER_BITS - 1;

/**
 * A heap on a `PageAllocator`: objects up to 2048 bytes lie in slabs of 22 sizes, larger ones in pages of their own. The
 * allocator may have other users; what is theirs, the heap does not free, and the other way round.
 *
 * How large an object is, is known from its record: a free names the address only, and every free is checked.
 */
export class HeapAllocator<A extends Address> {
  readonly #allocator: PageAllocator<A>;
  readonly #memory: ByteMemory<A> | undefined;
  readonly #directory: SlabDirectory;
  readonly #slabs: readonly Slabs<A>[];
  readonly #pages: PageSource<A>;
  /** Pages of each object that has pages of its own, by its address. */
  readonly #large: Map<A, number> = new Map();

  /** A heap without a page. O(1). */
  constructor(allocator: PageAllocator<A>, options: HeapOptions<A> = {}) {
    const directory = new SlabDirectory(allocator.region.start);
    const source = allocator.pagesFor('slab');
    this.#allocator = allocator;
    this.#memory = options.memory;
    this.#directory = directory;
    this.#slabs = CLASSES.map((stride, user) => new Slabs({ source, directory, user, stride, keepEmpty: 1 }));
    this.#pages = allocator.pagesFor('heap');
  }

  /**
   * Allocates `size` bytes that start at a multiple of `align`: the address. O(1) up to 2048 bytes; else, and where a
   * page is needed, what `allocateRun` costs.
   *
   * @param size - bytes; 0 gives an object too, with an address of its own
   * @param align - bytes, a power of two
   * @throws BuddyError `INVALID_OBJECT_SIZE`, `OUT_OF_MEMORY`, `METADATA_FULL`; AddressError `INVALID_ALIGNMENT`
   */
  allocate(size: number, align: Bytes = GRAIN): A {
    if (!isIntegerUpTo(size, Number.MAX_SAFE_INTEGER)) {
      throw new BuddyError('INVALID_OBJECT_SIZE', { size, max: Number.MAX_SAFE_INTEGER });
    }
    const alignment = align === GRAIN ? GRAIN : Number(alignmentBytes(align));
    const slabs = this.#slabsFor(size, alignment);
    if (slabs !== undefined) return slabs.allocate();
    const pages = Math.ceil(Math.max(size, 1) / PAGE_SIZE);
    const address = this.#pages.allocate(pages, Math.max(alignment, PAGE_SIZE));
    this.#large.set(address, pages);
    return address;
  }

  /**
   * Frees what `allocate` or `reallocate` has returned. O(1) up to 2048 bytes; else what `freePages` costs.
   *
   * @throws BuddyError `OUTSIDE_OBJECTS`, `OBJECT_INTERIOR`, `DOUBLE_FREE_OBJECT`; AddressError if it is no address
   */
  free(address: A): void {
    const number = typeof address === 'bigint' ? this.#directory.at(address) : 0;
    if (number !== 0) {
      const slabs = this.#slabs[number & USER_MASK]!;
      if (!slabs.free(address, slabOf(number), HALVES[LOW]! & 0xfff)) throw this.#refusal(address);
    } else {
      if (!this.#large.delete(address)) throw this.#refusal(address);
      this.#pages.free(address);
    }
  }

  /**
   * Makes an object `size` bytes large: where it is, if that is as large as it would be anew, else elsewhere, with what
   * it holds copied. Returns its address; the old one is freed only if there is a new one.
   *
   * @throws BuddyError and AddressError as `allocate` and `free`
   */
  reallocate(address: A, size: number, align: Bytes = GRAIN): A {
    const capacity = this.sizeOf(address);
    if (isIntegerUpTo(size, Number.MAX_SAFE_INTEGER)) {
      const alignment = Number(alignmentBytes(align));
      const anew =
        this.#slabsFor(size, alignment)?.stride ?? Math.ceil(Math.max(size, 1) / PAGE_SIZE) * PAGE_SIZE;
      if (anew === capacity && address % BigInt(alignment) === 0n) return address;
    }
    const moved = this.allocate(size, align);
    try {
      this.#memory?.copy(address, moved, Math.min(capacity, size));
    } catch (error) {
      this.free(moved);
      throw error;
    }
    this.free(address);
    return moved;
  }

  /**
   * How many bytes the object at `address` may hold: no less than was asked for. O(1).
   *
   * @throws BuddyError `OUTSIDE_OBJECTS`, `OBJECT_INTERIOR`, `DOUBLE_FREE_OBJECT`; AddressError if it is no address
   */
  sizeOf(address: A): number {
    const number = typeof address === 'bigint' ? this.#directory.at(address) : 0;
    if (number !== 0) {
      const slabs = this.#slabs[number & USER_MASK]!;
      if (slabs.isLive(slabOf(number), Number(address & 0xfffn))) return slabs.stride;
    }
    const pages = this.#large.get(address);
    if (pages === undefined) throw this.#refusal(address);
    return pages * PAGE_SIZE;
  }

  /**
   * `length` elements of the object at `address`, which is no longer than it may hold. O(1).
   *
   * @throws BuddyError `NO_HEAP_MEMORY`, `OUTSIDE_MEMORY`, `MISALIGNED_VIEW`, and what `sizeOf` throws
   */
  view<View>(type: ViewConstructor<View>, address: A, length: number): View {
    if (this.#memory === undefined) throw new BuddyError('NO_HEAP_MEMORY', {});
    const available = this.sizeOf(address);
    const bytes = typeof length === 'number' ? length * type.BYTES_PER_ELEMENT : NaN;
    if (!(bytes <= available)) throw new BuddyError('OUTSIDE_MEMORY', { address, bytes, available });
    return this.#memory.view(type, address, length);
  }

  /** How many objects, bytes and pages it has. O(objects of whole pages). */
  info(): HeapInfo {
    let objects = this.#large.size;
    let pages = 0;
    for (const count of this.#large.values()) pages += count;
    let bytes = pages * PAGE_SIZE;
    for (const slabs of this.#slabs) {
      objects += slabs.live;
      bytes += slabs.live * slabs.stride;
      pages += slabs.pages;
    }
    return Object.freeze({ objects, bytes, pages });
  }

  /** Gives every empty page back, also those that are kept for what comes. O(empty pages · orders). */
  trim(): void {
    for (const slabs of this.#slabs) slabs.trim();
  }

  /**
   * Checks that the tables agree with each other and with the allocator. O(pages · objects in one).
   *
   * @throws BuddyError `BROKEN_INVARIANT`
   */
  checkInvariants(): void {
    for (const slabs of this.#slabs) {
      const problem = slabs.problem();
      if (problem !== undefined) throw new BuddyError('BROKEN_INVARIANT', { invariant: 'slabs', problem });
    }
    for (const [address, pages] of this.#large) {
      const block = this.#allocator.blockOf(address);
      if (block?.kind === 'heap' && block.region.start === address && block.region.pageCount() === pages)
        continue;
      const problem = `the object of ${pages} pages at ${address} has others`;
      throw new BuddyError('BROKEN_INVARIANT', { invariant: 'slabs', problem });
    }
  }

  /** The slabs for objects of this size and alignment, or `undefined` if they get pages of their own. */
  #slabsFor(size: number, alignment: number): Slabs<A> | undefined {
    if (size > LARGEST_CLASS || alignment > LARGEST_CLASS) return undefined;
    let index = CLASS_OF[(size + GRAIN - 1) >> 4]!;
    while ((CLASSES[index]! & (alignment - 1)) !== 0) index += 1;
    return this.#slabs[index];
  }

  #refusal(address: A): BuddyError {
    const number = typeof address === 'bigint' ? this.#directory.at(address) : 0;
    const refusal = objectRefusal(
      this.#allocator,
      address,
      number === 0 ? undefined : this.#slabs[number & USER_MASK],
    );
    if (number !== 0) return refusal;
    const block = this.#allocator.blockOf(address);
    if (block?.kind !== 'heap' || !this.#large.has(block.region.start)) return refusal;
    return new BuddyError('OBJECT_INTERIOR', { address, object: block.region });
  }
}
