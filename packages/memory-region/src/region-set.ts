import type { Address, AddressKind } from '@svsm/address';
import { MemoryRegion } from './memory-region.ts';
import { RegionIndex } from './region-index.ts';
import { requireKind } from './same-kind.ts';
import { type RangePiece, type RegionEntry, walkRanges } from './walk-ranges.ts';

/**
 * A set of addresses of one kind, kept as regions: sorted, disjoint, not empty, and coalesced, so that one set has one
 * form. Iterating gives its regions in address order.
 *
 * `add` and `remove` change the set; the operations on two sets return a new one and change neither. Methods that take a
 * region or set throw `RegionError` `KIND_MISMATCH` if its kind is another one. n is the number of regions.
 */
export class RegionSet<A extends Address> implements Iterable<MemoryRegion<A>> {
  /** What addresses it holds. */
  readonly kind: AddressKind<A>;
  readonly #index: RegionIndex<A, undefined> = new RegionIndex();

  /** The set of all addresses in `regions`, which may be in any order, overlap and be empty. O(n log n). */
  constructor(kind: AddressKind<A>, regions: Iterable<MemoryRegion<A>> = []) {
    this.kind = kind;
    const sorted = [...regions];
    for (const region of sorted) requireKind(kind, region);
    sorted.sort((a, b) => (a.start < b.start ? -1 : 1));
    this.#index.fill(coalesce(sorted).map((region) => [region, undefined]));
  }

  /** How many regions it has. */
  get regionCount(): number {
    return this.#index.size;
  }

  /** How many bytes. O(n). */
  get size(): bigint {
    let bytes = 0n;
    for (const region of this) bytes += region.size;
    return bytes;
  }

  /** Whether it holds nothing. */
  get isEmpty(): boolean {
    return this.#index.size === 0;
  }

  /** Adds every address of `region`. O(log n), and for each region that it joins. Returns the set. */
  add(region: MemoryRegion<A>): this {
    requireKind(this.kind, region);
    if (region.isEmpty) return this;
    const before = region.start > 0n ? region.start - 1n : 0n;
    let joined = region;
    for (const [other] of this.#take(before, region.end)) joined = joined.merge(other);
    this.#index.insert(joined, undefined);
    return this;
  }

  /** Removes every address of `region`, whether it was there or not. O(log n), and for each region that it cuts. */
  remove(region: MemoryRegion<A>): this {
    requireKind(this.kind, region);
    if (region.isEmpty) return this;
    for (const [other] of this.#take(region.start, region.end - 1n)) {
      for (const rest of other.subtract(region)) this.#index.insert(rest, undefined);
    }
    return this;
  }

  /** Whether `address` is in it. O(log n). */
  contains(address: A): boolean {
    return this.regionAt(address) !== undefined;
  }

  /** Whether every address of `region` is in it. O(log n). */
  containsRegion(region: MemoryRegion<A>): boolean {
    requireKind(this.kind, region);
    return region.isEmpty || this.regionAt(region.start)?.containsRegion(region) === true;
  }

  /** Whether some address of `region` is in it. O(log n). */
  overlaps(region: MemoryRegion<A>): boolean {
    return this.overlapping(region).next().done !== true;
  }

  /** The region of the set that holds `address`. O(log n). */
  regionAt(address: A): MemoryRegion<A> | undefined {
    this.kind.assertIsAddress(address);
    return this.#index.at(address)?.[0];
  }

  /** The regions of the set that overlap `region`, whole, ascending. O(log n), and O(1) for each. */
  *overlapping(region: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined> {
    requireKind(this.kind, region);
    if (region.isEmpty) return;
    for (const [other] of this.#index.overlapping(region)) yield other;
  }

  /** What of `within` is not in the set, ascending. O(log n), and O(1) for each region in it. */
  *gaps(within: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined> {
    requireKind(this.kind, within);
    for (const piece of walkRanges([entry(within)], map(this.overlapping(within), entry))) {
      if (piece.right === undefined) yield piece.region;
    }
  }

  /** The addresses that are in either. O(n + m). */
  union(other: RegionSet<A>): RegionSet<A> {
    return combine(this, other, () => true);
  }

  /** The addresses that are in both. O(n + m). */
  intersect(other: RegionSet<A>): RegionSet<A> {
    return combine(this, other, ({ left, right }) => left !== undefined && right !== undefined);
  }

  /** The addresses that are in this set and not in `other`. O(n + m). */
  subtract(other: RegionSet<A>): RegionSet<A> {
    return combine(this, other, ({ right }) => right === undefined);
  }

  /** The addresses that are in exactly one of them. O(n + m). */
  difference(other: RegionSet<A>): RegionSet<A> {
    return combine(this, other, ({ left, right }) => left === undefined || right === undefined);
  }

  /** Whether both hold the same addresses. O(n). */
  equals(other: RegionSet<A>): boolean {
    requireKind(this.kind, other);
    if (this.regionCount !== other.regionCount) return false;
    const others = other[Symbol.iterator]();
    for (const region of this) if (!region.equals(others.next().value as MemoryRegion<A>)) return false;
    return true;
  }

  /** The regions, ascending. Do not change the set on the way. */
  *[Symbol.iterator](): Generator<MemoryRegion<A>, undefined, undefined> {
    for (const [region] of this.#index) yield region;
  }

  /** The regions, `{[0x…-0x…), …}`. */
  toString(): string {
    return `{${[...this].join(', ')}}`;
  }

  /** Takes out the regions that end after `after` and start at or before `last`. */
  #take(after: bigint, last: bigint): RegionEntry<A, undefined>[] {
    const taken: RegionEntry<A, undefined>[] = [];
    for (const found of this.#index.from(after)) {
      if (found[0].start > last) break;
      taken.push(found);
    }
    for (const [region] of taken) this.#index.delete(region.start);
    return taken;
  }
}

function combine<A extends Address>(
  left: RegionSet<A>,
  right: RegionSet<A>,
  keep: (piece: RangePiece<A, undefined, undefined>) => boolean,
): RegionSet<A> {
  requireKind(left.kind, right);
  const kept: MemoryRegion<A>[] = [];
  for (const piece of walkRanges(map(left, entry), map(right, entry)))
    if (keep(piece)) kept.push(piece.region);
  return new RegionSet(left.kind, kept);
}

/** Sorted regions with those that touch or overlap joined, and empty ones left out. */
function coalesce<A extends Address>(sorted: readonly MemoryRegion<A>[]): MemoryRegion<A>[] {
  const joined: MemoryRegion<A>[] = [];
  let first: MemoryRegion<A> | undefined;
  let end = 0n;
  const flush = (): void => {
    if (first !== undefined) joined.push(new MemoryRegion(first.kind, first.start, end - first.start));
  };
  for (const region of sorted) {
    if (region.isEmpty) continue;
    if (first === undefined || region.start > end) {
      flush();
      first = region;
      end = region.end;
    } else if (region.end > end) {
      end = region.end;
    }
  }
  flush();
  return joined;
}

const entry = <A extends Address>(region: MemoryRegion<A>): RegionEntry<A, undefined> => [region, undefined];

function* map<T, U>(values: Iterable<T>, to: (value: T) => U): Generator<U, undefined, undefined> {
  for (const value of values) yield to(value);
}
