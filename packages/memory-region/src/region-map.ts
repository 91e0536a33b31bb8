import type { Address, AddressKind } from '@svsm/address';
import type { MemoryRegion } from './memory-region.ts';
import { RegionError } from './region-error.ts';
import { RegionIndex } from './region-index.ts';
import { requireKind } from './same-kind.ts';
import { type RegionEntry, walkRanges } from './walk-ranges.ts';

/**
 * Disjoint regions of one kind of address, each with a value, sorted by address: a memory map. The map keeps regions as
 * they were added: two that touch stay two, even if their values are equal. {@link coalesced} joins them.
 *
 * n is the number of entries.
 *
 * @example
 * ```ts
 * import { Phys, type PhysAddr, physAddr } from '@svsm/address';
 * import { physRegion, RegionMap } from '@svsm/memory-region';
 *
 * const map = new RegionMap<PhysAddr, string>(Phys);
 * map.set(physRegion(physAddr(0), 0x10_0000), 'RAM');
 * map.overlay(physRegion(physAddr(0xa_0000), 0x2_0000), 'VGA'); // `set` would refuse this overlap
 * console.log(map.get(physAddr(0xb_8000)), map.get(physAddr(0xc_0000)), map.size); // => VGA RAM 3
 * ```
 */
export class RegionMap<A extends Address, V> implements Iterable<RegionEntry<A, V>> {
  /** The kind of the addresses. */
  readonly kind: AddressKind<A>;
  readonly #index: RegionIndex<A, V> = new RegionIndex();

  /**
   * Makes a map of `entries`, which may be in any order. O(n log n).
   *
   * @throws RegionError `KIND_MISMATCH`; `EMPTY_REGION`; `REGION_OVERLAP`, with both regions, if two entries overlap
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

  /** The number of entries. */
  get size(): number {
    return this.#index.size;
  }

  /**
   * Adds an entry. O(log n). Returns the map.
   *
   * @throws RegionError `KIND_MISMATCH`; `EMPTY_REGION`; `REGION_OVERLAP`, with both regions, if an entry overlaps `region`
   */
  set(region: MemoryRegion<A>, value: V): this {
    this.#require(region);
    const existing = this.#index.overlapping(region).next().value;
    if (existing !== undefined) throw new RegionError('REGION_OVERLAP', { region, existing: existing[0] });
    this.#index.insert(region, value);
    return this;
  }

  /**
   * Adds an entry in place of everything that `region` covers: other entries lose these addresses and keep the rest.
   * O(log n), and again for each entry that it cuts. Returns the map.
   *
   * @throws RegionError `KIND_MISMATCH`; `EMPTY_REGION`
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
   * @throws RegionError `KIND_MISMATCH`; `NO_SUCH_REGION` if no entry has the same start and end
   */
  delete(region: MemoryRegion<A>): V {
    requireKind(this.kind, region);
    const found = this.#index.at(region.start);
    if (found === undefined || !found[0].equals(region)) throw new RegionError('NO_SUCH_REGION', { region });
    this.#index.delete(region.start);
    return found[1];
  }

  /**
   * The value of the entry whose region holds `address`, or `undefined`. O(log n).
   *
   * @throws AddressError as {@link AddressKind.assertIsAddress}
   */
  get(address: A): V | undefined {
    this.kind.assertIsAddress(address);
    return this.#index.valueAt(address);
  }

  /**
   * The entry whose region holds `address`, or `undefined`. O(log n).
   *
   * @throws AddressError as {@link AddressKind.assertIsAddress}
   */
  entryAt(address: A): RegionEntry<A, V> | undefined {
    this.kind.assertIsAddress(address);
    return this.#index.at(address);
  }

  /**
   * The entries whose regions overlap `region`, uncut, ascending. O(log n), and O(1) for each.
   *
   * @throws RegionError `KIND_MISMATCH`, at the first `next`
   */
  *overlapping(region: MemoryRegion<A>): Generator<RegionEntry<A, V>, undefined, undefined> {
    requireKind(this.kind, region);
    if (!region.isEmpty) yield* this.#index.overlapping(region);
  }

  /**
   * The parts of `within` that no entry covers, ascending. O(log n), and O(1) for each entry in `within`.
   *
   * @throws RegionError `KIND_MISMATCH`, at the first `next`
   */
  *gaps(within: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined> {
    requireKind(this.kind, within);
    for (const piece of walkRanges([[within, undefined]], this.overlapping(within))) {
      if (piece.right === undefined) yield piece.region;
    }
  }

  /**
   * The entries, ascending. Entries that touch and have equal values are joined. O(n).
   *
   * @param equal - whether two values are equal; `Object.is` if not given
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

  /** The entries, ascending. Do not change the map during the iteration. */
  [Symbol.iterator](): Generator<RegionEntry<A, V>, undefined, undefined> {
    return this.#index[Symbol.iterator]();
  }

  #require(region: MemoryRegion<A>): void {
    requireKind(this.kind, region);
    if (region.isEmpty) throw new RegionError('EMPTY_REGION', { region });
  }
}
