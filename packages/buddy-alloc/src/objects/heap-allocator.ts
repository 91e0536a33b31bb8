import {
  type Address,
  alignmentBytes,
  type Bytes,
  formatAddress,
  PAGE_SIZE,
  showInConsoles,
} from '@svsm/address';
import type { PageAllocator } from '../allocator/page-allocator.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { CallGuard, Steps } from '../pages/call-guard.ts';
import { isIntegerUpTo } from '../pages/integers.ts';
import { readOptions, requireMethods } from '../pages/options.ts';
import { requireCovered } from '../pages/page-memory.ts';
import type { PageSource } from '../pages/page-source.ts';
import { HALVES, LOW } from '../pages/words.ts';
import { type ByteMemory, requireViewConstructor, type ViewConstructor } from './byte-memory.ts';
import { objectRefusal } from './slab-cache.ts';
import { SlabDirectory } from './slab-directory.ts';
import { Slabs, slabOf, USER_BITS } from './slabs.ts';

/** The options of a {@link HeapAllocator}. */
export interface HeapOptions<A extends Address> {
  /** The bytes behind the addresses. Without them, the heap manages only addresses, and `reallocate` copies nothing. */
  readonly memory?: ByteMemory<A> | undefined;
}

/** The objects and pages of a {@link HeapAllocator}. A frozen copy of one moment. */
export interface HeapInfo {
  /** Allocated objects, small and large. */
  readonly objects: number;
  /** The bytes that these objects can hold, which may be more than was asked for. */
  readonly bytes: number;
  /** Pages that the heap has from its allocator. */
  readonly pages: number;
}

/** The sizes of small objects in bytes. They include each power of two, so every alignment has a class. */
const CLASSES: readonly number[] = [
  16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1360, 2048,
];
const LARGEST_CLASS = 2048;
const GRAIN = 16;
/** For each number of grains, the index of the least class that holds them. */
const CLASS_OF: Uint8Array<ArrayBuffer> = /* @__PURE__ */ Uint8Array.from(
  { length: LARGEST_CLASS / GRAIN + 1 },
  (_, grains) => CLASSES.findIndex((size) => size >= grains * GRAIN),
);
const USER_MASK = 2 ** USER_BITS - 1;

/**
 * A heap on a `PageAllocator`. Objects up to 2048 bytes lie in slabs of 22 sizes, larger objects in whole pages. Other users
 * may share the allocator: the heap frees only its own pages, and `freePages` of the allocator refuses these.
 *
 * The heap knows the size of each object, so `free` needs only the address. Every free is checked.
 *
 * @example
 * ```ts
 * import { Phys, physAddr } from '@svsm/address';
 * import { ByteMemory, HeapAllocator, PageAllocator } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 *
 * const memory = new ByteMemory(Phys, new ArrayBuffer(0x10_0000), physAddr(0));
 * const heap = new HeapAllocator(new PageAllocator(physRegion(physAddr(0), 0x10_0000)), { memory });
 *
 * const small = heap.allocate(3 * 4, 4);
 * heap.view(Uint32Array, small, 3).set([1, 2, 3]);
 * const large = heap.reallocate(small, 10_000, 64);
 * console.log(heap.sizeOf(large), heap.view(Uint32Array, large, 3).join()); // => 12288 1,2,3
 * heap.free(large);
 * ```
 */
export class HeapAllocator<A extends Address> {
  static {
    showInConsoles(this, 'HeapAllocator', (heap) => heap.info());
  }

  readonly #allocator: PageAllocator<A>;
  readonly #memory: ByteMemory<A> | undefined;
  readonly #directory: SlabDirectory;
  readonly #slabs: readonly Slabs<A>[];
  readonly #pages: PageSource<A>;
  /** Refuses operations while a callback of the page allocator runs. */
  readonly #guard: PageSource<A>['guard'];
  /** Refuses operations while the memory copies or creates a view. */
  readonly #memoryGuard: CallGuard | undefined;
  /** The number of pages of each large object, by its address. */
  readonly #large: Map<A, number> = new Map();

  /** Creates a heap without pages. O(1). @throws BuddyError `INVALID_OPTION`, `MEMORY_MISMATCH`, `BUSY` */
  constructor(allocator: PageAllocator<A>, options: HeapOptions<A> = {}) {
    requireMethods('allocator', allocator, 'pagesFor', 'blockOf');
    const { memory } = readOptions(options, ['memory']);
    if (memory !== undefined) {
      requireMethods('memory', memory, 'copy', 'view');
      requireCovered(memory, allocator.region);
    }
    const directory = new SlabDirectory(allocator.region.start);
    const source = allocator.pagesFor('slab');
    this.#allocator = allocator;
    this.#memory = memory;
    this.#directory = directory;
    this.#guard = source.guard;
    this.#memoryGuard = memory === undefined ? undefined : new CallGuard();
    const spec = { source, directory, keepEmpty: 1, owner: 'HeapAllocator' } as const;
    this.#slabs = CLASSES.map((stride, user) => new Slabs({ ...spec, user, stride }));
    this.#pages = allocator.pagesFor('heap');
  }

