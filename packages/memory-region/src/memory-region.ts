import type { Address, AddressKind, Bytes } from '@svsm/address';
import {
  alignDown,
  alignmentBytes,
  assertIsAddressKind,
  byteCount,
  PageSize,
  showInConsoles,
} from '@svsm/address';
import { checkedSize, requireBigint, sizeUpTo, trySize } from './bounds.ts';
import { boundsOf, readRegion, sameKind } from './foreign-region.ts';
import { cursorOver, type PageCursor } from './page-cursor.ts';
import { type PageIterator, pagesFrom } from './page-iterator.ts';
import {
  countPages,
  type PageRun,
  type PageRunOptions,
  pagesOf,
  runsBetween,
  usableSizes,
} from './page-runs.ts';
import { formatBounds, RegionError } from './region-error.ts';

/**
 * A run of addresses of one kind, from `start` up to but not including `end`. Immutable.
 *
 * `end` is a `bigint`, not an address: it may be 2^64, 2^52, or the start of the non-canonical hole, which a region never
 * enters. So the last page of a space is a region like any other. A region may be empty. An empty region has a place but
 * no addresses: it overlaps nothing, lies inside every region, and adds nothing to a union.
 *
 * Every method is O(1) unless it says otherwise.
 *
 * @example
 * ```ts
 * import { PAGE_SIZE, Virt57, virtAddr } from '@svsm/address';
 * import { MemoryRegion } from '@svsm/memory-region';
 *
 * const stack = new MemoryRegion(Virt57, virtAddr(0x7000_0000_0000n), 4 * PAGE_SIZE);
 * console.log(String(stack), stack.size); // => [0x0000700000000000-0x0000700000004000) 16384n
 * ```
 */
export class MemoryRegion<A extends Address> {
  static {
    const view = ({ kind, start, end }: MemoryRegion<Address>): object => ({ kind: kind.name, start, end });
    showInConsoles(this, 'MemoryRegion', view, (region) => region[Symbol.toStringTag]);
  }

  readonly #kind: AddressKind<A>;
  readonly #start: A;
  readonly #size: bigint;
  /** Undefined in an unchecked region until it is first read. */
  #end: bigint | undefined;

  /**
   * The region of `size` bytes from `start` on.
   *
   * @param kind - the kind of its addresses: `Virt`, `Virt57`, `Phys`, or one of your own
   * @param size - bytes, at least 0
   * @throws AddressError `INVALID_KIND` for `kind`, as {@link AddressKind.assertIsAddress} for `start`, `INVALID_BYTE_COUNT`
   *   for `size`; RegionError `REGION_OVERFLOW` if the end would lie past the start of the hole or the end of the space
   */
  constructor(kind: AddressKind<A>, start: A, size: Bytes);
  constructor(kind: AddressKind<A>, start: A, size: Bytes, checks?: typeof UNCHECKED) {
    const isChecked = checks !== UNCHECKED;
    const bytes = isChecked ? checkedSize(kind, start, size) : (size as bigint);
    this.#kind = kind;
    this.#start = start;
    this.#size = bytes;
    this.#end = isChecked ? start + bytes : undefined;
  }

  /**
   * The region from `start` up to `end`.
   *
   * @param end - exclusive; 2^64 and the start of the hole are allowed
   * @throws AddressError `INVALID_KIND` for `kind`, as {@link AddressKind.assertIsAddress} for `start`; RegionError
   *   `INVALID_END` if `end` is not a `bigint` or comes before `start`, `REGION_OVERFLOW` if it lies past the start of the hole
   *   or the end of the space
   */
  static fromAddresses<A extends Address>(kind: AddressKind<A>, start: A, end: bigint): MemoryRegion<A> {
    return uncheckedRegion(kind, start, sizeUpTo(kind, start, end));
  }

  /**
   * Like the constructor, but returns `undefined` for every start and size that it refuses.
   *
   * @throws AddressError `INVALID_KIND` for `kind`
   */
  static tryNew<A extends Address>(
    kind: AddressKind<A>,
    start: unknown,
    size: unknown,
  ): MemoryRegion<A> | undefined {
    assertIsAddressKind(kind);
    const bytes = trySize(kind, start, size);
    return bytes === undefined ? undefined : uncheckedRegion(kind, start as A, bytes);
  }

