import {
  type Address,
  type AddressKind,
  assertIsAddressKind,
  describeValue,
  isAddressKind,
  showInConsoles,
} from '@svsm/address';
import { requireIterable } from './arguments.ts';
import { differenceRanges, intersectRanges, subtractRanges, unionRanges } from './combine-ranges.ts';
import { sameKind } from './foreign-region.ts';
import { MemoryRegion } from './memory-region.ts';
import { RegionError } from './region-error.ts';
import { RegionIndex } from './region-index.ts';

/**
 * A set of addresses of one kind, kept as regions that are sorted, disjoint, not empty, and coalesced. So equal sets have
 * equal regions. Iterating yields the regions in address order.
 *
 * `add` and `remove` change the set. The operations on two sets return a new set and change neither. n is the number of
 * regions, m that of the other set.
 *
 * @example
 * ```ts
 * import { Phys, physAddr } from '@svsm/address';
 * import { physRegion, RegionSet } from '@svsm/memory-region';
 *
 * const free = new RegionSet(Phys, [physRegion(physAddr(0), 0x10_0000)]);
 * free.remove(physRegion(physAddr(0xa_0000), 0x2_0000));
 * console.log(free.regionCount, free.contains(physAddr(0xb_8000))); // => 2 false
 * ```
 */
export class RegionSet<A extends Address> implements Iterable<MemoryRegion<A>> {
  static {
    showInConsoles(this, 'RegionSet', (set) => ({ kind: set.kind.name, regions: [...set] }));
  }

  /** The kind of the addresses. */
  readonly kind: AddressKind<A>;
  readonly #index: RegionIndex<A, undefined> = new RegionIndex();

  /**
   * Makes the set of all addresses in `regions`, which may be in any order, overlap and be empty. O(n log n).
   *
   * @throws AddressError `INVALID_KIND`; RegionError `INVALID_ARGUMENT` if `regions` are not iterable; `KIND_MISMATCH`
   */
  constructor(kind: AddressKind<A>, regions: Iterable<MemoryRegion<A>> = []) {
    assertIsAddressKind(kind);
    requireIterable('regions', regions, 'regions');
    this.kind = kind;
    const sorted = Array.from(regions, (region) => MemoryRegion.from(kind, region));
    if (sorted.length > 1) sorted.sort((a, b) => (a.start < b.start ? -1 : 1));
    this.#index.fill(coalesce(sorted).map((region) => [region, undefined]));
  }

  /** The number of regions. */
  get regionCount(): number {
    return this.#index.size;
  }

  /** The number of bytes in all regions. O(n). */
  get size(): bigint {
    let bytes = 0n;
    for (const region of this) bytes += region.size;
    return bytes;
  }

  /** Whether the set has no addresses. */
  get isEmpty(): boolean {
    return this.#index.size === 0;
  }

  /**
   * Adds every address of `region`. O(log n), and again for each region that it joins. Returns the set.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  add(region: MemoryRegion<A>): this {
    const added = MemoryRegion.from(this.kind, region);
    if (added.isEmpty) return this;
    const before = added.start > 0n ? added.start - 1n : 0n;
    const cursor = this.#index.cursor();
    const first = cursor.find(before);
    if (first === undefined || first.start > added.end) {
      this.#index.insert(added, undefined);
      return this;
    }
    let last = first;
    const others: A[] = [];
    for (let next = cursor.next(); next !== undefined && next.start <= added.end; next = cursor.next()) {
      others.push(next.start);
      last = next;
    }
    for (const other of others) this.#index.delete(other);
    const start = first.start < added.start ? first.start : added.start;
    const end = last.end > added.end ? last.end : added.end;
    this.#index.replace(first.start, MemoryRegion.unchecked(this.kind, start, end - start));
    return this;
  }

  /**
   * Removes every address of `region` that is in the set. O(log n), and again for each region that it cuts. Returns
   * the set.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  remove(region: MemoryRegion<A>): this {
    const removed = MemoryRegion.from(this.kind, region);
    if (removed.isEmpty) return this;
    const cursor = this.#index.cursor();
    let other = cursor.find(removed.start);
    while (other !== undefined && other.start < removed.end) {
      const [rest, second] = other.subtract(removed);
      if (rest === undefined) this.#index.delete(other.start);
      else this.#index.replace(other.start, rest);
      if (second !== undefined) this.#index.insert(second, undefined);
      other = other.end < removed.end ? cursor.find(removed.start) : undefined;
    }
    return this;
  }

  /**
   * Whether `address` is in the set. O(log n).
   *
   * @throws AddressError as {@link AddressKind.assertIsAddress}
   */
  contains(address: A): boolean {
    return this.regionAt(address) !== undefined;
  }

  /**
   * Whether every address of `region` is in the set. O(log n).
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  containsRegion(region: MemoryRegion<A>): boolean {
    const { isEmpty, start } = MemoryRegion.from(this.kind, region);
    return isEmpty || this.#index.at(start)?.[0].containsRegion(region) === true;
  }

  /**
   * Whether some address of `region` is in the set. O(log n).
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  overlaps(region: MemoryRegion<A>): boolean {
    const { start } = MemoryRegion.from(this.kind, region);
    return this.#index.cursor().find(start)?.overlaps(region) === true;
  }

  /**
   * The region of the set that holds `address`, or `undefined`. O(log n).
   *
   * @throws AddressError as {@link AddressKind.assertIsAddress}
   */
  regionAt(address: A): MemoryRegion<A> | undefined {
    this.kind.assertIsAddress(address);
    return this.#index.at(address)?.[0];
  }