  /**
   * Allocates an object of `size` bytes. Returns its address. O(1) up to 2048 bytes; for larger objects, and if a page is
   * needed, the cost of `allocateRun`.
   *
   * @param size - bytes, a safe integer from 0; an object of 0 bytes has a unique address, too
   * @param align - bytes, a power of two: the object starts at a multiple of it; the default is 16
   * @throws BuddyError `INVALID_OBJECT_SIZE`, `OUT_OF_MEMORY`, `METADATA_FULL`, `OUTSIDE_MEMORY`, `POISON_OVERWRITTEN`,
   *   `BUSY`, `CALLBACK_FAILED`; AddressError `INVALID_ALIGNMENT`
   */
  allocate(size: number, align: Bytes = GRAIN): A {
    this.#enter('HeapAllocator.allocate');
    return this.#allocate(size, align);
  }

  /**
   * Frees an object that `allocate` or `reallocate` returned. O(1) up to 2048 bytes; for larger objects the cost of
   * `freePages`.
   *
   * @throws BuddyError `OUTSIDE_OBJECTS`, `OBJECT_INTERIOR`, `DOUBLE_FREE_OBJECT`, `OUTSIDE_MEMORY`, `BUSY`,
   *   `CALLBACK_FAILED`; AddressError for an invalid address
   */
  free(address: A): void {
    this.#enter('HeapAllocator.free');
    this.#free(address);
  }

