import {
  type Address,
  type AddressKind,
  alignDown,
  alignmentBytes,
  type Bytes,
  byteCount,
  PageSize,
  Phys,
  type PhysAddr,
  Virt,
  type VirtAddr,
} from '@svsm/address';
import { type PageIterator, pagesFrom } from './page-iterator.ts';
import { formatBounds, RegionError } from './region-error.ts';
import { requireKind, sameKind } from './same-kind.ts';

/**
 * A run of addresses of one kind: from `start` up to, not including, `end`. Immutable.
 *
 * `end` is a `bigint` and no address: it may be 2^64, 2^52, or the start of the non-canonical hole, which a region never
 * enters. So the last page of a space is a region like any other. A region may be empty; an empty one has a place but
 * holds nothing: it overlaps nothing, is inside every region, and adds nothing to a union.
 *
 * Every method is O(1) unless it says otherwise. Methods that take a second region throw `RegionError` `KIND_MISMATCH`
 * if its kind is another one.
 */
export class MemoryRegion<A extends Address> {
  readonly #kind: AddressKind<A>;
  readonly #start: A;
  readonly #size: bigint;
  /** Where a region was made unchecked, it is added up when it is first asked for. */
  #end: bigint | undefined;

  /**
   * The region of `size` bytes from `start` on.
   *
   * @param kind - what addresses it has: `Virt`, `Virt57`, `Phys`, or one of your own
   * @param size - bytes, from 0 up
   * @throws AddressError if `start` is no address of `kind` or `size` no byte count; RegionError `REGION_OVERFLOW` if the
   *   end would pass the hole's start or the end of the space
   */
  constructor(kind: AddressKind<A>, start: A, size: Bytes);
  constructor(kind: AddressKind<A>, start: A, size: Bytes, checks?: typeof UNCHECKED) {
    let bytes = size as bigint;
    let end: bigint | undefined;
    if (checks !== UNCHECKED) {
      const limit = kind.runEnd(start);
      bytes = byteCount(size);
      end = start + bytes;
      if (end > limit)
        throw new RegionError('REGION_OVERFLOW', { kind: kind.name, start, size: bytes, limit });
    }
    this.#kind = kind;
    this.#start = start;
    this.#size = bytes;
    this.#end = end;
  }

  /**
   * The region from `start` up to `end`.
   *
   * @param end - exclusive, so a `bigint`: 2^64 and the start of the hole are fine
   * @throws AddressError if `start` is no address of `kind`; RegionError `INVALID_END` if `end` comes before it or is no
   *   `bigint`, `REGION_OVERFLOW` if it lies past the hole's start or the end of the space
   */
  static fromAddresses<A extends Address>(kind: AddressKind<A>, start: A, end: bigint): MemoryRegion<A> {
    return regionBetween(kind, start, end);
  }

  /** As the constructor, with `undefined` for every start and size that it refuses. */
  static tryNew<A extends Address>(
    kind: AddressKind<A>,
    start: unknown,
    size: unknown,
  ): MemoryRegion<A> | undefined {
    if (!kind.isAddress(start)) return undefined;
    if (typeof size === 'number' ? !Number.isSafeInteger(size) : typeof size !== 'bigint') return undefined;
    const bytes = BigInt(size as Bytes);
    return bytes < 0n || start + bytes > kind.runEnd(start) ? undefined : uncheckedRegion(kind, start, bytes);
  }

  /**
   * As the constructor, without its checks, which cost several times as much as the region: for what makes many, and
   * knows that they are right, as an allocator does. Given what the constructor refuses, it makes what is no region, and
   * nothing says so.
   *
   * @param start - an address of `kind`
   * @param size - bytes, from 0 up; from `start` on there are as many addresses
   */
  static unchecked<A extends Address>(kind: AddressKind<A>, start: A, size: bigint): MemoryRegion<A> {
    return uncheckedRegion(kind, start, size);
  }

  /** What addresses the region has. */
  get kind(): AddressKind<A> {
    return this.#kind;
  }

  /** The first address. */
  get start(): A {
    return this.#start;
  }

  /** The exclusive end, which need not be an address. */
  get end(): bigint {
    this.#end ??= this.#start + this.#size;
    return this.#end;
  }

  /** Bytes. */
  get size(): bigint {
    return this.#size;
  }

  /** The last address, or `undefined` if the region is empty. */
  get last(): A | undefined {
    return this.isEmpty ? undefined : ((this.end - 1n) as A);
  }

  /** Whether it holds no address. */
  get isEmpty(): boolean {
    return this.#size === 0n;
  }

