import type { Address, AddressKind } from '@svsm/address';
import type { MemoryRegion } from './memory-region.ts';
import { RegionError } from './region-error.ts';
import { RegionIndex } from './region-index.ts';
import { requireKind } from './same-kind.ts';
import { type RegionEntry, walkRanges } from './walk-ranges.ts';

/**
 * Disjoint regions of one kind of address with a value each, sorted by address: a memory map. Regions are kept as they
 * were given: two that touch stay two, even with equal values; {@link coalesced} joins them.
 *
 * Methods that take a region throw `RegionError` `KIND_MISMATCH` if its kind is another one. n is the number of entries.
 */
export class RegionMap<A extends Address, V> implements Iterable<RegionEntry<A, V>> {
  /** What addresses its regions have. */
  readonly kind: AddressKind<A>;
  readonly #index: RegionIndex<A, V> = new RegionIndex();

  /**
   * A map of `entries`, in any order. O(n log n).
   *
   * @throws RegionError `REGION_OVERLAP` if two of them overlap, with both; `EMPTY_REGION`
   */
  constructor(kind: AddressKind<A>, entries: Iterable<RegionEntry<A, V>> = []) {
    this.kind = kind;
    const sorted = [...entries];
    for (const [region] of sorted) this.#require(region);
    sorted.sort(([a], [b]) => (a.start < b.start ? -1 : 1));
    sorted.forEach(([region], i) => {
      const before = sorted[i - 1]?.[0];
      if (before?.overlaps(region) === true)
        throw new RegionError('REGION_OVERLAP', { region, existing: before });
    });
    this.#index.fill(sorted);
  }

  /** How many entries it has. */
  get size(): number {
    return this.#index.size;
  }

  /**
   * Adds an entry. O(log n). Returns the map.
   *
   * @throws RegionError `REGION_OVERLAP` if an entry is in the way: both are named; `EMPTY_REGION`
   */
  set(region: MemoryRegion<A>, value: V): this {
    this.#require(region);
    const existing = this.#index.overlapping(region).next().value;
    if (existing !== undefined) throw new RegionError('REGION_OVERLAP', { region, existing: existing[0] });
    this.#index.insert(region, value);
    return this;
  }

  /**
   * Adds an entry over what is there: the parts of other entries that `region` covers are gone, the rest of them stays.
   * O(log n), and for each entry that it cuts. Returns the map.
   *
   * @throws RegionError `EMPTY_REGION`
   */
  overlay(region: MemoryRegion<A>, value: V): this {
    this.#require(region);
    const cut = [...this.#index.overlapping(region)];
    for (const [other, held] of cut) {
      this.#index.delete(other.start);
      for (const rest of other.subtract(region)) this.#index.insert(rest, held);
    }
    this.#index.insert(region, value);
    return this;
  }

  /**
   * Removes the entry with exactly this region. O(log n). Returns its value.
   *
   * @throws RegionError `NO_SUCH_REGION`
   */
  delete(region: MemoryRegion<A>): V {
    requireKind(this.kind, region);
    const found = this.#index.at(region.start);
    if (found === undefined || !found[0].equals(region)) throw new RegionError('NO_SUCH_REGION', { region });
    this.#index.delete(region.start);
    return found[1];
  }

  /** The value of the entry whose region holds `address`, or `undefined`. O(log n). */
  get(address: A): V | undefined {
    this.kind.assertIsAddress(address);
    return this.#index.valueAt(address);
  }

  /** The entry whose region holds `address`, or `undefined`. O(log n). */
  entryAt(address: A): RegionEntry<A, V> | undefined {
    this.kind.assertIsAddress(address);
    return this.#index.at(address);
  }

  /** The entries whose regions overlap `region`, whole, ascending. O(log n), and O(1) for each. */
  *overlapping(region: MemoryRegion<A>): Generator<RegionEntry<A, V>, undefined, undefined> {
    requireKind(this.kind, region);
    if (!region.isEmpty) yield* this.#index.overlapping(region);
  }

  /** What of `within` no entry covers, ascending. O(log n), and O(1) for each entry in it. */
  *gaps(within: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined> {
    requireKind(this.kind, within);
    for (const piece of walkRanges([[within, undefined]], this.overlapping(within))) {
      if (piece.right === undefined) yield piece.region;
    }
  }

  /**
   * The entries, ascending, with those that touch and have equal values as one. O(n).
   *
   * @param equal - when values are equal; `Object.is` if not given
   */
  *coalesced(
    equal: (left: V, right: V) => boolean = Object.is,
  ): Generator<RegionEntry<A, V>, undefined, undefined> {
    let open: RegionEntry<A, V> | undefined;
    for (const entry of this) {
      if (open !== undefined && open[0].end === entry[0].start && equal(open[1], entry[1])) {
        open = [open[0].merge(entry[0]), open[1]];
        continue;
      }
      if (open !== undefined) yield open;
      open = entry;
    }
    if (open !== undefined) yield open;
  }

  /** The entries, ascending. Do not change the map on the way. */
  [Symbol.iterator](): Generator<RegionEntry<A, V>, undefined, undefined> {
    return this.#index[Symbol.iterator]();
  }

  #require(region: MemoryRegion<A>): void {
    requireKind(this.kind, region);
    if (region.isEmpty) throw new RegionError('EMPTY_REGION', { region });
  }
}