  /**
   * Changes the size of an object. It stays in place if a new object of that size and alignment would have the same capacity;
   * otherwise it is copied to a new one, and the old one is freed. Returns the address. The old object is freed only when
   * there is a new one. The cost is that of `allocate`, `free` and the copy.
   *
   * @param size - bytes, a safe integer from 0
   * @param align - bytes, a power of two; the default is 16
   * @throws BuddyError `OUT_OF_MEMORY`, `INVALID_OBJECT_SIZE`, `OUTSIDE_OBJECTS`, `OBJECT_INTERIOR`, `DOUBLE_FREE_OBJECT`,
   *   `OUTSIDE_MEMORY`, `METADATA_FULL`, `POISON_OVERWRITTEN`, `BUSY`, `CALLBACK_FAILED`; AddressError `INVALID_ALIGNMENT`, or
   *   for an invalid address
   */
  reallocate(address: A, size: number, align: Bytes = GRAIN): A {
    this.#enter('HeapAllocator.reallocate');
    const capacity = this.#sizeOf(address);
    let slabs: Slabs<A> | undefined;
    if (isIntegerUpTo(size, Number.MAX_SAFE_INTEGER)) {
      const alignment = Number(alignmentBytes(align));
      slabs = this.#slabsFor(size, alignment);
      const anew = slabs?.stride ?? Math.ceil(Math.max(size, 1) / PAGE_SIZE) * PAGE_SIZE;
      if (anew === capacity && address % BigInt(alignment) === 0n) return address;
    }
    const pages = slabs?.pages ?? 0;
    const steps = new Steps();
    const moved = steps.run(() => this.#allocate(size, align));
    try {
      this.#callMemory('HeapAllocator.reallocate', (memory) =>
        memory.copy(address, moved, Math.min(capacity, size)),
      );
      steps.run(() => this.#free(address));
    } catch (error) {
      steps.run(() => this.#free(moved));
      // A page that was new for the object is empty, and the only empty one.
      if (slabs !== undefined && slabs.pages > pages) slabs.trim(steps);
      throw error;
    }
    steps.end('HeapAllocator.reallocate', moved);
    return moved;
  }

  /**
   * The number of bytes that the object at `address` can hold, at least as many as were asked for. O(1).
   *
   * @throws BuddyError `OUTSIDE_OBJECTS`, `OBJECT_INTERIOR`, `DOUBLE_FREE_OBJECT`, `BUSY`; AddressError for an invalid address
   */
  sizeOf(address: A): number {
    this.#enter('HeapAllocator.sizeOf');
    return this.#sizeOf(address);
  }

  /**
   * Returns a view of the first `length` elements of the object at `address`. It is valid until the memory replaces its
   * buffer. O(1).
   *
   * @throws BuddyError `INVALID_OPTION` if `type` does not construct views; `OUTSIDE_OBJECTS`, `OBJECT_INTERIOR`,
   *   `DOUBLE_FREE_OBJECT`, `OUTSIDE_MEMORY`, `MISALIGNED_VIEW`, `NO_HEAP_MEMORY`, `BUSY`; AddressError for an invalid address
   */
  view<View>(type: ViewConstructor<View>, address: A, length: number): View {
    this.#enter('HeapAllocator.view');
    if (this.#memory === undefined) throw new BuddyError('NO_HEAP_MEMORY', {});
    requireViewConstructor(type);
    const available = this.#sizeOf(address);
    return this.#callMemory('HeapAllocator.view', (memory) => {
      const bytes = typeof length === 'number' ? length * type.BYTES_PER_ELEMENT : NaN;
      if (!(bytes <= available)) throw new BuddyError('OUTSIDE_MEMORY', { address, bytes, available });
      return memory.view(type, address, length);
    }) as View;
  }

  /** The numbers of objects, bytes and pages. O(large objects). @throws BuddyError `BUSY` */
  info(): HeapInfo {
    this.#enter('HeapAllocator.info');
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

  /**
   * Frees every empty page, also the kept ones, one after another: if the memory cannot poison one of them, those before it
   * have been freed. O(empty pages · orders).
   *
   * @throws BuddyError `OUTSIDE_MEMORY`, `BUSY`, `CALLBACK_FAILED`
   */
  trim(): void {
    this.#enter('HeapAllocator.trim');
    const steps = new Steps();
    for (const slabs of this.#slabs) slabs.trim(steps);
    steps.end('HeapAllocator.trim');
  }

  /**
   * Checks that the tables agree with each other and with the allocator. O(pages · objects in one).
   *
   * @throws BuddyError `BROKEN_INVARIANT`, `BUSY`
   */
  checkInvariants(): void {
    this.#enter('HeapAllocator.checkInvariants');
    for (const slabs of this.#slabs) {
      const problem = slabs.problem();
      if (problem !== undefined) throw new BuddyError('BROKEN_INVARIANT', { invariant: 'slabs', problem });
    }
    for (const [address, pages] of this.#large) {
      const block = this.#allocator.blockOf(address);
      if (block?.kind === 'heap' && block.region.start === address && block.region.pageCount() === pages)
        continue;
      const problem = `the object of ${pages} pages at ${formatAddress(address)} is not a block of the heap`;
      throw new BuddyError('BROKEN_INVARIANT', { invariant: 'slabs', problem });
    }
  }

  /** Begins an operation. @throws BuddyError `BUSY` */
  #enter(operation: string): void {
    this.#guard?.enter(operation);
    this.#memoryGuard?.enter(operation);
  }

  /** Calls the memory, if there is one: it runs code of the caller, such as the accessor `buffer` of the source. */
  #callMemory<T>(operation: string, call: (memory: ByteMemory<A>) => T): T | undefined {
    const memory = this.#memory;
    return memory === undefined ? undefined : this.#memoryGuard?.call(operation, () => call(memory));
  }

  #allocate(size: number, align: Bytes): A {
    if (!isIntegerUpTo(size, Number.MAX_SAFE_INTEGER)) {
      throw new BuddyError('INVALID_OBJECT_SIZE', { size, max: Number.MAX_SAFE_INTEGER });
    }
    const alignment = align === GRAIN ? GRAIN : Number(alignmentBytes(align));
    const slabs = this.#slabsFor(size, alignment);
    if (slabs !== undefined) return slabs.allocate();
    const pages = Math.ceil(Math.max(size, 1) / PAGE_SIZE);
    const steps = new Steps();
    const address = steps.run(() => this.#pages.allocate(pages, Math.max(alignment, PAGE_SIZE)));
    this.#large.set(address, pages);
    steps.end('HeapAllocator.allocate', address);
    return address;
  }

  #free(address: A): void {
    const number = typeof address === 'bigint' ? this.#directory.at(address) : 0;
    if (number !== 0) {
      const slabs = this.#slabs[number & USER_MASK]!;
      if (!slabs.free(address, slabOf(number), HALVES[LOW]! & 0xfff)) throw this.#refusal(address);
    } else {
      if (!this.#large.has(address)) throw this.#refusal(address);
      const steps = new Steps();
      steps.run(() => this.#pages.free(address));
      this.#large.delete(address);
      steps.end('HeapAllocator.free');
    }
  }

  #sizeOf(address: A): number {
    const number = typeof address === 'bigint' ? this.#directory.at(address) : 0;
    if (number !== 0) {
      const slabs = this.#slabs[number & USER_MASK]!;
      if (slabs.isLive(slabOf(number), Number(address & 0xfffn))) return slabs.stride;
    }
    const pages = this.#large.get(address);
    if (pages === undefined) throw this.#refusal(address);
    return pages * PAGE_SIZE;
  }

  /** The slabs for objects of this size and alignment; `undefined` for large objects. */
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