  /** Whether `address` is one of the region's: `end` is not. */
  contains(address: A): boolean {
    return this.#start <= address && address < this.end;
  }

  /** Whether `address` is one of the region's or its `end`. */
  containsInclusive(address: bigint): boolean {
    return this.#start <= address && address <= this.end;
  }

  /** Whether every address of `other` is one of this region's. An empty one always is inside. */
  containsRegion(other: MemoryRegion<A>): boolean {
    requireKind(this.#kind, other);
    return other.isEmpty || (this.#start <= other.start && other.end <= this.end);
  }

  /** Whether some address is in both. Regions that only touch do not overlap, and an empty one overlaps nothing. */
  overlaps(other: MemoryRegion<A>): boolean {
    requireKind(this.#kind, other);
    return !this.isEmpty && !other.isEmpty && this.#start < other.end && other.start < this.end;
  }

  /** Whether the union of both is a region: they touch, overlap, or one is empty. */
  contiguous(other: MemoryRegion<A>): boolean {
    requireKind(this.#kind, other);
    return this.isEmpty || other.isEmpty || (this.#start <= other.end && other.start <= this.end);
  }

  /** Whether both have the same kind, start and end. */
  equals(other: MemoryRegion<A>): boolean {
    return sameKind(this.#kind, other?.kind) && this.#start === other.start && this.#size === other.size;
  }

  /**
   * The union of two regions that touch or overlap; of an empty region and another, the other.
   *
   * @throws RegionError `NOT_CONTIGUOUS` if there is a gap between them
   */
  merge(other: MemoryRegion<A>): MemoryRegion<A> {
    if (!this.contiguous(other)) throw new RegionError('NOT_CONTIGUOUS', { left: this, right: other });
    return this.hull(other);
  }

  /**
   * The smallest region that covers both, the gap between them included. Empty ones count for nothing.
   *
   * @throws RegionError `REGION_OVERFLOW` if they lie on two sides of the hole
   */
  hull(other: MemoryRegion<A>): MemoryRegion<A> {
    requireKind(this.#kind, other);
    if (other.isEmpty) return this;
    if (this.isEmpty) return other;
    const start = this.#start < other.start ? this.#start : other.start;
    const end = this.end > other.end ? this.end : other.end;
    return regionBetween(this.#kind, start, end);
  }

  /** What is in both, or `undefined` if nothing is. */
  intersect(other: MemoryRegion<A>): MemoryRegion<A> | undefined {
    if (!this.overlaps(other)) return undefined;
    const start = this.#start > other.start ? this.#start : other.start;
    const end = this.end < other.end ? this.end : other.end;
    return uncheckedBetween(this.#kind, start, end);
  }

  /** What is in this region and not in `other`: no region, one, or two, ascending, none of them empty. */
  subtract(other: MemoryRegion<A>): MemoryRegion<A>[] {
    if (!this.overlaps(other)) return this.isEmpty ? [] : [this];
    const rest: MemoryRegion<A>[] = [];
    if (this.#start < other.start) rest.push(uncheckedBetween(this.#kind, this.#start, other.start));
    // `other.end` is an address here: it lies below this region's end.
    if (other.end < this.end) rest.push(uncheckedBetween(this.#kind, other.end as A, this.end));
    return rest;
  }

  /**
   * The part before `at` and the part from `at` on; neither is empty.
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
   * This region with `bytes` more at its end.
   *
   * @throws AddressError `INVALID_BYTE_COUNT`; RegionError `REGION_OVERFLOW`
   */
  expand(bytes: Bytes): MemoryRegion<A> {
    return regionOf(this.#kind, this.#start, this.size + byteCount(bytes));
  }

  /**
   * The smallest region around this one that starts and ends at multiples of `alignment`; of an empty region, the empty
   * one at the aligned start.
   *
   * @param alignment - bytes, a power of two from 1 to 2^47; a `PageSize` in most cases
   * @throws AddressError `INVALID_ALIGNMENT`; RegionError `REGION_OVERFLOW` if the space ends inside the last unit
   */
  alignOutward(alignment: Bytes): MemoryRegion<A> {
    const start = alignDown(this.#start, alignment);
    if (this.isEmpty) return uncheckedRegion(this.#kind, start, 0n);
    const mask = alignmentBytes(alignment) - 1n;
    return regionBetween(this.#kind, start, (this.end + mask) & ~mask);
  }

  /**
   * The largest region inside this one that starts and ends at multiples of `alignment`, or `undefined` if there is no
   * whole unit inside.
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
   * How many pages of `size` the region has.
   *
   * @param size - `PageSize.Regular` if not given
   * @throws RegionError `INVALID_PAGE_SIZE`; `MISALIGNED_REGION` if start or end is no multiple of `size`
   */
  pageCount(size: PageSize = PageSize.Regular): number {
    return this.#countPages(size);
  }

  /**
   * The start address of each page, ascending: the loop of COCONUT-SVSM's PR#131. Strict, because a page that is half
   * inside the region holds bytes that nobody named. O(1) for each page, none of it up front.
   *
   * @throws RegionError `INVALID_PAGE_SIZE`; `MISALIGNED_REGION` if start or end is no multiple of `size`
   */
  iterPages(size: PageSize): PageIterator<A> {
    return pagesFrom(this.#start, this.#countPages(size), size);
  }

  /**
   * The fewest naturally aligned 1 GiB, 2 MiB and 4 KiB pages that cover the region exactly, ascending. O(1) for each.
   *
   * @throws RegionError `MISALIGNED_REGION` if start or end is no multiple of 4 KiB
   */
  largestPages(): Generator<MemoryRegion<A>, undefined, undefined> {
    this.pageCount(PageSize.Regular);
    return largestPagesOf(this);
  }

  /** `[0x…-0x…)`, sixteen digits each. */
  toString(): string {
    return formatBounds(this);
  }

  /** So that a console, which sees no fields, shows where the region is. */
  get [Symbol.toStringTag](): string {
    return `${this.#kind.name} ${this}`;
  }

  #countPages(size: PageSize): number {
    if (size !== PageSize.Regular && size !== PageSize.Huge && size !== PageSize.Giant) {
      throw new RegionError('INVALID_PAGE_SIZE', { value: size });
    }
    if (((this.#start | this.#size) & BigInt(size - 1)) !== 0n) {
      throw new RegionError('MISALIGNED_REGION', { region: this, pageSize: size });
    }
    return Number(this.size / BigInt(size));
  }
}

/**
 * The region of virtual addresses (48 bits) of `size` bytes from `start` on. O(1).
 *
 * @throws AddressError, RegionError as the constructor of {@link MemoryRegion}
 */
export function virtRegion(start: VirtAddr, size: Bytes): MemoryRegion<VirtAddr> {
  return new MemoryRegion(Virt, start, size);
}

/**
 * The region of physical addresses of `size` bytes from `start` on. O(1).
 *
 * @throws AddressError, RegionError as the constructor of {@link MemoryRegion}
 */
export function physRegion(start: PhysAddr, size: Bytes): MemoryRegion<PhysAddr> {
  return new MemoryRegion(Phys, start, size);
}

/** Bids the constructor to check nothing. Nobody else has it. */
const UNCHECKED: unique symbol = /* @__PURE__ */ Symbol('unchecked');

type UncheckedConstructor = new <A extends Address>(
  kind: AddressKind<A>,
  start: A,
  size: bigint,
  checks: typeof UNCHECKED,
) => MemoryRegion<A>;

// The class makes its like by these, because one that names itself is renamed by the bundler.
function uncheckedRegion<A extends Address>(kind: AddressKind<A>, start: A, size: bigint): MemoryRegion<A> {
  return new (MemoryRegion as unknown as UncheckedConstructor)(kind, start, size, UNCHECKED);
}

function uncheckedBetween<A extends Address>(kind: AddressKind<A>, start: A, end: bigint): MemoryRegion<A> {
  return uncheckedRegion(kind, start, end - start);
}

function regionOf<A extends Address>(kind: AddressKind<A>, start: A, size: Bytes): MemoryRegion<A> {
  return new MemoryRegion(kind, start, size);
}

function regionBetween<A extends Address>(kind: AddressKind<A>, start: A, end: bigint): MemoryRegion<A> {
  kind.assertIsAddress(start);
  if (typeof end !== 'bigint' || end < start) {
    throw new RegionError('INVALID_END', { kind: kind.name, start, end });
  }
  return new MemoryRegion(kind, start, end - start);
}

function* largestPagesOf<A extends Address>(
  region: MemoryRegion<A>,
): Generator<MemoryRegion<A>, undefined, undefined> {
  const sizes = [BigInt(PageSize.Giant), BigInt(PageSize.Huge), BigInt(PageSize.Regular)];
  let at: bigint = region.start;
  while (at < region.end) {
    // A larger page that fits is never worse: page sizes divide one another.
    const size = sizes.find((size) => at % size === 0n && at + size <= region.end) as bigint;
    yield new MemoryRegion(region.kind, at as A, size);
    at += size;
  }
}