  /**
   * `value` as a region of `kind`, for functions whose callers may have no types. A region of another installed copy of this
   * package is copied. O(1).
   *
   * @throws AddressError `INVALID_KIND` for `kind`; RegionError `KIND_MISMATCH` if `value` is not a region of this kind
   * @example
   * ```ts
   * import { type PhysAddr, Phys } from '@svsm/address';
   * import { MemoryRegion } from '@svsm/memory-region';
   *
   * function pagesOf(region: MemoryRegion<PhysAddr>): number {
   *   return MemoryRegion.from(Phys, region).pageCount();
   * }
   * ```
   */
  static from<A extends Address>(kind: AddressKind<A>, value: unknown): MemoryRegion<A> {
    const isOwn = typeof value === 'object' && value !== null && #kind in value;
    const own = isOwn ? (value as unknown as MemoryRegion<A>) : undefined;
    if (own !== undefined && own.#kind === kind) return own;
    assertIsAddressKind(kind);
    if (own !== undefined && sameKind(kind, own.#kind)) return own;
    const { start, size } = boundsOf(kind, value);
    return uncheckedRegion(kind, start as A, size);
  }

  /**
   * Like the constructor, but without its checks, which cost several times as much as making the region. Use it where many
   * regions are made that are known to be valid, as in an allocator. For a start or a size that the constructor refuses,
   * the result is unspecified, and no error reports it.
   *
   * @param start - an address of `kind`
   * @param size - bytes, at least 0; the region must not enter the hole or pass the end of the space
   */
  static unchecked<A extends Address>(kind: AddressKind<A>, start: A, size: bigint): MemoryRegion<A> {
    return uncheckedRegion(kind, start, size);
  }

  /** The kind of the addresses. */
  get kind(): AddressKind<A> {
    return this.#kind;
  }

  /** The first address. */
  get start(): A {
    return this.#start;
  }

  /** The exclusive end. It need not be an address. */
  get end(): bigint {
    this.#end ??= this.#start + this.#size;
    return this.#end;
  }

  /** The size in bytes. */
  get size(): bigint {
    return this.#size;
  }

  /** The last address, or `undefined` if the region is empty. */
  get last(): A | undefined {
    return this.isEmpty ? undefined : ((this.end - 1n) as A);
  }

  /** Whether the region has no addresses. */
  get isEmpty(): boolean {
    return this.#size === 0n;
  }

  /**
   * Whether `address` lies in the region. `end` does not. The kind of `address` is not checked.
   *
   * @throws AddressError `INVALID_ADDRESS` if `address` is not a `bigint`
   */
  contains(address: A): boolean {
    requireBigint(this.#kind, address);
    return this.#start <= address && address < this.end;
  }

  /**
   * Whether `address` lies in the region or is its `end`.
   *
   * @throws AddressError `INVALID_ADDRESS` if `address` is not a `bigint`
   */
  containsInclusive(address: bigint): boolean {
    requireBigint(this.#kind, address);
    return this.#start <= address && address <= this.end;
  }

  /**
   * Whether every address of `other` lies in this region. An empty `other` always does.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  containsRegion(other: MemoryRegion<A>): boolean {
    const { isEmpty, start, end } = fromValue(this.#kind, other);
    return isEmpty || (this.#start <= start && end <= this.end);
  }

  /**
   * Whether some address lies in both regions. Regions that only touch do not overlap, and an empty one overlaps nothing.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  overlaps(other: MemoryRegion<A>): boolean {
    const { isEmpty, start, end } = fromValue(this.#kind, other);
    return !this.isEmpty && !isEmpty && this.#start < end && start < this.end;
  }

  /**
   * Whether the union of both is a region: they touch, they overlap, or one is empty.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  contiguous(other: MemoryRegion<A>): boolean {
    const { isEmpty, start, end } = fromValue(this.#kind, other);
    return this.isEmpty || isEmpty || (this.#start <= end && start <= this.end);
  }

  /** Whether both have the same kind, start and end. A value that is not a region equals none. */
  equals(other: MemoryRegion<A>): boolean {
    const isOwn = typeof other === 'object' && other !== null && #kind in other;
    const read = isOwn ? other : readRegion(other);
    if (read === undefined || !sameKind(this.#kind, read.kind)) return false;
    return this.#start === read.start && this.#size === read.size;
  }

  /**
   * The union of two regions that touch or overlap. If one is empty, the result is the other; if both are, it is this one.
   *
   * @throws RegionError `KIND_MISMATCH`; `NOT_CONTIGUOUS` if there is a gap between them
   */
  merge(other: MemoryRegion<A>): MemoryRegion<A> {
    if (!this.contiguous(other)) throw new RegionError('NOT_CONTIGUOUS', { left: this, right: other });
    return this.hull(other);
  }

  /**
   * The smallest region that covers both, including a gap between them. An empty region does not count.
   *
   * @throws RegionError `KIND_MISMATCH`; `REGION_OVERFLOW` if they lie on different sides of the hole
   */
  hull(other: MemoryRegion<A>): MemoryRegion<A> {
    const region = fromValue(this.#kind, other);
    if (region.isEmpty) return this;
    if (this.isEmpty) return region;
    const start = this.#start < region.start ? this.#start : region.start;
    const end = this.end > region.end ? this.end : region.end;
    return regionOf(this.#kind, start, end - start);
  }

  /**
   * The addresses that lie in both regions, or `undefined` if none do.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  intersect(other: MemoryRegion<A>): MemoryRegion<A> | undefined {
    if (!this.overlaps(other)) return undefined;
    const start = this.#start > other.start ? this.#start : other.start;
    const end = this.end < other.end ? this.end : other.end;
    return uncheckedBetween(this.#kind, start, end);
  }

  /**
   * The parts of this region that do not lie in `other`: zero, one or two regions, ascending, none of them empty.
   *
   * @throws RegionError `KIND_MISMATCH`
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { physRegion } from '@svsm/memory-region';
   * const ram = physRegion(physAddr(0), 0x10_0000);
   * const parts = ram.subtract(physRegion(physAddr(0xa_0000), 0x2_0000));
   * console.log(parts.map(({ size }) => size)); // => [ 655360n, 262144n ]
   * ```
   */
  subtract(other: MemoryRegion<A>): MemoryRegion<A>[] {
    if (!this.overlaps(other)) return this.isEmpty ? [] : [this];
    const rest: MemoryRegion<A>[] = [];
    if (this.#start < other.start) rest.push(uncheckedBetween(this.#kind, this.#start, other.start));
    // `other.end` is below this region's end, so it is an address.
    if (other.end < this.end) rest.push(uncheckedBetween(this.#kind, other.end as A, this.end));
    return rest;
  }

  /**
   * The part before `at` and the part from `at` on. Neither is empty.
   *
   * @throws RegionError `OUTSIDE_REGION` unless `start < at < end`
   */
  splitAt(at: A): [MemoryRegion<A>, MemoryRegion<A>] {
    if (typeof at !== 'bigint' || at <= this.#start || at >= this.end) {
      throw new RegionError('OUTSIDE_REGION', { region: this, at });
    }
    return [uncheckedBetween(this.#kind, this.#start, at), uncheckedBetween(this.#kind, at, this.end)];
  }

  /**
   * This region with `bytes` more bytes at its end.
   *
   * @param bytes - at least 0
   * @throws AddressError `INVALID_BYTE_COUNT`; RegionError `REGION_OVERFLOW`
   */
  expand(bytes: Bytes): MemoryRegion<A> {
    return regionOf(this.#kind, this.#start, this.size + byteCount(bytes));
  }

  /**
   * The smallest region around this one that starts and ends at multiples of `alignment`. For an empty region, this is the
   * empty region at the aligned start.
   *
   * @param alignment - bytes, a power of two from 1 to 2^47; a `PageSize` in most cases
   * @throws AddressError `INVALID_ALIGNMENT`; RegionError `REGION_OVERFLOW` if the space ends inside the last unit
   */
  alignOutward(alignment: Bytes): MemoryRegion<A> {
    const start = alignDown(this.#start, alignment);
    if (this.isEmpty) return uncheckedRegion(this.#kind, start, 0n);
    const mask = alignmentBytes(alignment) - 1n;
    return regionOf(this.#kind, start, ((this.end + mask) & ~mask) - start);
  }

  /**
   * The largest region inside this one that starts and ends at multiples of `alignment`, or `undefined` if no whole unit lies inside.
   *
   * @param alignment - bytes, a power of two from 1 to 2^47; a `PageSize` in most cases
   * @throws AddressError `INVALID_ALIGNMENT`
   */
  alignInward(alignment: Bytes): MemoryRegion<A> | undefined {
    const mask = alignmentBytes(alignment) - 1n;
    const start = (this.#start + mask) & ~mask;
    const end = this.end & ~mask;
    return start < end ? uncheckedBetween(this.#kind, start as A, end) : undefined;
  }

  /**
   * The number of pages of `size` in the region.
   *
   * @param size - bytes of a page; `PageSize.Regular` if not given
   * @throws RegionError `INVALID_PAGE_SIZE`; `MISALIGNED_REGION` if start or end is not a multiple of `size`
   */
  pageCount(size: PageSize = PageSize.Regular): number {
    return countPages(this, size);
  }

  /**
   * The start address of each page, ascending: the loop of COCONUT-SVSM's PR#131. A region with part of a page is refused
   * at the call, because that page has bytes outside the region. O(1) for each page; the call prepares nothing.
   *
   * @param size - bytes of a page
   * @throws RegionError `INVALID_PAGE_SIZE`; `MISALIGNED_REGION` if start or end is not a multiple of `size`
   * @example
   * ```ts
   * import { PageSize, physAddr } from '@svsm/address';
   * import { physRegion } from '@svsm/memory-region';
   * const buffer = physRegion(physAddr(0x1800), 0x1000); // half of two pages
   * console.log([...buffer.alignOutward(0x1000).iterPages(PageSize.Regular)]); // => [ 4096n, 8192n ]
   * ```
   */
  iterPages(size: PageSize): PageIterator<A> {
    return pagesFrom(this.#start, countPages(this, size), size);
  }

  /**
   * As {@link iterPages}, but each step returns the same object, which moves from page to page: see {@link PageCursor}. A
   * loop makes no garbage, and takes about half as long. O(1) for each page; the call prepares nothing.
   *
   * @param size - bytes of a page
   * @throws RegionError `INVALID_PAGE_SIZE`; `MISALIGNED_REGION` if start or end is not a multiple of `size`
   */
  cursor(size: PageSize): PageCursor<A> {
    return cursorOver(this.#start, countPages(this, size), size);
  }

  /**
   * The fewest naturally aligned 1 GiB, 2 MiB and 4 KiB pages that cover the region exactly, ascending. O(1) for each.
   *
   * @param options - the alignment of a second address, and the largest size, as for {@link pageRuns}
   * @throws RegionError `MISALIGNED_REGION` if start or end is not a multiple of 4 KiB; `INVALID_PAGE_SIZE`,
   *   `INVALID_ARGUMENT` for an option
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { physRegion } from '@svsm/memory-region';
   * const region = physRegion(physAddr(0x1f_f000), 0x20_2000);
   * console.log([...region.largestPages()].map(({ size }) => size)); // => [ 4096n, 2097152n, 4096n ]
   * ```
   */
  largestPages(options: PageRunOptions = {}): Generator<MemoryRegion<A>, undefined, undefined> {
    return pagesOf(this.pageRuns(options), (start, size) => uncheckedRegion(this.#kind, start, size));
  }

  /**
   * The pages of {@link largestPages} as runs: consecutive pages of one size are one run. There are at most five: sizes go up
   * once, and down once. O(1) for each.
   *
   * With `offset`, a page is aligned at its address and at its address plus `offset`, as a page table needs where virtual
   * and physical address differ by `offset`.
   *
   * @throws RegionError `MISALIGNED_REGION` if start or end is not a multiple of 4 KiB; `INVALID_PAGE_SIZE` if
   *   `maxPageSize` is not a page size; `INVALID_ARGUMENT` if `offset` is not a multiple of 4 KiB, or for an unknown option
   * @example
   * ```ts
   * import { physAddr, virtAddr } from '@svsm/address';
   * import { virtRegion } from '@svsm/memory-region';
   *
   * const region = virtRegion(virtAddr(0xffff_8000_001f_f000n), 0x20_2000);
   * const paddr = physAddr(0x1_403f_f000);
   * for (const { pageSize, count } of region.pageRuns({ offset: paddr - region.start })) console.log(pageSize, count);
   * // => 4096 1
   * // => 2097152 1
   * // => 4096 1
   * ```
   */
  pageRuns(options: PageRunOptions = {}): Generator<PageRun<A>, undefined, undefined> {
    const sizes = usableSizes(options);
    countPages(this, PageSize.Regular);
    return runsBetween(this.#start, this.end, sizes);
  }

  /** `[0x…-0x…)`, with sixteen digits each. */
  toString(): string {
    return formatBounds(this);
  }

  /** Makes browsers, which see no fields of a region, show its kind and its bounds. Consoles read it from the prototype, too. */
  get [Symbol.toStringTag](): string {
    return #kind in this ? `${this.#kind.name} ${this}` : 'MemoryRegion';
  }
}

/** Tells the constructor to check nothing. No other module has it. */
const UNCHECKED: unique symbol = /* @__PURE__ */ Symbol('unchecked');

type UncheckedConstructor = new <A extends Address>(
  ...parts: [kind: AddressKind<A>, start: A, size: bigint, checks: typeof UNCHECKED]
) => MemoryRegion<A>;

// The class makes other regions through these functions, because the bundler renames a class that refers to itself.
function uncheckedRegion<A extends Address>(kind: AddressKind<A>, start: A, size: bigint): MemoryRegion<A> {
  return new (MemoryRegion as unknown as UncheckedConstructor)(kind, start, size, UNCHECKED);
}

function uncheckedBetween<A extends Address>(kind: AddressKind<A>, start: A, end: bigint): MemoryRegion<A> {
  return uncheckedRegion(kind, start, end - start);
}

function regionOf<A extends Address>(kind: AddressKind<A>, start: A, size: Bytes): MemoryRegion<A> {
  return new MemoryRegion(kind, start, size);
}

function fromValue<A extends Address>(kind: AddressKind<A>, value: MemoryRegion<A>): MemoryRegion<A> {
  return MemoryRegion.from(kind, value);
}