  /**
   * The regions of the set that overlap `region`, uncut, ascending. O(log n), and O(1) for each. The set may change during
   * the iteration, as during one over the set.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  overlapping(region: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined> {
    const { isEmpty, start, end } = MemoryRegion.from(this.kind, region);
    return this.#regions(start, isEmpty ? 0n : end);
  }

  /**
   * The parts of `within` that are not in the set, ascending. O(log n), and O(1) for each region in `within`. If the set
   * changes during the iteration, it goes on at the end of the last part that it returned, with what is not in the set then.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  gaps(within: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined> {
    return this.#index.gaps(MemoryRegion.from(this.kind, within));
  }

  /**
   * The addresses that are in at least one of the two sets. O(n + m).
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  union(other: RegionSet<A>): RegionSet<A> {
    return combined(this.kind, unionRanges(this, this.#same(other)));
  }

  /**
   * The addresses that are in both sets. O(n + m).
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  intersect(other: RegionSet<A>): RegionSet<A> {
    return combined(this.kind, intersectRanges(this, this.#same(other)));
  }

  /**
   * The addresses that are in this set and not in `other`. O(n + m).
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  subtract(other: RegionSet<A>): RegionSet<A> {
    return combined(this.kind, subtractRanges(this, this.#same(other)));
  }

  /**
   * The addresses that are in exactly one of the two sets. O(n + m).
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  difference(other: RegionSet<A>): RegionSet<A> {
    return combined(this.kind, differenceRanges(this, this.#same(other)));
  }

  /**
   * Whether both sets have the same addresses. O(n).
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  equals(other: RegionSet<A>): boolean {
    const same = this.#same(other);
    if (this.regionCount !== same.regionCount) return false;
    const others = same[Symbol.iterator]();
    for (const region of this) if (!region.equals(others.next().value as MemoryRegion<A>)) return false;
    return true;
  }

  /**
   * The regions, ascending. The set may change during the iteration: it goes on at the end of the last region that it
   * returned, with the addresses that are in the set then. If a region has grown over that end, the rest of it is next.
   * O(1) for each region, and O(log n) after a change.
   *
   * @example
   * ```ts
   * import { Phys, physAddr } from '@svsm/address';
   * import { physRegion, RegionSet } from '@svsm/memory-region';
   *
   * const set = new RegionSet(Phys, [physRegion(physAddr(0), 0x1000), physRegion(physAddr(0x4000), 0x2000)]);
   * for (const region of set) if (region.size === 0x1000n) set.remove(region);
   * console.log(String(set)); // => {[0x0000000000004000-0x0000000000006000)}
   * ```
   */
  [Symbol.iterator](): Generator<MemoryRegion<A>, undefined, undefined> {
    return this.#regions(0n, undefined);
  }

  /** The regions as `{[0x…-0x…), …}`. */
  toString(): string {
    return `{${[...this].join(', ')}}`;
  }

  /** `other`, or a copy if another installed copy of this package made it. @throws RegionError `KIND_MISMATCH` */
  #same(other: RegionSet<A>): RegionSet<A> {
    const isOwn = typeof other === 'object' && other !== null && #index in other;
    if (isOwn && other.kind === this.kind) return other;
    return copied(this.kind, other);
  }

  /** The regions that end after `from` and begin before `end`, or all of these if no `end` is given. */
  *#regions(from: bigint, end: bigint | undefined): Generator<MemoryRegion<A>, undefined, undefined> {
    const cursor = this.#index.cursor();
    let region = cursor.find(from);
    while (region !== undefined && (end === undefined || region.start < end)) {
      yield region;
      region = cursor.isStale ? partFrom(region.end, cursor.find(region.end)) : cursor.next();
    }
  }
}

/** The part of `region` from `address` on, which lies in the region or before it. */
function partFrom<A extends Address>(
  address: bigint,
  region: MemoryRegion<A> | undefined,
): MemoryRegion<A> | undefined {
  if (region === undefined || region.start >= address) return region;
  return MemoryRegion.unchecked(region.kind, address as A, region.end - address);
}

// The class makes other sets through these functions, because the bundler renames a class that refers to itself.
function combined<A extends Address>(kind: AddressKind<A>, regions: Iterable<MemoryRegion<A>>): RegionSet<A> {
  return new RegionSet(kind, regions);
}

function copied<A extends Address>(kind: AddressKind<A>, other: unknown): RegionSet<A> {
  let actual = describeValue(other);
  try {
    const set = other as RegionSet<A>;
    const isSet = isAddressKind(set.kind) && typeof set.regionCount === 'number';
    if (isSet && sameKind(kind, set.kind)) return new RegionSet(kind, set);
    if (isSet) actual = set.kind.name;
  } catch {
    // Properties that cannot be read, or what they hold is not a set: it is described by its type.
  }
  throw new RegionError('KIND_MISMATCH', { expected: kind.name, actual });
}

/** Joins sorted regions that touch or overlap, and leaves out empty ones. */
function coalesce<A extends Address>(sorted: readonly MemoryRegion<A>[]): MemoryRegion<A>[] {
  const joined: MemoryRegion<A>[] = [];
  for (const region of sorted) {
    if (region.isEmpty) continue;
    const last = joined.at(-1);
    if (last === undefined || last.end < region.start) joined.push(region);
    else joined[joined.length - 1] = last.merge(region);
  }
  return joined;
}
